//! Records the creation and the revocation of API keys as events of the chain.
//!
//! Commands change the keys in a file or a database, without an event. So the chain keeps a list of
//! the keys that it has events of, and the server compares the keys with that list.

use std::collections::BTreeMap;

use atlasent::Error;
use serde::{Deserialize, Serialize};

use super::ApiKey;
use crate::clock::Clock;
use crate::local::{commit, failed};
use crate::store::{CellKey, Changeset, Store};
use crate::trail::chain::{NewEvent, format_time};

/// The keys that the chain has events of, and whether each was revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedKeys(BTreeMap<String, bool>);

/// Records in a store's chain the keys that were created or revoked since the last call by any
/// process. A deleted key counts as revoked, and a revoked key that is valid again as created: an
/// older file of keys was put back.
///
/// Keys that contradict the chain in one of these two ways may also be older than the chain:
///
/// ```text
/// server 1   reads the keys: K1
/// server 2   reads the keys: K1, K2; records that K2 was created
/// server 1   finds K2 on the chain, and not among its keys
/// ```
///
/// So nothing is recorded then, and the chain's list is returned. The caller reads the keys again,
/// and calls again with that list as `contradicted`. If the chain still has the same list, the keys
/// are newer than it, and all is recorded.
pub(crate) async fn record_keys<S: Store>(
    store: &S,
    clock: &dyn Clock,
    keys: &[ApiKey],
    contradicted: Option<&RecordedKeys>,
) -> Result<Option<RecordedKeys>, Error> {
    let (keys, contradicted) = (keys.to_vec(), contradicted.cloned());
    let change = move |changeset: &mut Changeset<'_>| {
        let before = changeset.recorded_keys();
        let mut recorded = before.clone();
        let (mut events, mut contradicts) = (Vec::new(), false);
        for key in &keys {
            let is_revoked = key.revoked_at.is_some();
            let was_revoked = recorded.0.insert(key.key_id.clone(), is_revoked);
            let is_valid_again = was_revoked == Some(true) && !is_revoked;
            if was_revoked.is_none() || is_valid_again {
                events.push(created(key));
            }
            if is_revoked && was_revoked != Some(true) {
                events.push(revoked(&key.key_id, key.revoked_at.map(format_time)));
            }
            contradicts |= is_valid_again;
        }
        let deleted = recorded.0.iter_mut().filter(|(id, was_revoked)| {
            !**was_revoked && keys.iter().all(|key| key.key_id != **id)
        });
        for (id, was_revoked) in deleted {
            events.push(revoked(id, None));
            *was_revoked = true;
            contradicts = true;
        }
        if contradicts && contradicted.as_ref() != Some(&before) {
            return Some(before);
        }
        for event in events {
            changeset.record(event);
        }
        if recorded != before {
            changeset.keep_recorded_keys(recorded);
        }
        None
    };
    commit(store, clock, failed::KEYS, vec![CellKey::ApiKeys], change).await
}

fn created(key: &ApiKey) -> NewEvent {
    let scopes = key.scopes.iter().map(|scope| scope.as_str().into());
    let approver = key.approver.as_ref();
    let roles = approver.map(|approver| {
        let roles = approver.roles.iter().map(|role| role.as_str().into());
        roles.collect::<Vec<_>>()
    });
    NewEvent::new("key.created")
        .with("api_key_id", key.key_id.clone())
        .with("environment", key.environment.as_str())
        .with("scopes", scopes.collect::<Vec<_>>())
        .with("key_created_at", format_time(key.created_at))
        .with_some("name", key.name.clone())
        .with_some(
            "approver",
            approver.map(|approver| approver.principal.clone()),
        )
        .with_some("approver_roles", roles)
        .with_some("expires_at", key.expires_at.map(format_time))
}

fn revoked(key_id: &str, at: Option<String>) -> NewEvent {
    NewEvent::new("key.revoked")
        .with("api_key_id", key_id.to_owned())
        .with_some("key_revoked_at", at)
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;
    use crate::LocalAuthority;
    use crate::keys::KeyEnvironment;
    use crate::ledger::approval::Approver;
    use crate::policy::Policies;

    #[test]
    fn the_event_of_a_key_names_its_approver() {
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        let authority = LocalAuthority::in_memory(policies).unwrap();
        let (mut key, _) = ApiKey::generate(KeyEnvironment::Test).unwrap();
        key.approver = Some(Approver::new("alice", ["cto", "release-manager"]).unwrap());
        block_on(record_keys(
            authority.store(),
            &*authority.clock,
            &[key],
            None,
        ))
        .unwrap();
        let trail = block_on(authority.trail()).unwrap();
        let payload = &trail.events[1].payload;
        assert_eq!(payload.text("approver").unwrap(), "alice");
        let json = serde_json::to_string(payload).unwrap();
        let roles = r#""approver_roles":["cto","release-manager"]"#;
        assert!(json.contains(roles), "{json}");
    }

    #[test]
    fn a_server_whose_keys_are_older_than_the_chain_records_nothing() {
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        let authority = LocalAuthority::in_memory(policies).unwrap();
        let record = |keys: &[ApiKey], contradicted: Option<&RecordedKeys>| {
            let recorded = record_keys(authority.store(), &*authority.clock, keys, contradicted);
            block_on(recorded).unwrap()
        };
        let events = || block_on(authority.trail()).unwrap().events.len();
        let [first, mut second] =
            [(); 2].map(|()| ApiKey::generate(KeyEnvironment::Test).unwrap().0);
        let older = [first.clone()];
        let newer = [first.clone(), second.clone()];
        assert_eq!(record(&newer, None), None);
        let before = events();
        let contradicted = record(&older, None);
        assert!(contradicted.is_some());
        assert_eq!(events(), before);
        // The keys that it then reads are the newer ones.
        assert_eq!(record(&newer, contradicted.as_ref()), None);
        assert_eq!(events(), before);
        // Another server records more, while this one reads keys that are older again.
        second.revoked_at = Some(second.created_at);
        assert_eq!(record(&[first.clone(), second], None), None);
        let again = record(&newer, contradicted.as_ref());
        assert!(again.is_some() && again != contradicted);
        assert_eq!(events(), before + 1);
    }

    #[test]
    fn a_key_is_recorded_when_it_comes_and_when_it_goes_and_once_each() {
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        let authority = LocalAuthority::in_memory(policies).unwrap();
        let record = |keys: &[ApiKey]| {
            let attempt = |contradicted: Option<&RecordedKeys>| {
                let recorded =
                    record_keys(authority.store(), &*authority.clock, keys, contradicted);
                block_on(recorded).unwrap()
            };
            if let Some(contradicted) = attempt(None) {
                assert_eq!(attempt(Some(&contradicted)), None);
            }
        };
        let [mut first, second] =
            [(); 2].map(|()| ApiKey::generate(KeyEnvironment::Test).unwrap().0);
        record(&[first.clone(), second.clone()]);
        record(&[first.clone(), second.clone()]);
        first.revoked_at = Some(first.created_at);
        record(&[first.clone(), second.clone()]);
        // The second one was deleted.
        record(std::slice::from_ref(&first));
        record(std::slice::from_ref(&first));
        // An older file was put back.
        first.revoked_at = None;
        record(&[first.clone(), second.clone()]);
        record(&[first.clone(), second.clone()]);
        let trail = block_on(authority.trail()).unwrap();
        let recorded: Vec<_> = trail.events[1..]
            .iter()
            .map(|event| {
                let id = event.payload.text("api_key_id").unwrap().into_owned();
                (&*event.envelope.kind, id)
            })
            .collect();
        let (first, second) = (first.key_id, second.key_id);
        assert_eq!(
            recorded,
            [
                ("key.created", first.clone()),
                ("key.created", second.clone()),
                ("key.revoked", first.clone()),
                ("key.revoked", second.clone()),
                ("key.created", first),
                ("key.created", second),
            ]
        );
        assert!(trail.verify().is_intact());
    }
}
