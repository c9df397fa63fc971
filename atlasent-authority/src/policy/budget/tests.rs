use atlasent::wire::{EvaluateRequest, RequestOptions};
use atlasent::{Agent, AnyAction, Context};

use super::parse::MAX_BUDGETS;
use super::*;

fn parse(text: &str) -> Result<Vec<Budget>, String> {
    parse_all(&"pay".into(), text)
}

#[test]
fn a_budget_is_shown_as_it_is_written() {
    for text in [
        "amount 1000/day per agent",
        "calls 100/hour per organization",
        "order.total 19.99/minute per resource",
        "x 0.0001/second per agent",
    ] {
        let parsed = parse(text).unwrap();
        assert_eq!(parsed.len(), 1);
        assert_eq!(parsed[0].to_string(), text);
    }
    let both = parse(" amount  1e3/day per agent,calls 5.0/hour per agent ").unwrap();
    let shown: Vec<_> = both.iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        ["amount 1000/day per agent", "calls 5/hour per agent"]
    );
    assert_eq!(
        (both[0].limit, both[0].seconds),
        (Units(10_000_000), 86_400)
    );
}

#[test]
fn an_invalid_budget_is_refused_with_what_to_write() {
    for (text, says) in [
        ("", "`amount 1000/day per agent`"),
        ("amount", "is not a budget"),
        ("1000/day per agent", "is not a budget"),
        ("amount 1000/day for agent", "is not a budget"),
        ("amount 1000/day per agent,", "is not a budget"),
        ("amount 1000 per agent", "as in `1000/day`"),
        ("amount -5/day per agent", "positive number"),
        ("amount ten/day per agent", "positive number"),
        ("amount 0.00001/day per agent", "four digits"),
        ("amount 1e30/day per agent", "positive number"),
        ("amount 0/day per agent", "allows nothing"),
        ("calls 1.5/day per agent", "not a whole number"),
        ("calls 5/days per agent", "did you mean `day`?"),
        (
            "calls 5/fortnight per agent",
            "use `second`, `minute`, `hour`, `day`",
        ),
        ("calls 5/day per agents", "did you mean `agent`?"),
        (
            "calls 5/day per user",
            "use `agent`, `resource`, `organization`",
        ),
        ("context.amount 5/day per agent", "within the context"),
        ("order..total 5/day per agent", "not a path"),
        ("a 5/day per agent, a 6/day per agent", "two limits"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(says), "{text}: {error}");
    }
    let many = |count: usize| {
        let items: Vec<_> = (0..count)
            .map(|n| format!("k{n} 1/day per agent"))
            .collect();
        parse(&items.join(","))
    };
    assert_eq!(many(MAX_BUDGETS).unwrap().len(), MAX_BUDGETS);
    assert!(many(MAX_BUDGETS + 1).is_err());
    assert!(parse("a 5/day per agent, a 6/hour per agent, a 7/day per resource").is_ok());
}

fn taken(path: &str, context: &str, options: RequestOptions) -> Result<String, String> {
    let action = AnyAction::new("pay").unwrap();
    let action = action.with_context(Context::parse(context).unwrap());
    let request = EvaluateRequest::new(Agent::new("bot").unwrap(), &action).unwrap();
    let budget = parse(&format!("{path} 1/day per agent")).unwrap().remove(0);
    let amount = budget.amount(&request.with_options(options));
    amount.map(|units| units.to_string())
}

#[test]
fn an_amount_is_taken_exactly_as_it_is_written() {
    let none = RequestOptions::default;
    for (context, amount) in [
        (r#"{"n": 5}"#, "5"),
        (r#"{"n": 0}"#, "0"),
        (r#"{"n": -0.0}"#, "0"),
        (r#"{"n": 0.1}"#, "0.1"),
        (r#"{"n": 1999e-2}"#, "19.99"),
        (r#"{"n": "0.3"}"#, "0.3"),
        (r#"{"n": 922337203685477.5807}"#, "922337203685477.5807"),
    ] {
        assert_eq!(
            taken("n", context, none()).as_deref(),
            Ok(amount),
            "{context}"
        );
    }
    assert_eq!(
        taken("a.b", r#"{"a": {"b": 2.50}}"#, none()).unwrap(),
        "2.5"
    );
    assert_eq!(taken("calls", "{}", none()).unwrap(), "1");
    assert_eq!(taken("amount", "{}", none().amount(7)).unwrap(), "7");
    assert_eq!(
        taken("amount", r#"{"amount": null}"#, none().amount(7)).unwrap(),
        "7"
    );
}

#[test]
fn an_amount_that_cannot_be_added_up_is_refused_without_its_value() {
    for (context, says) in [
        ("{}", "is missing"),
        (r#"{"n": null}"#, "is missing"),
        (r#"{"n": "many"}"#, "is not a number"),
        (r#"{"n": ""}"#, "is not a number"),
        (r#"{"n": " 5"}"#, "is not a number"),
        (r#"{"n": true}"#, "is not a number"),
        (r#"{"n": [5]}"#, "is not a number"),
        (r#"{"n": {"m": 5}}"#, "is not a number"),
        (r#"{"n": -5}"#, "is negative"),
        (r#"{"n": -0.00001}"#, "is negative"),
        (r#"{"n": -1e300}"#, "is negative"),
        (r#"{"n": "-5"}"#, "is negative"),
        (r#"{"n": 0.00001}"#, "more than four digits"),
        (r#"{"n": "0.00001"}"#, "more than four digits"),
        (r#"{"n": 1e300}"#, "too large"),
        (r#"{"n": 922337203685477.5808}"#, "too large"),
    ] {
        let error = taken("n", context, RequestOptions::default()).unwrap_err();
        assert!(error.contains(says), "{context}: {error}");
        assert!(!error.contains("many") && !error.contains("300"), "{error}");
    }
    let named = RequestOptions::default().amount(5);
    assert!(taken("n", "{}", named).is_err());
}

#[test]
fn a_string_that_programs_read_differently_is_not_an_amount() {
    // `parseInt` makes 5, 5, 1, 7, 5, 16, 5 and 1 of the first eight.
    for text in [
        "5e-4", "5E-4", "1e3", "007", "+5", "0x10", "5 ", "1_000", "1,000", "5.", ".5", "\t5", "٥",
        "５", "NaN", "Infinity", "5n", "5\u{0}", "--5", "5e", "e5",
    ] {
        let context = serde_json::json!({ "n": text }).to_string();
        let error = taken("n", &context, RequestOptions::default()).unwrap_err();
        assert!(error.contains("is not a number"), "{text}: {error}");
    }
    for (text, amount) in [
        ("5", "5"),
        ("0", "0"),
        ("5.50", "5.5"),
        ("0.0001", "0.0001"),
    ] {
        let context = serde_json::json!({ "n": text }).to_string();
        assert_eq!(
            taken("n", &context, RequestOptions::default()).unwrap(),
            amount
        );
    }
    // Every program reads a JSON number in the same way.
    assert_eq!(
        taken("n", r#"{"n": 5e-4}"#, RequestOptions::default()).unwrap(),
        "0.0005"
    );
}
