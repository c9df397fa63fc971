//! How far the audit trail is at a collector (feature `otlp`).

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::register;

/// The counters of an OTLP log.
pub(in crate::server) struct OtlpMetrics {
    sequence: Gauge,
    /// Attempts to send that failed.
    pub(in crate::server) failures: Counter,
    /// Events that the collector rejected.
    pub(in crate::server) rejected: Counter,
}

impl OtlpMetrics {
    pub(super) fn new(registry: &mut Registry) -> Self {
        Self {
            sequence: register(
                registry,
                "audit_log_otlp_sequence",
                "The sequence number of the last event that the OTLP collector has; 0 without one",
                Gauge::default(),
            ),
            failures: register(
                registry,
                "audit_log_otlp_failures",
                "Attempts to send the audit trail to the OTLP collector that failed",
                Counter::default(),
            ),
            rejected: register(
                registry,
                "audit_log_otlp_rejected",
                "Events of the audit trail that the OTLP collector rejected",
                Counter::default(),
            ),
        }
    }

    /// Sets how far the collector is.
    pub(in crate::server) fn reached(&self, sequence: u64) {
        self.sequence
            .set(i64::try_from(sequence).unwrap_or(i64::MAX));
    }
}
