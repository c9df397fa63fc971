//! Permits by their public ids: the requests, the results, and that no fault results in a
//! valid permit.

use atlasent::client::PermitFilter;
use atlasent::error::Code;
use atlasent::testing::VirtualTime;
use atlasent::wire::PermitStatus;
use atlasent::{Client, Error, blocking};
use atlasent_tests::server::{Reply, Request, Server};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::cases::Says;
use crate::faults::{bodies_gone_wrong, broken_http, faults, statuses, unusual};
use crate::support::{LIMIT, LIST_LIMIT, client, json_of, ms, saying};

const ID: &str = "pt_0123456789abcdef0123456789abcdef";

fn permit(status: &str) -> Value {
    json!({"id": ID, "org_id": "o", "actor_id": "deploy-bot", "action_id": "deploy.production", "status": status,
        "issued_at": "2026-01-01T00:00:00Z", "expires_at": "2026-01-01T01:00:00Z", "consumed_at": null, "new": [1]})
}

fn look(status: &str, valid: bool) -> Value {
    let mut look = permit(status);
    look["valid"] = json!(valid);
    look["verification_type"] = json!("permit");
    look["verified_at"] = json!("2026-01-01T00:30:00Z");
    look["evidence"] = json!({"permit_id": ID, "status": status, "actor_id": "deploy-bot"});
    look
}

/// The responses to the four calls, for a permit that exists.
fn genuine(request: &Request) -> Reply {
    match (&*request.method, request.path()) {
        ("GET", "/v1/permits") => Reply::json(
            200,
            json!({"permits": [permit("issued")], "total": 1, "next_cursor": null}),
        ),
        ("GET", _) => Reply::json(200, permit("issued")),
        (_, path) if path.ends_with("/revoke") => Reply::json(200, permit("revoked")),
        _ => Reply::json(200, look("issued", true)),
    }
}

/// Makes the call with this number.
async fn call(client: &Client, number: usize) -> Result<(), Error> {
    match number {
        0 => client.get_permit(ID).await.map(drop),
        1 => client.inspect_permit(ID).await.map(drop),
        2 => client.revoke_permit_by_id(ID, None).await.map(drop),
        _ => client
            .list_permits(&PermitFilter::default())
            .await
            .map(drop),
    }
}

#[tokio::test]
async fn each_call_is_the_one_of_the_contract() {
    let server = Server::start(genuine);
    let client = client(server.url()).build().unwrap();
    assert_eq!(
        client.get_permit(ID).await.unwrap().status,
        PermitStatus::Issued
    );
    let look = client.inspect_permit(ID).await.unwrap();
    assert!(look.valid && look.evidence.get("actor_id") == Some(&json!("deploy-bot")));
    assert_eq!(
        (&*look.permit.id, &*look.verified_at),
        (ID, "2026-01-01T00:30:00Z")
    );
    let revoked = client
        .revoke_permit_by_id(ID, Some("rolled back"))
        .await
        .unwrap();
    assert_eq!(revoked.status, PermitStatus::Revoked);
    client.revoke_permit_by_id(ID, None).await.unwrap();
    let filter = PermitFilter::default()
        .status(PermitStatus::Consumed)
        .actor_id("a b&c=ü")
        .action_type("x")
        .since("2026-01-01T00:00:00Z")
        .until("2026-02-01T00:00:00Z")
        .limit(500)
        .cursor("c/1?=");
    let page = client.list_permits(&filter).await.unwrap();
    assert_eq!(
        (page.permits.len(), page.total, page.next_cursor),
        (1, 1, None)
    );

    let sent: Vec<_> = (server.requests().into_iter())
        .map(|request| {
            (
                request.method.clone(),
                request.path().to_owned(),
                json_of(request.text()),
            )
        })
        .collect();
    let path = |tail: &str| format!("/v1/permits/{ID}{tail}");
    let expected = [
        ("GET", path(""), Value::Null),
        ("POST", path("/verify"), json!({})),
        ("POST", path("/revoke"), json!({"reason": "rolled back"})),
        ("POST", path("/revoke"), json!({})),
        ("GET", "/v1/permits".to_owned(), Value::Null),
    ];
    assert_eq!(
        sent,
        expected.map(|(method, path, body)| (method.to_owned(), path, body))
    );
    let target = &server.requests()[4].target;
    let url = reqwest::Url::parse(&format!("http://x{target}")).unwrap();
    let said: Vec<_> = (url.query_pairs().into_owned()).collect();
    let expected = [
        ("status", "consumed"),
        ("actor_id", "a b&c=ü"),
        ("action_type", "x"),
        ("from", "2026-01-01T00:00:00Z"),
        ("to", "2026-02-01T00:00:00Z"),
        ("limit", "500"),
        ("cursor", "c/1?="),
    ];
    assert_eq!(
        said,
        expected.map(|(name, value)| (name.to_owned(), value.to_owned()))
    );
}

#[tokio::test]
async fn every_status_is_read_and_an_unknown_one_is_kept() {
    for (word, status) in [
        ("issued", PermitStatus::Issued),
        ("verified", PermitStatus::Verified),
        ("consumed", PermitStatus::Consumed),
        ("expired", PermitStatus::Expired),
        ("revoked", PermitStatus::Revoked),
        ("suspended", PermitStatus::Unknown("suspended".to_owned())),
    ] {
        let (client, _server) = saying([Reply::json(200, permit(word))]);
        let found = client.get_permit(ID).await.unwrap();
        assert_eq!(found.status, status);
        assert_eq!(found.other.get("new"), Some(&json!([1])));
    }
}

#[tokio::test]
async fn a_permit_that_is_not_good_is_an_answer_and_a_contradiction_is_none() {
    for status in ["issued", "consumed", "expired", "revoked", "suspended"] {
        let mut answer = look(status, false);
        answer["reason"] = json!("not good");
        let (client, _server) = saying([Reply::json(200, answer)]);
        let look = client.inspect_permit(ID).await.unwrap();
        assert_eq!(
            (look.valid, look.reason.as_deref()),
            (false, Some("not good"))
        );
    }
    let with = |name: &str, value: Value| {
        let mut answer = look("issued", true);
        answer[name] = value;
        answer
    };
    for answer in [
        look("consumed", true),
        look("expired", true),
        look("revoked", true),
        look("suspended", true),
        with("id", json!("pt_other")),
        with(
            "evidence",
            json!({"permit_id": "pt_other", "status": "issued"}),
        ),
        with("evidence", json!({"permit_id": ID, "status": "revoked"})),
        with("evidence", json!({"permit_id": ID, "status": 7})),
        with("evidence", Value::Null),
        with("verification_type", json!("session")),
        with("verified_at", Value::Null),
        with("valid", json!("true")),
        with("status", Value::Null),
        permit("issued"),
        json!([true]),
    ] {
        let (client, _server) = saying([Reply::json(200, &answer)]);
        let error = client.inspect_permit(ID).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::BadResponse), "{answer}");
        assert!(error.failure().unwrap().request_id().is_some(), "{answer}");
    }
}

#[tokio::test]
async fn a_permit_counts_as_revoked_only_when_the_server_says_so() {
    let mut other = permit("revoked");
    other["id"] = json!("pt_other");
    for answer in [
        permit("issued"),
        permit("consumed"),
        permit("REVOKED"),
        other,
        json!({}),
    ] {
        let (client, _server) = saying([Reply::json(200, &answer)]);
        let error = client.revoke_permit_by_id(ID, None).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::BadResponse), "{answer}");
    }
    for status in [404, 409, 410] {
        let (client, server) = saying([Reply::json(status, json!({"message": "no"}))]);
        let error = client.revoke_permit_by_id(ID, None).await.unwrap_err();
        let failure = error.failure().unwrap();
        assert_eq!(
            (failure.code(), failure.status()),
            (Code::BadRequest, Some(status))
        );
        assert_eq!(server.requests().len(), 1);
    }
}

#[tokio::test]
async fn an_invalid_id_is_not_sent() {
    let server = Server::start(genuine);
    let client = client(server.url()).build().unwrap();
    for id in [
        "",
        ".",
        "..",
        "../permits",
        "a/revoke",
        "a?x=1",
        "a#",
        "a b",
        "pt_ü",
        "a%2e",
    ] {
        assert!(
            matches!(client.get_permit(id).await, Err(Error::Invalid(_))),
            "{id}"
        );
        assert!(
            matches!(client.inspect_permit(id).await, Err(Error::Invalid(_))),
            "{id}"
        );
        let revoked = client.revoke_permit_by_id(id, None).await;
        assert!(matches!(revoked, Err(Error::Invalid(_))), "{id}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn all_pages_are_read_one_after_the_other_and_a_circle_ends() {
    let page = |request: &Request| {
        let next = match request.query() {
            Some("limit=2") => json!("a"),
            Some("limit=2&cursor=a") => json!("b"),
            _ => json!(""),
        };
        Reply::json(
            200,
            json!({"permits": [permit("issued"), permit("revoked")], "total": 6, "next_cursor": next}),
        )
    };
    let server = Server::start(page);
    let client = client(server.url()).build().unwrap();
    let filter = PermitFilter::default().limit(2);
    let all: Vec<_> = client
        .permit_stream(filter.clone())
        .try_collect()
        .await
        .unwrap();
    assert_eq!((all.len(), server.requests().len()), (6, 3));
    let count = tokio::task::spawn_blocking({
        let client = blocking::Client::from(client);
        move || client.permit_stream(filter).filter(Result::is_ok).count()
    });
    assert_eq!(count.await.unwrap(), 6);

    let circle = Server::start(|_: &Request| {
        Reply::json(
            200,
            json!({"permits": [permit("issued")], "total": 1, "next_cursor": "a"}),
        )
    });
    let client = crate::support::client(circle.url()).build().unwrap();
    let permits = client.permit_stream(PermitFilter::default());
    let error = permits.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(
        error.to_string().contains("pages of permits form a cycle"),
        "{error}"
    );
}

#[tokio::test]
async fn each_call_is_tried_again_when_the_server_fails_and_only_then() {
    for number in 0..4 {
        let server = Server::start(|request: &Request| match request.attempt {
            3 => genuine(request),
            _ => Reply::status(503),
        });
        let time = VirtualTime::new();
        let client = client(server.url()).virtual_time(&time).build().unwrap();
        call(&client, number).await.unwrap();
        let requests = server.requests();
        assert_eq!(requests.len(), 3);
        let id = requests[0].header("x-request-id");
        assert!(
            id.is_some()
                && requests
                    .iter()
                    .all(|request| request.header("x-request-id") == id)
        );
    }
}

#[tokio::test]
async fn no_fault_makes_an_answer() {
    for number in 0..4 {
        let (yes, limit) = match number {
            0 => (permit("issued"), LIMIT),
            1 => (look("issued", true), LIMIT),
            2 => (permit("revoked"), LIMIT),
            _ => (json!({"permits": [], "total": 0}), LIST_LIMIT),
        };
        let yes = yes.to_string();
        let mut cases = unusual(&yes);
        cases.extend(statuses(&yes));
        cases.extend(bodies_gone_wrong(&yes, limit));
        cases.extend(broken_http(&yes));
        // Each fault that stalls costs the whole timeout, so one represents all of them.
        let (stalling, faults): (Vec<_>, Vec<_>) =
            faults(&yes).into_iter().partition(|case| case.stalls);
        cases.extend(faults);
        cases.extend(stalling.into_iter().take(1));
        for case in cases {
            let reply = case.reply.clone();
            let server = Server::start(move |_: &Request| reply.clone());
            let builder = client(server.url()).virtual_time(&VirtualTime::new());
            let builder = match case.stalls {
                true => builder.timeout(ms(60)),
                false => builder,
            };
            let answered = call(&builder.build().unwrap(), number).await;
            let attempts = match case.says {
                Says::Again => 3,
                _ => 1,
            };
            assert_eq!(
                answered.is_ok(),
                case.says == Says::Yes,
                "{}: {answered:?}",
                case.name
            );
            assert_eq!(server.requests().len(), attempts, "{}", case.name);
        }
    }
}

#[test]
fn every_call_works_without_async() {
    let server = Server::start(genuine);
    let client = blocking::Client::from(client(server.url()).build().unwrap());
    assert_eq!(client.get_permit(ID).unwrap().id, ID);
    assert!(client.inspect_permit(ID).unwrap().valid);
    assert_eq!(
        client.revoke_permit_by_id(ID, None).unwrap().status,
        PermitStatus::Revoked
    );
    assert_eq!(
        client.list_permits(&PermitFilter::default()).unwrap().total,
        1
    );
    assert_eq!(client.permit_stream(PermitFilter::default()).count(), 1);
}
