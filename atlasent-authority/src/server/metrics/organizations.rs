//! The metrics by organization.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use atlasent::Decision;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{Label, OrgDecisionLabels, OrgLabel};
use super::{Metrics, OTHER, register};
use crate::store::OrgId;

/// The largest number of organizations with series of their own: the first ones that ask.
const ORGANIZATIONS: usize = 200;

/// The label of all organizations beyond these. No organization has it as its id.
const OTHERS: &str = "(other)";

/// The metrics by organization.
pub(super) struct OrgMetrics {
    decisions: Family<OrgDecisionLabels, Counter>,
    open_approvals: Family<OrgLabel, Gauge>,
    registered: Gauge,
    loaded: Gauge,
    named: Mutex<HashSet<OrgId>>,
}

impl OrgMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            decisions: register(
                registry,
                "organization_decisions",
                "Evaluations by organization and decision; organizations beyond the first 200 are `(other)`",
                Family::default(),
            ),
            open_approvals: register(
                registry,
                "approvals_open",
                "Decisions that wait for approvers, of `local` and of the organizations in memory; organizations beyond the first 200 are `(other)`",
                Family::default(),
            ),
            registered: register(
                registry,
                "organizations",
                "Organizations in the registry, beside `local`",
                Gauge::default(),
            ),
            loaded: register(
                registry,
                "organizations_loaded",
                "Organizations whose policies are in memory, beside `local`",
                Gauge::default(),
            ),
            named: Mutex::default(),
        }
    }

    fn label(&self, org: &OrgId) -> Label {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        if named.contains(org) || (named.len() < ORGANIZATIONS && named.insert(org.clone())) {
            Label::new(org.as_str())
        } else {
            OTHERS.into()
        }
    }
}

impl Metrics {
    /// Counts a decision of an organization beside `local`. Its actions get no series: thousands
    /// of organizations have their own, and the metrics are for the operator of the server.
    pub(crate) fn count_org_decision(&self, org: &OrgId, decision: Decision) {
        self.count_decision(OTHER, false, decision);
        let labels = OrgDecisionLabels {
            organization: self.organizations.label(org),
            decision: decision.as_str().into(),
        };
        self.organizations.decisions.get_or_create(&labels).inc();
    }

    /// Sets how many decisions wait for approvers, in place of all former numbers.
    pub(super) fn set_open_approvals(&self, open: &[(OrgId, u64)]) {
        let gauges = &self.organizations.open_approvals;
        gauges.clear();
        for (org, open) in open {
            let organization = match org.is_local() {
                true => Label::new(org.as_str()),
                false => self.organizations.label(org),
            };
            let open = i64::try_from(*open).unwrap_or(i64::MAX);
            gauges
                .get_or_create(&OrgLabel { organization })
                .inc_by(open);
        }
    }

    /// Sets how many organizations are registered, and how many are in memory.
    pub(crate) fn set_organizations(&self, registered: usize, loaded: usize) {
        let number = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.organizations.registered.set(number(registered));
        self.organizations.loaded.set(number(loaded));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_organizations_with_series_is_bounded() {
        let metrics = Metrics::new();
        // An organization that is called as the others might be.
        metrics.count_org_decision(&"other".parse().unwrap(), Decision::Allow);
        for n in 1..ORGANIZATIONS + 10 {
            let org: OrgId = format!("org-{n}").parse().unwrap();
            metrics.count_org_decision(&org, Decision::Allow);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry).unwrap();
        let series = "atlasent_organization_decisions_total{";
        assert_eq!(text.matches(series).count(), ORGANIZATIONS + 1);
        assert!(text.contains(r#"{organization="(other)",decision="allow"} 10"#));
        for own in ["other", "org-1"] {
            let series = format!(r#"{{organization="{own}",decision="allow"}} 1"#);
            assert!(text.contains(&series), "{text}");
        }
        assert!(OTHERS.parse::<OrgId>().is_err());
    }

    #[test]
    fn decisions_that_wait_are_added_up_beyond_the_bound() {
        let metrics = Metrics::new();
        let orgs = (0..ORGANIZATIONS + 10).map(|n| (format!("org-{n}").parse().unwrap(), 2));
        let orgs: Vec<_> = orgs.chain([(OrgId::local(), 3)]).collect();
        // Each time anew.
        for _ in 0..2 {
            metrics.set_open_approvals(&orgs);
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry).unwrap();
        let series = "atlasent_approvals_open{";
        assert_eq!(text.matches(series).count(), ORGANIZATIONS + 2);
        for line in [
            r#"{organization="local"} 3"#,
            r#"{organization="org-0"} 2"#,
            r#"{organization="(other)"} 20"#,
        ] {
            assert!(text.contains(line), "{line}: {text}");
        }
        metrics.set_open_approvals(&[]);
        text.clear();
        prometheus_client::encoding::text::encode(&mut text, &metrics.registry).unwrap();
        assert!(!text.contains(series), "{text}");
    }
}
