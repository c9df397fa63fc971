//! Any JSON, to each endpoint: no panic and no 5xx, and a 200 only for valid requests.

use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};
use tokio::runtime::Builder;

use crate::support::{KEY, Served, TARGETS, deploy, stored};
use atlasent_authority::server::{ApiKeys, Server};

const CASES: u32 = 300;

const NAMES: [&str; 24] = [
    "action_type",
    "action",
    "actor_id",
    "agent",
    "context",
    "resource_id",
    "amount",
    "environment",
    "state_snapshot",
    "request_id",
    "shadow",
    "explain",
    "approval",
    "require_approval",
    "execution_hash",
    "api_key",
    "permit_token",
    "decision_id",
    "reason",
    "types",
    "from",
    "to",
    "limit",
    "unknown",
];

fn json_values() -> impl Strategy<Value = Value> {
    let texts = prop_oneof![
        3 => select(vec!["", "deploy", "drop", KEY, "2026-01-01", "2026-01-01T00:00:00Z", "evaluate.allow", "permit_x"]).prop_map(str::to_owned),
        1 => ".{0,12}",
        1 => (250_usize..260).prop_map(|length| "ü".repeat(length)),
    ];
    let leaf = prop_oneof![
        1 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        5 => texts.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        let object = prop::collection::vec((".{0,6}", inner.clone()), 0..4);
        prop_oneof![
            prop::collection::vec(inner, 0..4).prop_map(Value::from),
            object.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Generates any JSON, or an object with known fields and any values.
fn bodies() -> impl Strategy<Value = Value> {
    let fields = prop::collection::vec((select(&NAMES[..]), json_values()), 0..5);
    let fields = fields.prop_map(|fields| {
        fields
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect::<Map<_, _>>()
    });
    let base = select(vec![
        json!({}),
        deploy(),
        json!({"permit_token": "x"}),
        json!({"decision_id": "x"}),
    ]);
    let ours = (base, fields)
        .prop_map(|(base, fields)| crate::support::with(base, &Value::Object(fields)));
    prop_oneof![1 => json_values(), 5 => ours]
}

/// The rules for bodies, implemented from the contract, independently of the code under test.
struct Rules<'a>(&'a Map<String, Value>);

impl Rules<'_> {
    fn field(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    fn all(&self, names: &[&str], is: impl Fn(&Value) -> bool) -> bool {
        names
            .iter()
            .all(|name| self.field(name).is_null() || is(self.field(name)))
    }

    /// A field under two names must be absent, present once, or equal under both. An empty one is
    /// absent.
    fn either(&self, name: &str, older: &str) -> Result<Option<&str>, ()> {
        let text = |name| match self.field(name) {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
            _ => Err(()),
        };
        match (text(name)?, text(older)?) {
            (Some(one), Some(two)) if one != two => Err(()),
            (one, two) => Ok(one.or(two)),
        }
    }

    /// A field beside the context must not contradict the field of the context with this name.
    fn agrees_with_context(&self, name: &str) -> bool {
        let (beside, inside) = (self.field(name), self.field("context").get(name));
        beside.is_null() || inside.is_none_or(|inside| inside.is_null() || inside == beside)
    }

    /// A body has the caller's key or none, and only texts and JSON values may contain it.
    fn key(&self) -> bool {
        let may_contain_key = ["api_key", "context", "reason", "state_snapshot"];
        let mut fields = self.0.iter();
        self.all(&["api_key"], |key| key == KEY || key == "")
            && fields.all(|(name, value)| {
                may_contain_key.contains(&&**name) || !value.to_string().contains(KEY)
            })
    }

    fn names(&self, fits: impl Fn(Option<&str>) -> bool) -> bool {
        [("action_type", "action"), ("actor_id", "agent")]
            .into_iter()
            .all(|(name, older)| self.either(name, older).is_ok_and(&fits))
    }

    fn evaluate(&self) -> bool {
        let long = |name: &str| (1..=256).contains(&name.chars().count());
        self.names(|name| name.is_some_and(long))
            && self.all(&["context"], Value::is_object)
            && self.all(&["resource_id"], |text| is_text(text, 512))
            && self.all(&["environment", "request_id"], |text| is_text(text, 256))
            && self.all(
                &["shadow", "explain", "require_approval"],
                Value::is_boolean,
            )
            && self.all(&["amount"], Value::is_number)
            && self.agrees_with_context("environment")
            && self.agrees_with_context("amount")
            && self.key()
    }

    fn verify(&self) -> bool {
        self.names(|name| name.is_none_or(|name| name.chars().count() <= 256))
            && self.all(&["permit_token"], Value::is_string)
            && self.all(&["environment", "execution_hash"], |text| {
                is_text(text, 256)
            })
            && self.all(&["require_approval"], Value::is_boolean)
            && self.key()
    }

    fn revoke(&self) -> bool {
        self.either("decision_id", "permit_token")
            .is_ok_and(|token| token.is_some_and(|token| !token.is_empty()))
            && self.all(&["reason"], Value::is_string)
            && self.key()
    }

    fn export(&self) -> bool {
        // The generated texts contain this event type only.
        let known = |kind: &str| ["", "evaluate.allow"].contains(&kind.trim());
        let types = |types: &Value| match types {
            Value::Array(types) => types.iter().all(|kind| kind.as_str().is_some_and(known)),
            other => (other.as_str()).is_some_and(|list| list.split(',').all(known)),
        };
        let time = |time: &Value| {
            time.as_str()
                .is_some_and(|time| time.starts_with("2026-01-01"))
        };
        let name = |name: &Value| {
            name.as_str()
                .is_some_and(|name| name.chars().count() <= 256)
        };
        self.all(&["types"], types)
            && self.all(&["actor_id"], name)
            && self.all(&["from", "to"], time)
            && self.key()
    }

    fn hold(&self, target: &str) -> bool {
        match target {
            "/v1-evaluate" | "/v1-evaluate-stream" => self.evaluate(),
            "/v1-verify-permit" => self.verify(),
            "/v1-revoke-permit" => self.revoke(),
            _ => self.export(),
        }
    }
}

/// Returns whether the value is a string of at most `most` characters.
fn is_text(value: &Value, most: usize) -> bool {
    value
        .as_str()
        .is_some_and(|text| text.chars().count() <= most)
}

#[test]
fn no_body_upsets_the_server_and_only_valid_ones_are_answered() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let served = runtime.block_on(Served::start());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let mut answered = [0_u32; 2];
    let counted = std::cell::RefCell::new(&mut answered);
    runner
        .run(&bodies(), |body| {
            for target in TARGETS {
                let answer = runtime.block_on(served.post(target, &body));
                let valid = body
                    .as_object()
                    .is_some_and(|fields| Rules(fields).hold(target));
                // An earlier request may have had this id.
                let reused = target.starts_with("/v1-evaluate") && answer.status == 409;
                prop_assert!(answer.status < 500, "{target}: {}", answer.text);
                prop_assert_eq!(
                    answer.status == 200 || reused,
                    valid,
                    "{}: {}",
                    target,
                    answer.text
                );
                counted.borrow_mut()[usize::from(valid)] += 1;
            }
            Ok(())
        })
        .unwrap();
    assert!(
        answered.iter().all(|count| *count > CASES / 2),
        "{answered:?}"
    );
    let text = runtime.block_on(served.get("/v1-audit/exports"));
    assert_eq!(text.status, 405);
}

#[test]
fn no_bytes_upset_the_server() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let ring = atlasent_authority::signing::KeyRing::in_memory().unwrap();
    let server = Server::new(crate::support::memory(), ApiKeys::new([stored(KEY)]), ring);
    let served = runtime.block_on(Served::run(server));
    let mut runner = TestRunner::new(ProptestConfig {
        cases: CASES,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let good = deploy().to_string().into_bytes();
    let changed = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
        .prop_map(move |changes| {
            let mut bytes = good.clone();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            bytes
        });
    let bytes = prop_oneof![1 => prop::collection::vec(any::<u8>(), 0..64), 3 => changed];
    runner
        .run(&bytes, |bytes| {
            for target in TARGETS {
                let answer = runtime.block_on(served.post_text(target, bytes.clone()));
                let json =
                    serde_json::from_slice::<Value>(&bytes).is_ok_and(|json| json.is_object());
                prop_assert!(answer.status < 500, "{target}: {}", answer.text);
                prop_assert!(answer.status != 200 || json, "{target}: {}", answer.text);
            }
            Ok(())
        })
        .unwrap();
}
