//! The audit trail of one organization, read over the API in parts as it grows.

use std::collections::{HashMap, HashSet};

use atlasent::audit::{ChainReport, ChainVerifier, Event};

use super::http::Connection;

/// An action that the policies of these tests hold until [`QUORUM`] people approve it.
pub(crate) const HELD: &str = "release.publish";

/// The number of people whose approvals the held action needs.
pub(crate) const QUORUM: usize = 2;

/// The events of one pending decision.
#[derive(Default)]
pub(crate) struct Decision {
    /// Who voted, and whether the vote approves.
    pub(crate) votes: HashMap<String, bool>,
    pub(crate) is_granted: bool,
    /// Whether it was rejected, or has expired.
    pub(crate) is_refused: bool,
    /// The number of permits that it released.
    pub(crate) permits: u32,
}

/// The whole chain of an organization.
pub(crate) struct Trail {
    org: String,
    verifier: ChainVerifier,
    pub(crate) hashes: HashSet<String>,
    /// The number of successful verifications of each permit.
    pub(crate) verified: HashMap<String, u32>,
    /// The pending decisions, by their ids.
    pub(crate) decisions: HashMap<String, Decision>,
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
            decisions: HashMap::new(),
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
                if event.payload.text("action_type").as_deref() == Some(HELD) {
                    self.decide(event);
                }
            }
            if page.body["next_cursor"].is_null() {
                return;
            }
        }
    }

    /// Follows a pending decision, which needs the approvals of enough people, ends once, and
    /// releases one permit.
    fn decide(&mut self, event: &Event) {
        let kind = &*event.envelope.kind;
        let id = event.payload.text("escalation_id");
        if kind == "evaluate.allow" {
            assert!(id.is_some(), "a held action was allowed: {event:?}");
        }
        let Some(id) = id else {
            return;
        };
        let decision = self.decisions.entry(id.into_owned()).or_default();
        let is_closed = decision.is_granted || decision.is_refused;
        match kind {
            "approval.voted" => {
                let text = |key| event.payload.text(key).unwrap().into_owned();
                let approves = text("vote") == "approve";
                let earlier = decision.votes.insert(text("approver"), approves);
                assert!(!is_closed && earlier.is_none(), "{event:?}");
            }
            "approval.granted" => {
                let approvals = decision.votes.values().filter(|approves| **approves);
                assert!(!is_closed && approvals.count() == QUORUM, "{event:?}");
                assert!(decision.votes.len() == QUORUM, "{event:?}");
                decision.is_granted = true;
            }
            "approval.rejected" | "approval.expired" => {
                assert!(!is_closed, "{event:?}");
                decision.is_refused = true;
            }
            "evaluate.allow" => {
                assert!(decision.is_granted && decision.permits == 0, "{event:?}");
                decision.permits += 1;
            }
            _ => {}
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
