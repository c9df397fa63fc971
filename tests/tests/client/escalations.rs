//! Escalations: the requests, the results, and that a call with an effect is not repeated.

use atlasent::error::Code;
use atlasent::testing::VirtualTime;
use atlasent::wire::{
    CreateEscalation, EscalateRequest, EscalationFilter, EscalationStatus, QuorumTier, VoteDecision,
};
use atlasent::{Client, Error, blocking};
use atlasent_tests::server::{At, Fault, Reply, Request, Server};
use futures_util::TryStreamExt;
use serde_json::{Value, json};

use crate::cases::Says;
use crate::faults::{bodies_gone_wrong, broken_http, statuses, unusual};
use crate::support::{KEY, LIMIT, LIST_LIMIT, client, json_of, ms, saying};

pub(crate) const ID: &str = "esc_0123456789abcdef0123456789abcdef";

pub(crate) fn row(status: &str) -> Value {
    json!({"id": ID, "org_id": "o", "agent_id": "deploy-bot", "status": status,
        "escalation_reason": "r", "proposed_action": {"context": {"amount": 9}},
        "created_at": "2026-01-01T00:00:00Z", "quorum_required": "simple_majority",
        "min_approvers": 1, "approver_pool_size": 3, "escalation_depth": 0, "max_escalation_depth": 1,
        "fallback_decision": "reject", "resolved_by": null, "quorum_progress": {"required": 2,
        "approved": 1, "rejected": 0, "remaining": 1, "satisfied": false,
        "rejected_terminal": false}, "new": [1]})
}

/// The responses to all calls, for an escalation that exists.
fn genuine(request: &Request) -> Reply {
    let body = match (&*request.method, request.path().rsplit('/').next()) {
        ("GET", Some("hitl")) => {
            json!({"escalations": [row("pending")], "total": 1, "next_cursor": null})
        }
        ("GET", Some("approvals")) => {
            json!({"approvals": [{"id": "v1", "user_id": "alice", "decision": "approve",
                "quorum_at_vote": "simple_majority", "created_at": "t"}]})
        }
        ("GET", Some("chain")) => {
            json!({"chain": [{"id": "s1", "depth": 1, "to_role": "x", "created_at": "t"}]})
        }
        (_, Some("timeout")) => row("timed_out"),
        (_, Some("approve")) => row("approved"),
        (_, Some("reject")) => row("rejected"),
        (_, Some("escalate")) => row("escalated"),
        _ => row("pending"),
    };
    Reply::json(200, body)
}

/// The calls, and whether a repeated request has the effect of one.
const CALLS: [(&str, bool); 9] = [
    ("create", false),
    ("list", true),
    ("get", true),
    ("votes", true),
    ("chain", true),
    ("approve", true),
    ("reject", true),
    ("escalate", false),
    ("time out", true),
];

async fn call(client: &Client, name: &str, id: &str) -> Result<(), Error> {
    match name {
        "create" => {
            let request = CreateEscalation::new("deploy-bot", "r");
            client.create_escalation(&request).await.map(drop)
        }
        "list" => client
            .escalations(&EscalationFilter::default())
            .await
            .map(drop),
        "get" => client.escalation(id).await.map(drop),
        "votes" => client.escalation_votes(id).await.map(drop),
        "chain" => client.escalation_chain(id).await.map(drop),
        "approve" => client.approve(id, None).await.map(drop),
        "reject" => client.reject(id, None).await.map(drop),
        "escalate" => client
            .escalate(id, &EscalateRequest::default())
            .await
            .map(drop),
        _ => client.time_out_escalation(id).await.map(drop),
    }
}

#[tokio::test]
async fn each_call_is_the_one_of_the_contract() {
    let server = Server::start(genuine);
    let client = client(server.url()).build().unwrap();
    let mut request = CreateEscalation::new("deploy-bot", "two people");
    request.quorum_required = Some(QuorumTier::TwoThirds);
    let created = client.create_escalation(&request).await.unwrap();
    assert_eq!(
        (&*created.id, created.status),
        (ID, EscalationStatus::Pending)
    );
    let found = client.escalation(ID).await.unwrap();
    assert_eq!(found.proposed_action["context"]["amount"], 9);
    assert_eq!(found.quorum_progress.unwrap().remaining, 1);
    assert_eq!(found.other.get("new"), Some(&json!([1])));
    let votes = client.escalation_votes(ID).await.unwrap();
    assert_eq!(votes[0].decision, VoteDecision::Approve);
    let chain = client.escalation_chain(ID).await.unwrap();
    assert_eq!(chain[0].to_role.as_deref(), Some("x"));
    let approved = client.approve(ID, Some("checked")).await.unwrap();
    assert!(approved.status.is_approved());
    let rejected = client.reject(ID, None).await.unwrap();
    assert_eq!(rejected.status, EscalationStatus::Rejected);
    let onward = EscalateRequest::default().to_role("head").reason("away");
    let escalated = client.escalate(ID, &onward).await.unwrap();
    assert_eq!(escalated.status, EscalationStatus::Escalated);
    let ended = client.time_out_escalation(ID).await.unwrap();
    assert_eq!(ended.status, EscalationStatus::TimedOut);
    let filter = EscalationFilter::default()
        .status(EscalationStatus::Pending)
        .agent_id("a b&c=ü")
        .limit(9)
        .cursor("c/1?=");
    let page = client.escalations(&filter).await.unwrap();
    assert_eq!(
        (page.escalations.len(), page.total, page.next_cursor),
        (1, 1, None)
    );

    let requests = server.requests();
    let sent: Vec<_> = (requests.iter())
        .map(|request| (&*request.method, request.path(), json_of(request.text())))
        .collect();
    let of = |tail: &str| format!("/v1/hitl/{ID}{tail}");
    let paths = [
        "",
        "/approvals",
        "/chain",
        "/approve",
        "/reject",
        "/escalate",
        "/timeout",
    ]
    .map(of);
    let created = json!({"agent_id": "deploy-bot", "escalation_reason": "two people",
        "quorum_required": "two_thirds"});
    let expected = [
        ("POST", "/v1/hitl", created),
        ("GET", &*paths[0], Value::Null),
        ("GET", &*paths[1], Value::Null),
        ("GET", &*paths[2], Value::Null),
        ("POST", &*paths[3], json!({"note": "checked"})),
        ("POST", &*paths[4], json!({})),
        (
            "POST",
            &*paths[5],
            json!({"to_role": "head", "reason": "away"}),
        ),
        ("POST", &*paths[6], json!({})),
        ("GET", "/v1/hitl", Value::Null),
    ];
    assert_eq!(sent, expected);
    assert_eq!(
        requests[8].query(),
        Some("status=pending&agent_id=a+b%26c%3D%C3%BC&limit=9&cursor=c%2F1%3F%3D")
    );
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
        "a/approve",
        "a?x=1",
        "a#",
        "a b",
        "esc_ü",
        "a%2e",
    ] {
        for (name, _) in CALLS.iter().skip(2) {
            let called = call(&client, name, id).await;
            assert!(matches!(called, Err(Error::Invalid(_))), "{name} {id}");
        }
        let waited = client.wait(id, ms(0)).await;
        assert!(matches!(waited, Err(Error::Invalid(_))), "{id}");
    }
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn an_answer_about_another_escalation_is_none() {
    let other = || {
        let mut other = row("timed_out");
        (other["id"], other["agent_id"]) = (json!("esc_other"), json!("other"));
        Reply::json(200, other)
    };
    for name in ["create", "get", "approve", "reject", "escalate", "time out"] {
        let (client, _server) = saying([other()]);
        let error = call(&client, name, ID).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::BadResponse), "{name}");
        assert!(error.failure().unwrap().request_id().is_some(), "{name}");
    }
}

#[tokio::test]
async fn an_escalation_counts_as_timed_out_only_when_the_server_says_so() {
    for status in ["pending", "approved", "rejected", "TIMED_OUT", "expired"] {
        let (client, _server) = saying([Reply::json(200, row(status))]);
        let error = client.time_out_escalation(ID).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::BadResponse), "{status}");
        assert!(error.to_string().contains(status), "{error}");
    }
}

#[tokio::test]
async fn a_call_that_would_have_its_effect_twice_is_not_repeated() {
    for (name, repeats) in CALLS {
        let server = Server::start(|request: &Request| match request.attempt {
            3 => genuine(request),
            _ => Reply::status(503),
        });
        let time = VirtualTime::new();
        let client = client(server.url()).virtual_time(&time).build().unwrap();
        let called = call(&client, name, ID).await;
        assert_eq!(called.is_ok(), repeats, "{name}: {called:?}");
        assert_eq!(
            server.requests().len(),
            if repeats { 3 } else { 1 },
            "{name}"
        );
    }
    // A request that was not sent has no effect.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", port.local_addr().unwrap());
    drop(port);
    for (name, _) in CALLS {
        let time = VirtualTime::new();
        let client = client(&url).virtual_time(&time).build().unwrap();
        let error = call(&client, name, ID).await.unwrap_err();
        assert_eq!(error.code(), Some(Code::Network), "{name}");
        assert_eq!(time.waits().len(), 2, "{name}");
    }
}

#[tokio::test]
async fn no_fault_makes_an_answer() {
    // The other calls are read as one of these.
    let calls = CALLS
        .into_iter()
        .filter(|(name, _)| ["create", "list", "votes", "time out"].contains(name));
    for (name, repeats) in calls {
        let (yes, limit) = match name {
            "list" => (json!({"escalations": [], "total": 0}), LIST_LIMIT),
            "votes" => (json!({"approvals": []}), LIST_LIMIT),
            "time out" => (row("timed_out"), LIMIT),
            _ => (row("pending"), LIMIT),
        };
        let yes = yes.to_string();
        let mut cases = unusual(&yes);
        cases.extend(statuses(&yes));
        cases.extend(bodies_gone_wrong(&yes, limit));
        cases.extend(broken_http(&yes));
        for case in cases.into_iter().filter(|case| !case.stalls) {
            let reply = case.reply.clone();
            let server = Server::start(move |_: &Request| reply.clone());
            let client = client(server.url()).virtual_time(&VirtualTime::new());
            let called = call(&client.build().unwrap(), name, ID).await;
            let about = format!("{name}, {}: {called:?}", case.name);
            assert_eq!(called.is_ok(), case.says == Says::Yes, "{about}");
            let attempts = if repeats && case.says == Says::Again {
                3
            } else {
                1
            };
            assert_eq!(server.requests().len(), attempts, "{about}");
        }
    }
}

#[tokio::test]
async fn no_error_repeats_the_key_or_a_note_that_holds_a_secret() {
    let error = json!({"message": format!("no vote with {KEY}")});
    for status in [400, 403, 409, 500] {
        let reply = Reply::json(status, &error);
        let (client, _server) = saying([(); 3].map(|()| reply.clone()));
        for (name, _) in CALLS {
            let error = call(&client, name, ID).await.unwrap_err();
            assert!(!format!("{error} {error:?}").contains(KEY), "{error:?}");
        }
    }
}

#[tokio::test]
async fn all_pages_are_read_one_after_the_other_and_a_circle_ends() {
    let server = Server::start(|request: &Request| {
        let next = match request.query() {
            Some("limit=2") => json!("a"),
            _ => json!(""),
        };
        Reply::json(
            200,
            json!({"escalations": [row("pending"), row("approved")], "total": 4, "next_cursor": next}),
        )
    });
    let of_server = client(server.url()).build().unwrap();
    let filter = EscalationFilter::default().limit(2);
    let all = of_server.escalation_stream(filter).try_collect::<Vec<_>>();
    assert_eq!((all.await.unwrap().len(), server.requests().len()), (4, 2));

    let circle = Server::start(|_: &Request| {
        Reply::json(
            200,
            json!({"escalations": [row("pending")], "total": 1, "next_cursor": "a"}),
        )
    });
    let of_circle = client(circle.url()).build().unwrap();
    let all = of_circle.escalation_stream(EscalationFilter::default());
    let error = all.try_collect::<Vec<_>>().await.unwrap_err();
    assert!(error.to_string().contains("form a cycle"), "{error}");
}

#[tokio::test]
async fn a_token_limit_in_an_action_hides_no_number_of_the_answer() {
    let server = Server::start(genuine);
    let client = client(server.url()).build().unwrap();
    let mut request = CreateEscalation::new("deploy-bot", "r");
    let action = json!({"max_tokens": 1, "tokens": [0, 3], "key": "pending"});
    request.proposed_action = action.as_object().cloned();
    let created = client.create_escalation(&request).await.unwrap();
    assert_eq!((created.min_approvers, created.escalation_depth), (1, 0));
    assert_eq!(created.status, EscalationStatus::Pending);
}

#[test]
fn every_call_works_without_async() {
    let server = Server::start(genuine);
    let client = blocking::Client::from(client(server.url()).build().unwrap());
    let request = CreateEscalation::new("deploy-bot", "r");
    assert_eq!(client.create_escalation(&request).unwrap().id, ID);
    assert_eq!(client.escalation(ID).unwrap().id, ID);
    assert_eq!(client.escalation_votes(ID).unwrap().len(), 1);
    assert_eq!(client.escalation_chain(ID).unwrap().len(), 1);
    assert!(client.approve(ID, None).unwrap().status.is_approved());
    assert!(!client.reject(ID, Some("no")).unwrap().status.is_approved());
    assert!(client.escalate(ID, &EscalateRequest::default()).is_ok());
    assert!(client.time_out_escalation(ID).is_ok());
    assert_eq!(
        client
            .escalations(&EscalationFilter::default())
            .unwrap()
            .total,
        1
    );
    assert_eq!(
        client
            .escalation_stream(EscalationFilter::default())
            .count(),
        1
    );
    let status = client.wait(ID, ms(0)).unwrap();
    assert_eq!(status, EscalationStatus::Pending);
}

#[tokio::test]
async fn a_vote_whose_answer_is_cut_off_fails_and_is_not_sent_again() {
    let server =
        Server::start(|request: &Request| genuine(request).fault(Fault::Reset, At::InBody));
    let client = client(server.url()).build().unwrap();
    let error = client.approve(ID, None).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::Network));
    assert_eq!(server.requests().len(), 1);
}
