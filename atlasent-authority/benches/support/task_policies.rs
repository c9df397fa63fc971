//! Ten policies for the action `task`, as in the bench `protect`.

/// The number of policies.
const POLICIES: usize = 10;

/// Returns the policies. One of them permits an `amount` below 1,000.
pub(crate) fn task_policies() -> String {
    let policies = (0..POLICIES).map(|n| {
        let (effect, condition) = match n {
            0 => ("permit", "context.amount < 1000".to_owned()),
            1 => ("forbid", "context.amount > 5000".to_owned()),
            _ => ("permit", format!(r#"context.region == "region-{n}""#)),
        };
        format!(
            r#"@id("task-{n}") {effect} (principal, action == Action::"task", resource) when {{ {condition} }};"#
        )
    });
    policies.collect()
}
