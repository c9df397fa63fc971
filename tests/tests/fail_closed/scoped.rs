//! Tests that a test's scope is the default authority of one future or closure only. This process
//! configures no authority; `configured.rs` tests processes that do.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use atlasent::authority::default_authority;
use atlasent::testing::{self, MockAuthority, with_authority, with_authority_blocking};
use atlasent::wire::{EvaluateRequest, Evaluation, PermitToken, Verification, VerifyRequest};
use atlasent::{
    Action, Authority, AuthorityExt, Error, Guarded, Permit, blocking, configure, protect,
};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::Ran;
use atlasent_tests::cases::{ACTION, AGENT};
use futures_executor::block_on;
use tokio::task::yield_now;

const OUTSIDE: &str = "this call is outside of the scope of `atlasent::testing::with_authority`: a spawned \
                       task or thread does not inherit it, so wrap what is spawned, too";

#[derive(Action)]
#[action("deploy.production")]
struct Deploy;

#[protect(action = "deploy.production", agent = "deploy-bot")]
async fn deploy(ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

#[protect(action = "deploy.production", agent = "deploy-bot")]
fn deploy_blocking(ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

fn yes() -> MockAuthority {
    MockAuthority::new().allow(ACTION)
}

fn no() -> MockAuthority {
    MockAuthority::new().deny(ACTION, "frozen")
}

/// Obtains a permit of the default authority.
fn permit() -> Permit<Deploy> {
    block_on(default_authority().unwrap().protect(AGENT, Deploy)).unwrap()
}

/// Asserts that a call on the default authority is outside every scope.
fn assert_outside() {
    let ran = Ran::new();
    for error in [
        deploy_blocking(&ran).unwrap_err(),
        block_on(deploy(&ran)).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Config(_)), "{error:?}");
        assert_eq!(error.to_string(), OUTSIDE);
    }
    assert_eq!(ran.count(), 0);
}

#[tokio::test]
async fn futures_that_take_turns_on_one_thread_each_have_their_own_authority() {
    let ran = [Ran::new(), Ran::new()];
    let turns = async |ran: &Ran, allowed: bool| {
        for _ in 0..10 {
            assert_eq!(deploy(ran).await.is_ok(), allowed);
            yield_now().await;
            assert_eq!(deploy_blocking(ran).is_ok(), allowed);
        }
    };
    let both = tokio::join!(
        with_authority(yes(), turns(&ran[0], true)),
        with_authority(no(), turns(&ran[1], false)),
        async {
            for _ in 0..10 {
                yield_now().await;
                assert_outside();
            }
        },
    );
    let ((), (), ()) = both;
    assert_eq!((ran[0].count(), ran[1].count()), (20, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_future_keeps_its_authority_on_whatever_thread_it_is_polled() {
    let tasks: Vec<_> = (0..8)
        .map(|n| {
            let (authority, allowed) = if n % 2 == 0 {
                (yes(), true)
            } else {
                (no(), false)
            };
            tokio::spawn(with_authority(authority, async move {
                let ran = Ran::new();
                for _ in 0..50 {
                    assert_eq!(deploy(&ran).await.is_ok(), allowed);
                    yield_now().await;
                }
                assert_eq!(ran.count(), if allowed { 50 } else { 0 });
            }))
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

#[test]
fn threads_are_tested_in_parallel() {
    let threads: Vec<_> = (0..8)
        .map(|n| {
            thread::spawn(move || {
                let ran = Ran::new();
                let authority = Arc::new(if n % 2 == 0 { yes() } else { no() });
                let result =
                    with_authority_blocking(Arc::clone(&authority), || deploy_blocking(&ran));
                assert_eq!((result.is_ok(), ran.count()), (n % 2 == 0, 1 - n % 2));
                assert!(!authority.calls().is_empty());
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_scope_ends_with_its_future_its_closure_or_a_panic() {
    let ran = Ran::new();
    block_on(with_authority(yes(), deploy(&ran))).unwrap();
    assert_outside();
    with_authority_blocking(yes(), || deploy_blocking(&ran)).unwrap();
    assert_outside();
    assert_eq!(ran.count(), 2);

    let panics = || with_authority_blocking(yes(), || panic!("scripted"));
    catch_unwind(panics).unwrap_err();
    assert_outside();
    let panics = || block_on(with_authority(yes(), async { panic!("scripted") }));
    catch_unwind(panics).unwrap_err();
    assert_outside();

    // Created inside the scope, and polled outside.
    let escaped = with_authority_blocking(yes(), || deploy(&ran));
    assert_eq!(block_on(escaped).unwrap_err().to_string(), OUTSIDE);
    assert_eq!(ran.count(), 2);
}

#[test]
fn an_inner_scope_replaces_the_outer_one_until_it_ends() {
    let ran = Ran::new();
    block_on(with_authority(no(), async {
        assert!(deploy(&ran).await.is_err());
        with_authority(yes(), async {
            deploy(&ran).await.unwrap();
            with_authority_blocking(no(), || assert!(deploy_blocking(&ran).is_err()));
            deploy(&ran).await.unwrap();
        })
        .await;
        assert!(deploy(&ran).await.is_err());
        let panics = AssertUnwindSafe(|| with_authority_blocking(yes(), || panic!("scripted")));
        catch_unwind(panics).unwrap_err();
        assert!(deploy(&ran).await.is_err());
    }));
    assert_eq!(ran.count(), 2);
}

#[tokio::test]
async fn spawned_threads_and_tasks_do_not_inherit_a_scope() {
    with_authority(yes(), async {
        thread::spawn(assert_outside).join().unwrap();
        tokio::spawn(async { assert_outside() }).await.unwrap();
        let wrapped = async { deploy(&Ran::new()).await };
        tokio::spawn(with_authority(yes(), wrapped))
            .await
            .unwrap()
            .unwrap();
    })
    .await;
}

#[test]
fn a_destructor_of_a_future_that_is_dropped_runs_in_its_scope() {
    struct Deploys<'a>(&'a Ran);

    impl Drop for Deploys<'_> {
        fn drop(&mut self) {
            deploy_blocking(self.0).unwrap();
        }
    }

    let ran = Ran::new();
    for polls in [0, 1] {
        let deploys = Deploys(&ran);
        let mut future = Box::pin(with_authority(yes(), async move {
            let _deploys = deploys;
            std::future::pending::<()>().await;
        }));
        for _ in 0..polls {
            block_on(async { assert!(futures_util::poll!(&mut future).is_pending()) });
        }
        drop(future);
    }
    assert_eq!(ran.count(), 2);
}

/// An authority that needs a timer for each answer, and has no issuer.
struct Slow;

impl Authority for Slow {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(Evaluation::allow(PermitToken::new("permit_of_slow")?))
    }

    async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok(Verification::valid())
    }
}

#[test]
fn blocking_calls_wait_for_the_authority_of_the_scope() {
    let ran = Ran::new();
    with_authority_blocking(Slow, || {
        deploy_blocking(&ran).unwrap();
        blocking::wait(deploy(&ran)).unwrap();
        let default = default_authority().unwrap();
        drop(blocking::protect(&default, AGENT, Deploy).unwrap());
    });
    blocking::wait(with_authority(Slow, deploy(&ran))).unwrap();
    assert_eq!(ran.count(), 3);
    assert_outside();
}

#[test]
fn after_a_scope_nothing_can_be_configured() {
    with_authority_blocking(no(), || {});
    for _ in 0..2 {
        let error = configure(yes()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "an authority cannot be configured after `atlasent::testing::with_authority` was used in this \
             process: test what calls `configure` in a process of its own"
        );
        with_authority_blocking(no(), || assert!(configure(yes()).is_err()));
        assert_outside();
    }
}

#[test]
fn a_guarded_value_opens_by_default_to_the_permits_of_the_scope_that_it_is_opened_in() {
    static LOCKED: Guarded<u8, Deploy> = Guarded::new(7);
    let made_outside = Guarded::<_, Deploy>::new(7);
    with_authority_blocking(yes(), || {
        let made_inside = Guarded::<_, Deploy>::new(7);
        for guarded in [&LOCKED, &made_outside, &made_inside] {
            assert_eq!(guarded.with(permit(), |value| *value).unwrap(), 7);
        }
        let by_name = Guarded::<_, Deploy>::granted_by(&default_authority().unwrap(), 7).unwrap();
        assert!(by_name.open(permit()).is_ok());
    });
}

#[test]
fn a_guarded_value_does_not_open_to_the_permits_of_another_scope_or_outside_of_it() {
    let ran = Ran::new();
    let guarded = Guarded::<_, Deploy>::new(&ran);
    let ours = || with_authority_blocking(yes(), permit);
    // Outside of the scope of the permit.
    assert!(matches!(guarded.open(ours()), Err(Error::Config(_))));
    // In the scope of another authority, in an inner one, in one of the same type without an
    // issuer.
    with_authority_blocking(yes(), || {
        let outer = permit();
        assert!(guarded.open(ours()).is_err());
        with_authority_blocking(yes(), || assert!(guarded.open(outer).is_err()));
        assert!(guarded.open(testing::permit(Deploy).unwrap()).is_err());
    });
    let slow = with_authority_blocking(Slow, || {
        blocking::protect(&default_authority()?, AGENT, Deploy)
    });
    with_authority_blocking(Slow, || assert!(guarded.open(slow.unwrap()).is_err()));
    // A permit of an authority other than the one of the scope.
    with_authority_blocking(Slow, || {
        let unmarked = blocking::protect(&Slow, AGENT, Deploy).unwrap();
        assert!(guarded.open(unmarked).is_err());
    });
    assert_eq!(ran.count(), 0);
}

#[test]
fn no_scope_opens_what_the_real_authority_guards() {
    let policies = Policies::parse("permit (principal, action, resource);").unwrap();
    let real = LocalAuthority::in_memory(policies).unwrap();
    let ran = Ran::new();
    let guarded = Guarded::<_, Deploy>::granted_by(&real, &ran).unwrap();
    with_authority_blocking(yes(), || {
        assert!(permit().require_granted_by(&real).is_err());
        assert!(guarded.with(permit(), |ran| ran.hit()).is_err());
        assert!(block_on(guarded.with_async(permit(), async |ran| ran.hit())).is_err());
        assert!(guarded.open(permit()).is_err());
        assert_eq!(ran.count(), 0);
        // Permits of the real authority are valid inside a scope, too.
        let permit = block_on(real.protect(AGENT, Deploy)).unwrap();
        guarded.with(permit, |ran| ran.hit()).unwrap();
    });
    assert_eq!(ran.count(), 1);
}
