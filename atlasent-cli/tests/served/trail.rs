//! The audit trail of one organization, read over the API in parts as it grows.

use std::collections::{HashMap, HashSet};

use atlasent::audit::{ChainReport, ChainVerifier, Event};

use super::http::Connection;

/// The whole chain of an organization.
pub(crate) struct Trail {
    org: String,
    verifier: ChainVerifier,
    pub(crate) hashes: HashSet<String>,
    /// The number of successful verifications of each permit.
    pub(crate) verified: HashMap<String, u32>,
    pub(crate) head: Option<String>,
    last: u64,
}

impl Trail {
    pub(crate) fn new(org: &str) -> Self {
        Self {
            org: org.to_owned(),
            verifier: ChainVerifier::default(),
            hashes: HashSet::new(),
            verified: HashMap::new(),
            head: None,
            last: 0,
        }
    }

    /// Reads the whole trail.
    pub(crate) fn read(org: &str, server: &mut Connection) -> Self {
        let mut trail = Self::new(org);
        trail.read_on(server);
        trail
    }

    /// Reads the events that were added, each of which has to be the organization's own.
    pub(crate) fn read_on(&mut self, server: &mut Connection) {
        loop {
            let path = format!("/v1-audit/events?limit=500&cursor=after_{}", self.last);
            let page = server.get(&path).unwrap();
            let events: Vec<Event> = serde_json::from_value(page.body["events"].clone()).unwrap();
            for event in &events {
                assert_eq!(event.envelope.org_id, self.org);
                self.verifier.push(event);
                self.hashes.insert(event.hash.clone());
                self.head = Some(event.hash.clone());
                self.last = event.envelope.sequence;
                if event.envelope.kind == "permit.verified" {
                    let permit = event.payload.text("permit_hash").unwrap().into_owned();
                    *self.verified.entry(permit).or_default() += 1;
                }
            }
            if page.body["next_cursor"].is_null() {
                return;
            }
        }
    }

    /// Asserts that the chain is whole, and that no permit was verified twice.
    pub(crate) fn finish(self) -> ChainReport {
        assert!(
            self.verified.values().all(|times| *times == 1),
            "a permit of `{}` was verified twice",
            self.org
        );
        let report = self.verifier.finish(self.head.as_deref(), None);
        assert!(report.is_intact(), "`{}`: {report:?}", self.org);
        report
    }
}
