//! `atlasent token inspect`: what a token says, true or not.

use clap::Args;

use super::input::Input;
use crate::exit::Failure;
use crate::json;
use crate::output::{self, Output};

/// Print the claims of a token as one JSON object, without verifying anything
#[derive(Args)]
#[command(after_help = "\
Examples:
  printenv ATI_SESSION_TOKEN | atlasent token inspect
  atlasent token inspect - < token.txt

No key is needed, and nothing is verified: anyone can have written what is printed.
`atlasent token validate` tells whether it may be believed.")]
pub(crate) struct Inspect {
    #[command(flatten)]
    token: Input,
}

/// Shows the claims. A person is reminded of what they are worth; a program reads the help.
pub(crate) fn run(arguments: &Inspect) -> Result<Output, Failure> {
    let token = arguments.token.read()?;
    let claims = ati_client::inspect(&token).map_err(Failure::refused)?;
    let reminder = output::is_for_people()
        .then(|| "nothing here is verified: `atlasent token validate` does that".to_owned());
    Ok(Output::new(json::for_stdout(claims.to_json())).warning(reminder))
}
