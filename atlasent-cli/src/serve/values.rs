//! The values of options, as people write them.

use std::net::SocketAddr;
use std::time::Duration;

/// Parses an address to listen on. `localhost` always means 127.0.0.1; no name is resolved.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, &'static str> {
    let numeric = match text.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => text.to_owned(),
    };
    numeric.parse().map_err(
        |_| "invalid address: write an IP address and a port, as in `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`",
    )
}

/// Parses a number of days.
pub(super) fn days(text: &str) -> Result<Duration, &'static str> {
    match text.strip_suffix('d').unwrap_or(text).parse() {
        Ok(days @ 1..=36_500) => Ok(Duration::from_secs(days * 24 * 3600)),
        _ => Err("invalid number of days: write a whole number from 1 to 36500"),
    }
}

/// Parses a number of at least 1.
pub(super) fn at_least_one(text: &str) -> Result<usize, &'static str> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("invalid number: write a whole number of at least 1"),
    }
}
