//! `atlasent webhook verify`: verifies the signature and the age of a notification.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use atlasent::text::quoted;
use atlasent_authority::server::webhooks::{WebhookDelivery, WebhookSecret};
use clap::Args;
use jiff::{SignedDuration, Timestamp};

use crate::exit::Failure;
use crate::files::read_at_most;
use crate::output::Output;
use atlasent_authority::duration::parse_duration;

/// The longest body, and the longest file of headers, in bytes.
const LONGEST: usize = 1024 * 1024;

/// Verify a notification, whose body is read from standard input
#[derive(Args)]
#[command(next_line_help = true, after_help = EXAMPLES)]
pub(crate) struct Verify {
    /// A file with the headers of the request, one `name: value` on a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["id", "timestamp", "signature"], required_unless_present = "id")]
    headers: Option<PathBuf>,

    /// The header webhook-id
    #[arg(
        long,
        value_name = "ID",
        requires = "timestamp",
        requires = "signature"
    )]
    id: Option<String>,

    /// The header webhook-timestamp
    #[arg(long, value_name = "SECONDS", requires = "id")]
    timestamp: Option<String>,

    /// The header webhook-signature
    #[arg(long, value_name = "SIGNATURES", requires = "id")]
    signature: Option<String>,

    /// The environment variable with the secret, or with several, separated by spaces
    #[arg(long, value_name = "NAME", required_unless_present = "secret_file")]
    secret_env: Option<String>,

    /// A file with the secret, or with several, one on a line
    #[arg(long, value_name = "FILE", conflicts_with = "secret_env")]
    secret_file: Option<PathBuf>,

    /// How old or new a notification may be, such as 5m or 300 (seconds)
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    tolerance: Duration,
}

const EXAMPLES: &str = "\
Examples:
  atlasent webhook verify --headers headers.txt --secret-file webhook.secret < body.json
  atlasent webhook verify --id msg_1 --timestamp 1780000000 --signature v1,… --secret-env WEBHOOK_SECRET < body.json

The body is compared byte by byte: JSON that was read and written again does not verify. A notification that was
verified may be a repetition: its webhook-id is the same in each attempt.";

/// The headers of a notification.
#[derive(Default)]
struct Headers {
    id: Option<String>,
    timestamp: Option<String>,
    signature: Option<String>,
}

/// Returns a line with the id, or why the notification must not be believed.
pub(crate) fn run(arguments: &Verify) -> Result<Output, Failure> {
    let headers = arguments.headers()?;
    let secrets = arguments.secrets()?;
    let present = |header: Option<String>, name: &str| {
        header.ok_or_else(|| Failure::refused(format!("it lacks the header `{name}`")))
    };
    let id = present(headers.id, "webhook-id")?;
    let timestamp = present(headers.timestamp, "webhook-timestamp")?;
    let signatures = present(headers.signature, "webhook-signature")?;
    let body = read_bounded(io::stdin(), "standard input")?;
    let delivery = WebhookDelivery {
        id: &id,
        timestamp: &timestamp,
        signatures: &signatures,
        body: &body,
    };
    let tolerance = SignedDuration::try_from(arguments.tolerance).unwrap_or(SignedDuration::MAX);
    delivery
        .verify(&secrets, Timestamp::now(), tolerance)
        .map_err(Failure::refused)?;
    Ok(Output::new("verified\n"))
}

impl Verify {
    fn headers(&self) -> Result<Headers, Failure> {
        let Some(path) = &self.headers else {
            return Ok(Headers {
                id: self.id.clone(),
                timestamp: self.timestamp.clone(),
                signature: self.signature.clone(),
            });
        };
        let mut headers = Headers::default();
        for line in read_text(path)?.lines() {
            let Some((name, value)) = line.split_once(':') else {
                continue;
            };
            let header = match &*name.trim().to_ascii_lowercase() {
                "webhook-id" => &mut headers.id,
                "webhook-timestamp" => &mut headers.timestamp,
                "webhook-signature" => &mut headers.signature,
                _ => continue,
            };
            if header.replace(value.trim().to_owned()).is_some() {
                let name = name.trim().to_ascii_lowercase();
                return Err(Failure::refused(format!(
                    "it has the header `{name}` twice"
                )));
            }
        }
        Ok(headers)
    }

    fn secrets(&self) -> Result<Vec<WebhookSecret>, Failure> {
        let (source, text) = match (&self.secret_env, &self.secret_file) {
            (Some(name), _) => {
                let text = env::var(name);
                let text =
                    text.map_err(|_| Failure::misuse(format!("{} is not set", quoted(name))))?;
                (name.clone(), text)
            }
            (None, Some(path)) => (path.display().to_string(), read_text(path)?),
            (None, None) => return Err(Failure::misuse("no secret: use `--secret-file`")),
        };
        let parsed = text.split_whitespace().map(str::parse);
        let secrets: Result<Vec<WebhookSecret>, _> = parsed.collect();
        match secrets {
            Ok(secrets) if secrets.is_empty() => {
                Err(Failure::misuse(format!("`{source}` holds no secret")))
            }
            Ok(secrets) => Ok(secrets),
            Err(error) => Err(Failure::misuse(format!("`{source}`: {error}"))),
        }
    }
}

fn read_text(path: &Path) -> Result<String, Failure> {
    let name = format!("`{}`", path.display());
    let file = fs::File::open(path);
    let file = file.map_err(|error| Failure::misuse(format!("cannot read {name}: {error}")))?;
    String::from_utf8(read_bounded(file, &name)?)
        .map_err(|_| Failure::misuse(format!("{name} is not UTF-8")))
}

fn read_bounded(from: impl Read, name: &str) -> Result<Vec<u8>, Failure> {
    let bytes = read_at_most(from, LONGEST)
        .map_err(|error| Failure::misuse(format!("cannot read {name}: {error}")))?;
    bytes.ok_or_else(|| Failure::refused(format!("{name} exceeds the limit of {LONGEST} bytes")))
}
