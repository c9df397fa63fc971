//! Tests every example of `docs/policies.md`.

use atlasent::wire::{EvaluateRequest, RequestOptions};
use atlasent::{Agent, AnyAction, Authority, Context, Decision};
use atlasent_authority::policy::Explanation;
use atlasent_authority::{LocalAuthority, Policies};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::support::now;

const PAGE: &str = include_str!("../../../docs/policies.md");

/// A request of the page, and its expected answer.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case<'a> {
    action: String,
    #[serde(borrow)]
    context: Option<&'a RawValue>,
    environment: Option<String>,
    amount: Option<serde_json::Number>,
    #[serde(default)]
    actors: Vec<Agent>,
    expect: Decision,
    code: Option<String>,
    /// What the policies that hold the request ask for.
    #[serde(default)]
    approval: Vec<String>,
    /// What is left of the first budget. The requests of a block with budgets come one after the
    /// other.
    left: Option<String>,
    /// The decision once people have released the request.
    released: Option<Decision>,
}

/// Returns the blocks of code, with their languages.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let fenced = PAGE.split("\n```").skip(1).step_by(2);
    fenced
        .map(|block| block.split_once('\n').unwrap())
        .collect()
}

/// Returns the first two cells of each row below this heading whose cells are code.
fn rows(heading: &str) -> Vec<(&'static str, &'static str)> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let cells = section.lines().filter_map(|line| {
        let (json, rest) = line.strip_prefix("| `")?.split_once("` | `")?;
        Some((json, rest.split_once("` |")?.0))
    });
    cells.collect()
}

fn request(case: &Case<'_>) -> EvaluateRequest {
    let context = Context::parse(case.context.map_or("{}", RawValue::get)).unwrap();
    let action = AnyAction::new(case.action.clone())
        .unwrap()
        .with_context(context);
    let mut options = RequestOptions::default();
    options.environment.clone_from(&case.environment);
    options.amount.clone_from(&case.amount);
    let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
    let request = request.with_options(options);
    request.with_actors(case.actors.iter().cloned())
}

fn ask(policies: &Policies, case: &Case<'_>) -> Explanation {
    policies.explain(&request(case))
}

/// Asks an authority one request after the other, and returns how many there were.
fn ask_in_turn(policies: Policies, cases: &[Case<'_>]) -> usize {
    let authority = LocalAuthority::in_memory(policies).unwrap();
    for case in cases {
        let shown = (&case.action, case.context.map(RawValue::get));
        let answer = now(authority.evaluate(&request(case)));
        assert_eq!(answer.decision, case.expect, "{shown:?}");
        assert_eq!(answer.code, case.code, "{shown:?}");
        let left = answer.budgets.first().map(|state| state.remaining.clone());
        assert_eq!(left, case.left, "{shown:?}");
    }
    cases.len()
}

#[test]
fn each_value_of_the_page_becomes_what_it_says() {
    let rows = rows("Values without a schema");
    assert_eq!(rows.len(), 17);
    for (json, cedar) in rows {
        let text = format!("permit (principal, action, resource) when {{ context.v == {cedar} }};");
        let policies = Policies::parse(&text).unwrap();
        let context = format!(r#"{{"v": {json}}}"#);
        let case = Case {
            action: "act".to_owned(),
            context: Some(serde_json::from_str(&context).unwrap()),
            environment: None,
            amount: None,
            actors: Vec::new(),
            expect: Decision::Allow,
            code: None,
            approval: Vec::new(),
            left: None,
            released: None,
        };
        let explanation = ask(&policies, &case);
        assert_eq!(explanation.decision, Decision::Allow, "{json}");
        assert_eq!(explanation.code, None, "{json}");
    }
}

#[test]
fn each_case_of_the_page_has_the_answer_that_it_says() {
    let (mut schema, mut policies, mut count) = (None, None, 0);
    for (language, block) in blocks() {
        match language {
            "cedarschema" => schema = Some(block),
            "cedar" => {
                let builder = Policies::builder().source("page.cedar", block);
                let builder = match schema.take() {
                    Some(schema) => builder.schema("page.cedarschema", schema),
                    None => builder,
                };
                policies = Some(move || builder.clone().build().unwrap());
            }
            "json" => {
                let policies = policies.as_ref().unwrap();
                let cases = serde_json::from_str::<Vec<Case<'_>>>(block).unwrap();
                if cases.iter().any(|case| case.left.is_some()) {
                    count += ask_in_turn(policies(), &cases);
                    continue;
                }
                let policies = policies();
                for case in cases {
                    let explanation = ask(&policies, &case);
                    let shown = (&case.action, case.context.map(RawValue::get));
                    assert_eq!(explanation.decision, case.expect, "{shown:?}");
                    if case.code.is_some() {
                        assert_eq!(explanation.code, case.code, "{shown:?}");
                    }
                    let approval = explanation.approval.iter().map(ToString::to_string);
                    assert_eq!(approval.collect::<Vec<_>>(), case.approval, "{shown:?}");
                    assert_eq!(explanation.released, case.released, "{shown:?}");
                    count += 1;
                }
            }
            // This block is compiled and run with the documentation of this crate.
            "rust" => {}
            other => panic!("a block of `{other}`, which nothing runs"),
        }
    }
    assert_eq!(count, 44);
}
