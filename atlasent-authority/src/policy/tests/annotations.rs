//! The annotations that a policy may have, and the errors for all others.

use super::{PERMIT, ask, parse_error, places};
use crate::policy::Policies;

#[test]
fn an_annotation_without_meaning_is_refused_where_it_stands() {
    for (annotation, column, message) in [
        (
            "@decision(\"hold\") permit",
            1,
            "`@decision` belongs on a `forbid`",
        ),
        ("@decision forbid", 1, "unknown decision ``"),
        (
            "@decision(\"Hold\") forbid",
            1,
            "unknown decision `Hold`: use `deny`, `escalate` or `hold`",
        ),
        ("@decision(\"allow\") forbid", 1, "unknown decision `allow`"),
        (
            "@x_a(\"@decision(\\\"\") @decision(\"x\") forbid",
            22,
            "unknown decision `x`",
        ),
        ("@id(\"\") forbid", 1, "`@id` must not be empty"),
        (
            "@x_ @reason(\" \") forbid",
            5,
            "`@reason` must not be empty",
        ),
        ("@code @x_ forbid", 1, "`@code` must not be empty"),
    ] {
        let text = format!(
            "// forbid (principal, action, resource);\n{annotation} (principal, action, resource);"
        );
        let error = parse_error(&text);
        assert!(
            error.starts_with(&format!("<policies>:2:{column}: {message}")),
            "{annotation}: {error}"
        );
    }
}

#[test]
fn a_wait_is_whole_seconds_of_at_most_a_year() {
    let rule = |wait: &str, effect: &str| {
        format!("\n@id(\"x\") @retry_after{wait} {effect} (principal, action, resource);")
    };
    for good in ["1", "300", "0300", "31536000"] {
        let text = rule(&format!("(\"{good}\")"), "forbid");
        assert!(Policies::parse(&text).is_ok(), "{good}");
    }
    for bad in [
        "",
        " ",
        "0",
        "000",
        "-5",
        "+5",
        "5 ",
        " 5",
        "1.5",
        "1e3",
        "0x10",
        "3_600",
        "5m",
        "soon",
        "\u{0665}",
        "31536001",
        "18446744073709551617",
    ] {
        let error = parse_error(&rule(&format!("(\"{bad}\")"), "forbid"));
        assert!(
            error.starts_with("<policies>:2:10: `@retry_after` cannot be `")
                && error.ends_with("use whole seconds from `1` to `31536000`"),
            "{bad}: {error}"
        );
    }
    let bare = parse_error(&rule("", "forbid"));
    assert!(
        bare.starts_with("<policies>:2:10: `@retry_after` cannot be ``"),
        "{bare}"
    );
    for wait in ["(\"300\")", "(\"soon\")", ""] {
        let error = parse_error(&rule(wait, "permit"));
        assert!(
            error.starts_with("<policies>:2:10: `@retry_after` belongs on a `forbid`"),
            "{wait}: {error}"
        );
    }
}

#[test]
fn every_annotation_of_a_policy_that_is_wrong_is_reported() {
    let error = Policies::parse(
        "@code(\"\")\n@decision(\"no\")\n@retry_after(\"0\")\nforbid (principal, action, resource);",
    );
    assert_eq!(
        places(&error.unwrap_err()),
        ["<policies>:1:1", "<policies>:2:1", "<policies>:3:1"]
    );
}

#[test]
fn an_annotation_is_found_behind_comments_and_other_annotations() {
    let text = format!(
        "{PERMIT}// {PERMIT}\n  @ x_note // \"@decision\"\n  ( \"a\\\"b\" )\n  @id(\"x\")\n    @decision(\"no\")\nforbid (principal, action, resource);"
    );
    assert!(
        parse_error(&text).starts_with("<policies>:7:5: unknown decision `no`"),
        "{}",
        parse_error(&text)
    );
}

#[test]
fn an_annotation_that_means_nothing_is_refused_with_the_one_that_was_meant() {
    for (annotation, message) in [
        (
            "@desicion(\"hold\")",
            "unknown annotation `@desicion`: did you mean `@decision`?",
        ),
        (
            "@Decision(\"hold\")",
            "unknown annotation `@Decision`: did you mean `@decision`?",
        ),
        (
            "@resaon(\"no\")",
            "unknown annotation `@resaon`: did you mean `@reason`?",
        ),
        (
            "@retryafter(\"5\")",
            "unknown annotation `@retryafter`: did you mean `@retry_after`?",
        ),
        (
            "@cod(\"X\")",
            "unknown annotation `@cod`: did you mean `@code`?",
        ),
        (
            "@aprovers(\"a\")",
            "unknown annotation `@aprovers`: did you mean `@approvers`?",
        ),
        (
            "@owner(\"payments\")",
            "unknown annotation `@owner`: use `@id`, `@decision`, `@reason`, `@code`, `@retry_after`, `@budget`, `@approvers`, \
             `@quorum`, `@approval_ttl`, `@escalate_to`, `@redact`, `@approval_grants`, or for data of your own a name that starts with `x_`, as in `@x_owner`",
        ),
        ("@X_owner(\"a\")", "unknown annotation `@X_owner`"),
        ("@x(\"a\")", "unknown annotation `@x`"),
    ] {
        for effect in ["permit", "forbid"] {
            let text = format!(
                "\n@id(\"x\") // {annotation}\n  {annotation} {effect} (principal, action, resource);"
            );
            let error = parse_error(&text);
            assert!(
                error.starts_with(&format!("<policies>:3:3: {message}")),
                "{annotation}: {error}"
            );
        }
    }
}

#[test]
fn annotations_of_ones_own_start_with_x_and_decide_nothing() {
    let text =
        r#"@x_owner("payments") @x_decision("hold") @x_ forbid (principal, action, resource);"#;
    let policies = Policies::parse(text).unwrap();
    let verdict = ask(&policies, "deploy", &serde_json::json!({}));
    assert_eq!(verdict.decision, atlasent::Decision::Deny);
}
