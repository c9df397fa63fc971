//! `atlasent guard accept`: shows the tools that a server changed, and accepts changes.

use std::fmt::Write;
use std::path::Path;

use atlasent::{AnyAction, AuthorityExt, Error};
use atlasent_mcp::guard::pins::{PinnedTool, Pins};
use clap::Args;
use jiff::Timestamp;
use serde_json::Value;

use super::CommonArgs;
use super::authority::GuardAuthority;
use super::settings::Settings;
use crate::exit::Failure;
use crate::output::{Output, escaped};
use crate::runtime;

/// Show the tools that a server changed after they were recorded, and accept changes
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent guard accept --name files --policies policies
  atlasent guard accept --name files --policies policies --agent alice write_file --sha256 4f2a…

Without a tool, the changes are shown, and the exit code is 1 if there are any. With --sha256, the change that was shown
is accepted, and no other one that the server made since. Accepting is an action like any other:
`mcp.NAME:accept` on the tool, with the digests of both definitions, by the person of `--agent`. The policies have to
allow it, and the audit trail records it. While a guard with `--approvals` runs, set `--url` to its address."
)]
pub(super) struct Accept {
    /// The tools whose new definitions are accepted
    #[arg(value_name = "TOOL")]
    tools: Vec<String>,

    /// The digest of the new definition, as it was shown; another one is not accepted
    #[arg(long, value_name = "DIGEST", requires = "tools")]
    sha256: Option<String>,

    #[command(flatten)]
    pub(super) common: CommonArgs,
}

/// Runs the command.
pub(super) fn run(arguments: &Accept, settings: &Settings, data: &Path) -> Result<Output, Failure> {
    let pins = Pins::open(&super::pins_folder(data), &settings.name).map_err(Failure::misuse)?;
    let changed = pins.changed();
    if arguments.tools.is_empty() {
        return match changed.is_empty() {
            true => Ok(Output::new("no tool changed\n")),
            false => Err(Failure::NegativeResult(Output::new(report(&changed)))),
        };
    }
    let agent = settings.agent.clone().ok_or_else(|| {
        Failure::misuse("nobody accepts: set `--agent` to the person whose decision is recorded")
    })?;
    let mut accepted = Vec::new();
    for name in &arguments.tools {
        let found = changed.iter().find(|(changed, _)| changed == name);
        accepted.push(found.ok_or_else(|| {
            Failure::refused(format!(
                "the tool `{}` has no change to accept",
                escaped(name)
            ))
        })?);
    }
    if let Some(shown) = &arguments.sha256 {
        let [(name, pin)] = accepted.as_slice() else {
            return Err(Failure::misuse(
                "`--sha256` is the digest of one tool: accept the tools one by one",
            ));
        };
        let is_shown = (pin.changed.as_ref()).is_some_and(|change| change.sha256 == *shown);
        if !is_shown {
            return Err(changed_again(name));
        }
    }
    runtime::run(async {
        let authority = GuardAuthority::open(&settings.authority, data).await?;
        let mut text = String::new();
        for (name, pin) in accepted {
            let Some(change) = &pin.changed else { continue };
            let action = action(&settings.name, name, pin).map_err(Failure::misuse)?;
            let allowed = authority
                .authority
                .with_permit(&*agent, action, |_permit| async {
                    let done = pins.accept(name, &change.sha256, Timestamp::now());
                    // The reason of the failure stays out of the trail, and is told here.
                    Ok::<_, Error>(done)
                });
            let done = allowed
                .await
                .map_err(Failure::refused)?
                .map_err(Failure::misuse)?;
            if !done {
                return Err(changed_again(name));
            }
            let _ = writeln!(text, "accepted {} {}", escaped(name), change.sha256);
        }
        authority.close().await?;
        Ok(Output::new(text))
    })
}

fn changed_again(tool: &str) -> Failure {
    Failure::refused(format!(
        "the server changed the tool `{}` again: look at the new change first",
        escaped(tool)
    ))
}

/// Returns the action of accepting a change.
fn action(server: &str, tool: &str, pin: &PinnedTool) -> Result<AnyAction, Error> {
    let change = pin.changed.as_ref().map(|change| change.sha256.as_str());
    AnyAction::new(format!("mcp.{server}:accept"))?
        .with_resource(tool)
        .with_field("sha256", &change)?
        .with_field("former_sha256", &pin.sha256)
}

/// Shows what changed, member by member.
fn report(changed: &[(String, PinnedTool)]) -> String {
    let mut text = String::new();
    for (name, pin) in changed {
        let Some(change) = &pin.changed else { continue };
        let _ = writeln!(
            text,
            "{} changed, seen {}, sha256 {}",
            escaped(name),
            change.seen,
            change.sha256
        );
        let (old, new) = (members(&pin.definition), members(&change.definition));
        let names: std::collections::BTreeSet<_> = old.keys().chain(new.keys()).collect();
        for member in names {
            let (was, is) = (old.get(member), new.get(member));
            if was == is {
                continue;
            }
            for (sign, value) in [('-', was), ('+', is)] {
                if let Some(value) = value {
                    let _ = writeln!(
                        text,
                        "  {sign} {}: {}",
                        escaped(member),
                        escaped(&value.to_string())
                    );
                }
            }
        }
    }
    text
}

fn members(definition: &Value) -> serde_json::Map<String, Value> {
    definition.as_object().cloned().unwrap_or_default()
}
