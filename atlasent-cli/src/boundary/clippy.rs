//! `atlasent boundary clippy`: the methods that clippy disallows outside of protected code.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Args;

use super::merge;
use super::methods::{self, GROUPS, Method};
use crate::exit::Failure;
use crate::output::{Output, is_terminal_control};

/// Write a clippy.toml that disallows dangerous calls outside of `#[protect]` bodies
#[derive(Args)]
#[command(after_help = help())]
pub(crate) struct Clippy {
    /// A group of methods, or the path of a function or method
    #[arg(value_name = "GROUP|PATH", required = true, value_parser = name)]
    names: Vec<String>,
    /// The text that clippy shows with each refused call
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Add the methods to this file, which keeps all that it has
    #[arg(long, value_name = "FILE")]
    merge: Option<PathBuf>,
}

/// The end of the help.
fn help() -> String {
    format!(
        "\
{}
Examples:
  atlasent boundary clippy process files > clippy.toml
  atlasent boundary clippy process my_bank::ledger::Ledger::wire --merge clippy.toml

Clippy then warns about each call of these methods, except in the body of a function with `#[protect]`. To make
the warnings errors, write `disallowed_methods = \"deny\"` below `[lints.clippy]` in Cargo.toml. Clippy reads one
clippy.toml: that of the package, else the nearest in a folder above.",
        methods::groups_help()
    )
}

/// Prints the methods, or adds them to a file.
pub(crate) fn run(arguments: &Clippy) -> Result<Output, Failure> {
    let methods = chosen(arguments);
    match &arguments.merge {
        None => Ok(Output::new(merge::block(&methods, "\n"))),
        Some(file) => add_to(file, &methods),
    }
}

/// Returns the methods that the arguments name, each once.
fn chosen(arguments: &Clippy) -> Vec<Method> {
    let reason = arguments.reason.as_deref();
    let all = arguments
        .names
        .iter()
        .flat_map(|name| match methods::group(name) {
            Some(group) => group.methods(reason),
            None => vec![Method::from_path(name, reason)],
        });
    let mut chosen: Vec<Method> = Vec::new();
    for method in all {
        if chosen.iter().all(|other| other.path != method.path) {
            chosen.push(method);
        }
    }
    chosen
}

/// Adds the methods to a file. A missing file is created.
fn add_to(file: &Path, methods: &[Method]) -> Result<Output, Failure> {
    let shown = file.display();
    let failure = |why: String| {
        Failure::misuse(format!(
            "cannot add to `{shown}`, which is unchanged: {why}"
        ))
    };
    let text = match fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(failure(error.to_string())),
    };
    let merged = merge::merge(&text, methods).map_err(failure)?;
    let added = methods.len().saturating_sub(merged.present);
    if added > 0 {
        fs::write(file, merged.text)
            .map_err(|error| Failure::misuse(format!("cannot write `{shown}`: {error}")))?;
    }
    Ok(Output::new(format!(
        "{shown}: {added} added, {} already there\n",
        merged.present
    )))
}

/// Parses a group's name or a path.
fn name(text: &str) -> Result<String, String> {
    if methods::group(text).is_some() || is_path(text) {
        return Ok(text.to_owned());
    }
    let groups: Vec<String> = GROUPS
        .iter()
        .map(|group| format!("`{}`", group.name))
        .collect();
    Err(format!(
        "neither a group, which are {}, nor a path such as `my_bank::Ledger::wire`",
        groups.join(", ")
    ))
}

/// Whether a text is a path of at least two names. Clippy wants the path from the crate's name on.
fn is_path(text: &str) -> bool {
    let is_name = |name: &str| {
        let mut characters = name.chars();
        let starts = characters
            .next()
            .is_some_and(|first| first == '_' || first.is_alphabetic());
        starts && characters.all(|next| next == '_' || next.is_alphanumeric())
    };
    text.contains("::") && text.split("::").all(is_name) && !text.starts_with("crate::")
}

/// Parses a reason: one line of text.
fn reason(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("the reason is empty".to_owned());
    }
    if text.chars().any(is_terminal_control) {
        return Err("the reason is one line, without control characters".to_owned());
    }
    Ok(text.to_owned())
}
