//! What clap has to say, in the form of the contract: help as it is, a mistake on one line.

use std::error::Error as _;
use std::ffi::OsString;

use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::{self, NAME};
use crate::exit::Failure;
use crate::output::{Output, quoted};

/// Help and version are what was asked for; everything else is a mistake, on one line.
pub(crate) fn answer(error: &Error, arguments: &[OsString]) -> Result<Output, Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Ok(Output::new(error.render().to_string()))
        }
        _ => Err(Failure::misuse(format!(
            "{}; see `{} --help`",
            mistake(error),
            command(arguments)
        ))),
    }
}

/// The mistake in words of ours, which repeat no value.
fn mistake(error: &Error) -> String {
    let argument = names(error, ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::UnknownArgument => format!(
            "unexpected argument {}{}",
            given(error, ContextKind::InvalidArg),
            meant(error)
        ),
        ErrorKind::InvalidSubcommand => format!(
            "{} is no command{}",
            given(error, ContextKind::InvalidSubcommand),
            meant(error)
        ),
        ErrorKind::MissingSubcommand => format!(
            "a command is missing: one of {}",
            names(error, ContextKind::ValidSubcommand)
        ),
        ErrorKind::MissingRequiredArgument => format!("missing {argument}"),
        ErrorKind::InvalidValue => match names(error, ContextKind::ValidValue).as_str() {
            "" => format!("{argument} takes a value"),
            values => format!("{argument} takes one of {values}{}", meant(error)),
        },
        ErrorKind::ValueValidation => match error.source() {
            Some(source) => format!("{argument}: {source}"),
            None => format!("{argument} cannot take this value"),
        },
        ErrorKind::ArgumentConflict => format!("{argument} is given twice"),
        ErrorKind::TooManyValues => format!("{argument} takes no value"),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        kind => kind.to_string(),
    }
}

/// The command that was misused: clap names it for some mistakes only.
fn command(arguments: &[OsString]) -> String {
    let tree = cli::tree();
    let mut command = &tree;
    let mut name = NAME.to_owned();
    for argument in arguments.iter().skip(1) {
        let Some(below) = command.find_subcommand(argument) else {
            break;
        };
        command = below;
        name = format!("{name} {}", command.get_name());
    }
    name
}

/// What clap takes for the likeliest intention.
fn meant(error: &Error) -> String {
    [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find(|kind| error.get(*kind).is_some())
    .map(|kind| format!("; did you mean {}?", names(error, kind)))
    .unwrap_or_default()
}

/// What was given where nothing of the kind belongs: it may be a secret in the wrong place.
fn given(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(argument)) => quoted(argument),
        _ => "an argument".to_owned(),
    }
}

/// Names of ours that the error holds.
fn names(error: &Error, kind: ContextKind) -> String {
    let names = match error.get(kind) {
        Some(ContextValue::String(name)) => std::slice::from_ref(name),
        Some(ContextValue::Strings(names)) => names,
        _ => &[],
    };
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
