//! `atlasent policy prove`: policies that never fail, and bounds.

use std::fs;

use atlasent::Decision;
use serde_json::{Value, json};

use super::support::{BOUNDS, DEPLOY, Set, cvc5, decide, findings, json};

#[test]
fn the_policies_of_the_first_start_are_proved() {
    let Some(cvc5) = cvc5() else { return };
    let set = Set::first();
    let digest = set.policies().digest().to_owned();
    let bounds = set.policies_with(BOUNDS).digest().to_owned();
    assert_eq!(
        set.prove(BOUNDS, &cvc5, &[]).prints(),
        format!(
            "proved: `deploy.production`: DIR allows nothing that BOUNDS denies\n\
             proved: `modify_patient_record`: DIR allows nothing that BOUNDS denies\n\
             policies that never fail to evaluate, by action: 6 of 6\n\
             DIR: 4 policies, digest {digest}\n\
             BOUNDS: 2 policies, digest {bounds}\n"
        )
    );
}

#[test]
fn every_mutant_has_a_counterexample_that_the_authority_confirms() {
    let Some(cvc5) = cvc5() else { return };
    for (file, from, to) in [
        (
            "deploy.cedar",
            "context.replicas > 50",
            "context.replicas > 51",
        ),
        (
            "deploy.cedar",
            "context.replicas > 50",
            "context.replicas == 51",
        ),
        (
            "deploy.cedar",
            r#"principal in Group::"deployers""#,
            "principal",
        ),
        (
            "deploy.cedar",
            r#"principal in Group::"deployers""#,
            r#"principal in Group::"clinic""#,
        ),
        (
            "deploy.cedar",
            "principal in Group::\"deployers\",\n  action == Action::\"deploy.production\"",
            "principal in Group::\"deployers\",\n  action",
        ),
        (
            "patients.cedar",
            r#"resource == Resource::"patient-1""#,
            r#"resource == Resource::"patient-2""#,
        ),
        (
            "patients.cedar",
            r#"context.change_reason != """#,
            r#"context.change_reason != "x""#,
        ),
        (
            "patients.cedar",
            "forbid (\n  principal,",
            "forbid (\n  principal == Agent::\"nobody\",",
        ),
        (
            "deploy.cedar",
            "context.replicas > 50",
            "context.replicas > 50 && context has environment",
        ),
    ] {
        let set = Set::first().with(file, from, to);
        let cases = set.beside("found.json");
        let more = ["--json", "--write-cases", cases.to_str().unwrap()];
        let report = json(set.prove(BOUNDS, &cvc5, &more), 1);
        let found = findings(&report, "counterexample");
        assert!(!found.is_empty(), "{to}: {report}");
        let (policies, bounds) = (set.policies(), set.policies_with(BOUNDS));
        for finding in found {
            assert_eq!(finding["claim"], "allows_no_more", "{to}: {report}");
            assert_eq!(
                decide(&policies, finding).decision,
                Decision::Allow,
                "{to}: {finding}"
            );
            assert_ne!(
                decide(&bounds, finding).decision,
                Decision::Allow,
                "{to}: {finding}"
            );
        }
        // The cases state what these policies decide, which the policies without the fault do not.
        let ended = set.test(&cases);
        assert_eq!(ended.code, 0, "{to}: {}", ended.stdout);
        assert_eq!(Set::first().test(&cases).code, 1, "{to}");
    }
}

#[test]
fn a_counterexample_reads_as_a_request() {
    let Some(cvc5) = cvc5() else { return };
    let set = Set::first().with(
        "deploy.cedar",
        "context.replicas > 50",
        "context.replicas > 51",
    );
    let text = set.prove(BOUNDS, &cvc5, &[]).finds();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..3],
        [
            "counterexample: `deploy.production`: DIR allows what BOUNDS denies",
            "  agent: deploy-bot",
            "  action: deploy.production",
        ]
    );
    assert!(lines[3].starts_with("  context: {"), "{text}");
    assert!(lines[3].contains(r#""replicas":51"#), "{text}");
    assert!(
        lines[4].starts_with("  entity: {") && lines[4].contains(r#""id":"deployers""#),
        "{text}"
    );
    assert_eq!(
        lines[5],
        "  DIR: allow by `deployers-deploy` at deploy.cedar:3:1"
    );
    assert_eq!(lines[6], "  BOUNDS: deny (NO_MATCHING_POLICY)");

    let set = Set::first().with(
        "patients.cedar",
        r#"== Resource::"patient-1""#,
        r#"== Resource::"patient-2""#,
    );
    let text = set.prove(BOUNDS, &cvc5, &[]).finds();
    assert!(text.contains("\n  resource: patient-1\n"), "{text}");
}

#[test]
fn a_policy_that_can_fail_is_found_with_the_request() {
    let Some(cvc5) = cvc5() else { return };
    let set = Set::first().with(
        "deploy.cedar",
        "context.replicas > 50",
        "context.replicas * 2 > 100",
    );
    let cases = set.beside("found.json");
    let report = json(
        set.prove(
            BOUNDS,
            &cvc5,
            &["--json", "--write-cases", cases.to_str().unwrap()],
        ),
        1,
    );
    let found = findings(&report, "counterexample");
    assert_eq!(found.len(), 1, "{report}");
    assert_eq!(
        (&found[0]["claim"], &found[0]["set"], &found[0]["policy"]),
        (
            &json!("never_errs"),
            &json!("dir"),
            &json!("big-rollouts-wait")
        )
    );
    let explanation = decide(&set.policies(), found[0]);
    assert_eq!(explanation.code.as_deref(), Some("POLICY_EVALUATION_ERROR"));
    assert_eq!(explanation.determining, ["big-rollouts-wait"]);
    assert_eq!(set.test(&cases).code, 0);
    // Such a request is denied, so the bounds hold all the same.
    let proved = findings(&report, "proved");
    let within = proved
        .iter()
        .filter(|finding| finding["claim"] == "allows_no_more");
    assert_eq!(within.count(), 2, "{report}");
}

#[test]
fn bounds_that_fail_deny() {
    let Some(cvc5) = cvc5() else { return };
    let result = |bounds: &str| {
        let report = json(Set::first().prove(bounds, &cvc5, &["--json"]), 1);
        let findings = report["findings"].as_array().unwrap();
        let is_deploy = |finding: &&Value| {
            finding["action"] == "deploy.production" && finding["set"] != "bounds"
        };
        let claims = findings
            .iter()
            .filter(|finding| finding["claim"] == "allows_no_more");
        claims
            .filter(is_deploy)
            .map(|finding| finding["result"].clone())
            .next()
            .unwrap()
    };
    let with = |policy: &str| {
        format!(
            "{BOUNDS}\npermit (principal, action == Action::\"deploy.production\", resource) when {{ {policy} }};"
        )
    };
    // They fail for requests that the policies deny, and for those that they allow.
    assert_eq!(
        result(&with("context.replicas > 50 && context.replicas * 2 < 0")),
        "proved"
    );
    assert_eq!(
        result(&with("context.replicas < 0 && context.replicas * 2 > 0")),
        "counterexample"
    );
    let bounds = BOUNDS.replace("context.replicas <= 50", "context.replicas * 2 <= 100");
    assert_eq!(result(&bounds), "counterexample");
}

#[test]
fn the_entities_of_the_set_count() {
    let Some(cvc5) = cvc5() else { return };
    // Nobody else is a deployer, or of the clinic.
    let bounds = r#"
        permit (principal == Agent::"deploy-bot", action == Action::"deploy.production", resource);
        permit (principal == Agent::"chart-bot", action == Action::"modify_patient_record", resource);"#;
    Set::first().prove(bounds, &cvc5, &[]).prints();

    let joined = r#""uid": { "type": "Agent", "id": "chart-bot" }, "attrs": {}, "parents": ["#;
    let set = Set::first().with(
        "entities.json",
        joined,
        &format!(r#"{joined}{{ "type": "Group", "id": "deployers" }}, "#),
    );
    let report = json(set.prove(bounds, &cvc5, &["--json"]), 1);
    let found = findings(&report, "counterexample");
    assert_eq!(found.len(), 1, "{report}");
    assert_eq!(found[0]["counterexample"]["agent"], "chart-bot");
}

const LEVELS: &str = r#"
entity Group;
entity Agent in [Group] { level: Long, team?: String };
entity Resource;
action read appliesTo { principal: Agent, resource: Resource, context: {} };
"#;

fn levels(policies: &str, level: i64) -> Set {
    let entities = json!([
        { "uid": { "type": "Agent", "id": "a" }, "attrs": { "level": level, "team": "x" }, "parents": [] },
        { "uid": { "type": "Agent", "id": "b" }, "attrs": { "level": 1 }, "parents": [] },
    ]);
    let entities = entities.to_string();
    Set::new(&[
        ("schema.cedarschema", LEVELS),
        ("p.cedar", policies),
        ("entities.json", &entities),
    ])
}

#[test]
fn attributes_of_entities_count_and_what_a_proof_assumes_is_said() {
    let Some(cvc5) = cvc5() else { return };
    let policies = r#"permit (principal, action, resource) when { principal.level > 2 };"#;
    let bounds = r#"permit (principal, action, resource) when { principal.level > 5 };"#;
    let proved = json(levels(policies, 6).prove(bounds, &cvc5, &["--json"]), 0);
    let assumptions = proved["assumptions"].as_array().unwrap();
    assert_eq!(assumptions.len(), 1, "{proved}");
    assert!(
        assumptions[0]
            .as_str()
            .unwrap()
            .starts_with("each `Agent` of which a policy reads `level` is in the entities")
    );

    let set = levels(policies, 3);
    let report = json(set.prove(bounds, &cvc5, &["--json"]), 1);
    let found = findings(&report, "counterexample");
    assert_eq!(found[0]["counterexample"]["agent"], "a", "{report}");
    assert_eq!(decide(&set.policies(), found[0]).decision, Decision::Allow);

    // An agent that is not in the entities has no optional attribute.
    let policies = r#"permit (principal, action, resource) when { principal has team && principal.team like "*x*" };"#;
    let bounds = r#"permit (principal == Agent::"a", action, resource);"#;
    let proved = json(levels(policies, 3).prove(bounds, &cvc5, &["--json"]), 0);
    assert_eq!(proved["assumptions"], json!([]));
}

#[test]
fn every_type_of_a_context_is_written_as_a_request_states_it() {
    let Some(cvc5) = cvc5() else { return };
    let schema = r#"
        entity Agent, Team; entity Resource;
        type Client = { ip: ipaddr, port?: Long };
        action refund appliesTo { principal: Agent, resource: Resource, context: {
            amount: decimal, client: Client, at: datetime, within: duration, team: Team, tags: Set<String>, ok: Bool,
        } };"#;
    let policies = r#"
        permit (principal, action, resource) when {
            context.amount.greaterThan(decimal("12.34")) && context.client.ip.isInRange(ip("10.1.0.0/16"))
            && context.client has port && context.client.port == 7
            && context.at > datetime("2026-11-28") && context.at < datetime("2026-11-30")
            && context.within > duration("1h") && context.team == Team::"ops"
            && context.tags.contains("urgent") && context.ok
        };"#;
    let set = Set::new(&[("schema.cedarschema", schema), ("p.cedar", policies)]);
    fs::write(set.path().join("entities.json"), "[]").unwrap();
    let bounds = r#"forbid (principal, action, resource);"#;
    let report = json(set.prove(bounds, &cvc5, &["--json"]), 1);
    let found = findings(&report, "counterexample");
    assert_eq!(found.len(), 1, "{report}");
    assert_eq!(
        decide(&set.policies(), found[0]).decision,
        Decision::Allow,
        "{report}"
    );
    assert_eq!(found[0]["counterexample"]["context"]["team"], "ops");
}

#[test]
fn a_counterexample_that_the_policies_do_not_confirm_leaves_the_claim_undecided() {
    let Some(cvc5) = cvc5() else { return };
    // The groups of an entity inside of a record are not limited to those that it has.
    let schema = r#"
        entity Group, Resource; entity Agent; entity Team in [Group];
        action read appliesTo { principal: Agent, resource: Resource, context: { by: { team: Team } } };"#;
    let policies =
        r#"permit (principal, action, resource) when { context.by.team in Group::"none" };"#;
    let set = Set::new(&[("schema.cedarschema", schema), ("p.cedar", policies)]);
    let deny = "forbid (principal, action, resource);";
    let cases = set.beside("found.json");
    let more = ["--json", "--write-cases", cases.to_str().unwrap()];
    let report = json(set.prove(deny, &cvc5, &more), 2);
    let undecided = findings(&report, "undecided");
    assert_eq!(undecided.len(), 1, "{report}");
    let reason = undecided[0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("the policies do not confirm the solver's counterexample"),
        "{reason}"
    );
    assert!(!cases.exists());
}

#[test]
fn without_a_schema_a_set_is_refused() {
    let set = Set::new(&[("deploy.cedar", DEPLOY)]);
    let line = set.prove(BOUNDS, "cvc5".as_ref(), &[]).misuse();
    assert!(
        line.contains("has no `schema.cedarschema`")
            && line.contains("`atlasent policy schema` writes one"),
        "{line}"
    );
}

#[test]
fn a_schema_without_requests_proves_nothing() {
    let schema =
        "entity User, Resource; action read appliesTo { principal: User, resource: Resource };";
    let policies = "permit (principal, action, resource);";
    let set = Set::new(&[("schema.cedarschema", schema), ("p.cedar", policies)]);
    let line = set.prove(policies, "cvc5".as_ref(), &[]).misuse();
    assert!(line.starts_with("there is nothing to prove"), "{line}");
}

#[test]
fn bounds_that_do_not_load_are_misuse() {
    for (bounds, words) in [
        ("permit (principal, action resource);", "bounds.cedar:1:"),
        (
            r#"permit (principal, action == Action::"drop", resource);"#,
            "drop",
        ),
        ("", "no policy"),
    ] {
        let line = Set::first().prove(bounds, "cvc5".as_ref(), &[]).misuse();
        assert!(
            line.starts_with("cannot load the bounds: ") && line.contains(words),
            "{line}"
        );
    }
}

#[test]
fn cases_replace_no_file() {
    let set = Set::first();
    let file = set.beside("found.json");
    fs::write(&file, "mine").unwrap();
    let more = ["--write-cases", file.to_str().unwrap()];
    let line = set.prove(BOUNDS, "cvc5".as_ref(), &more).misuse();
    assert!(line.contains("name a new file"), "{line}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn a_program_gets_the_same_as_json() {
    let Some(cvc5) = cvc5() else { return };
    let set = Set::first();
    let report = json(set.prove(BOUNDS, &cvc5, &["--json"]), 0);
    let never_errs = |action: &str, set: &str, policy: &str| json!({ "claim": "never_errs", "set": set, "policy": policy, "action": action, "result": "proved" });
    let within = |action: &str| json!({ "claim": "allows_no_more", "set": "dir", "than": "bounds", "action": action, "result": "proved" });
    let (deploy, modify) = ("deploy.production", "modify_patient_record");
    assert_eq!(
        report,
        json!({
            "proved": true,
            "findings": [
                never_errs(deploy, "dir", "big-rollouts-wait"),
                never_errs(deploy, "dir", "deployers-deploy"),
                never_errs(modify, "dir", "clinic-edits-records"),
                never_errs(modify, "dir", "vip-records-escalate"),
                never_errs(deploy, "bounds", report["findings"][4]["policy"].as_str().unwrap()),
                never_errs(modify, "bounds", report["findings"][5]["policy"].as_str().unwrap()),
                within(deploy),
                within(modify),
            ],
            "assumptions": [],
            "not_compared": [],
            "sets": {
                "dir": { "count": 4, "digest": set.policies().digest() },
                "bounds": { "count": 2, "digest": set.policies_with(BOUNDS).digest() },
            },
        })
    );
    let without: Value = json(
        {
            let directory = set.path();
            let arguments = [
                "policy",
                "prove",
                directory.to_str().unwrap(),
                "--json",
                "--solver",
            ];
            crate::support::atlasent(arguments.iter().copied().chain([cvc5.to_str().unwrap()]))
        },
        0,
    );
    assert_eq!(without["findings"].as_array().unwrap().len(), 4);
}
