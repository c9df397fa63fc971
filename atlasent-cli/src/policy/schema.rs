//! `atlasent policy schema`: infers a schema from policies and from the sites of a program.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use atlasent_authority::policy::{InferredSchema, PoliciesBuilder};
use clap::Args;

use super::check::Finding;
use super::{load_failure, sites};
use crate::exit::Failure;
use crate::files::write_new;
use crate::output::{Output, escaped};

/// Infer a schema from the policies in a directory
#[derive(Args)]
#[command(after_help = "\
Examples:
  atlasent policy schema policies
  atlasent policy schema policies --sites sites.json --out policies/schema.cedarschema

Declares the actions and entity types that the policies and `entities.json` name, and the attributes that the policies
use, with the types that these uses require. An attribute is optional if policies read it only behind a `has`. A schema
in DIR is ignored. A file of --sites holds the JSON of `atlasent::sites()` or of a `RouteTable`, as `serde_json` writes
it; its actions are declared, too.

Complete the schema before you use it: add the keys that the code sends and no policy reads, and check each type that
the comment `fill in` marks. The policies load with the schema as it is written. If no schema fits them, the findings
are printed, nothing is written, and the exit code is 1.")]
pub(crate) struct Schema {
    /// The directory that holds the `*.cedar` files
    #[arg(value_name = "DIR", default_value = "policies")]
    directory: PathBuf,

    /// A JSON file with the sites or routes of a program; may be repeated
    #[arg(long, value_name = "FILE")]
    sites: Vec<PathBuf>,

    /// Write the schema to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Overwrite the file of --out
    #[arg(long, requires = "out")]
    force: bool,
}

/// Infers the schema, and writes it.
pub(crate) fn run(arguments: &Schema) -> Result<Output, Failure> {
    let directory = &arguments.directory;
    let mut actions = BTreeSet::new();
    for file in &arguments.sites {
        actions.extend(sites::actions(file)?);
    }
    let schema = PoliciesBuilder::from_dir(directory)
        .and_then(|builder| builder.infer_schema(actions))
        .map_err(|error| load_failure(directory, &error))?;
    if !schema.problems.is_empty() {
        return Err(Failure::NegativeResult(Output::new(findings(
            directory, &schema,
        ))));
    }
    match &arguments.out {
        None => Ok(Output::new(schema.text)),
        Some(file) => {
            write(file, &schema.text, arguments.force)?;
            let file = file.display();
            Ok(Output::new(escaped(&format!("wrote {file}")) + "\n"))
        }
    }
}

fn findings(directory: &Path, schema: &InferredSchema) -> String {
    let problems = schema.problems.iter().cloned();
    let findings = problems.map(|problem| Finding::error(directory, problem).line());
    let findings: String = findings.collect();
    findings + "refused: no schema fits these policies: change them, and run the command again\n"
}

fn write(file: &Path, text: &str, may_overwrite: bool) -> Result<(), Failure> {
    let written = match may_overwrite {
        true => fs::write(file, text),
        false => write_new(file, text),
    };
    let shown = file.display();
    written.map_err(|error| {
        Failure::misuse(match error.kind() {
            io::ErrorKind::AlreadyExists => {
                format!(
                    "`{shown}` already exists, so nothing was written: overwrite it with --force"
                )
            }
            _ => format!("cannot write `{shown}`: {error}"),
        })
    })
}
