//! What the server counts, for Prometheus.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atlasent::{Decision, Verification};
use axum::http::StatusCode;
use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::store::StoreStatus;

/// How many actions have a series of their own. Callers choose the names, and must not choose how much memory they take.
const ACTIONS: usize = 200;

/// Upper bounds of the latencies that are told apart, in seconds.
const BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The counters of a server.
pub(super) struct Metrics {
    registry: Registry,
    decisions: Family<Decided, Counter>,
    verifications: Family<Outcome, Counter>,
    requests: Family<Answered, Counter>,
    refusals: Family<Code, Counter>,
    latency: Family<Endpoint, Histogram>,
    events: Gauge,
    sequence: Gauge,
    ahead: Gauge,
    store_answers: Gauge,
    cells: Gauge,
    policies: Gauge,
    reloads: Family<Outcome, Counter>,
    actions: Mutex<HashSet<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    action: String,
    decision: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    endpoint: String,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    endpoint: String,
}

/// The metric, which the registry shows under this name from now on.
fn registered<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("atlasent");
        let latency: fn() -> Histogram = || Histogram::new(BUCKETS);
        let latency = Family::new_with_constructor(latency);
        let metrics = Self {
            decisions: registered(
                &mut registry,
                "decisions",
                "Evaluations by action and decision; beyond 200 actions, `other`",
                Family::default(),
            ),
            verifications: registered(
                &mut registry,
                "verifications",
                "Verifications of permits by outcome",
                Family::default(),
            ),
            requests: registered(
                &mut registry,
                "requests",
                "Answered requests by endpoint and status",
                Family::default(),
            ),
            refusals: registered(
                &mut registry,
                "refusals",
                "Requests without an answer by the code of the problem",
                Family::default(),
            ),
            latency: registered(
                &mut registry,
                "request_seconds",
                "How long requests took, by endpoint",
                latency,
            ),
            events: registered(
                &mut registry,
                "chain_events",
                "Events of the audit chain that the store holds",
                Gauge::default(),
            ),
            sequence: registered(
                &mut registry,
                "chain_sequence",
                "The sequence number of the newest event",
                Gauge::default(),
            ),
            ahead: registered(
                &mut registry,
                "chain_ahead_seconds",
                "How far the chain's time is ahead of the clock, since the clock was ahead once",
                Gauge::default(),
            ),
            store_answers: registered(
                &mut registry,
                "store_answers",
                "Whether the store said how much it keeps (1), so that the gauges of chain and ledger are new",
                Gauge::default(),
            ),
            cells: registered(
                &mut registry,
                "ledger_entries",
                "Permits that the store holds, and first answers to requests with an id",
                Gauge::default(),
            ),
            policies: registered(
                &mut registry,
                "policies",
                "Policies that decide",
                Gauge::default(),
            ),
            reloads: registered(
                &mut registry,
                "policy_reloads",
                "Policy sets that were read again, by outcome",
                Family::default(),
            ),
            actions: Mutex::default(),
            registry,
        };
        // What is to be alerted on has to be there before it happens.
        for outcome in ["loaded", "refused"] {
            let outcome = outcome.to_owned();
            drop(metrics.reloads.get_or_create(&Outcome { outcome }));
        }
        for code in ["STORE_UNAVAILABLE", "TIMEOUT", "OVERLOADED"] {
            drop(metrics.refusals.get_or_create(&Code { code }));
        }
        metrics
    }

    pub(super) fn decided(&self, action: &str, decision: Decision) {
        let action = self.label(action);
        let decision = decision.as_str();
        (self.decisions.get_or_create(&Decided { action, decision })).inc();
    }

    pub(super) fn verified(&self, verification: &Verification) {
        let outcome = verification.outcome.clone().unwrap_or_default();
        self.verifications.get_or_create(&Outcome { outcome }).inc();
    }

    pub(super) fn answered(
        &self,
        endpoint: &str,
        status: StatusCode,
        refused: Option<&'static str>,
        took: Duration,
    ) {
        let endpoint = endpoint.to_owned();
        (self.latency.get_or_create(&Endpoint {
            endpoint: endpoint.clone(),
        }))
        .observe(took.as_secs_f64());
        let status = status.as_u16();
        (self.requests.get_or_create(&Answered { endpoint, status })).inc();
        if let Some(code) = refused {
            self.refusals.get_or_create(&Code { code }).inc();
        }
    }

    pub(super) fn reloaded(&self, outcome: &str) {
        let outcome = outcome.to_owned();
        self.reloads.get_or_create(&Outcome { outcome }).inc();
    }

    /// The text that Prometheus reads.
    pub(super) fn text(
        &self,
        status: Option<StoreStatus>,
        policies: usize,
        now: Timestamp,
    ) -> Result<String, fmt::Error> {
        let number = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        self.store_answers.set(status.is_some().into());
        if let Some(status) = status {
            let sequence = status.head.sequence;
            self.events
                .set(number(sequence.saturating_sub(status.dropped)));
            self.sequence.set(number(sequence));
            self.cells.set(number(status.cells));
            let ahead = status.head.time.duration_since(now);
            self.ahead.set(ahead.as_secs().max(0));
        }
        self.policies.set(number(policies as u64));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    fn label(&self, action: &str) -> String {
        let mut actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        if actions.contains(action)
            || (actions.len() < ACTIONS && actions.insert(action.to_owned()))
        {
            action.to_owned()
        } else {
            "other".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::ChainHead;

    fn text(metrics: &Metrics) -> String {
        let status = StoreStatus {
            head: ChainHead::genesis("local"),
            dropped: 0,
            cells: 7,
        };
        metrics.text(Some(status), 3, Timestamp::now()).unwrap()
    }

    #[test]
    fn everything_that_is_counted_is_told() {
        let metrics = Metrics::new();
        metrics.decided("deploy", Decision::Hold);
        metrics.verified(&Verification::valid());
        metrics.answered(
            "/v1-evaluate",
            StatusCode::OK,
            None,
            Duration::from_millis(3),
        );
        metrics.answered(
            "/v1-evaluate",
            StatusCode::CONFLICT,
            Some("C"),
            Duration::ZERO,
        );
        metrics.reloaded("refused");
        let text = text(&metrics);
        for line in [
            r#"atlasent_decisions_total{action="deploy",decision="hold"} 1"#,
            r#"atlasent_verifications_total{outcome="allow"} 1"#,
            r#"atlasent_requests_total{endpoint="/v1-evaluate",status="409"} 1"#,
            r#"atlasent_refusals_total{code="C"} 1"#,
            r#"atlasent_request_seconds_bucket{le="0.005",endpoint="/v1-evaluate"} 2"#,
            r#"atlasent_policy_reloads_total{outcome="refused"} 1"#,
            "atlasent_ledger_entries 7",
            "atlasent_policies 3",
            "atlasent_chain_sequence 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn callers_do_not_choose_how_many_series_there_are() {
        let metrics = Metrics::new();
        for n in 0..1_000 {
            metrics.decided(&format!("action-{n}"), Decision::Deny);
        }
        let text = text(&metrics);
        assert_eq!(
            text.matches("atlasent_decisions_total{").count(),
            ACTIONS + 1
        );
        assert!(text.contains(r#"action="other",decision="deny"} 800"#));
    }
}
