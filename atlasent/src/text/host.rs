//! Hosts of this machine, in URLs and headers.

use std::net::IpAddr;

/// Returns whether a host is this machine: `localhost` in any case, or a loopback address. An IPv6
/// address may be in brackets, as in a URL. A host with a port is never this machine.
///
/// ```
/// use atlasent::text::is_loopback_host;
///
/// assert!(["localhost", "127.0.0.1", "[::1]"].into_iter().all(is_loopback_host));
/// assert!(!is_loopback_host("localhost.evil.example"));
/// ```
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    let in_brackets = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let address = in_brackets.unwrap_or(host).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_that_name_this_machine_are_this_machine() {
        for host in [
            "localhost",
            "LocalHost",
            "127.0.0.1",
            "127.1.2.3",
            "::1",
            "[::1]",
        ] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "localhost.",
            "localhost:80",
            "localhost.evil.example",
            "evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:80",
            "128.0.0.1",
            "0.0.0.0",
            "[::]",
            "[::1",
            "[[::1]]",
            "[localhost]",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }
}
