//! The metrics of a server, for Prometheus.

mod labels;
mod organizations;
#[cfg(feature = "otlp")]
mod otlp;
mod reloads;
mod shadow;
#[cfg(feature = "webhooks")]
mod webhooks;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atlasent::Decision;
use atlasent::wire::Verification;
use axum::http::StatusCode;
use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::policy::Policies;
use crate::store::{OrgId, StoreStatus};
use labels::{
    CodeLabel, DecisionLabels, DigestLabel, EndpointLabel, Label, OutcomeLabel, ResponseLabels,
};
pub(super) use reloads::ReloadCounter;

/// The largest number of actions with series of their own, over all reloads of the policies.
const ACTIONS: usize = 1_000;

/// The label of an action that no policy names, and of a value that is not in the contract.
const OTHER: &str = "other";

/// The outcomes of verifications (contract, part B).
const OUTCOMES: [&str; 6] = [
    "allow",
    "deny",
    "permit_consumed",
    "permit_expired",
    "permit_revoked",
    "permit_not_found",
];

/// The upper bounds of the latency buckets, in seconds.
const BUCKETS: [f64; 12] = [
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The metrics of a server.
pub(crate) struct Metrics {
    registry: Registry,
    decisions: Family<DecisionLabels, Counter>,
    verifications: Family<OutcomeLabel, Counter>,
    requests: Family<ResponseLabels, Counter>,
    refusals: Family<CodeLabel, Counter>,
    latency: Family<EndpointLabel, Histogram>,
    events: Gauge,
    sequence: Gauge,
    ahead: Gauge,
    store_answers: Gauge,
    cells: Gauge,
    policies: Gauge,
    digest: Family<DigestLabel, Gauge>,
    stops: Gauge,
    pub(super) reloads: ReloadCounter,
    audit_log_sequence: Gauge,
    audit_log_failures: Counter,
    #[cfg(feature = "otlp")]
    pub(super) otlp: otlp::OtlpMetrics,
    shadow: shadow::ShadowMetrics,
    #[cfg(feature = "webhooks")]
    pub(super) webhooks: webhooks::WebhookMetrics,
    organizations: organizations::OrgMetrics,
    actions: Mutex<HashSet<String>>,
    /// Held while an answer is written.
    writing: Mutex<()>,
}

/// Registers a metric under a name, and returns it.
fn register<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M {
    registry.register(name, help, metric.clone());
    metric
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("atlasent");
        let latency: fn() -> Histogram = || Histogram::new(BUCKETS);
        let latency = Family::new_with_constructor(latency);
        let metrics = Self {
            decisions: register(
                &mut registry,
                "decisions",
                "Evaluations by action and decision; actions that no policy names are `other`",
                Family::default(),
            ),
            verifications: register(
                &mut registry,
                "verifications",
                "Verifications of permits by outcome",
                Family::default(),
            ),
            requests: register(
                &mut registry,
                "requests",
                "Responses by endpoint and status",
                Family::default(),
            ),
            refusals: register(
                &mut registry,
                "refusals",
                "Errors by code",
                Family::default(),
            ),
            latency: register(
                &mut registry,
                "request_seconds",
                "The duration of requests, by endpoint",
                latency,
            ),
            events: register(
                &mut registry,
                "chain_events",
                "Events of the audit chain that the store holds",
                Gauge::default(),
            ),
            sequence: register(
                &mut registry,
                "chain_sequence",
                "The sequence number of the newest event",
                Gauge::default(),
            ),
            ahead: register(
                &mut registry,
                "chain_ahead_seconds",
                "How far the chain's time is ahead of the clock, since the clock was ahead once",
                Gauge::default(),
            ),
            store_answers: register(
                &mut registry,
                "store_answers",
                "1 if the store answered, so that the gauges of chain and ledger are current",
                Gauge::default(),
            ),
            cells: register(
                &mut registry,
                "ledger_entries",
                "Entries of the ledger: permits, and first answers to requests with an id",
                Gauge::default(),
            ),
            policies: register(
                &mut registry,
                "policies",
                "Policies that decide",
                Gauge::default(),
            ),
            digest: register(
                &mut registry,
                "policy_digest",
                "The digest of the policies that decide, in the label; servers with the same policies have the same digest",
                Family::default(),
            ),
            stops: register(&mut registry, "stops", "Stops that hold", Gauge::default()),
            reloads: ReloadCounter::new(&mut registry),
            audit_log_sequence: register(
                &mut registry,
                "audit_log_sequence",
                "The sequence number of the last event that the audit log has; 0 without an audit log",
                Gauge::default(),
            ),
            audit_log_failures: register(
                &mut registry,
                "audit_log_failures",
                "Attempts to write the audit log that failed",
                Counter::default(),
            ),
            #[cfg(feature = "otlp")]
            otlp: otlp::OtlpMetrics::new(&mut registry),
            shadow: shadow::ShadowMetrics::new(&mut registry),
            #[cfg(feature = "webhooks")]
            webhooks: webhooks::WebhookMetrics::new(&mut registry),
            organizations: organizations::OrgMetrics::new(&mut registry),
            actions: Mutex::default(),
            writing: Mutex::default(),
            registry,
        };
        // A series that alerts watch has to exist before its first event.
        for code in [
            "OVERLOADED",
            "POLICIES_UNAVAILABLE",
            "STORE_UNAVAILABLE",
            "TIMEOUT",
        ] {
            let code = code.into();
            drop(metrics.refusals.get_or_create(&CodeLabel { code }));
        }
        metrics
    }

    /// Counts a decision. `is_named` tells whether the policies name the action: callers choose the
    /// names of actions, and must not thereby create series.
    pub(crate) fn count_decision(&self, action: &str, is_named: bool, decision: Decision) {
        let action = match is_named {
            true => self.action(action),
            false => OTHER.into(),
        };
        let decision = decision.as_str().into();
        (self
            .decisions
            .get_or_create(&DecisionLabels { action, decision }))
        .inc();
    }

    /// Counts a verification.
    pub(crate) fn count_verification(&self, verification: &Verification) {
        let outcome = verification.outcome.as_deref().unwrap_or_default();
        let known = OUTCOMES.into_iter().find(|known| *known == outcome);
        let outcome = known.unwrap_or(OTHER).into();
        self.verifications
            .get_or_create(&OutcomeLabel { outcome })
            .inc();
    }

    /// Counts a response. `endpoint` is the matched route, never the path of the request. `code` is
    /// the code of an error.
    pub(crate) fn count_response(
        &self,
        endpoint: &str,
        status: StatusCode,
        code: Option<&'static str>,
        took: Duration,
    ) {
        let endpoint = Label::new(endpoint);
        (self.latency.get_or_create(&EndpointLabel {
            endpoint: endpoint.clone(),
        }))
        .observe(took.as_secs_f64());
        let status = status.as_u16();
        (self
            .requests
            .get_or_create(&ResponseLabels { endpoint, status }))
        .inc();
        if let Some(code) = code {
            let code = code.into();
            self.refusals.get_or_create(&CodeLabel { code }).inc();
        }
    }

    /// Sets the sequence number of the last event in the audit log.
    pub(crate) fn audit_log_reached(&self, sequence: u64) {
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        self.audit_log_sequence.set(sequence);
    }

    /// Counts an attempt to write the audit log that failed.
    pub(crate) fn audit_log_failed(&self) {
        self.audit_log_failures.inc();
    }

    /// Sets the gauges, and writes all metrics in the text format of OpenMetrics. `open` has the
    /// decisions that wait for approvers, by organization.
    pub(crate) fn text(
        &self,
        status: Option<StoreStatus>,
        stops: Option<usize>,
        open: &[(OrgId, u64)],
        policies: &Policies,
        now: Timestamp,
    ) -> Result<String, fmt::Error> {
        // Gauges with labels are emptied and filled. Another answer must not be written in between,
        // nor fill them as well.
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
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
        if let Some(stops) = stops {
            self.stops.set(number(stops as u64));
        }
        self.set_open_approvals(open);
        self.policies.set(number(policies.len() as u64));
        let digest = Label::new(policies.digest());
        self.digest.clear();
        self.digest.get_or_create(&DigestLabel { digest }).set(1);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// Returns the label of an action that the policies name: its name, or `other` beyond the
    /// limit.
    fn action(&self, action: &str) -> Label {
        let mut actions = self.actions.lock().unwrap_or_else(PoisonError::into_inner);
        if actions.contains(action)
            || (actions.len() < ACTIONS && actions.insert(action.to_owned()))
        {
            Label::new(action)
        } else {
            OTHER.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::trail::chain::ChainHead;

    fn text(metrics: &Metrics) -> String {
        let status = StoreStatus {
            head: ChainHead::genesis("local"),
            dropped: 0,
            cells: 7,
        };
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        let text = metrics.text(Some(status), Some(2), &[], &policies, Timestamp::now());
        let text = text.unwrap();
        let digest = format!(
            r#"atlasent_policy_digest{{digest="{}"}} 1"#,
            policies.digest()
        );
        assert!(text.contains(&digest), "{text}");
        text
    }

    #[test]
    fn everything_that_is_counted_is_told() {
        let metrics = Metrics::new();
        metrics.count_decision("deploy", true, Decision::Hold);
        metrics.count_verification(&Verification::valid());
        metrics.count_response(
            "/v1-evaluate",
            StatusCode::OK,
            None,
            Duration::from_millis(3),
        );
        metrics.count_response(
            "/v1-evaluate",
            StatusCode::CONFLICT,
            Some("C"),
            Duration::ZERO,
        );
        metrics.reloads.count("refused");
        let text = text(&metrics);
        for line in [
            r#"atlasent_decisions_total{action="deploy",decision="hold"} 1"#,
            r#"atlasent_verifications_total{outcome="allow"} 1"#,
            r#"atlasent_requests_total{endpoint="/v1-evaluate",status="409"} 1"#,
            r#"atlasent_refusals_total{code="C"} 1"#,
            r#"atlasent_request_seconds_bucket{le="0.005",endpoint="/v1-evaluate"} 2"#,
            r#"atlasent_policy_reloads_total{outcome="refused"} 1"#,
            "atlasent_ledger_entries 7",
            "atlasent_policies 1",
            "atlasent_stops 2",
            "atlasent_chain_sequence 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn answers_that_are_written_at_once_are_each_whole() {
        let metrics = Metrics::new();
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        let open = [(OrgId::local(), 3), ("acme".parse().unwrap(), 5)];
        let ask = || {
            for _ in 0..500 {
                let text = metrics.text(None, None, &open, &policies, Timestamp::now());
                let text = text.unwrap();
                for line in [
                    "atlasent_approvals_open{organization=\"local\"} 3\n",
                    "atlasent_approvals_open{organization=\"acme\"} 5\n",
                    "atlasent_policy_digest{digest=",
                ] {
                    assert!(text.contains(line), "{line} in {text}");
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(ask);
            }
        });
    }

    #[test]
    fn callers_do_not_choose_the_series() {
        let metrics = Metrics::new();
        for n in 0..5_000 {
            metrics.count_decision(&format!("junk-{n}"), false, Decision::Deny);
        }
        metrics.count_decision("deploy", true, Decision::Deny);
        let text = text(&metrics);
        assert_eq!(text.matches("atlasent_decisions_total{").count(), 2);
        assert!(text.contains(r#"action="other",decision="deny"} 5000"#));
        assert!(text.contains(r#"action="deploy",decision="deny"} 1"#));
    }

    #[test]
    fn the_number_of_series_is_bounded_over_all_reloads() {
        let metrics = Metrics::new();
        for n in 0..ACTIONS + 10 {
            metrics.count_decision(&format!("action-{n}"), true, Decision::Deny);
        }
        let text = text(&metrics);
        assert!(text.contains(r#"action="other",decision="deny"} 10"#));
    }

    #[test]
    fn an_outcome_that_the_contract_does_not_have_is_other() {
        let metrics = Metrics::new();
        let mut verification = Verification::valid();
        for outcome in OUTCOMES.into_iter().chain(["\"} 1\nforged 1", ""]) {
            verification.outcome = Some(outcome.into());
            metrics.count_verification(&verification);
        }
        let text = text(&metrics);
        assert!(text.contains(r#"atlasent_verifications_total{outcome="other"} 2"#));
        assert_eq!(text.matches("atlasent_verifications_total{").count(), 7);
    }

    proptest! {
        /// A label with any text is one value on one line, and can be read back.
        #[test]
        fn a_label_stays_one_value(action in "[\\x00-\\x7f\u{80}-\u{a0}\u{2028}\u{2029}é]{0,40}") {
            let labelled_with = |action: &str| {
                let metrics = Metrics::new();
                metrics.count_decision(action, true, Decision::Deny);
                metrics.count_response(action, StatusCode::OK, None, Duration::ZERO);
                text(&metrics)
            };
            let text = labelled_with(&action);
            prop_assert_eq!(text.lines().count(), labelled_with("plain").lines().count());
            let labelled: Vec<&str> =
                text.split('\n').filter(|line| line.starts_with("atlasent_decisions_total{")).collect();
            prop_assert_eq!(labelled.len(), 1);
            let value = labelled[0].strip_prefix("atlasent_decisions_total{action=\"").unwrap();
            let value = value.strip_suffix("\",decision=\"deny\"} 1").unwrap();
            let mut read = String::new();
            let mut characters = value.chars();
            while let Some(character) = characters.next() {
                prop_assert!(character != '"' && !character.is_control());
                read.push(match character {
                    '\\' => match characters.next().unwrap() {
                        'n' => '\n',
                        escaped => escaped,
                    },
                    other => other,
                });
            }
            let line_breaks = |c: char| c != '\n' && (c.is_control() || "\u{2028}\u{2029}".contains(c));
            let expected: String = action
                .chars()
                .map(|c| if line_breaks(c) { '\u{fffd}' } else { c })
                .collect();
            prop_assert_eq!(read, expected);
        }
    }
}
