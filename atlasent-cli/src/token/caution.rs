//! Warnings about patterns that grant more, or less, than they seem to.

use ati_client::is_loose_wildcard;

/// One warning for each pattern that needs one.
pub(crate) fn cautions<'a>(granted: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    granted.into_iter().filter_map(caution).collect()
}

fn caution(pattern: &str) -> Option<String> {
    let prefix = pattern.strip_suffix('*').unwrap_or(pattern);
    if pattern == "*" {
        Some("`*` grants every tool and every skill".to_owned())
    } else if prefix.contains('*') {
        Some(format!(
            "`{pattern}` holds a `*` that stands for itself: only one at the end is a wildcard"
        ))
    } else if is_loose_wildcard(pattern) {
        Some(format!(
            "`{pattern}` grants every scope that begins with `{prefix}`; for one namespace, end at its separator, as in `{prefix}:*`"
        ))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_that_ends_inside_a_name_draws_a_warning() {
        for pattern in [
            "tool:git*",
            "tool*",
            "skill:research*",
            "tool:github:se*",
            "h*",
        ] {
            let warning = caution(pattern).unwrap();
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
            assert_eq!(caution(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn an_exact_scope_draws_no_warning() {
        assert_eq!(
            cautions(["", "help", "tool:github:search", "skill:triage"]),
            [""; 0]
        );
    }

    #[test]
    fn the_wildcard_for_everything_is_called_that() {
        assert_eq!(
            caution("*").unwrap(),
            "`*` grants every tool and every skill"
        );
    }

    #[test]
    fn a_wildcard_that_is_none_draws_a_warning() {
        for pattern in ["tool:*:read", "*:read", "**", "tool:*:*"] {
            let warning = caution(pattern).unwrap();
            assert!(warning.contains("stands for itself"), "{warning}");
        }
    }
}
