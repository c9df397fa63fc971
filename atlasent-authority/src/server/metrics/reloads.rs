//! How many sets of policies were read, by outcome.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::OutcomeLabel;
use super::register;

/// Counts sets of policies that were read again, or refused at the first load of an organization.
/// Clones share the counts.
#[derive(Clone)]
pub(in crate::server) struct ReloadCounter(Family<OutcomeLabel, Counter>);

impl ReloadCounter {
    pub(super) fn new(registry: &mut Registry) -> Self {
        let reloads: Family<OutcomeLabel, Counter> = register(
            registry,
            "policy_reloads",
            "Policy sets that were read again, or refused at the first load of an organization, by outcome",
            Family::default(),
        );
        // A series that alerts watch has to exist before its first event.
        for outcome in ["loaded", "refused"] {
            let outcome = outcome.into();
            drop(reloads.get_or_create(&OutcomeLabel { outcome }));
        }
        Self(reloads)
    }

    /// Counts a set of policies.
    pub(in crate::server) fn count(&self, outcome: &'static str) {
        let outcome = outcome.into();
        self.0.get_or_create(&OutcomeLabel { outcome }).inc();
    }
}
