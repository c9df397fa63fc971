//! `atlasent key revoke`: revokes an API key.

use atlasent::text::quoted;
use clap::Args;

use super::store::KeyStore;
use crate::exit::Failure;
use crate::location::Location;
use crate::output::{Output, escaped};

/// Revoke an API key by its id
#[derive(Args)]
#[command(
    next_line_help = true,
    after_help = "\
Examples:
  atlasent key list
  atlasent key revoke key_0123456789abcdef

A running server refuses the key within 1 second."
)]
pub(super) struct Revoke {
    /// The id of the key, as printed by `key list`; not the key itself
    #[arg(value_name = "KEY_ID")]
    key_id: String,

    #[command(flatten)]
    location: Location,
}

/// Revokes the key.
pub(super) async fn run(arguments: &Revoke) -> Result<Output, Failure> {
    let id = quoted(&arguments.key_id);
    if arguments.key_id.starts_with("ask_") {
        return Err(Failure::misuse(
            "`<KEY_ID>` is the key itself, not its id: run `atlasent key list` for the ids",
        ));
    }
    let keys = KeyStore::new(arguments.location.open().await?);
    match keys.revoke(&arguments.key_id).await? {
        true => {
            let id = escaped(&arguments.key_id);
            Ok(Output::new(format!("revoked {id}\n")))
        }
        false => Err(Failure::misuse(format!(
            "no active key has the id {id}: run `atlasent key list` for the ids"
        ))),
    }
}
