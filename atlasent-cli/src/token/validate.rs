//! `atlasent token validate`: verifies a token and prints its claims.

use std::time::Duration;

use ati_client::VerifierBuilder;
use atlasent_authority::duration::parse_duration;
use clap::Args;

use super::input::TokenInput;
use super::key_variables_help;
use crate::exit::Failure;
use crate::json;
use crate::output::Output;

/// Verify a token, and print its claims as one JSON object
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  printenv ATI_SESSION_TOKEN | atlasent token validate
  atlasent token validate --aud ati-proxy --iss ati-orchestrator --leeway 0 - < token.txt

A refused token ends with exit code 1 and one line with the reason on standard error. Pass the token on standard input:
arguments are visible to other users of the machine.

Without --aud, accepted audiences are those in ATI_JWT_ACCEPTED_AUDIENCES (comma-separated), else the one in
ATI_JWT_AUDIENCE, else ati-proxy.

",
    key_variables_help!()
))]
pub(crate) struct Validate {
    #[command(flatten)]
    token: TokenInput,

    /// The accepted audience [default: from the environment, else ati-proxy]
    #[arg(long, value_name = "AUDIENCE")]
    aud: Option<String>,

    /// The required issuer [default: $ATI_JWT_ISSUER, else any issuer]
    #[arg(long, value_name = "ISSUER")]
    iss: Option<String>,

    /// The allowed clock difference to the issuer, up to 10m or 600 (seconds)
    #[arg(long, value_name = "DURATION", default_value = "60", value_parser = parse_duration)]
    leeway: Duration,
}

/// Verifies the token and returns its claims. Errors in keys and settings are reported before the
/// token is read.
pub(crate) fn run(arguments: &Validate) -> Result<Output, Failure> {
    let mut verifier = VerifierBuilder::from_env()
        .map_err(Failure::misuse)?
        .leeway(arguments.leeway);
    if let Some(audience) = &arguments.aud {
        verifier = verifier.audience(audience);
    }
    if let Some(issuer) = &arguments.iss {
        verifier = verifier.issuer(issuer);
    }
    let verifier = verifier.build().map_err(Failure::misuse)?;
    let token = arguments.token.read()?;
    let claims = verifier.verify(&token).map_err(Failure::refused)?;
    Ok(Output::new(json::for_stdout(claims.to_json())))
}
