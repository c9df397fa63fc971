//! Every response and fault of a server for one call, each with its meaning by construction,
//! independently of the code under test.

use std::fmt::Display;
use std::sync::LazyLock;

use atlasent_tests::server::Reply;
use serde_json::{Value, json};

use crate::faults::{bodies_gone_wrong, broken_http, faults, statuses, unusual};
use crate::support::LIMIT;

pub(crate) const ACTION: &str = "deploy.production";
pub(crate) const AGENT: &str = "deploy-bot";
pub(crate) const TOKEN: &str = "permit_2f9d4c8b7a6e5f10";

/// One response, and its meaning.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) reply: Reply,
    pub(crate) says: Says,
    /// The client must reach its timeout.
    pub(crate) stalls: bool,
    /// HTTP/2 has no such fault.
    pub(crate) http1_only: bool,
}

impl Case {
    pub(crate) fn new(name: impl Display, reply: Reply, says: Says) -> Self {
        let mut name = name.to_string();
        name.truncate(name.floor_char_boundary(200));
        Self {
            name,
            reply,
            says,
            stalls: false,
            http1_only: false,
        }
    }
}

/// The meaning of a response by the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Says {
    /// A genuine allow.
    Yes,
    /// A usable answer that refuses.
    No,
    /// No usable answer, and no reason to ask again.
    Fails,
    /// No usable answer; the client retries.
    Again,
}

/// One of the two calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Evaluate,
    Verify,
}

impl Call {
    pub(crate) const BOTH: [Self; 2] = [Self::Evaluate, Self::Verify];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Evaluate => "/v1-evaluate",
            Self::Verify => "/v1-verify-permit",
        }
    }

    /// Returns a minimal allow.
    pub(crate) fn yes(self) -> Value {
        match self {
            Self::Evaluate => json!({"decision": "allow", "permit_token": TOKEN}),
            Self::Verify => json!({"valid": true, "outcome": "allow"}),
        }
    }

    /// Returns all possible responses.
    pub(crate) fn cases(self) -> &'static [Case] {
        static CASES: LazyLock<[Vec<Case>; 2]> = LazyLock::new(|| Call::BOTH.map(Call::all));
        &CASES[self as usize]
    }

    fn all(self) -> Vec<Case> {
        let mut cases = Vec::new();
        for (body, says) in self.bodies() {
            cases.push(Case::new(&body, Reply::json(200, &body), says));
        }
        let yes = self.yes().to_string();
        cases.extend(unusual(&yes));
        cases.extend(statuses(&yes));
        cases.extend(faults(&yes));
        cases.extend(bodies_gone_wrong(&yes, LIMIT));
        cases.extend(broken_http(&yes));
        cases
    }

    fn bodies(self) -> Vec<(String, Says)> {
        let mut bodies: Vec<(String, Says)> = match self {
            Self::Evaluate => evaluations(),
            Self::Verify => verifications(),
        };
        let neither = [
            "",
            " ",
            "null",
            "true",
            "\"allow\"",
            "1",
            "[]",
            "{}",
            "{",
            "{}{}",
            "\u{feff}{}",
            "{\"decision\":\"allow\"}",
            "{\"outcome\":\"allow\"}",
            "allow",
        ];
        bodies.extend(neither.map(|body| (body.to_owned(), Says::Fails)));
        let yes = self.yes().to_string();
        bodies.extend([
            (format!("[{yes}]"), Says::Fails),
            (format!("{yes}{yes}"), Says::Fails),
            (format!("{yes}x"), Says::Fails),
            (format!("\u{feff}{yes}"), Says::Fails),
            (yes[..yes.len() - 1].to_owned(), Says::Fails),
            (yes.replace('"', "'"), Says::Fails),
            (format!(" \r\n\t{yes}\n"), Says::Yes),
        ]);
        bodies
    }
}

fn evaluations() -> Vec<(String, Says)> {
    let yes = [
        json!({"decision": "allow", "permit_token": TOKEN, "permitted": true, "decision_id": "d", "reason": "r",
            "request_id": "q", "expires_at": "e", "audit_hash": "a", "timestamp": "t", "risk_score": 0.5, "new": []}),
        json!({"decision": "allow", "decision_id": TOKEN}),
        json!({"permitted": true, "decision_id": TOKEN}),
        json!({"decision": null, "permitted": true, "permit_token": TOKEN, "reason": null, "denial": null}),
        json!({"decision": "allow", "permit_token": TOKEN, "rate_limit": 7, "constraint_trace": null}),
    ];
    let no = [
        json!({"decision": "deny", "reason": "no"}),
        json!({"decision": "deny", "permit_token": TOKEN}),
        json!({"decision": "hold", "deny_reason": "wait", "permit_token": TOKEN}),
        json!({"decision": "escalate", "denial": {"reason": "ask", "code": "ASK"}}),
        json!({"permitted": false, "decision_id": TOKEN}),
    ];
    let fails = [
        json!({"decision": "allow"}),
        json!({"decision": "allow", "permit_token": ""}),
        json!({"decision": "allow", "permit_token": 7}),
        json!({"decision": "allow", "permit_token": [TOKEN]}),
        json!({"decision": "allow", "permit_token": null, "decision_id": ""}),
        json!({"decision": "allow", "permit_token": "x".repeat(9000)}),
        json!({"decision": "allow", "permitted": false, "permit_token": TOKEN}),
        json!({"decision": "deny", "permitted": true, "permit_token": TOKEN}),
        json!({"decision": "ALLOW", "permit_token": TOKEN}),
        json!({"decision": "allow ", "permit_token": TOKEN}),
        json!({"decision": "", "permitted": true, "permit_token": TOKEN}),
        json!({"decision": true, "permit_token": TOKEN}),
        json!({"decision": ["allow"], "permit_token": TOKEN}),
        json!({"Decision": "allow", "permit_token": TOKEN}),
        json!({"permitted": "true", "permit_token": TOKEN}),
        json!({"permitted": 1, "permit_token": TOKEN}),
        json!({"permit_token": TOKEN}),
        json!({"valid": true, "outcome": "allow"}),
        json!({"evaluation": {"decision": "allow", "permit_token": TOKEN}}),
        json!({"error": "no", "decision": null, "permit_token": TOKEN}),
    ];
    let twice = [
        format!(r#"{{"decision":"deny","decision":"allow","permit_token":"{TOKEN}"}}"#),
        format!(r#"{{"decision":"allow","decision":"deny","permit_token":"{TOKEN}"}}"#),
        format!(r#"{{"decision":"allow","permit_token":"{TOKEN}","permit_token":"other"}}"#),
        format!(r#"{{"permitted":false,"permitted":true,"permit_token":"{TOKEN}"}}"#),
    ];
    labelled(&yes, &no, &fails, twice)
}

fn verifications() -> Vec<(String, Says)> {
    let yes = [
        json!({"valid": true}),
        json!({"verified": true}),
        json!({"valid": true, "verified": true, "outcome": "verified", "permit_hash": "h", "timestamp": "t",
            "consumed": true, "reason": "r", "approval": {"by": "a"}, "new": []}),
        json!({"valid": true, "outcome": "allow", "decision": "allow", "action_type": ACTION, "actor_id": AGENT}),
        json!({"valid": true, "outcome": null, "verify_error_code": null, "action": ACTION, "agent": AGENT}),
    ];
    let no = [
        json!({"valid": false}),
        json!({"valid": false, "outcome": "allow"}),
        json!({"verified": false, "outcome": "permit_consumed", "verify_error_code": "PERMIT_ALREADY_USED"}),
        json!({"valid": true, "outcome": "permit_expired"}),
        json!({"valid": true, "outcome": "deny"}),
        json!({"valid": true, "outcome": ""}),
        json!({"valid": true, "outcome": "Allow"}),
        json!({"valid": true, "verify_error_code": "PERMIT_REVOKED"}),
        json!({"valid": true, "verify_error_code": ""}),
        // An allow for another agent.
        json!({"valid": true, "outcome": "allow", "actor_id": "deploy-bot-2"}),
        json!({"valid": true, "outcome": "allow", "agent": "Deploy-bot"}),
        json!({"valid": true, "outcome": "allow", "actor_id": ""}),
        json!({"valid": true, "outcome": "allow", "action_type": "deploy.staging"}),
        json!({"valid": true, "outcome": "allow", "action": "deploy.production "}),
        json!({"valid": true, "outcome": "allow", "decision": "deny"}),
        json!({"valid": true, "outcome": "allow", "decision": "hold"}),
        json!({"valid": true, "outcome": "allow", "action_type": AGENT, "actor_id": ACTION}),
    ];
    let fails = [
        json!({"valid": "true"}),
        json!({"valid": 1}),
        json!({"valid": null}),
        json!({"valid": [true]}),
        json!({"Valid": true}),
        json!({"valid": true, "verified": false}),
        json!({"valid": false, "verified": true}),
        json!({"valid": true, "outcome": 1}),
        json!({"valid": true, "outcome": ["allow"]}),
        json!({"valid": true, "action": ACTION, "action_type": "other"}),
        json!({"valid": true, "agent": "other", "actor_id": AGENT}),
        json!({"valid": true, "actor_id": 5}),
        json!({"decision": "allow", "permit_token": TOKEN}),
        json!({"verification": {"valid": true}}),
    ];
    let twice = [
        r#"{"valid":false,"valid":true}"#.to_owned(),
        r#"{"valid":true,"valid":true}"#.to_owned(),
        r#"{"valid":true,"outcome":"deny","outcome":"allow"}"#.to_owned(),
        format!(r#"{{"valid":true,"actor_id":"other","actor_id":"{AGENT}"}}"#),
    ];
    labelled(&yes, &no, &fails, twice)
}

fn labelled(
    yes: &[Value],
    no: &[Value],
    fails: &[Value],
    twice: [String; 4],
) -> Vec<(String, Says)> {
    let label = |values: &[Value], says| -> Vec<_> {
        values
            .iter()
            .map(|value| (value.to_string(), says))
            .collect()
    };
    let mut bodies = label(yes, Says::Yes);
    bodies.extend(label(no, Says::No));
    bodies.extend(label(fails, Says::Fails));
    bodies.extend(twice.map(|body| (body, Says::Fails)));
    bodies
}
