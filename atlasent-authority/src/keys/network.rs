//! The test whether a network contains an address, in the IPv4 and the IPv4-mapped form.

use std::net::IpAddr;

use ipnet::IpNet;

/// The length of the prefix `::ffff:0:0/96`, which all IPv4-mapped addresses share.
const MAPPED_PREFIX: u8 = 96;

/// Returns whether a network contains an address.
///
/// An IPv4 address and its IPv4-mapped IPv6 form (`::ffff:a.b.c.d`; RFC 4291, 2.5.5.2) are the
/// same address, in the network as in the client's. A wider IPv6 network such as `::/0` contains
/// no IPv4 address.
pub(crate) fn contains(network: &IpNet, address: IpAddr) -> bool {
    let address = address.to_canonical();
    match (network, address) {
        (IpNet::V6(network), IpAddr::V4(address)) if network.prefix_len() >= MAPPED_PREFIX => {
            network.contains(&address.to_ipv6_mapped())
        }
        _ => network.contains(&address),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn in_network(network: &str, address: &str) -> bool {
        contains(&network.parse().unwrap(), address.parse().unwrap())
    }

    #[test]
    fn a_mapped_network_contains_its_ipv4_addresses() {
        assert!(in_network("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(in_network("::ffff:10.0.0.0/104", "::ffff:10.1.2.3"));
        assert!(!in_network("::ffff:10.0.0.0/104", "11.1.2.3"));
        assert!(in_network("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(!in_network("::/0", "10.1.2.3"));
        assert!(!in_network("0.0.0.0/0", "2001:db8::1"));
        assert!(in_network("::/0", "2001:db8::1"));
    }

    proptest! {
        #[test]
        fn a_network_contains_the_same_in_both_spellings(
            octets in any::<[u8; 4]>(),
            bits in 0_u8..=32,
            client in any::<[u8; 4]>(),
        ) {
            let v4 = IpNet::new(IpAddr::from(octets), bits).unwrap();
            let mapped = Ipv4Addr::from(octets).to_ipv6_mapped();
            let v6 = IpNet::new(IpAddr::V6(mapped), MAPPED_PREFIX + bits).unwrap();
            let client = Ipv4Addr::from(client);
            for client in [IpAddr::V4(client), IpAddr::V6(client.to_ipv6_mapped())] {
                prop_assert_eq!(contains(&v4, client), contains(&v6, client));
            }
        }
    }
}
