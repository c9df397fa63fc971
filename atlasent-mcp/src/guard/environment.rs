//! The environment of the processes that the guard starts.

use std::ffi::OsStr;
use std::process::Command;

/// How the names of this project's own variables begin. With `ATLASENT_API_KEY` a server could ask
/// the authority in the name of any agent, and with `ATI_JWT_SECRET` it could issue tokens.
const OWN: [&str; 2] = ["ATLASENT_", "ATI_"];

/// Keeps the guard's own variables, and the named ones, from a process. It inherits all others.
pub(super) fn withhold(command: &mut Command, names: &[String]) {
    let own = std::env::vars_os().map(|(name, _)| name);
    for name in own.filter(|name| is_own(name)) {
        command.env_remove(name);
    }
    for name in names {
        command.env_remove(name);
    }
}

/// Whether a variable is one of this project's. Windows does not tell upper from lower case.
fn is_own(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    OWN.iter().any(|prefix| {
        let start = name.get(..prefix.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variables_of_this_project_are_its_own() {
        for (name, expected) in [
            ("ATLASENT_API_KEY", true),
            ("ATI_JWT_SECRET", true),
            ("ati_jwt_secret", true),
            ("ATLASENT", false),
            ("NATIVE_ATI_KEY", false),
            ("PATH", false),
        ] {
            assert_eq!(is_own(OsStr::new(name)), expected, "{name}");
        }
    }
}
