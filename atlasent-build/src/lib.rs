//! Checks Cedar policies in a build script, and writes the index against which the macros of the
//! `atlasent` crate check the code.
//!
//! ```no_run
//! // build.rs
//! fn main() {
//!     atlasent_build::policies("policies");
//! }
//! ```
//!
//! In a package with this build script,
//!
//! - each error of the policies is an error of the build, with file, line and column;
//! - `#[protect(action = "name", …)]` and `#[derive(Action)]` have to name an action that the
//!   schema declares, with the context keys and the types that it declares;
//! - changing a policy runs the build script and checks the code again;
//! - `atlasent::include_actions!()` brings in a struct for each action of the schema;
//! - `atlasent::include_policies!()` puts the policies into the program, and
//!   `atlasent::schema_digest!()` is the digest of their schema.
//!
//! The folder is read as [`Policies::from_dir`] reads it, at compile time only. A program without
//! `include_policies!` loads its policies when it runs.
//!
//! [`Builder`] sets whether the findings of [`Policies::lint`] are warnings or errors.
#![allow(
    clippy::needless_doctest_main,
    reason = "the examples are build scripts, which are their `main`"
)]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod actions;
mod embed;
mod index;

use std::ffi::OsStr;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};
use std::{env, fs, iter};

use atlasent_authority::Policies;
use atlasent_authority::policy::{PoliciesBuilder, PolicyError, PolicyProblem};

/// The variable by which the macros find the index.
const INDEX_VARIABLE: &str = "ATLASENT_POLICY_INDEX";

/// The variables by which `include_actions!`, `include_policies!` and `schema_digest!` find what
/// the build script wrote.
const ACTIONS_VARIABLE: &str = "ATLASENT_ACTIONS";
const POLICIES_VARIABLE: &str = "ATLASENT_POLICIES";
const DIGEST_VARIABLE: &str = "ATLASENT_SCHEMA_DIGEST";

/// How to write a schema, for a folder without one.
const SCHEMA_NEEDED: &str = "no `schema.cedarschema`: the compiler checks actions and contexts against a schema. Infer one from \
    the policies with the command `atlasent policy schema` of `atlasent-cli` (option `--out`), or write one, such as \
    `entity Agent, Resource; action \"deploy\" appliesTo { principal: Agent, resource: Resource, context: { \
    commit: String, replicas: Long } };`";

/// Checks the policies of a folder, which is relative to the package, and has the macros check the
/// package's code against them. Call it in `build.rs`.
///
/// Findings of the lints are warnings; see [`Builder`].
pub fn policies(folder: impl AsRef<Path>) {
    Builder::new(folder).emit();
}

/// The name and the text of a file.
type Text = (String, String);

/// What a finding does to the build.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Ignores it.
    Allow,
    /// Prints it as a warning. Cargo shows the warnings of packages in the workspace only.
    #[default]
    Warn,
    /// Fails the build.
    Deny,
}

/// Checks the policies of a folder with levels of your own.
///
/// ```no_run
/// use atlasent_build::{Builder, Level};
///
/// Builder::new("policies").lint(Level::Deny).emit();
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `emit` is called"]
pub struct Builder {
    folder: PathBuf,
    lint: Level,
}

impl Builder {
    /// Returns a builder for a folder, which is relative to the package.
    pub fn new(folder: impl AsRef<Path>) -> Self {
        Self {
            folder: folder.as_ref().to_owned(),
            lint: Level::default(),
        }
    }

    /// Sets what the findings of [`Policies::warnings`] and [`Policies::lint`] do. The default is
    /// [`Level::Warn`].
    pub fn lint(mut self, level: Level) -> Self {
        self.lint = level;
        self
    }

    /// Checks the policies, writes the index, the actions and the policies into `OUT_DIR`, and
    /// prints Cargo's instructions: the errors and warnings, the files to watch, and the variables that
    /// name the written files.
    ///
    /// After an error, Cargo fails the build when the build script has ended.
    #[allow(
        clippy::print_stdout,
        reason = "Cargo reads what a build script prints"
    )]
    pub fn emit(self) {
        let out = env::var_os("OUT_DIR").map(PathBuf::from);
        print!("{}", self.instructions(out.as_deref()));
    }

    /// Returns the instructions to Cargo, one a line.
    fn instructions(&self, out: Option<&Path>) -> String {
        let mut lines = Instructions::default();
        self.watch(&mut lines);
        let (policies, texts) = match self.read() {
            Ok(read) => read,
            Err(error) => {
                for problem in error.problems() {
                    lines.add("error", self.located(problem));
                }
                return lines.0;
            }
        };
        let instruction = match self.lint {
            Level::Allow => None,
            Level::Warn => Some("warning"),
            Level::Deny => Some("error"),
        };
        if let Some(instruction) = instruction {
            let lints = policies.lint();
            for finding in policies.warnings().iter().chain(&lints) {
                lines.add(instruction, self.located(finding));
            }
        }
        let Some(index) = index::write(&policies, &self.folder) else {
            lines.add(
                "error",
                format_args!("{}: {SCHEMA_NEEDED}", self.folder.display()),
            );
            return lines.0;
        };
        let Some(out) = out else {
            lines.add(
                "error",
                "`OUT_DIR` is not set: call `atlasent_build` in `build.rs`",
            );
            return lines.0;
        };
        lines.write(INDEX_VARIABLE, &out.join("atlasent-policy-index"), &index);
        lines.write(
            ACTIONS_VARIABLE,
            &out.join("actions.rs"),
            &actions::write(&policies),
        );
        match embed::write(&policies, &texts, out) {
            Ok(expression) => lines.write(POLICIES_VARIABLE, &out.join("policies.rs"), &expression),
            Err(problem) => lines.add("error", problem),
        }
        let digest = policies.schema_digest().unwrap_or_default();
        lines.add("rustc-env", format_args!("{DIGEST_VARIABLE}={digest}"));
        lines.0
    }

    /// Reads the folder once: the policies that were checked, and their texts.
    fn read(&self) -> Result<(Policies, Vec<Text>), PolicyError> {
        let builder = PoliciesBuilder::from_dir(&self.folder)?;
        let texts = builder.texts().into_iter();
        let texts = texts.map(|(name, text)| (name.to_owned(), text.to_owned()));
        let texts = texts.collect();
        Ok((builder.build()?, texts))
    }

    /// Has Cargo run the build script again after a change of the folder or of a file in it.
    fn watch(&self, lines: &mut Instructions) {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        files.sort_unstable();
        for path in iter::once(&self.folder).chain(&files) {
            lines.add("rerun-if-changed", path.display());
        }
    }

    /// Returns a problem with the path of its file, where the problem names the file alone.
    fn located(&self, problem: &PolicyProblem) -> String {
        let name = Path::new(problem.source_name());
        match name.file_name() == Some(OsStr::new(name)) && self.folder.join(name).exists() {
            true => self.folder.join(problem.to_string()).display().to_string(),
            false => problem.to_string(),
        }
    }
}

/// The lines that Cargo reads from the output of a build script.
#[derive(Default)]
struct Instructions(String);

impl Instructions {
    fn add(&mut self, name: &str, value: impl fmt::Display) {
        // A second line would be another instruction.
        let value = value.to_string().replace(['\n', '\r'], " ");
        let _ = writeln!(self.0, "cargo::{name}={value}");
    }

    /// Writes a file, and names it to the compiler in a variable.
    fn write(&mut self, variable: &str, path: &Path, text: &str) {
        let shown = path.display();
        match fs::write(path, text) {
            Ok(()) => self.add("rustc-env", format_args!("{variable}={shown}")),
            Err(error) => self.add("error", format_args!("{shown} cannot be written: {error}")),
        }
    }
}

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests;
