//! `atlasent key revoke`: a key is good no longer.

use clap::Args;

use super::place::Place;
use crate::exit::Failure;
use crate::output::{Output, harmless, quoted};

/// Take an API key back, by its id
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent key list
  atlasent key revoke key_0123456789abcdef

A running server refuses the key within a second."
)]
pub(super) struct Revoke {
    /// The key's id, as `key list` shows it
    #[arg(value_name = "KEY_ID")]
    key_id: String,

    #[command(flatten)]
    place: Place,
}

/// Takes the key back.
pub(super) async fn run(arguments: &Revoke) -> Result<Output, Failure> {
    let id = quoted(&arguments.key_id);
    if arguments.key_id.starts_with("ask_") {
        return Err(Failure::misuse(
            "that is a key and not its id: `atlasent key list` shows the ids",
        ));
    }
    let keys = arguments.place.open().await?;
    match keys.revoke(&arguments.key_id).await? {
        true => {
            let id = harmless(&arguments.key_id);
            Ok(Output::new(format!("{id} is revoked\n")))
        }
        false => Err(Failure::misuse(format!(
            "there is no key {id} that is still good: `atlasent key list` shows the ids"
        ))),
    }
}
