//! How the decisions of shadow policies compare with the real ones.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::{OutcomeLabel, ShadowLabels};
use super::{Metrics, OTHER, register};
use crate::server::shadow::ShadowOutcome;

/// The counters of shadow policies.
pub(super) struct ShadowMetrics {
    decisions: Family<ShadowLabels, Counter>,
    reloads: Family<OutcomeLabel, Counter>,
}

impl ShadowMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            decisions: register(
                registry,
                "shadow_decisions",
                "Decisions of the shadow policies, compared with the real ones, by action and outcome",
                Family::default(),
            ),
            reloads: register(
                registry,
                "shadow_reloads",
                "Shadow policies that were read, by outcome",
                Family::default(),
            ),
        }
    }
}

impl Metrics {
    /// Counts a decision of the shadow policies. `is_named` tells whether the real policies name
    /// the action.
    pub(crate) fn count_shadow(&self, action: &str, is_named: bool, outcome: ShadowOutcome) {
        let action = match is_named {
            true => self.action(action),
            false => OTHER.into(),
        };
        let outcome = outcome.as_str().into();
        let labels = ShadowLabels { action, outcome };
        self.shadow.decisions.get_or_create(&labels).inc();
    }

    /// Counts shadow policies that were read.
    pub(crate) fn count_shadow_reload(&self, outcome: &'static str) {
        let outcome = outcome.into();
        let labels = OutcomeLabel { outcome };
        self.shadow.reloads.get_or_create(&labels).inc();
    }
}
