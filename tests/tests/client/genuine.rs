//! A server with a valid response to every call of the contract.

use atlasent_tests::server::{Reply, Request, Server, unscripted};
use serde_json::{Value, json};

use crate::cases::{Call, TOKEN};

pub(crate) fn server() -> Server {
    Server::start(reply)
}

pub(crate) fn reply(request: &Request) -> Reply {
    match (&*request.method, request.path()) {
        ("POST", "/v1-evaluate") => Reply::json(200, Call::Evaluate.yes()),
        ("POST", "/v1-verify-permit") => Reply::json(200, Call::Verify.yes()),
        ("POST", "/v1-revoke-permit") => {
            Reply::json(200, json!({"revoked": true, "decision_id": TOKEN}))
        }
        ("GET", "/v1-api-key-self") => Reply::json(200, key()),
        ("GET", "/v1-signing-keys") => Reply::json(200, json!({"keys": []})),
        ("GET", "/v1-audit/events") => Reply::json(200, page(&[1, 2], None)),
        ("POST", "/v1-audit/exports") => Reply::json(200, export()),
        ("POST", "/v1-evaluate-stream") => Reply::bytes(200, "text/event-stream", stream()),
        _ => unscripted(),
    }
}

pub(crate) fn key() -> Value {
    json!({"key_id": "k", "organization_id": "o", "environment": "test", "scopes": ["evaluate"],
        "allowed_cidrs": null, "rate_limit_per_minute": 600, "client_ip": "127.0.0.1", "expires_at": null})
}

pub(crate) fn event(sequence: u64) -> Value {
    json!({"id": format!("e{sequence}"), "org_id": "o", "sequence": sequence, "type": "evaluate.allow",
        "decision": "allow", "actor_id": "deploy-bot", "payload": {"n": sequence}, "hash": "b", "previous_hash": "a",
        "occurred_at": "2026-01-01T00:00:00Z", "created_at": "2026-01-01T00:00:00Z", "new": 1})
}

/// Returns a page of these events, with the cursor of the next page.
pub(crate) fn page(sequences: &[u64], next: Option<&str>) -> Value {
    let events: Vec<_> = sequences.iter().map(|sequence| event(*sequence)).collect();
    json!({"events": events, "total": 5, "next_cursor": next})
}

pub(crate) fn export() -> Value {
    json!({"export_id": "x", "org_id": "o", "chain_head_hash": "b", "event_count": 1, "events": [event(1)]})
}

pub(crate) fn stream() -> String {
    format!(
        "event: progress\ndata: {{\"stage\":\"policies\"}}\n\n\
         event: decision\ndata: {{\"permitted\":true,\"decision_id\":\"{TOKEN}\",\"is_final\":true}}\n\n\
         event: done\ndata: {{}}\n\n"
    )
}
