//! `atlasent token validate`: whether a token is good, and what it says.

use std::time::Duration;

use ati_client::VerifierBuilder;
use clap::Args;

use super::input::Input;
use super::keys;
use crate::duration::duration;
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

A token that is refused ends with exit code 1, and one line on standard error that says why.
Others on this machine can see arguments: prefer standard input.

Without --aud, the audiences in ATI_JWT_ACCEPTED_AUDIENCES are accepted, which has commas between them, else the one in
ATI_JWT_AUDIENCE, else ati-proxy.

",
    keys!()
))]
pub(crate) struct Validate {
    #[command(flatten)]
    token: Input,

    /// The audience to accept [default: from the environment, else ati-proxy]
    #[arg(long, value_name = "AUDIENCE")]
    aud: Option<String>,

    /// The issuer to require [default: $ATI_JWT_ISSUER, else any]
    #[arg(long, value_name = "ISSUER")]
    iss: Option<String>,

    /// How far the issuer's clock and this one may be apart, at most 600
    #[arg(long, value_name = "DURATION", default_value = "60", value_parser = duration)]
    leeway: Duration,
}

/// Verifies the token. What is wrong with keys and settings is said first, for without them no
/// token can be judged.
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
