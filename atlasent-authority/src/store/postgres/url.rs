//! The options of the url that are ours, and the server's name in error texts.

use std::fmt::Write;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use crate::store::StoreError;

/// The option that chooses the isolation.
const ISOLATION: &str = "atlasent_isolation";

/// The isolation of all transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Isolation {
    /// Each statement sees what was committed before it began.
    #[default]
    ReadCommitted,
    /// For databases that have no other isolation, or whose rules demand it.
    Serializable,
}

impl Isolation {
    /// Returns the name in SQL.
    pub(super) fn as_sql(self) -> &'static str {
        match self {
            Self::ReadCommitted => "READ COMMITTED",
            Self::Serializable => "SERIALIZABLE",
        }
    }
}

/// Takes our options out of a url, or out of a string of `key=value` pairs.
pub(super) fn split_options(url: &str) -> Result<(String, Isolation), StoreError> {
    let is_url = url.starts_with("postgres://") || url.starts_with("postgresql://");
    let (base, options, separator) = match url.rsplit_once('?') {
        Some((base, options)) if is_url => (Some(base), options, '&'),
        None if is_url => return Ok((url.to_owned(), Isolation::default())),
        _ => (None, url, ' '),
    };
    let mut isolation = Isolation::default();
    let mut others = Vec::new();
    for option in options.split(separator) {
        match option.split_once('=') {
            Some((ISOLATION, value)) => isolation = parse(value)?,
            _ => others.push(option),
        }
    }
    let others = others.join(&separator.to_string());
    let rest = match base {
        Some(base) if others.is_empty() => base.to_owned(),
        Some(base) => format!("{base}?{others}"),
        None => others,
    };
    Ok((rest, isolation))
}

/// The error does not repeat the value, since a part of the url may be a password.
fn parse(isolation: &str) -> Result<Isolation, StoreError> {
    match isolation {
        "read-committed" => Ok(Isolation::ReadCommitted),
        "serializable" => Ok(Isolation::Serializable),
        _ => Err(StoreError::failed(format!(
            "the database url names an unknown isolation: write `{ISOLATION}=serializable`, or `read-committed`"
        ))),
    }
}

/// Returns the server and the database, without the user and the password.
pub(super) fn name(config: &Config) -> String {
    let mut name = String::new();
    let (hosts, ports) = (config.get_hosts(), config.get_ports());
    for (place, host) in hosts.iter().enumerate() {
        let port = ports.get(place).or(ports.first()).unwrap_or(&5432);
        let comma = if place > 0 { "," } else { "" };
        let _ = match host {
            Host::Tcp(host) => write!(name, "{comma}{host}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => write!(name, "{comma}{}:{port}", path.display()),
        };
    }
    let database = config
        .get_dbname()
        .or(config.get_user())
        .unwrap_or_default();
    let _ = write!(name, "/{database}");
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_isolation_is_taken_out_of_the_url_and_the_rest_stays() {
        use Isolation::{ReadCommitted, Serializable};
        for (url, rest, isolation) in [
            ("postgres://u@h/d", "postgres://u@h/d", ReadCommitted),
            (
                "postgres://u@h/d?sslmode=require",
                "postgres://u@h/d?sslmode=require",
                ReadCommitted,
            ),
            (
                "postgres://u@h/d?atlasent_isolation=serializable",
                "postgres://u@h/d",
                Serializable,
            ),
            (
                "postgresql://u@h/d?a=1&atlasent_isolation=serializable&b=2",
                "postgresql://u@h/d?a=1&b=2",
                Serializable,
            ),
            (
                "postgres://u@h/d?atlasent_isolation=read-committed",
                "postgres://u@h/d",
                ReadCommitted,
            ),
            (
                "host=h atlasent_isolation=serializable password='a?b'",
                "host=h password='a?b'",
                Serializable,
            ),
        ] {
            let split = split_options(url).unwrap();
            assert_eq!(split, (rest.to_owned(), isolation), "{url}");
        }
        let error = split_options("postgres://u@h/d?atlasent_isolation=hunter2").unwrap_err();
        let text = error.to_string();
        assert!(text.contains("`atlasent_isolation=serializable`"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}
