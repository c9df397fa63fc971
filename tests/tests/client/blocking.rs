//! The blocking client: on plain threads, inside runtimes, across them, and dropped anywhere.

use std::sync::Arc;
use std::thread;

use atlasent::client::EventFilter;
use atlasent::testing::VirtualTime;
use atlasent::wire::{PermitToken, VerifyRequest};
use atlasent::{AnyAction, AuthorityExt, Client, Error, blocking, protect};
use atlasent_tests::Ran;
use atlasent_tests::server::{Reply, Request, Server};
use tokio::runtime::{Builder, Runtime};

use crate::cases::{ACTION, AGENT, TOKEN};
use crate::genuine;
use crate::support::{client, question};

fn action() -> AnyAction {
    AnyAction::new(ACTION).unwrap()
}

fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn workers() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[protect(action = "deploy.production", agent = "deploy-bot", authority = authority)]
fn deploy(authority: &Client, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

/// Makes every blocking call.
fn ask_all(client: &Client) {
    let (ran, own) = (Ran::new(), blocking::Client::from(client.clone()));
    let body = |_permit| {
        ran.hit();
        Ok::<_, Error>(())
    };
    deploy(client, &ran).unwrap();
    blocking::with_permit(client, AGENT, action(), body).unwrap();
    own.with_permit(AGENT, action(), body).unwrap();
    drop(own.protect(AGENT, action()).unwrap());
    drop(own.gate(AGENT, action()).unwrap());
    assert!(own.authorize(AGENT, action()).unwrap().permitted());
    assert_eq!(ran.count(), 3);
}

#[test]
fn every_call_works_on_a_plain_thread() {
    let server = genuine::server();
    let client = blocking::Client::from(client(server.url()).build().unwrap());
    let token = PermitToken::new(TOKEN).unwrap();
    let filter = EventFilter::default();
    client.evaluate(&question()).unwrap();
    client.evaluate_preflight(&question()).unwrap();
    client.verify(&VerifyRequest::new(token.clone())).unwrap();
    client.revoke_permit(&token, "r").unwrap();
    client.key_self().unwrap();
    client.audit_events(&filter).unwrap();
    client.audit_export(&filter).unwrap();
    client.signing_keys().unwrap();
    assert_eq!(client.evaluate_stream(&question()).count(), 2);
    assert_eq!(client.audit_event_stream(filter).count(), 2);
    assert_eq!(server.requests().len(), 10);
    // Dropping a stream at its last event may close its connection.
    assert!(
        server.accepted() <= 2,
        "connections are used again: {server:?}"
    );
}

#[test]
fn many_threads_share_one_client() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..5 {
                    ask_all(&client);
                }
            });
        }
    });
    assert_eq!(server.requests().len(), 8 * 5 * 6 * 2);
    assert!(
        server.accepted() < 48,
        "connections are used again: {server:?}"
    );
}

#[test]
fn it_works_inside_of_any_runtime() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    single().block_on(async { ask_all(&client) });
    let workers = workers();
    workers.block_on(async { ask_all(&client) });
    let tasks: Vec<_> = (0..4)
        .map(|_| {
            let client = client.clone();
            workers.spawn(async move { ask_all(&client) })
        })
        .collect();
    for task in tasks {
        workers.block_on(task).unwrap();
    }
    let spawned = client.clone();
    workers
        .block_on(workers.spawn_blocking(move || ask_all(&spawned)))
        .unwrap();
}

#[test]
fn it_may_be_nested() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    let nested = blocking::wait(async {
        ask_all(&client);
        drop(client.protect(AGENT, action()).await?);
        blocking::wait(async {
            ask_all(&client);
            client.protect(AGENT, action()).await
        })
    });
    assert!(nested.is_ok());
    blocking::with_permit(&client, AGENT, action(), |_| {
        ask_all(&client);
        Ok::<_, Error>(())
    })
    .unwrap();
}

/// The connections of an async client are driven by its runtime. A blocking call on that runtime's
/// only thread would wait for them forever, if it used them.
#[test]
fn a_client_that_was_used_in_a_runtime_may_block_that_runtimes_thread() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    single().block_on(async {
        for _ in 0..3 {
            drop(client.protect(AGENT, action()).await.unwrap());
            ask_all(&client);
        }
        client.evaluate(&question()).await.unwrap();
    });
}

#[test]
fn a_client_outlives_the_runtimes_that_it_is_used_in() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    for _ in 0..20 {
        let runtime = single();
        drop(runtime.block_on(client.protect(AGENT, action())).unwrap());
        drop(runtime);
        let runtime = workers();
        drop(runtime.block_on(client.protect(AGENT, action())).unwrap());
        runtime.shutdown_background();
        ask_all(&client);
    }
    assert!(
        server.comes_to(|server| server.open() <= 2),
        "what a runtime opened ends with it: {server:?}"
    );
}

#[test]
fn two_runtimes_may_use_a_client_at_the_same_time() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let runtime = single();
                for _ in 0..10 {
                    drop(runtime.block_on(client.protect(AGENT, action())).unwrap());
                }
            });
        }
        scope.spawn(|| (0..10).for_each(|_| ask_all(&client)));
    });
}

/// More runtimes than the number for which a client keeps connections.
#[test]
fn many_runtimes_in_turn_do_not_wear_a_client_out() {
    let server = genuine::server();
    let client = client(server.url()).build().unwrap();
    let runtimes: Vec<_> = (0..20).map(|_| single()).collect();
    for _ in 0..3 {
        for runtime in &runtimes {
            drop(runtime.block_on(client.protect(AGENT, action())).unwrap());
        }
    }
}

#[test]
fn it_may_be_dropped_anywhere() {
    let server = genuine::server();
    let new = || blocking::Client::from(client(server.url()).build().unwrap());
    let used = || {
        let client = new();
        client.evaluate(&question()).unwrap();
        client
    };
    drop(new());
    drop(used());
    single().block_on(async { drop(new()) });
    single().block_on(async { drop(used()) });
    let (fresh, old) = (new(), used());
    workers().block_on(async move {
        tokio::spawn(async move { drop((fresh, old)) })
            .await
            .unwrap();
    });
    let last = used();
    let clone = last.clone();
    thread::spawn(move || drop(clone)).join().unwrap();
    single().block_on(async move {
        last.evaluate(&question()).unwrap();
        drop(last);
    });
    // Drops a stream halfway, in async and in blocking code.
    let client = new();
    client.evaluate_stream(&question()).next().unwrap().unwrap();
    client
        .audit_event_stream(EventFilter::default())
        .next()
        .unwrap()
        .unwrap();
    single().block_on(async { drop(client.evaluate_stream(&question()).next()) });
    let mut half = client.evaluate_stream(&question());
    half.next().unwrap().unwrap();
    single().block_on(async move { drop(half) });
    client.evaluate(&question()).unwrap();
}

#[test]
fn a_runtime_that_ends_in_the_middle_of_a_call_leaves_the_client_usable() {
    let server = Server::start(|request: &Request| match request.text().contains("stall") {
        true => Reply::status(200).fault(
            atlasent_tests::server::Fault::Stall,
            atlasent_tests::server::At::Start,
        ),
        false => genuine::reply(request),
    });
    let client = client(server.url()).build().unwrap();
    let runtime = workers();
    let stalled = client.clone();
    runtime.spawn(async move {
        stalled
            .protect(AGENT, AnyAction::new("stall").unwrap())
            .await
            .map(drop)
    });
    assert!(server.comes_to(|server| server.busy() == 1));
    runtime.shutdown_background();
    assert!(
        server.comes_to(|server| server.busy() == 0),
        "its connection ends with it"
    );
    ask_all(&client);
    drop(single().block_on(client.protect(AGENT, action())).unwrap());
}

#[test]
fn it_waits_between_attempts_as_the_async_one_does() {
    let server = Server::start(|request: &Request| match request.attempt {
        1 => Reply::status(503),
        _ => genuine::reply(request),
    });
    let time = VirtualTime::new();
    let client = client(server.url()).virtual_time(&time).build().unwrap();
    ask_all(&client);
    assert_eq!(time.waits().len(), 2);
    // The same with a real clock.
    let server = Server::start(|request: &Request| match request.attempt {
        1 => Reply::status(503),
        _ => genuine::reply(request),
    });
    let client = crate::support::client(server.url())
        .retry_backoff(crate::support::ms(5))
        .build()
        .unwrap();
    single().block_on(async { ask_all(&client) });
    assert_eq!(server.requests().len(), 14);
}

#[test]
fn it_is_an_authority_behind_any_pointer() {
    let server = genuine::server();
    let client = blocking::Client::from(client(server.url()).build().unwrap());
    let pointer: Arc<dyn atlasent::authority::DynAuthority> = Arc::new(client);
    drop(blocking::protect(&pointer, AGENT, action()).unwrap());
    drop(single().block_on(pointer.protect(AGENT, action())).unwrap());
}
