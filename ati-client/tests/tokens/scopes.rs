//! Matching, parsing and building scopes.

use ati_client::{
    Error, build_scope_string, check_scope, is_loose_wildcard, matches_wildcard, parse_scopes,
};

#[test]
fn a_pattern_is_a_name_or_the_beginning_of_one() {
    for (name, pattern, matches) in [
        ("a", "*", true),
        ("", "*", true),
        ("a", "a", true),
        ("a", "A", false),
        ("A", "a*", false),
        ("a", "a*", true),
        ("ab", "a*", true),
        ("ba", "a*", false),
        ("", "", true),
        ("a", "", false),
        ("", "a*", false),
        ("*", "**", true),
        ("*x", "**", true),
        ("x", "**", false),
        ("a*c", "a*c", true),
        ("abc", "a*c", false),
        ("a*cd", "a*c*", true),
        ("abcd", "a*c*", false),
        ("abc", "*c", false),
        ("*c", "*c", true),
        ("tool:a", "tool:a ", false),
        ("tool:ä", "tool:*", true),
        ("tool:ä", "tool:ä*", true),
    ] {
        assert_eq!(
            matches_wildcard(name, pattern),
            matches,
            "{name:?} {pattern:?}"
        );
    }
}

#[test]
fn a_tool_is_covered_by_its_older_name_too() {
    let required = "tool:github:search";
    for granted in [
        "*",
        "tool:*",
        "tool:github:search",
        "tool:github:*",
        "tool:github*",
        "tool:github_search",
        "tool:github_*",
        "tool:github_sea*",
        "tool:github_search*",
        "tool:git*",
    ] {
        assert_eq!(check_scope(required, [granted]), Ok(true), "{granted}");
    }
    for granted in [
        "",
        "tool:github",
        "tool:github_",
        "tool:github:",
        "tool:github__search",
        "tool:github__*",
        "tool:github_searches",
        "tool:github_searches*",
        "tool_github_search",
        "tool:GitHub:*",
        "tool:gitlab_*",
        "tool:github:search:*",
        "github:search",
        "skill:github:search",
    ] {
        assert_eq!(check_scope(required, [granted]), Ok(false), "{granted}");
    }
    // Only the first colon after `tool:` has an older spelling, and only in a tool.
    assert_eq!(check_scope("tool:a:b:c", ["tool:a_b:c"]), Ok(true));
    assert_eq!(check_scope("tool:a:b:c", ["tool:a_b:*"]), Ok(true));
    assert_eq!(check_scope("tool:a:b:c", ["tool:a:b_c"]), Ok(false));
    assert_eq!(check_scope("tool:a:b:c", ["tool:a_b_c"]), Ok(false));
    assert_eq!(check_scope("skill:a:b", ["skill:a_b"]), Ok(false));
    // A newer pattern does not cover an older name.
    assert_eq!(
        check_scope("tool:github_search", ["tool:github:*"]),
        Ok(false)
    );
}

#[test]
fn any_granted_pattern_is_enough_and_none_is_not() {
    assert_eq!(check_scope("help", ["tool:*", "help"]), Ok(true));
    assert_eq!(check_scope("help", ["tool:*", "helpful"]), Ok(false));
    assert_eq!(check_scope("help", []), Ok(false));
}

#[test]
fn an_empty_required_scope_is_a_mistake() {
    for required in [
        "",
        " ",
        "tool:a tool:b",
        "tool:a\n",
        "tool:\u{a0}a",
        "tool:a\u{1f}b",
    ] {
        assert!(
            matches!(check_scope(required, ["*"]), Err(Error::BadScope { .. })),
            "{required:?}"
        );
    }
}

#[test]
fn a_scope_string_has_tools_then_skills_then_the_rest() {
    let scope = build_scope_string(
        ["a", "tool:b", "github:*"],
        ["c", "skill:d", "tool:e"],
        ["help", "f"],
    );
    assert_eq!(
        scope.unwrap(),
        "tool:a tool:b tool:github:* skill:c skill:d skill:tool:e help f"
    );
    let none: [&str; 0] = [];
    assert_eq!(build_scope_string(none, none, none).unwrap(), "");
    // Python splits scopes at each of these, Rust at all but the last four.
    let separators = "\t\n\u{b}\u{c}\r \u{85}\u{a0}\u{1680}\u{2003}\u{2028}\u{2029}\u{202f}\u{3000}\u{1c}\u{1d}\u{1e}\u{1f}";
    let separated = separators
        .chars()
        .map(|separator| format!("a{separator}tool:b"));
    for name in ["", " ", "\u{2003}"]
        .map(str::to_owned)
        .into_iter()
        .chain(separated)
    {
        let name = name.as_str();
        assert!(build_scope_string([name], none, none).is_err(), "{name:?}");
        assert!(build_scope_string(none, [name], none).is_err(), "{name:?}");
        assert!(build_scope_string(none, none, [name]).is_err(), "{name:?}");
    }
    assert!(build_scope_string(["tool:"], none, none).is_err());
    assert!(build_scope_string(none, ["skill:"], none).is_err());
}

#[test]
fn scopes_are_separated_by_space_of_any_length() {
    assert_eq!(
        parse_scopes("  a  b\tc ").collect::<Vec<_>>(),
        ["a", "b", "c"]
    );
    assert_eq!(parse_scopes("").count(), 0);
    assert_eq!(parse_scopes("  ").count(), 0);
}

#[test]
fn a_wildcard_inside_a_name_is_a_loose_one() {
    for loose in ["tool:git*", "a*", "tool:github:sea*", "tool:é*", "**"] {
        assert!(is_loose_wildcard(loose), "{loose}");
    }
    for tight in [
        "*",
        "tool:*",
        "tool:github:*",
        "tool:github_*",
        "research-*",
        "tool:git",
        "",
        "a/*",
    ] {
        assert!(!is_loose_wildcard(tight), "{tight}");
    }
}
