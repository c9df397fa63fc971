//! The approval annotations: where they may be, what they mean, and what a verdict carries of them.

use std::time::Duration;

use atlasent::Decision;
use serde_json::json;

use super::{ask, parse_error, places};
use crate::policy::{ApprovalRule, Approvers, Policies, Quorum, QuorumTier};

/// Every approval annotation, with a value that is right.
const ALL: [&str; 6] = [
    r#"@approvers("role:release-manager, user:alice")"#,
    r#"@quorum("2")"#,
    r#"@approval_ttl("4h")"#,
    r#"@escalate_to("role:director, then role:cto, user:dana")"#,
    r#"@redact("card_number, customer.ssn")"#,
    r#"@approval_grants("1h")"#,
];

fn held(annotations: &str) -> String {
    format!("@id(\"h\") @decision(\"hold\")\n{annotations} forbid (principal, action, resource);")
}

/// Returns the one rule of a hold with these annotations.
fn rule(annotations: &str) -> ApprovalRule {
    let policies = Policies::parse(&held(annotations)).unwrap();
    let verdict = ask(&policies, "deploy", &json!({}));
    assert_eq!(verdict.decision, Decision::Hold);
    let [rule] = verdict.approval.try_into().unwrap();
    rule
}

#[test]
fn a_hold_carries_what_its_annotations_ask_for() {
    let full = rule(&ALL.join(" "));
    let expected = ApprovalRule {
        approvers: Approvers::parse("role:release-manager, user:alice").unwrap(),
        quorum: Quorum::Number(2),
        ttl: Duration::from_secs(4 * 3_600),
        escalate_to: vec![
            Approvers::parse("role:director").unwrap(),
            Approvers::parse("role:cto, user:dana").unwrap(),
        ],
        redact: vec!["card_number".to_owned(), "customer.ssn".to_owned()],
        grants: Some(Duration::from_secs(3_600)),
        ..ApprovalRule::new("h")
    };
    assert_eq!(full, expected);
}

#[test]
fn a_hold_without_annotations_needs_one_approval_of_anyone_within_a_day() {
    let plain = rule("");
    assert_eq!(plain, ApprovalRule::new("h"));
    assert_eq!(plain.approvers, Approvers::Any);
    assert_eq!(plain.quorum.required(), 1);
    assert_eq!(plain.ttl, Duration::from_secs(86_400));
    assert_eq!(plain.grants, None);
}

#[test]
fn a_tier_counts_the_listed_people() {
    let tier = rule(r#"@approvers("user:a, user:b, user:c") @quorum("two_thirds")"#);
    let expected = Quorum::Tier {
        tier: QuorumTier::TwoThirds,
        of: 3,
        at_least: None,
    };
    assert_eq!(tier.quorum, expected);
}

#[test]
fn each_policy_that_holds_has_its_rule_and_a_denial_has_none() {
    let policies = Policies::parse(
        r#"
        permit (principal, action, resource);
        @id("b") @decision("hold") @quorum("2") forbid (principal, action, resource) when { context.n > 1 };
        @id("a") @decision("escalate") @quorum("3") forbid (principal, action, resource) when { context.n > 2 };
        @id("no") forbid (principal, action, resource) when { context.n > 3 };
        @id("c") @decision("hold") forbid (principal, action, resource) when { context.n > 4 };
        "#,
    )
    .unwrap();
    for (n, decision, rules) in [
        (1, Decision::Allow, vec![]),
        (2, Decision::Hold, vec![("b", 2)]),
        (3, Decision::Escalate, vec![("a", 3), ("b", 2)]),
        (4, Decision::Deny, vec![]),
        (5, Decision::Deny, vec![]),
    ] {
        let verdict = ask(&policies, "deploy", &json!({ "n": n }));
        assert_eq!(verdict.decision, decision, "{n}");
        let carried = (verdict.approval.iter()).map(|rule| (&*rule.policy, rule.quorum.required()));
        assert_eq!(carried.collect::<Vec<_>>(), rules, "{n}");
    }
    let failed = ask(&policies, "deploy", &json!({}));
    assert!(failed.approval.is_empty() && !failed.errors.is_empty());
}

#[test]
fn an_approval_annotation_is_refused_where_nothing_waits_for_a_person() {
    for annotation in ALL.into_iter().chain(["@quorum", "@quorum(\"nonsense\")"]) {
        let name = annotation.split('(').next().unwrap();
        for policy in ["permit", "forbid", "@decision(\"deny\") forbid"] {
            let text = format!("\n  {annotation} {policy} (principal, action, resource);");
            let error = parse_error(&text);
            let expected = format!(
                "<policies>:2:3: `{name}` belongs on a `forbid` with `@decision(\"hold\")` or"
            );
            assert!(error.starts_with(&expected), "{policy}: {error}");
        }
        if annotation.ends_with(')') && !annotation.contains("nonsense") {
            let escalated = format!(
                "{annotation} @decision(\"escalate\") forbid (principal, action, resource);"
            );
            assert!(Policies::parse(&escalated).is_ok(), "{annotation}");
        }
    }
}

#[test]
fn a_value_that_is_wrong_is_refused_where_it_stands() {
    for (annotation, message) in [
        ("@approvers", "`@approvers`: it must not be empty"),
        ("@approvers(\" \")", "`@approvers`: it must not be empty"),
        (
            "@approvers(\"alice\")",
            "`@approvers`: `alice` is neither a role nor a person: write `role:NAME` or `user:NAME`",
        ),
        (
            "@approvers(\"user:a, user:a\")",
            "`@approvers`: `user:a` is listed twice",
        ),
        (
            "@quorum(\"0\")",
            "`@quorum`: `0` is no quorum: use a number",
        ),
        (
            "@quorum(\"unanimous\")",
            "`@quorum`: `unanimous` needs a number of approvers",
        ),
        (
            "@approval_ttl(\"soon\")",
            "`@approval_ttl`: invalid duration: write it as in `90m`",
        ),
        (
            "@approval_ttl(\"0\")",
            "`@approval_ttl`: `0` is not from `1s` to `30d`",
        ),
        (
            "@approval_ttl(\"31d\")",
            "`@approval_ttl`: `31d` is not from `1s` to `30d`",
        ),
        (
            "@approval_grants(\"30d1s\")",
            "`@approval_grants`: `30d1s` is not from `1s` to `30d`",
        ),
        (
            "@escalate_to(\"role:a then role:b\")",
            "`@escalate_to`: `role:a then role:b` has the word `then` in its name: write a comma",
        ),
        ("@redact(\"a..b\")", "`@redact`: `a..b` is not a path"),
        ("@redact(\"a,\")", "`@redact`: `` is not a path"),
        (
            "@redact(\"card, environment\")",
            "`@redact`: `environment` cannot be hidden",
        ),
        (
            "@redact(\"context.card\")",
            "`@redact`: `context.card` starts with `context`",
        ),
        (
            "@redact(\"a\\tb\")",
            "`@redact`: a path has a control character",
        ),
    ] {
        let error = parse_error(&held(annotation));
        assert!(
            error.starts_with(&format!("<policies>:2:1: {message}")),
            "{annotation}: {error}"
        );
    }
    for good in ["1s", "30d", "2592000", "1h30m", "4w"] {
        rule(&format!(
            "@approval_ttl(\"{good}\") @approval_grants(\"{good}\")"
        ));
    }
}

#[test]
fn a_quorum_that_the_listed_people_cannot_reach_is_refused() {
    let error = parse_error(&held(r#"@approvers("user:a, user:b") @quorum("3")"#));
    assert!(
        error.starts_with("<policies>:2:30: `@quorum`: `3` is more than the 2 that"),
        "{error}"
    );
    // A role may have any number of people.
    let mixed = rule(r#"@approvers("user:a, role:b") @quorum("3")"#);
    assert_eq!(mixed.quorum.required(), 3);
}

#[test]
fn every_wrong_approval_annotation_is_reported() {
    let error = Policies::parse(&held(
        "@quorum(\"0\")\n@approvers(\"a\")\n@redact(\".\")\n@code(\"\")",
    ));
    let mut found = places(&error.unwrap_err());
    found.sort_unstable();
    let lines = [2, 3, 4, 5].map(|line| format!("<policies>:{line}:1"));
    assert_eq!(found, lines);
    // Where the decision is unknown, the others are not.
    let unknown = Policies::parse(
        "@decision(\"hodl\")\n@quorum(\"2\") forbid (principal, action, resource);",
    );
    assert_eq!(places(&unknown.unwrap_err()), ["<policies>:1:1"]);
}

#[test]
fn the_digest_counts_every_approval_annotation() {
    let digest = |annotations: &str| {
        let policies = Policies::parse(&held(annotations)).unwrap();
        policies.action_digest("deploy").to_owned()
    };
    let mut digests: Vec<String> = (ALL.iter()).map(|annotation| digest(annotation)).collect();
    digests.extend([
        digest(""),
        digest("@quorum(\"3\")"),
        digest("@redact(\"card\")"),
    ]);
    let count = digests.len();
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count);
}
