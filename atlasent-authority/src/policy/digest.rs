//! Digests of a policy set: of the whole, and of what can decide about one action.
//!
//! A permit is good while the policies that granted it stand. What decides about an action is its
//! *slice*: the policies whose scope can match the action, the schema, and the entities. So a
//! change of another action's policies leaves a permit alone, and an agent that leaves a group
//! does not.
//!
//! A digest is over what Cedar reads, not over the text: comments, white space, the order of
//! policies and the names of files do not count. Annotations do, since they word the answers.

use std::collections::HashMap;
use std::sync::Arc;

use cedar_policy::{Entities, Policy, PolicyId, SchemaFragment};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::slice::Slices;

/// Stands before everything that is hashed. It changes when a release reads the same policies in
/// another way, so that no permit outlives what its policies meant.
const MEANING: &str = "atlasent policies 1";

type Bytes = [u8; 32];

/// What Cedar could not write as JSON.
type Failure = Box<dyn std::error::Error>;

/// The digests of one set, made at load.
#[derive(Debug)]
pub(super) struct Digests {
    whole: Arc<str>,
    /// Of the slice of an action that no policy names.
    unnamed: Arc<str>,
    by_action: HashMap<String, Arc<str>>,
}

impl Digests {
    /// The digests of `policies`, which `slices` has filed.
    pub(super) fn new(
        policies: &[Policy],
        schema: Option<&str>,
        entities: &Entities,
        slices: &Slices,
    ) -> Result<Self, Failure> {
        let schema = schema.map(schema_json).transpose()?;
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
        // Groups of actions share slices: each of these is hashed once.
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
            by_action: by_action.collect(),
            unnamed: text(of_parts([&world[..], &any, &of_set([].into_iter())])),
            whole: text(of_parts([&world[..], &of_set(each.values())])),
        })
    }

    /// The digest of the whole set.
    pub(super) fn whole(&self) -> &Arc<str> {
        &self.whole
    }

    /// The digest of what can decide about an action.
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

/// Whether the order of an array's items is part of its meaning.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrays {
    /// In policies: operands of a call, pieces of a pattern.
    Ordered,
    /// In schemas and entities: sets, and lists of types and parents.
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

/// The digest of several texts one after the other. Each is hashed by itself, so that none can run
/// into the next.
fn of_parts<const N: usize>(parts: [&[u8]; N]) -> Bytes {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(Sha256::digest(part));
    }
    hash.finalize().into()
}

/// The digest of several digests, in whichever order they come.
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

    /// A set of several sources, with or without schema and entities.
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
