//! `atlasent token inspect`: prints the claims of a token without verifying it.

use clap::Args;

use super::input::TokenInput;
use crate::exit::Failure;
use crate::json;
use crate::output::{self, Output};

/// Print the claims of a token as one JSON object, without verifying the token
#[derive(Args)]
#[command(after_help = "\
Examples:
  printenv ATI_SESSION_TOKEN | atlasent token inspect
  atlasent token inspect - < token.txt

No key is needed. The printed claims are not verified and may be forged: do not rely on them. To verify the token, run
`atlasent token validate`.")]
pub(crate) struct Inspect {
    #[command(flatten)]
    token: TokenInput,
}

/// Returns the claims, on a terminal with a warning that they are not verified.
pub(crate) fn run(arguments: &Inspect) -> Result<Output, Failure> {
    let token = arguments.token.read()?;
    let claims = ati_client::inspect(&token).map_err(Failure::refused)?;
    let warning = output::stdout_is_terminal().then(|| {
        "these claims are not verified: run `atlasent token validate` to verify them".to_owned()
    });
    Ok(Output::new(json::for_stdout(claims.to_json())).with_warnings(warning))
}
