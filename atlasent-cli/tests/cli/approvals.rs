//! `atlasent approvals` against a server that answers with errors.

use atlasent_tests::server::{Reply, Request, Server};
use serde_json::json;

use crate::support::{Ended, atlasent};

const KEY: &str = "ask_live_0123456789abcdef";

/// Votes on a decision at a server that gives this answer.
fn vote(answer: Reply) -> Ended {
    let server = Server::start(move |_: &Request| answer.clone());
    let arguments = ["approvals", "approve", "esc_1", "--base-url", server.url()];
    atlasent(arguments).env("ATLASENT_API_KEY", KEY).run()
}

#[test]
fn a_vote_that_the_server_refuses_is_told_from_a_call_that_failed() {
    let problem = |status: u16, code: &str| {
        let body = json!({"message": "why it is so", "code": code, "request_id": "r"});
        vote(Reply::json(status, body))
    };
    for (status, code) in [
        (403, "NOT_AN_APPROVER"),
        (403, "SELF_APPROVAL"),
        (404, "ESCALATION_NOT_FOUND"),
        (409, "ESCALATION_CLOSED"),
    ] {
        let reason = problem(status, code).failure(1, "refused: ");
        assert_eq!(reason, "why it is so", "{code}");
    }
    for (status, code) in [
        (401, "INVALID_API_KEY"),
        (403, "INSUFFICIENT_SCOPE"),
        (404, "NOT_FOUND"),
        (422, "INVALID_FIELD"),
    ] {
        let reason = problem(status, code).failure(2, "error: ");
        assert!(reason.ends_with(": why it is so"), "{code}: {reason}");
    }
    // These are no answers of this API.
    for answer in [
        Reply::status(404),
        Reply::status(409),
        Reply::json(404, json!({"message": "no such page"})),
        Reply::json(409, json!({"message": "no", "code": "not a code"})),
    ] {
        vote(answer).failure(2, "error: ");
    }
}
