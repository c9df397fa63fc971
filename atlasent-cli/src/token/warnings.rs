//! Warnings about scope patterns that grant more or less than they seem to.

use ati_client::is_loose_wildcard;

/// Returns a warning for each doubtful pattern.
pub(crate) fn pattern_warnings<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    patterns.into_iter().filter_map(pattern_warning).collect()
}

fn pattern_warning(pattern: &str) -> Option<String> {
    let prefix = pattern.strip_suffix('*').unwrap_or(pattern);
    if pattern == "*" {
        Some("`*` grants every tool and every skill".to_owned())
    } else if prefix.contains('*') {
        Some(format!(
            "`{pattern}` contains a `*` that is not a wildcard: only a `*` at the end is one"
        ))
    } else if is_loose_wildcard(pattern) {
        Some(format!(
            "`{pattern}` grants every scope that begins with `{prefix}`; to grant one namespace, end with its separator and `*`, as in `{prefix}:*`"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_inside_a_name_draws_a_warning() {
        for pattern in [
            "tool:git*",
            "tool*",
            "skill:research*",
            "tool:github:se*",
            "h*",
        ] {
            let warning = pattern_warning(pattern).unwrap();
            assert!(
                warning.starts_with(&format!("`{pattern}` grants every scope")),
                "{warning}"
            );
        }
    }

    #[test]
    fn a_wildcard_at_a_separator_draws_no_warning() {
        for pattern in [
            "tool:*",
            "skill:*",
            "tool:github:*",
            "tool:github__*",
            "tool:github_*",
            "skill:research-*",
        ] {
            assert_eq!(pattern_warning(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn an_exact_scope_draws_no_warning() {
        assert_eq!(
            pattern_warnings(["", "help", "tool:github:search", "skill:triage"]),
            [""; 0]
        );
    }

    #[test]
    fn the_wildcard_for_every_scope_draws_a_warning() {
        assert_eq!(
            pattern_warning("*").unwrap(),
            "`*` grants every tool and every skill"
        );
    }

    #[test]
    fn a_star_that_is_not_a_wildcard_draws_a_warning() {
        for pattern in ["tool:*:read", "*:read", "**", "tool:*:*"] {
            let warning = pattern_warning(pattern).unwrap();
            assert_eq!(
                warning,
                format!(
                    "`{pattern}` contains a `*` that is not a wildcard: only a `*` at the end is one"
                )
            );
        }
    }
}
