//! The client's address behind proxies, from `X-Forwarded-For`.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

use crate::keys::contains;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The largest number of hops that are read. Chains of proxies are a handful long.
const MAX_HOPS: usize = 32;

/// The longest text of a hop, in bytes: an IPv6 address with brackets, a port and white space.
const MAX_HOP_BYTES: usize = 80;

/// Finds the address of a client.
///
/// Each proxy appends the address of its peer, so the header is read from its end: the hop before
/// a trusted proxy's address comes from that proxy. The first address that is not trusted is the
/// client's. Hops before it may be forged and are ignored.
///
/// A malformed hop ends the reading. The result is then the last address that a trusted proxy
/// reported, never an address from before the malformed hop.
pub(crate) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: &IpAddr| (trusted.iter()).any(|network| contains(network, *address));
    let mut address = peer.to_canonical();
    if !is_trusted(&address) {
        return address;
    }
    let hops = (headers.get_all(FORWARDED_FOR).iter().rev())
        .flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops.take(MAX_HOPS) {
        let Some(hop) = read_hop(hop) else {
            break;
        };
        address = hop;
        if !is_trusted(&address) {
            break;
        }
    }
    address
}

/// Reads a hop: `address`, `address:port`, `[address]` or `[address]:port`.
fn read_hop(hop: &[u8]) -> Option<IpAddr> {
    if hop.len() > MAX_HOP_BYTES {
        return None;
    }
    let text = std::str::from_utf8(hop).ok()?;
    let text = text.trim_matches([' ', '\t']);
    let bracketed = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = match bracketed {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => (text.parse::<IpAddr>())
            .or_else(|_| text.parse().map(|socket: SocketAddr| socket.ip()))
            .ok()?,
    };
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn seen_bytes(peer: &str, trusted: &[&str], lines: &[&[u8]]) -> String {
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_bytes(line).unwrap());
        }
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    fn seen(peer: &str, trusted: &[&str], lines: &[&str]) -> String {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        seen_bytes(peer, trusted, &lines)
    }

    const PROXIES: &[&str] = &["10.0.0.0/8"];

    #[test]
    fn a_peer_that_is_not_trusted_is_the_client() {
        assert_eq!(seen("9.9.9.9", &[], &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(seen("9.9.9.9", PROXIES, &["1.1.1.1"]), "9.9.9.9");
        assert_eq!(seen("::ffff:9.9.9.9", PROXIES, &["1.1.1.1"]), "9.9.9.9");
    }

    #[test]
    fn the_last_address_that_is_no_proxy_is_the_clients() {
        for (lines, expected) in [
            (&["1.1.1.1"][..], "1.1.1.1"),
            (&["6.6.6.6, 1.1.1.1, 10.0.0.2"], "1.1.1.1"),
            (&["6.6.6.6", "1.1.1.1"], "1.1.1.1"),
            (&["::ffff:1.1.1.1"], "1.1.1.1"),
            (&[], "10.0.0.1"),
            (&["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
        ] {
            assert_eq!(seen("10.0.0.1", PROXIES, lines), expected, "{lines:?}");
        }
        // A proxy whose address, or whose network, is written as IPv4-mapped.
        assert_eq!(seen("::ffff:10.0.0.1", PROXIES, &["1.1.1.1"]), "1.1.1.1");
        let mapped = &["::ffff:10.0.0.0/104"];
        assert_eq!(seen("10.0.0.1", mapped, &["1.1.1.1"]), "1.1.1.1");
    }

    #[test]
    fn hops_may_carry_brackets_and_ports() {
        for (hop, expected) in [
            ("1.1.1.1:443", "1.1.1.1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[::ffff:1.1.1.1]:80", "1.1.1.1"),
            ("\t 1.1.1.1 ", "1.1.1.1"),
        ] {
            assert_eq!(seen("10.0.0.1", PROXIES, &[hop]), expected, "{hop:?}");
        }
    }

    #[test]
    fn a_malformed_hop_ends_the_reading() {
        for bad in [
            "",
            "nonsense",
            "unknown",
            "1.1.1.1:x",
            "1.1.1.1:99999",
            "[1.1.1.1]",
            "[2001:db8::1",
            "2001:db8::1]",
            "1.1.1.1 2.2.2.2",
            "1.1.1",
            "01.1.1.1",
            "fe80::1%eth0",
        ] {
            // The forged address before the damage does not count.
            let line = format!("6.6.6.6, {bad}");
            assert_eq!(seen("10.0.0.1", PROXIES, &[&line]), "10.0.0.1", "{bad:?}");
            let line = format!("6.6.6.6, {bad}, 10.0.0.7");
            assert_eq!(seen("10.0.0.1", PROXIES, &[&line]), "10.0.0.7", "{bad:?}");
            let lines = ["6.6.6.6", bad, "10.0.0.7"];
            assert_eq!(seen("10.0.0.1", PROXIES, &lines), "10.0.0.7", "{bad:?}");
        }
        for bad in [&b"\xff"[..], b"1.1.1.1\xc3\xa9", "é".as_bytes()] {
            let lines = [&b"6.6.6.6"[..], bad];
            assert_eq!(seen_bytes("10.0.0.1", PROXIES, &lines), "10.0.0.1");
        }
        let long = format!("{}1.1.1.1", " ".repeat(MAX_HOP_BYTES));
        assert_eq!(
            seen("10.0.0.1", PROXIES, &[&format!("x,{long}")]),
            "10.0.0.1"
        );
    }

    #[test]
    fn the_number_of_hops_is_bounded() {
        let hops = vec!["10.0.0.9"; 10_000].join(",");
        let line = format!("6.6.6.6,{hops}");
        assert_eq!(seen("10.0.0.1", PROXIES, &[&line]), "10.0.0.9");
    }

    proptest! {
        /// Whatever a client writes before what the trusted proxy appended changes nothing.
        #[test]
        fn what_stands_before_the_clients_hop_changes_nothing(
            forged in prop::collection::vec(
                prop::collection::vec(
                    any::<u8>().prop_filter("a header line", |b| *b >= 32 && *b != 127), 0..60,
                ),
                0..5,
            ),
            same_line in any::<bool>(),
        ) {
            let mut lines = forged;
            match lines.last_mut() {
                Some(last) if same_line => last.extend_from_slice(b", 203.0.113.7"),
                _ => lines.push(b"203.0.113.7".to_vec()),
            }
            let lines: Vec<&[u8]> = lines.iter().map(Vec::as_slice).collect();
            prop_assert_eq!(seen_bytes("10.0.0.1", PROXIES, &lines), "203.0.113.7");
        }

        /// The answer is the peer, or an address that the header holds behind all damage.
        #[test]
        fn damage_hides_all_that_stands_before_it(
            before in prop::collection::vec(any::<[u8; 4]>(), 0..4),
            damage in prop::collection::vec(128_u8..=255, 1..8),
            behind in prop::collection::vec(any::<[u8; 3]>(), 0..4),
        ) {
            let text = |address: IpAddr| address.to_string().into_bytes();
            let mut hops: Vec<Vec<u8>> =
                before.iter().map(|octets| text(IpAddr::from(*octets))).collect();
            hops.push(damage);
            let proxies: Vec<IpAddr> =
                behind.iter().map(|[a, b, c]| IpAddr::from([10, *a, *b, *c])).collect();
            hops.extend(proxies.iter().copied().map(text));
            let seen = seen_bytes("10.0.0.1", PROXIES, &[&hops.join(&b","[..])]);
            let expected = proxies.first().map_or("10.0.0.1".to_owned(), ToString::to_string);
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn every_spelling_of_an_address_is_the_same_client(octets in any::<[u8; 16]>(), port in 1_u16..) {
            let address = IpAddr::from(octets);
            let expected = address.to_canonical().to_string();
            // A trusted proxy would be passed over.
            prop_assume!(!contains(&"10.0.0.0/8".parse().unwrap(), address));
            for hop in [
                format!("{address}"),
                format!("[{address}]"),
                format!("[{address}]:{port}"),
            ] {
                prop_assert_eq!(seen("10.0.0.1", PROXIES, &[&hop]), &*expected);
            }
        }
    }
}
