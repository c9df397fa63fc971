//! The list of escalations: its filter and its pages.

use serde::{Deserialize, Serialize};

use super::{Escalation, EscalationStatus};
use crate::json::object::Object;
use crate::wire::RateLimit;

/// Selects escalations: the query of `GET /v1/hitl`. The default selects all of them.
///
/// Each method narrows the list further. A second call of the same method replaces the first.
///
/// ```
/// use atlasent::wire::{EscalationFilter, EscalationStatus};
///
/// let filter = EscalationFilter::default()
///     .status(EscalationStatus::Pending)
///     .agent_id("deploy-bot")
///     .limit(200);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct EscalationFilter {
    /// The status of the escalations.
    pub status: Option<EscalationStatus>,
    /// The agent that asked.
    pub agent_id: Option<String>,
    /// The person who has to decide.
    pub assigned_to_user_id: Option<String>,
    /// The number of escalations on a page.
    pub limit: Option<u32>,
    /// The cursor of the page.
    pub cursor: Option<String>,
}

impl EscalationFilter {
    /// Selects escalations with this status. A second call replaces the first.
    pub fn status(mut self, status: EscalationStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Selects escalations of this agent. A second call replaces the first.
    pub fn agent_id(mut self, agent: impl Into<String>) -> Self {
        self.agent_id = Some(agent.into());
        self
    }

    /// Selects escalations that this person has to decide. A second call replaces the first.
    pub fn assigned_to_user_id(mut self, user: impl Into<String>) -> Self {
        self.assigned_to_user_id = Some(user.into());
        self
    }

    /// Sets the number of escalations on a page: 50 by default, 500 at most. A second call replaces
    /// the first.
    pub fn limit(mut self, escalations: u32) -> Self {
        self.limit = Some(escalations);
        self
    }

    /// Selects the page at this cursor, taken from [`EscalationPage::next_cursor`]. A second call
    /// replaces the first.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    /// Returns the parameters that are set, with their names on the wire.
    #[must_use]
    pub fn query(&self) -> Vec<(&'static str, String)> {
        let status = self
            .status
            .as_ref()
            .map(|status| status.as_str().to_owned());
        let limit = self.limit.map(|limit| limit.to_string());
        [
            ("status", &status),
            ("agent_id", &self.agent_id),
            ("assigned_to_user_id", &self.assigned_to_user_id),
            ("limit", &limit),
            ("cursor", &self.cursor),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.clone()?)))
        .collect()
    }
}

/// A page of escalations, the newest first: the answer to `GET /v1/hitl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(from = "Object<WirePage>")]
#[non_exhaustive]
pub struct EscalationPage {
    /// The escalations.
    pub escalations: Vec<Escalation>,
    /// The number of escalations from this page on. `atlasent serve` counts exactly on the last
    /// page. Before it, the number is an estimate: the number of open escalations, and at least one
    /// more than the page has. [`next_cursor`](Self::next_cursor) alone tells whether there are
    /// more.
    pub total: u64,
    /// The cursor of the next page. `None` on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// The state of the rate limit, from the headers of the answer.
    #[serde(skip_serializing)]
    pub rate_limit: Option<RateLimit>,
}

impl EscalationPage {
    /// Creates a page. `next_cursor` is `None` on the last page.
    #[must_use]
    pub fn new(escalations: Vec<Escalation>, total: u64, next_cursor: Option<String>) -> Self {
        Self {
            escalations,
            total,
            next_cursor,
            rate_limit: None,
        }
    }
}

#[derive(Deserialize)]
struct WirePage {
    escalations: Vec<Escalation>,
    total: u64,
    next_cursor: Option<String>,
}

impl From<Object<WirePage>> for EscalationPage {
    fn from(Object(wire): Object<WirePage>) -> Self {
        // On the last page, servers send `null` or an empty cursor.
        let next_cursor = wire.next_cursor.filter(|cursor| !cursor.is_empty());
        Self::new(wire.escalations, wire.total, next_cursor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_filter_says_only_what_is_set() {
        assert!(EscalationFilter::default().query().is_empty());
        let filter = EscalationFilter::default()
            .status(EscalationStatus::Pending)
            .status(EscalationStatus::Escalated)
            .agent_id("a")
            .assigned_to_user_id("b")
            .limit(7)
            .cursor("c");
        let expected = [
            ("status", "escalated"),
            ("agent_id", "a"),
            ("assigned_to_user_id", "b"),
            ("limit", "7"),
            ("cursor", "c"),
        ];
        assert_eq!(
            filter.query(),
            expected.map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn the_last_page_has_no_cursor_however_a_server_says_so() {
        for cursor in [json!(null), json!("")] {
            let page = json!({"escalations": [], "total": 0, "next_cursor": cursor});
            let page: EscalationPage = serde_json::from_value(page).unwrap();
            assert_eq!(page, EscalationPage::new(Vec::new(), 0, None));
            let written = serde_json::to_value(page).unwrap();
            assert_eq!(written, json!({"escalations": [], "total": 0}));
        }
        let page = json!({"escalations": [], "total": 9, "next_cursor": "c"});
        let read: EscalationPage = serde_json::from_value(page.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), page);
    }
}
