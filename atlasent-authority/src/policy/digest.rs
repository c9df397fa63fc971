//! Digests of a policy set: of the whole set, and of what decides about one action.
//!
//! A permit is valid while the policies that granted it are unchanged. An action is decided by its
//! *slice*: the policies whose scope can match the action, the schema, and the entities. A worked
//! example, with a set of three policies:
//!
//! ```text
//! A: permit (principal, action == Action::"deploy", resource);
//! B: permit (principal, action == Action::"read", resource);
//! C: forbid (principal, action, resource) when { context.freeze };
//!
//! action_digest("deploy") = H(H(world) H({C}) H({{A}}))      world: schema and entities
//! action_digest("read")   = H(H(world) H({C}) H({{B}}))      {…} is a set: sorted, without repetitions
//! action_digest("other")  = H(H(world) H({C}) H({}))          no policy names it
//! ```
//!
//! Changing B changes the digest of `read` alone, so a permit for `deploy` stays valid. Changing C
//! changes all three digests. So does an agent that leaves a group, since entities are part of
//! `world`.
//!
//! A digest covers what Cedar reads, not the text: comments, white space, the order of policies and
//! the names of files do not count. Annotations do, since they determine the answers. Order counts
//! only where it has a meaning ([`Arrays`]): `decimal("1.0").lessThan(x)` is not
//! `x.lessThan(decimal("1.0"))`, but `["a", "b"]` among an entity's parents is `["b", "a"]`.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{Entities, Policy, PolicyId, SchemaFragment};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::slice::Slices;

/// The prefix of everything that is hashed. It changes when a release interprets the same policies
/// in another way, so that permits of the former meaning are refused.
const MEANING: &str = "atlasent policies 1";

type Bytes = [u8; 32];

/// A part of the set that Cedar cannot write as JSON.
type Failure = Box<dyn std::error::Error>;

/// The digests of a set, computed at load.
#[derive(Debug)]
pub(super) struct Digests {
    whole: Arc<str>,
    schema: Option<Arc<str>>,
    /// The digest for every action that no policy names.
    unnamed: Arc<str>,
    by_action: HashMap<String, Arc<str>>,
}

impl Digests {
    /// Computes the digests of `policies`, which `slices` indexes.
    pub(super) fn new(
        policies: &[Policy],
        schema: Option<&str>,
        entities: &Entities,
        slices: &Slices,
    ) -> Result<Self, Failure> {
        let schema = schema.map(schema_json).transpose()?;
        let schema_digest = (schema.as_ref())
            .map(|schema| of_parts([MEANING.as_bytes(), &of_json(schema, Arrays::Sets)]));
        let world = of_parts([
            MEANING.as_bytes(),
            &of_json(&schema.unwrap_or_default(), Arrays::Sets),
            &of_entities(entities)?,
        ]);
        let each = policies.iter().map(|policy| {
            let digest = of_json(&policy.to_json()?, Arrays::Ordered);
            Ok((policy.id(), digest))
        });
        let each: HashMap<&PolicyId, Bytes> = each.collect::<Result<_, Failure>>()?;
        let of_ids = |ids: Vec<&PolicyId>| of_set(ids.into_iter().filter_map(|id| each.get(id)));
        let any = of_ids(slices.any_ids());
        // Actions of a group share its slice, which is hashed once.
        let mut known: HashMap<*const (), Bytes> = HashMap::new();
        let by_action = slices.by_action().map(|(action, slices)| {
            let own: Vec<Bytes> = slices
                .iter()
                .map(|slice| {
                    let place = Arc::as_ptr(slice).cast::<()>();
                    *known.entry(place).or_insert_with(|| of_ids(slice.ids()))
                })
                .collect();
            let digest = of_parts([&world[..], &any, &of_set(own.iter())]);
            (action.to_owned(), text(digest))
        });
        Ok(Self {
            schema: schema_digest.map(text),
            by_action: by_action.collect(),
            unnamed: text(of_parts([&world[..], &any, &of_set([].into_iter())])),
            whole: text(of_parts([&world[..], &of_set(each.values())])),
        })
    }

    /// Returns the digest of the whole set.
    pub(super) fn whole(&self) -> &Arc<str> {
        &self.whole
    }

    /// Returns the digest of the schema, if the set has one.
    pub(super) fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Returns the digest of what decides about an action.
    pub(super) fn of_action(&self, action: &str) -> &Arc<str> {
        self.by_action.get(action).unwrap_or(&self.unnamed)
    }
}

fn schema_json(text: &str) -> Result<Value, Failure> {
    let (fragment, _) = SchemaFragment::from_cedarschema_str(text)?;
    Ok(fragment.to_json_value()?)
}

fn of_entities(entities: &Entities) -> Result<Bytes, Failure> {
    let Value::Array(entities) = entities.to_json_value()? else {
        return Err("entities have another JSON form".into());
    };
    let entities: Vec<Bytes> = entities
        .iter()
        .map(|entity| of_json(entity, Arrays::Sets))
        .collect();
    Ok(of_set(entities.iter()))
}

/// Whether the order of an array's items has a meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrays {
    /// The order counts, in policies: operands of a call, pieces of a pattern.
    Ordered,
    /// The order does not count, in schemas and entities: sets, and lists of types and parents.
    Sets,
}

fn of_json(value: &Value, arrays: Arrays) -> Bytes {
    let mut hash = Sha256::new();
    match value {
        Value::Array(items) => {
            hash.update(b"[");
            let mut items: Vec<Bytes> = items.iter().map(|item| of_json(item, arrays)).collect();
            if arrays == Arrays::Sets {
                items.sort_unstable();
            }
            items.iter().for_each(|item| hash.update(item));
        }
        Value::Object(fields) => {
            hash.update(b"{");
            let mut fields: Vec<Bytes> = fields
                .iter()
                .map(|(key, value)| {
                    // An entity's value can be a call, too (`__extn`).
                    let arrays = if key == "args" {
                        Arrays::Ordered
                    } else {
                        arrays
                    };
                    of_parts([key.as_bytes(), &of_json(value, arrays)])
                })
                .collect();
            fields.sort_unstable();
            fields.iter().for_each(|field| hash.update(field));
        }
        leaf => {
            hash.update(b"=");
            hash.update(leaf.to_string());
        }
    }
    hash.finalize().into()
}

/// Returns the digest of a sequence of texts. Each is hashed by itself, so that `["ab", "c"]` and
/// `["a", "bc"]` differ.
fn of_parts<const N: usize>(parts: [&[u8]; N]) -> Bytes {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(Sha256::digest(part));
    }
    hash.finalize().into()
}

/// Returns the digest of a set of digests. Their order and repetitions do not count.
fn of_set<'a>(digests: impl Iterator<Item = &'a Bytes>) -> Bytes {
    let mut digests: Vec<&Bytes> = digests.collect();
    digests.sort_unstable();
    digests.dedup();
    let mut hash = Sha256::new();
    digests.into_iter().for_each(|digest| hash.update(digest));
    hash.finalize().into()
}

fn text(digest: Bytes) -> Arc<str> {
    base16ct::lower::encode_string(&digest).into()
}

#[cfg(test)]
mod tests {
    use crate::policy::Policies;

    const DEPLOY: &str =
        r#"@id("d") permit (principal in Agent::"ops", action == Action::"deploy", resource);"#;
    const READ: &str = r#"@id("r") permit (principal, action == Action::"read", resource);"#;
    const SCHEMA: &str = r#"
        entity Agent in [Agent];
        entity Resource;
        action deploy, read appliesTo { principal: Agent, resource: Resource, context: { a?: Long } };
    "#;
    const ENTITIES: &str = r#"[
        { "uid": { "type": "Agent", "id": "ops" }, "attrs": {}, "parents": [] },
        { "uid": { "type": "Agent", "id": "bot" }, "attrs": {}, "parents": [{ "type": "Agent", "id": "ops" }] }
    ]"#;

    /// Builds a set of several sources, with or without schema and entities.
    fn set(sources: &[&str], schema: Option<&str>, entities: Option<&str>) -> Policies {
        let mut builder = Policies::builder();
        for (nth, source) in sources.iter().enumerate() {
            builder = builder.source(&format!("{nth}.cedar"), *source);
        }
        if let Some(schema) = schema {
            builder = builder.schema("schema.cedarschema", schema);
        }
        if let Some(entities) = entities {
            builder = builder.entities("entities.json", entities);
        }
        builder.build().unwrap()
    }

    fn full() -> Policies {
        set(&[DEPLOY, READ], Some(SCHEMA), Some(ENTITIES))
    }

    #[test]
    fn what_cedar_does_not_read_does_not_count() {
        let digest = full().digest().to_owned();
        let spaced = format!("// a comment\n{}", DEPLOY.replace(", ", " ,\n"));
        let schema = format!(
            "// a comment\n{}",
            SCHEMA.replace("deploy, read", "read, deploy")
        );
        let turned = format!("{READ}\n{DEPLOY}");
        assert_eq!(
            set(&[&spaced, READ], Some(&schema), Some(ENTITIES)).digest(),
            digest
        );
        assert_eq!(
            set(&[&turned], Some(SCHEMA), Some(ENTITIES)).digest(),
            digest
        );
    }

    #[test]
    fn every_part_counts() {
        let before = full();
        let left_the_group = ENTITIES.replace(r#"[{ "type": "Agent", "id": "ops" }]"#, "[]");
        let worded = DEPLOY.replace("@id", r#"@reason("why") @id"#);
        let narrowed = DEPLOY.replace(';', " when { context has a };");
        for after in [
            set(&[DEPLOY, READ], Some(SCHEMA), Some(&left_the_group)),
            set(&[DEPLOY, READ], Some(SCHEMA), None),
            set(
                &[DEPLOY, READ],
                Some(&SCHEMA.replace("a?", "b?")),
                Some(ENTITIES),
            ),
            set(&[&worded, READ], Some(SCHEMA), Some(ENTITIES)),
            set(&[&narrowed, READ], Some(SCHEMA), Some(ENTITIES)),
            set(&[READ], Some(SCHEMA), Some(ENTITIES)),
        ] {
            assert_ne!(after.digest(), before.digest());
            assert_ne!(
                after.action_digest("deploy"),
                before.action_digest("deploy")
            );
        }
    }

    #[test]
    fn an_action_has_the_digest_of_its_own_slice() {
        let before = full();
        let forbid = r#"forbid (principal, action == Action::"read", resource);"#;
        let after = set(&[DEPLOY, READ, forbid], Some(SCHEMA), Some(ENTITIES));
        assert_eq!(
            after.action_digest("deploy"),
            before.action_digest("deploy")
        );
        assert_ne!(after.action_digest("read"), before.action_digest("read"));
        assert_ne!(after.digest(), before.digest());

        let everywhere = "forbid (principal, action, resource) when { 1 == 2 };";
        let after = set(&[DEPLOY, READ, everywhere], Some(SCHEMA), Some(ENTITIES));
        for action in ["deploy", "read", "unnamed"] {
            assert_ne!(after.action_digest(action), before.action_digest(action));
        }
    }

    #[test]
    fn a_policy_over_a_group_counts_for_its_members() {
        let entities = r#"[
            { "uid": { "type": "Action", "id": "writes" }, "attrs": {}, "parents": [] },
            { "uid": { "type": "Action", "id": "deploy" }, "attrs": {}, "parents": [{ "type": "Action", "id": "writes" }] }
        ]"#;
        let group = r#"forbid (principal, action in Action::"writes", resource);"#;
        let before = set(&[DEPLOY, READ], None, Some(entities));
        let after = set(&[DEPLOY, READ, group], None, Some(entities));
        assert_ne!(
            after.action_digest("deploy"),
            before.action_digest("deploy")
        );
        assert_eq!(after.action_digest("read"), before.action_digest("read"));
    }

    #[test]
    fn the_order_inside_a_call_and_a_pattern_counts() {
        let policy = |condition: &str| {
            Policies::parse(&format!(
                "permit (principal, action, resource) when {{ {condition} }};"
            ))
            .unwrap()
        };
        for (one, other) in [
            (r#"context.a like "x*y""#, r#"context.a like "*xy""#),
            (
                r#"ip("10.0.0.1").isInRange(ip("10.0.0.0/8"))"#,
                r#"ip("10.0.0.0/8").isInRange(ip("10.0.0.1"))"#,
            ),
            ("context.a - context.b > 0", "context.b - context.a > 0"),
        ] {
            assert_ne!(policy(one).digest(), policy(other).digest(), "{one}");
        }
    }
}
