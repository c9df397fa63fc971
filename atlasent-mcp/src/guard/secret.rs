//! Reads the credentials of a server, which the guard holds and the agent never sees.

use std::fmt;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use atlasent::text::quoted;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::environment::withhold;

/// The most bytes of a secret.
const MAX_BYTES: u64 = 16 * 1024;

/// Where a secret is read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// A file.
    File(PathBuf),
    /// An environment variable of the guard.
    Env(String),
    /// A command that prints it: its program and arguments. No shell is involved, and the command
    /// does not inherit the variables `ATLASENT_…` and `ATI_…`.
    Command(Vec<String>),
}

/// Why a secret cannot be read. The text repeats no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the secret from {source_name}: {why}")]
pub struct SecretError {
    source_name: String,
    why: String,
}

impl SecretSource {
    /// Reads the secret: one line, without its line end.
    ///
    /// # Errors
    ///
    /// [`SecretError`] when the source does not exist or fails, or has no line of 1 to 16384 bytes.
    pub fn read(&self) -> Result<SecretString, SecretError> {
        let error = |why: String| SecretError {
            source_name: self.to_string(),
            why,
        };
        let text = match self {
            Self::File(path) => {
                let file = std::fs::File::open(path).map_err(|why| error(why.to_string()))?;
                read_text(file).map_err(error)?
            }
            Self::Env(name) => Zeroizing::new(
                std::env::var(name).map_err(|_| error("it is not set, or not UTF-8".to_owned()))?,
            ),
            Self::Command(words) => run(words).map_err(error)?,
        };
        let line = text.trim_end_matches(['\r', '\n']);
        match line.is_empty() || line.contains(['\r', '\n', '\0']) {
            true => Err(error("it is not one line of text".to_owned())),
            false => Ok(SecretString::from(line)),
        }
    }
}

/// Prevents other processes of the same user from reading the environment and the memory of this
/// process, which hold its keys, and disables core dumps. Otherwise, a server that the guard starts
/// could read them in `/proc`. Processes that may trace all others, such as those of root, still
/// can. On systems other than Linux, the function does nothing.
pub fn forbid_inspection() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};

        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!(%error, "other processes of this user can read the memory of this one");
        }
    }
}

/// Runs a command, and returns what it printed.
fn run(words: &[String]) -> Result<Zeroizing<String>, String> {
    let (program, arguments) = words.split_first().ok_or("the command is empty")?;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit());
    withhold(&mut command, &[]);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let output = child.stdout.take().ok_or("it has no standard output")?;
    let text = read_text(output);
    let status = child.wait().map_err(|error| error.to_string())?;
    match status.success() {
        true => text,
        false => Err(format!("the command ended with {status}")),
    }
}

fn read_text(input: impl Read) -> Result<Zeroizing<String>, String> {
    let mut text = Zeroizing::new(String::new());
    let read = input.take(MAX_BYTES + 1).read_to_string(&mut text);
    match read {
        Ok(length) if length as u64 > MAX_BYTES => {
            Err(format!("it has more than {MAX_BYTES} bytes"))
        }
        Ok(_) => Ok(text),
        Err(error) => Err(error.to_string()),
    }
}

/// Displays the kind of the source and its name, for errors.
impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "the file `{}`", path.display()),
            Self::Env(name) => write!(f, "the environment variable {}", quoted(name)),
            Self::Command(words) => {
                let program = words.first().map(String::as_str).unwrap_or_default();
                write!(f, "the command `{program}`")
            }
        }
    }
}

/// A secret for an environment variable of a server.
pub struct EnvSecret {
    name: String,
    value: SecretString,
}

impl EnvSecret {
    /// Creates a secret for the environment variable `name`.
    #[must_use]
    pub fn new(name: impl Into<String>, value: SecretString) -> Self {
        Self {
            name: name.into(),
            value,
        }
    }

    /// Returns the name of the environment variable.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn expose(&self) -> &str {
        self.value.expose_secret()
    }
}

/// Prints the name, never the secret.
impl fmt::Debug for EnvSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EnvSecret")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printing(script: &str) -> SecretSource {
        SecretSource::Command(["sh", "-c", script].map(str::to_owned).to_vec())
    }

    #[test]
    fn a_secret_is_one_line_of_a_file_or_a_command() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(&file, "hunter2\n").unwrap();
        let source = SecretSource::File(file.path().to_owned());
        assert_eq!(source.read().unwrap().expose_secret(), "hunter2");
        assert_eq!(
            printing("echo hunter2").read().unwrap().expose_secret(),
            "hunter2"
        );
    }

    #[test]
    fn an_invalid_secret_is_an_error_that_repeats_nothing() {
        for script in [
            "true",
            "printf 'hunter2\\nhunter3'",
            "echo hunter2; exit 3",
            "yes hunter2",
        ] {
            let error = printing(script).read().unwrap_err().to_string();
            assert!(
                !error.contains("hunter2") && error.contains("`sh`"),
                "{error}"
            );
        }
        let misplaced = SecretSource::Env("hunter2".repeat(6));
        let error = misplaced.read().unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
        let missing = SecretSource::Env("ATLASENT_NO_SUCH_VARIABLE".to_owned());
        assert!(
            missing
                .read()
                .unwrap_err()
                .to_string()
                .contains("ATLASENT_NO_SUCH_VARIABLE")
        );
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_that_forbids_its_inspection_is_not_dumpable() {
        use rustix::process::{DumpableBehavior, dumpable_behavior};

        forbid_inspection();
        let behavior = dumpable_behavior().unwrap();
        assert_eq!(behavior, DumpableBehavior::NotDumpable);
    }

    #[test]
    fn debug_output_holds_no_secret() {
        let secret = EnvSecret::new("TOKEN", "hunter2".to_owned().into());
        assert!(!format!("{secret:?}").contains("hunter2"));
    }
}
