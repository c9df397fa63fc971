//! Help and usage errors: clap's help unchanged, and a usage error as one line.

use std::error::Error as _;
use std::ffi::OsString;

use atlasent::text::quoted;
use clap::Error;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::cli::{self, NAME};
use crate::exit::Failure;
use crate::output::Output;

/// Returns the requested help or version, or the usage error as a failure of one line.
pub(crate) fn help_or_failure(error: &Error, arguments: &[OsString]) -> Result<Output, Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Ok(Output::new(error.render().to_string()))
        }
        _ => Err(Failure::misuse(format!(
            "{}; see `{} --help`",
            message(error),
            command_name(arguments)
        ))),
    }
}

/// Describes a usage error without the values of options, which may be secrets.
fn message(error: &Error) -> String {
    let argument = quoted_names(error, ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::UnknownArgument => format!(
            "unexpected argument {}{}",
            quoted_input(error, ContextKind::InvalidArg),
            suggestion(error)
        ),
        ErrorKind::InvalidSubcommand => format!(
            "unknown command {}{}",
            quoted_input(error, ContextKind::InvalidSubcommand),
            suggestion(error)
        ),
        ErrorKind::MissingSubcommand => format!(
            "missing command, one of {}",
            quoted_names(error, ContextKind::ValidSubcommand)
        ),
        ErrorKind::MissingRequiredArgument => format!("missing {argument}"),
        ErrorKind::InvalidValue => match quoted_names(error, ContextKind::ValidValue).as_str() {
            "" => format!("{argument} needs a value"),
            values => format!("{argument} must be one of {values}{}", suggestion(error)),
        },
        ErrorKind::ValueValidation => match error.source() {
            Some(source) => format!("{argument}: {source}"),
            None => format!("{argument}: invalid value"),
        },
        ErrorKind::ArgumentConflict => match quoted_names(error, ContextKind::PriorArg) {
            other if other.is_empty() || other == argument => format!("{argument} is given twice"),
            other => format!("{argument} cannot be combined with {other}"),
        },
        ErrorKind::TooManyValues => format!("{argument} takes no value"),
        ErrorKind::InvalidUtf8 => "an argument is not UTF-8".to_owned(),
        kind => kind.to_string(),
    }
}

/// Returns the name of the command that the arguments call, such as `atlasent token issue`. clap
/// reports the name with some errors only.
fn command_name(arguments: &[OsString]) -> String {
    let tree = cli::command_tree();
    let mut command = &tree;
    let mut name = NAME.to_owned();
    for argument in arguments.iter().skip(1) {
        let Some(subcommand) = command.find_subcommand(argument) else {
            break;
        };
        command = subcommand;
        name = format!("{name} {}", command.get_name());
    }
    name
}

/// Returns clap's suggestion, as `; did you mean …?`, or an empty text.
fn suggestion(error: &Error) -> String {
    [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ]
    .into_iter()
    .find(|kind| error.get(*kind).is_some())
    .map(|kind| format!("; did you mean {}?", quoted_names(error, kind)))
    .unwrap_or_default()
}

/// Quotes an argument that the user typed, unless it is long enough to be a misplaced secret.
fn quoted_input(error: &Error, kind: ContextKind) -> String {
    match error.get(kind) {
        Some(ContextValue::String(argument)) => quoted(argument),
        _ => "an argument".to_owned(),
    }
}

/// Quotes the names of our own commands, options or values in the error.
fn quoted_names(error: &Error, kind: ContextKind) -> String {
    let names = match error.get(kind) {
        Some(ContextValue::String(name)) => std::slice::from_ref(name),
        Some(ContextValue::Strings(names)) => names,
        _ => &[],
    };
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
