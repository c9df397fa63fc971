//! How far the notifications of each endpoint are (feature `webhooks`).

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{EndpointLabel, Label, WebhookLabels};
use super::register;

/// The counters of notifications.
pub(in crate::server) struct WebhookMetrics {
    attempts: Family<WebhookLabels, Counter>,
    sequence: Family<EndpointLabel, Gauge>,
}

impl WebhookMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            attempts: register(
                registry,
                "webhook_deliveries",
                "Notifications by endpoint and outcome: delivered, failed (tried again), dropped (not tried again), gone",
                Family::default(),
            ),
            sequence: register(
                registry,
                "webhook_sequence",
                "The sequence number of the last event that was delivered or dropped, by endpoint",
                Family::default(),
            ),
        }
    }

    /// Counts an outcome.
    pub(in crate::server) fn count(&self, endpoint: &str, outcome: &'static str) {
        self.attempts
            .get_or_create(&labels(endpoint, outcome))
            .inc();
    }

    /// Creates the series that alerts watch, before their first event.
    pub(in crate::server) fn begin(&self, endpoint: &str) {
        for outcome in ["delivered", "failed", "dropped", "gone"] {
            drop(self.attempts.get_or_create(&labels(endpoint, outcome)));
        }
    }

    /// Sets how far an endpoint is.
    pub(in crate::server) fn reached(&self, endpoint: &str, sequence: u64) {
        let endpoint = Label::new(endpoint);
        let gauge = self.sequence.get_or_create(&EndpointLabel { endpoint });
        gauge.set(i64::try_from(sequence).unwrap_or(i64::MAX));
    }
}

fn labels(endpoint: &str, outcome: &'static str) -> WebhookLabels {
    WebhookLabels {
        endpoint: Label::new(endpoint),
        outcome: outcome.into(),
    }
}
