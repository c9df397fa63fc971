//! The annotation `@budget`: where it may be, where its errors are, and what draws a finding.

use super::{parse_error, places};
use crate::policy::Policies;

#[test]
fn a_budget_that_cannot_be_read_is_refused_at_its_place() {
    for (budget, says) in [
        (r#"@budget("amount 10 per agent")"#, "as in `1000/day`"),
        (
            r#"@budget("amount 10/days per agent")"#,
            "did you mean `day`?",
        ),
        ("@budget", "is not a budget"),
        (r#"@budget("")"#, "is not a budget"),
    ] {
        let text = format!("\n@id(\"pay\")\n  {budget} permit (principal, action, resource);");
        let error = parse_error(&text);
        assert!(error.starts_with("<policies>:3:3: `@budget`: "), "{error}");
        assert!(error.contains(says), "{error}");
    }
    let error =
        parse_error(r#"@bugdet("calls 1/day per agent") permit (principal, action, resource);"#);
    assert!(error.contains("did you mean `@budget`?"), "{error}");
}

#[test]
fn a_forbid_has_no_budget() {
    for decision in ["", r#"@decision("hold") "#] {
        let text = format!(
            "{decision}@budget(\"calls 1/day per agent\") forbid (principal, action, resource);"
        );
        let error = parse_error(&text);
        assert!(error.contains("`@budget` belongs on a `permit`"), "{error}");
    }
}

#[test]
fn only_the_policies_that_grant_a_request_bring_their_budgets() {
    let policies = Policies::parse(
        r#"
        @id("a") @budget("calls 1/day per agent, n 2/hour per resource") permit (principal, action, resource);
        @id("b") @budget("calls 3/day per agent") permit (principal, action, resource);
        @id("c") permit (principal, action, resource);
        "#,
    )
    .unwrap();
    let of = |ids: &[&str]| {
        let ids: Vec<_> = ids.iter().map(|id| (*id).into()).collect();
        let budgets = policies.budgets(&ids).map(ToString::to_string);
        budgets.collect::<Vec<_>>()
    };
    assert_eq!(of(&["b", "c"]), ["calls 3/day per agent"]);
    assert_eq!(
        of(&["a"]),
        ["calls 1/day per agent", "n 2/hour per resource"]
    );
    assert_eq!(of(&["unknown"]), [""; 0]);
}

#[test]
fn a_budget_that_starts_anew_or_never_finds_its_number_draws_a_finding() {
    const SCHEMA: &str = r#"
        entity Agent; entity Resource;
        action pay, refund appliesTo { principal: Agent, resource: Resource,
            context: { amount: decimal, count?: Long, order: { total: String, done: Bool } } };
    "#;
    let lint = |policy: &str| {
        let policies = Policies::builder()
            .schema("schema", SCHEMA)
            .source("p.cedar", policy);
        let found = policies.build().unwrap().lint();
        let found = found.iter().map(ToString::to_string);
        found
            .filter(|found| found.contains("budget"))
            .collect::<Vec<_>>()
    };
    let permit = |budget: &str| {
        format!(
            r#"@id("pay") @budget("{budget}/day per agent") permit (principal, action == Action::"pay", resource);"#
        )
    };
    for counted in ["calls 1", "amount 1", "count 1", "order.total 1"] {
        assert_eq!(lint(&permit(counted)), [""; 0], "{counted}");
    }
    for (counted, why) in [
        ("amout 1", "is not declared"),
        ("order.price 1", "is not declared"),
        ("order 1", "is not a number"),
        ("order.done 1", "is not a number"),
        ("amount.cents 1", "is not a number"),
    ] {
        let found = lint(&permit(counted));
        assert_eq!(found.len(), 1, "{counted}: {found:?}");
        assert!(
            found[0].contains(why) && found[0].contains("action `pay`"),
            "{found:?}"
        );
    }
    let found = lint(r#"@budget("calls 1/day per agent") permit (principal, action, resource);"#);
    assert!(found[0].contains("no `@id`"), "{found:?}");
}

#[test]
fn each_wrong_budget_of_a_folder_is_named() {
    let wrong = r#"@id("a") @budget("x") permit (principal, action, resource);
@id("b") @budget("calls 1/day per agent") permit (principal, action, resource);
@id("c") @budget("y") permit (principal, action, resource);"#;
    let error = Policies::builder()
        .source("p.cedar", wrong)
        .build()
        .unwrap_err();
    assert_eq!(places(&error), ["p.cedar:1:10", "p.cedar:3:10"]);
}
