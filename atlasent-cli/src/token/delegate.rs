//! `atlasent token delegate`: exchanges an agent's token for a narrower one of a sub-agent.

use ati_client::{SigningKey, Verifier, delegate, issue, parse_scopes};
use clap::Args;

use super::input::TokenInput;
use super::key_variables_help;
use super::limits::TokenLimits;
use super::warnings::pattern_warnings;
use crate::exit::Failure;
use crate::output::Output;

/// Exchange an agent's token for a narrower one, with which another agent acts for it
#[derive(Args)]
#[command(after_help = concat!(
    "\
Examples:
  printenv ATI_SESSION_TOKEN | atlasent token delegate --actor helper --scope tool:github:search > helper.token
  atlasent token delegate --actor helper --scope tool:web_search --ttl 600 --rate 'tool:web_search=2/hour' < token.txt

The new token keeps the agent (`sub`) of the old one, adds the actor to its claim `act`, and is valid for the same
audiences. It never has more than the old one: a scope that the old one does not grant and a higher rate are refused,
and it expires with the old one at the latest. The old one's rates apply as well. Policies see the actors as
`context.actors`, and a stop of any actor stops the token. A token can be delegated again, up to 8 times.

A refused token, and a delegate that would have more than its parent, end with exit code 1. Pass the token on standard
input: arguments are visible to other users of the machine. Accepted audiences and issuers are those of `validate`.

",
    key_variables_help!()
))]
pub(crate) struct Delegate {
    #[command(flatten)]
    token: TokenInput,

    /// The agent that acts with the new token, which becomes the current actor (`act`)
    #[arg(long, value_name = "AGENT")]
    actor: String,

    /// The granted scopes, separated by spaces; may be empty
    #[arg(long, value_name = "SCOPES")]
    scope: String,

    /// An audience that the old token has, too; repeatable [default: those of the old token]
    #[arg(long, value_name = "AUDIENCE")]
    aud: Vec<String>,

    #[command(flatten)]
    limits: TokenLimits,

    /// The id of the actor's sandbox [default: that of the old token]
    #[arg(long, value_name = "SANDBOX")]
    sandbox_id: Option<String>,
}

/// Verifies the token and issues the new one. Errors in keys and settings are reported before the
/// token is read.
pub(crate) fn run(arguments: &Delegate) -> Result<Output, Failure> {
    let verifier = Verifier::from_env().map_err(Failure::misuse)?;
    let key = SigningKey::from_env().map_err(Failure::misuse)?;
    let token = arguments.token.read()?;
    let parent = verifier.verify(&token).map_err(Failure::refused)?;
    let mut claims = delegate(&parent, &arguments.actor)
        .scopes(parse_scopes(&arguments.scope))
        .ttl(arguments.limits.ttl());
    if !arguments.aud.is_empty() {
        claims = claims.audiences(&arguments.aud);
    }
    for (pattern, rate) in arguments.limits.rates() {
        claims = claims.rate(pattern, rate);
    }
    if let Some(sandbox_id) = &arguments.sandbox_id {
        claims = claims.sandbox_id(sandbox_id);
    }
    let claims = claims.build().map_err(failure)?;
    let token = issue(&claims, &key).map_err(Failure::misuse)?;
    Ok(Output::new(format!("{token}\n"))
        .with_warnings(pattern_warnings(parse_scopes(&arguments.scope))))
}

/// Tells what the parent refuses from an argument that no token could have.
fn failure(error: ati_client::Error) -> Failure {
    use ati_client::Error::{BadRate, Expired, MoreThanParent, TooManyActors};
    match error {
        // The rates of the arguments were parsed before, so a malformed one is the parent's.
        MoreThanParent { .. } | TooManyActors | Expired { .. } | BadRate { .. } => {
            Failure::refused(error)
        }
        _ => Failure::misuse(error),
    }
}
