//! What the server counts, for Prometheus.

#[cfg(feature = "otlp")]
mod otlp;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt::{self, Write};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use atlasent::{Decision, Verification};
use axum::http::StatusCode;
use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};

use crate::policy::Policies;
use crate::store::StoreStatus;

/// How many actions have series of their own. Policies name them, over all reloads of a process.
const ACTIONS: usize = 1_000;

/// The label of an action that no policy names, and of a value that the contract does not have.
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
    digest: Family<PolicyDigest, Gauge>,
    stops: Gauge,
    reloads: Family<Outcome, Counter>,
    audit_log_sequence: Gauge,
    audit_log_failures: Counter,
    #[cfg(feature = "otlp")]
    pub(super) otlp: otlp::OtlpMetrics,
    actions: Mutex<HashSet<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    action: Label,
    decision: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PolicyDigest {
    digest: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    endpoint: Label,
    status: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Code {
    code: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Endpoint {
    endpoint: Label,
}

/// The value of a label. It is escaped as OpenMetrics asks for, which the exposition crate leaves
/// to its callers: a quote or a line break would end the value, and begin a line of the caller's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Label(Cow<'static, str>);

impl EncodeLabelValue for Label {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => encoder.write_str("\\\\")?,
                '"' => encoder.write_str("\\\"")?,
                '\n' => encoder.write_str("\\n")?,
                other => encoder.write_char(other)?,
            }
        }
        Ok(())
    }
}

impl Label {
    /// A label with characters replaced at which some readers break lines, and which OpenMetrics
    /// does not escape.
    fn new(text: &str) -> Self {
        let breaks_lines = |character: char| {
            character != '\n' && (character.is_control() || "\u{2028}\u{2029}".contains(character))
        };
        Self(Cow::Owned(text.replace(breaks_lines, "\u{fffd}")))
    }
}

impl From<&'static str> for Label {
    fn from(text: &'static str) -> Self {
        Self(Cow::Borrowed(text))
    }
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
                "Evaluations by action and decision; actions that no policy names are `other`",
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
            digest: registered(
                &mut registry,
                "policy_digest",
                "The digest of the policies that decide, in the label: the same on all servers that decide alike",
                Family::default(),
            ),
            stops: registered(&mut registry, "stops", "Stops that hold", Gauge::default()),
            reloads: registered(
                &mut registry,
                "policy_reloads",
                "Policy sets that were read again, by outcome",
                Family::default(),
            ),
            audit_log_sequence: registered(
                &mut registry,
                "audit_log_sequence",
                "The sequence number of the last event that the audit log has; 0 without an audit log",
                Gauge::default(),
            ),
            audit_log_failures: registered(
                &mut registry,
                "audit_log_failures",
                "Attempts to write the audit log that failed",
                Counter::default(),
            ),
            #[cfg(feature = "otlp")]
            otlp: otlp::OtlpMetrics::new(&mut registry),
            actions: Mutex::default(),
            registry,
        };
        // What is to be alerted on has to be there before it happens.
        for outcome in ["loaded", "refused"] {
            let outcome = outcome.into();
            drop(metrics.reloads.get_or_create(&Outcome { outcome }));
        }
        for code in ["STORE_UNAVAILABLE", "TIMEOUT", "OVERLOADED"] {
            let code = code.into();
            drop(metrics.refusals.get_or_create(&Code { code }));
        }
        metrics
    }

    /// Counts a decision. `is_named` says whether the policies name the action: callers choose
    /// names, and must choose neither the series nor how much memory they take.
    pub(super) fn decided(&self, action: &str, is_named: bool, decision: Decision) {
        let action = match is_named {
            true => self.action(action),
            false => OTHER.into(),
        };
        let decision = decision.as_str().into();
        (self.decisions.get_or_create(&Decided { action, decision })).inc();
    }

    pub(super) fn verified(&self, verification: &Verification) {
        let outcome = verification.outcome.as_deref().unwrap_or_default();
        let known = OUTCOMES.into_iter().find(|known| *known == outcome);
        let outcome = known.unwrap_or(OTHER).into();
        self.verifications.get_or_create(&Outcome { outcome }).inc();
    }

    /// Counts an answer. `endpoint` is the route that matched, never the path that was sent.
    pub(super) fn answered(
        &self,
        endpoint: &str,
        status: StatusCode,
        refused: Option<&'static str>,
        took: Duration,
    ) {
        let endpoint = Label::new(endpoint);
        (self.latency.get_or_create(&Endpoint {
            endpoint: endpoint.clone(),
        }))
        .observe(took.as_secs_f64());
        let status = status.as_u16();
        (self.requests.get_or_create(&Answered { endpoint, status })).inc();
        if let Some(code) = refused {
            let code = code.into();
            self.refusals.get_or_create(&Code { code }).inc();
        }
    }

    pub(super) fn reloaded(&self, outcome: &'static str) {
        let outcome = outcome.into();
        self.reloads.get_or_create(&Outcome { outcome }).inc();
    }

    /// Sets how far the audit log is.
    pub(super) fn audit_log_reached(&self, sequence: u64) {
        let sequence = i64::try_from(sequence).unwrap_or(i64::MAX);
        self.audit_log_sequence.set(sequence);
    }

    /// Counts an attempt to write the audit log that failed.
    pub(super) fn audit_log_failed(&self) {
        self.audit_log_failures.inc();
    }

    /// The text that Prometheus reads.
    pub(super) fn text(
        &self,
        status: Option<StoreStatus>,
        stops: Option<usize>,
        policies: &Policies,
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
        if let Some(stops) = stops {
            self.stops.set(number(stops as u64));
        }
        self.policies.set(number(policies.len() as u64));
        let digest = Label::new(policies.digest());
        self.digest.clear();
        self.digest.get_or_create(&PolicyDigest { digest }).set(1);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// The label of an action that the policies name.
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
    use crate::chain::ChainHead;

    fn text(metrics: &Metrics) -> String {
        let status = StoreStatus {
            head: ChainHead::genesis("local"),
            dropped: 0,
            cells: 7,
        };
        let policies = Policies::parse("permit (principal, action, resource);").unwrap();
        let text = metrics.text(Some(status), Some(2), &policies, Timestamp::now());
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
        metrics.decided("deploy", true, Decision::Hold);
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
            "atlasent_policies 1",
            "atlasent_stops 2",
            "atlasent_chain_sequence 0",
        ] {
            assert!(text.contains(line), "{line} in {text}");
        }
    }

    #[test]
    fn callers_do_not_choose_the_series() {
        let metrics = Metrics::new();
        for n in 0..5_000 {
            metrics.decided(&format!("junk-{n}"), false, Decision::Deny);
        }
        metrics.decided("deploy", true, Decision::Deny);
        let text = text(&metrics);
        assert_eq!(text.matches("atlasent_decisions_total{").count(), 2);
        assert!(text.contains(r#"action="other",decision="deny"} 5000"#));
        assert!(text.contains(r#"action="deploy",decision="deny"} 1"#));
    }

    #[test]
    fn the_number_of_series_is_bounded_over_all_reloads() {
        let metrics = Metrics::new();
        for n in 0..ACTIONS + 10 {
            metrics.decided(&format!("action-{n}"), true, Decision::Deny);
        }
        let text = text(&metrics);
        assert!(text.contains(r#"action="other",decision="deny"} 10"#));
    }

    #[test]
    fn an_outcome_that_the_contract_does_not_have_is_other() {
        let metrics = Metrics::new();
        let mut verification = Verification::valid();
        for outcome in OUTCOMES.into_iter().chain(["\"} 1\nforged 1", ""]) {
            verification.outcome = Some(outcome.to_owned());
            metrics.verified(&verification);
        }
        let text = text(&metrics);
        assert!(text.contains(r#"atlasent_verifications_total{outcome="other"} 2"#));
        assert_eq!(text.matches("atlasent_verifications_total{").count(), 7);
    }

    proptest! {
        /// Whatever a label holds, it stays one value on one line, and can be read back.
        #[test]
        fn a_label_stays_one_value(action in "[\\x00-\\x7f\u{80}-\u{a0}\u{2028}\u{2029}é]{0,40}") {
            let labelled_with = |action: &str| {
                let metrics = Metrics::new();
                metrics.decided(action, true, Decision::Deny);
                metrics.answered(action, StatusCode::OK, None, Duration::ZERO);
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
