//! [`IpRange`]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use super::{invalid, written_as_text};
use crate::Error;

/// A value of the schema type `ipaddr`: an IP address or a range of addresses.
///
/// ```
/// use std::net::Ipv4Addr;
/// use atlasent::schema::IpRange;
///
/// let client = IpRange::from(Ipv4Addr::LOCALHOST);
/// assert_eq!(client.to_string(), "127.0.0.1");
/// let network: IpRange = "10.0.0.0/8".parse()?;
/// assert_eq!(network.prefix_length(), 8);
/// # Ok::<(), atlasent::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpRange {
    address: IpAddr,
    prefix_length: u8,
}

impl IpRange {
    /// Creates the range of the addresses that have the first `prefix_length` bits of `address`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when the address has fewer bits.
    pub fn new(address: impl Into<IpAddr>, prefix_length: u8) -> Result<Self, Error> {
        let address = address.into();
        if prefix_length > bits(address) {
            let text = format!("{address}/{prefix_length}");
            return Err(invalid(&text, "ipaddr", "10.0.0.0/8"));
        }
        Ok(Self {
            address,
            prefix_length,
        })
    }

    /// Returns the address, or an address of the range.
    #[must_use]
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// Returns how many bits all addresses of the range share: all bits for a single address.
    #[must_use]
    pub const fn prefix_length(self) -> u8 {
        self.prefix_length
    }
}

written_as_text!(IpRange, IpaddrType);

const fn bits(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.address.to_string();
        match self.address {
            // Cedar reads no IPv4 address inside of an IPv6 address, such as `::ffff:10.0.0.1`.
            IpAddr::V6(address) if text.contains('.') => {
                let [a, b, c, d, e, f6, g, h] = address.segments();
                write!(f, "{a:x}:{b:x}:{c:x}:{d:x}:{e:x}:{f6:x}:{g:x}:{h:x}")?;
            }
            _ => f.write_str(&text)?,
        }
        match self.prefix_length < bits(self.address) {
            true => write!(f, "/{}", self.prefix_length),
            false => Ok(()),
        }
    }
}

/// Reads an address, or an address with `/` and the length of the prefix.
impl FromStr for IpRange {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let read = || {
            let Some((address, length)) = text.split_once('/') else {
                return text.parse::<IpAddr>().ok().map(Self::from);
            };
            // As Cedar reads it: digits without a sign and without leading zeros.
            let prefix_length: u8 = length.parse().ok()?;
            if prefix_length.to_string() != length {
                return None;
            }
            Self::new(address.parse::<IpAddr>().ok()?, prefix_length).ok()
        };
        read().ok_or_else(|| invalid(text, "ipaddr", "10.0.0.0/8"))
    }
}

impl From<IpAddr> for IpRange {
    fn from(address: IpAddr) -> Self {
        Self {
            address,
            prefix_length: bits(address),
        }
    }
}

impl From<Ipv4Addr> for IpRange {
    fn from(address: Ipv4Addr) -> Self {
        IpAddr::from(address).into()
    }
}

impl From<Ipv6Addr> for IpRange {
    fn from(address: Ipv6Addr) -> Self {
        IpAddr::from(address).into()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_a_range_or_an_error() {
        for (text, written) in [
            ("10.0.0.7", "10.0.0.7"),
            ("10.0.0.7/32", "10.0.0.7"),
            ("10.0.0.0/0", "10.0.0.0/0"),
            ("2001:DB8::1/64", "2001:db8::1/64"),
            ("::ffff:10.0.0.1", "0:0:0:0:0:ffff:a00:1"),
        ] {
            assert_eq!(text.parse::<IpRange>().unwrap().to_string(), written);
        }
        for wrong in [
            "",
            "10.0.0",
            "10.0.0.1/33",
            "::/129",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "/8",
            "host",
        ] {
            let error = wrong.parse::<IpRange>().unwrap_err().to_string();
            assert!(error.contains("such as `10.0.0.0/8`"), "{error}");
        }
        assert!(IpRange::new(Ipv4Addr::LOCALHOST, 33).is_err());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(address: IpAddr, length: u8) {
            let range = IpRange::new(address, length % (bits(address) + 1)).unwrap();
            prop_assert_eq!(range.to_string().parse::<IpRange>().unwrap(), range);
        }
    }
}
