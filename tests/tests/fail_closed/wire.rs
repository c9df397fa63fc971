//! Tests arbitrary JSON in both answers, parsed as a client parses it.

use std::cell::Cell;

use atlasent::authority::{Issuer, IssuerId};
use atlasent::error::{Code, Failure};
use atlasent::testing::MockAuthority;
use atlasent::wire::{EvaluateRequest, Evaluation, Verification, VerifyRequest};
use atlasent::{Authority, AuthorityExt, Error};
use atlasent_tests::cases::{ACTION, AGENT, TOKEN};
use atlasent_tests::{Driven, Ran, drive};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::paths::{action, async_paths, sync_paths};

/// An authority that answers with JSON texts, as a server does.
struct Wire {
    evaluate: String,
    verify: String,
    issuer: Issuer,
}

impl Authority for Wire {
    async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
        serde_json::from_str(&self.evaluate).map_err(unreadable)
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let answer = serde_json::from_str(&self.verify).map_err(unreadable)?;
        Ok(self.issuer.vouch(request, answer))
    }

    fn issuer(&self) -> Option<IssuerId> {
        Some(self.issuer.id())
    }
}

fn unreadable(error: serde_json::Error) -> Error {
    Failure::new(Code::BadResponse, error.to_string()).into()
}

/// An object as sent: keys can be missing or repeated.
type Fields = Vec<(&'static str, Value)>;

fn text(fields: &Fields) -> String {
    let fields: Vec<String> = (fields.iter())
        .map(|(key, value)| format!("{}:{value}", json!(key)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// A key with its plausible values, including `null`. Most of the values allow.
type Pool = (&'static str, Vec<Value>);

/// An object of plausible fields in any order, some of them missing, with up to two unexpected
/// fields.
fn object(pools: Vec<Pool>) -> impl Strategy<Value = Fields> {
    let keys: Vec<&'static str> = pools.iter().map(|(key, _)| *key).collect();
    let plausible: Vec<_> = pools
        .into_iter()
        .map(|(key, values)| {
            let core = ["decision", "permit_token", "valid"].contains(&key);
            prop_oneof![
                5 => Just(Vec::new()),
                if core { 40 } else { 4 } => select(values).prop_map(move |value| vec![(key, value)]),
                1 => Just(vec![(key, Value::Null)]),
            ]
        })
        .collect();
    let wild = prop_oneof![
        3 => Just(0_usize..1),
        1 => Just(1..3),
    ]
    .prop_flat_map(move |count| {
        let change = (select(keys.clone()), select(odd()), any::<bool>());
        prop::collection::vec(change, count)
    });
    (plausible, wild)
        .prop_map(|(fields, wild)| {
            let mut fields: Fields = fields.concat();
            for (key, value, beside) in wild {
                if !beside {
                    fields.retain(|(other, _)| *other != key);
                }
                fields.push((key, value));
            }
            fields
        })
        .prop_flat_map(|fields| Just(fields).prop_shuffle())
}

fn odd() -> Vec<Value> {
    vec![
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1.5),
        json!(""),
        json!("true"),
        json!("allow"),
        json!("ALLOW"),
        json!("verified"),
        json!("deny"),
        json!("hold"),
        json!("permit_expired"),
        json!("PERMIT_EXPIRED"),
        json!("something else"),
        json!(["allow"]),
        json!({"decision": "allow"}),
        json!("x".repeat(8 * 1024 + 1)),
    ]
}

fn evaluation() -> impl Strategy<Value = Fields> {
    let fields = || {
        vec![
            ("permit_token", vec![json!(TOKEN)]),
            ("decision_id", vec![json!(TOKEN), json!("d-1"), json!("")]),
            ("denial", vec![json!({"reason": "no"})]),
            ("reason", vec![json!("because")]),
            ("deny_code", vec![json!("NO")]),
            ("expires_at", vec![json!("9990-01-01T00:00:00Z")]),
            ("audit_entry_hash", vec![json!("a0")]),
            ("risk_score", vec![json!(0.5), json!(7)]),
            ("unknown", vec![json!({"permitted": false})]),
        ]
    };
    let verdicts = |decision: &[&str], permitted: bool| {
        let decision = decision.iter().map(|word| json!(word)).collect();
        let mut pools = fields();
        pools.push(("decision", decision));
        pools.push(("permitted", vec![json!(permitted)]));
        object(pools)
    };
    prop_oneof![
        4 => verdicts(&["allow"], true),
        1 => verdicts(&["deny", "hold", "escalate"], false),
        1 => verdicts(&["allow", "deny", "Allow"], false),
    ]
}

fn verification() -> impl Strategy<Value = Fields> {
    let fields = |valid: bool, outcomes: &[&str]| {
        let outcomes = outcomes.iter().map(|word| json!(word)).collect();
        object(vec![
            ("valid", vec![json!(valid)]),
            ("verified", vec![json!(valid)]),
            ("outcome", outcomes),
            ("verify_error_code", vec![json!(null)]),
            ("decision", vec![json!("allow")]),
            ("action_type", vec![json!(ACTION)]),
            ("action", vec![json!(ACTION)]),
            ("actor_id", vec![json!(AGENT)]),
            ("agent", vec![json!(AGENT)]),
            ("consumed", vec![json!(true), json!(false)]),
            ("permit_hash", vec![json!("f0")]),
            ("approval", vec![json!({"by": "a person"})]),
            ("unknown", vec![json!(false)]),
        ])
    };
    prop_oneof![
        3 => fields(true, &["allow", "verified"]),
        1 => fields(true, &["permit_expired", "deny", "", "Allow"]),
        1 => fields(false, &["permit_expired", "deny", "allow"]),
    ]
}

/// Evaluates the contract again, on the fields as sent. `Err`: the answer is unreadable.
struct Read<'a>(&'a Fields);

impl Read<'_> {
    /// Returns the field; `null` counts as absent. `Err`: the field is repeated or has the wrong
    /// type.
    fn get<T>(&self, key: &str, of: impl Fn(&Value) -> Option<T>) -> Result<Option<T>, ()> {
        let mut found = self.0.iter().filter(|(k, _)| *k == key);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((_, Value::Null)), None) => Ok(None),
            (Some((_, value)), None) => of(value).map(Some).ok_or(()),
            (Some(_), Some(_)) => Err(()),
        }
    }

    fn text(&self, key: &str) -> Result<Option<String>, ()> {
        self.get(key, |value| value.as_str().map(str::to_owned))
    }

    fn token(&self, key: &str) -> Result<Option<String>, ()> {
        self.text(key)?
            .map(|token| (token.len() <= 8 * 1024).then_some(token).ok_or(()))
            .transpose()
    }

    fn bool(&self, key: &str) -> Result<Option<bool>, ()> {
        self.get(key, Value::as_bool)
    }

    fn evaluation_allows(&self) -> Result<bool, ()> {
        let decision = self.get("decision", |value| match value.as_str()? {
            "allow" => Some(true),
            "deny" | "hold" | "escalate" => Some(false),
            _ => None,
        })?;
        let permitted = self.bool("permitted")?;
        let (token, id) = (self.token("permit_token")?, self.token("decision_id")?);
        for key in ["reason", "deny_code", "expires_at", "audit_entry_hash"] {
            self.text(key)?;
        }
        self.get("risk_score", Value::as_f64)?;
        // It is only for people, so it may have any value, once.
        self.get("denial", |_| Some(()))?;
        let allows = match (decision, permitted) {
            (Some(a), Some(b)) if a != b => return Err(()),
            (a, b) => a.or(b).ok_or(())?,
        };
        // An empty token counts as missing.
        let token = token.filter(|token| !token.is_empty()).or(id);
        if allows && token.unwrap_or_default().is_empty() {
            return Err(());
        }
        Ok(allows)
    }

    fn verification_passes(&self) -> Result<bool, ()> {
        let (valid, verified) = (self.bool("valid")?, self.bool("verified")?);
        let echoes = [
            ("decision", "decision", "allow"),
            ("action_type", "action", ACTION),
            ("actor_id", "agent", AGENT),
        ];
        let mut agrees = true;
        for (name, other, expected) in echoes {
            let (a, b) = (self.text(name)?, self.text(other)?);
            if a.is_some() && b.is_some() && a != b {
                return Err(());
            }
            agrees &= a.or(b).is_none_or(|echo| echo == expected);
        }
        let outcome = self.text("outcome")?;
        let code = self.text("verify_error_code")?;
        let consumed = self.bool("consumed")?;
        self.text("permit_hash")?;
        self.get("approval", |value| Some(value.clone()))?;
        match (valid, verified) {
            (None, None) => Err(()),
            (Some(a), Some(b)) if a != b => Err(()),
            (a, b) => Ok(a.or(b) == Some(true)
                && agrees
                && code.is_none()
                && consumed != Some(false)
                && outcome.is_none_or(|word| word == "allow" || word == "verified")),
        }
    }
}

/// Returns whether the body runs. `Ok(false)` is a refusal, `Err` an unreadable answer.
fn oracle(evaluate: &Fields, verify: &Fields) -> Result<bool, ()> {
    Ok(Read(evaluate).evaluation_allows()? && Read(verify).verification_passes()?)
}

#[test]
fn whatever_json_comes_the_body_runs_only_when_the_contract_says_so() {
    let counts = [const { Cell::new(0_u32) }; 3];
    let mut runner = TestRunner::new(Config {
        cases: 4096,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&(evaluation(), verification()), |(evaluate, verify)| {
        let says = oracle(&evaluate, &verify);
        let kind = &counts[match says {
            Ok(true) => 0,
            Ok(false) => 1,
            Err(()) => 2,
        }];
        kind.set(kind.get() + 1);
        let wire = Wire {
            evaluate: text(&evaluate),
            verify: text(&verify),
            issuer: Issuer::new(),
        };
        for (path, ask) in async_paths::<Wire>() {
            let ran = Ran::new();
            let happened = drive(ask(&wire, &ran), 1);
            check(path, &wire, says, &happened, &ran)?;
        }
        for (path, ask) in sync_paths::<Wire>() {
            let ran = Ran::new();
            let happened = Driven::Done(ask(&wire, &ran));
            check(path, &wire, says, &happened, &ran)?;
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
    let counts = counts.map(Cell::into_inner);
    println!("run, refused, unreadable: {counts:?}");
    assert!(
        counts.iter().all(|count| *count > 300),
        "one-sided: {counts:?}"
    );
}

fn check(
    path: &str,
    wire: &Wire,
    says: Result<bool, ()>,
    happened: &Driven<Result<(), Error>>,
    ran: &Ran,
) -> Result<(), TestCaseError> {
    let as_told = match (says, happened) {
        (Ok(true), Driven::Done(Ok(()))) => ran.count() == 1,
        (Ok(false), Driven::Done(Err(Error::Denied(_)))) => ran.count() == 0,
        (Err(()), Driven::Done(Err(error))) => {
            error.code() == Some(Code::BadResponse) && ran.count() == 0
        }
        _ => false,
    };
    let (evaluate, verify) = (&wire.evaluate, &wire.verify);
    prop_assert!(
        as_told,
        "{path}: {evaluate} then {verify}: expected {says:?}, got {happened:?}, ran {}",
        ran.count()
    );
    Ok(())
}

#[test]
fn a_body_that_is_no_object_opens_nothing() {
    let allow = json!({"decision": "allow", "permit_token": TOKEN}).to_string();
    let valid = json!({"valid": true}).to_string();
    let odd = [
        "",
        "null",
        "true",
        "\"allow\"",
        "[]",
        "[true]",
        "[\"allow\",true,\"permit_2f9d4c8b7a6e5f10\"]",
        "{",
        "{}",
        "{}{}",
        "{\"valid\":true",
    ];
    for text in odd {
        for (evaluate, verify) in [(text, &*valid), (&*allow, text)] {
            let wire = Wire {
                evaluate: evaluate.into(),
                verify: verify.into(),
                issuer: Issuer::new(),
            };
            for (path, ask) in async_paths::<Wire>() {
                let ran = Ran::new();
                let happened = drive(ask(&wire, &ran), 1);
                let unreadable = matches!(&happened, Driven::Done(Err(error)) if error.code() == Some(Code::BadResponse));
                assert!(unreadable && ran.count() == 0, "{path}: {text}");
            }
        }
    }
}

#[test]
fn the_answers_of_a_mock_survive_the_wire() {
    let authority = MockAuthority::new().allow(ACTION);
    let request = EvaluateRequest::new(atlasent::Agent::new(AGENT).unwrap(), &action()).unwrap();
    let Driven::Done(Ok(evaluation)) = drive(authority.evaluate(&request), 1) else {
        panic!("no evaluation");
    };
    let wire = Wire {
        evaluate: serde_json::to_string(&evaluation).unwrap(),
        verify: serde_json::to_string(&Verification::valid()).unwrap(),
        issuer: Issuer::new(),
    };
    assert!(matches!(
        drive(wire.protect(AGENT, action()), 1),
        Driven::Done(Ok(_))
    ));
}
