//! Counts of wrong API keys, by the address that sends them.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;

/// How many wrong keys an address may send in a minute before it has to wait.
const MAX_WRONG_KEYS: u16 = 60;

/// The number of counters. Addresses share them by a hash that only this process knows.
const COUNTERS: usize = 8_192;

/// Counts wrong keys by address, in 16 KiB of memory.
///
/// The counts limit what a flood of wrong keys costs: beyond the limit its responses are counted
/// and not logged. A right key is never throttled, even from an address that sends wrong keys:
/// other clients may share the address, and a key has at least 128 bits, which no number of
/// attempts makes guessable. So two addresses that share a counter do not harm each other.
///
/// An IPv6 client may have a whole /64 network, so such a network counts as one address.
#[derive(Debug)]
pub(crate) struct WrongKeys {
    hasher: RandomState,
    minute: Mutex<Minute>,
}

#[derive(Debug)]
struct Minute {
    number: i64,
    counts: Box<[u16]>,
}

impl WrongKeys {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            minute: Mutex::new(Minute {
                number: 0,
                counts: vec![0; COUNTERS].into(),
            }),
        }
    }

    /// Counts a wrong key. Returns how many seconds the address has to wait if it has sent too many
    /// in this minute. Clients with an unknown address share one counter.
    pub(crate) fn count(&self, address: Option<IpAddr>, now: Timestamp) -> Option<u64> {
        let index = self.hasher.hash_one(address.map(network)) % COUNTERS as u64;
        let index = usize::try_from(index).unwrap_or(0);
        let now = now.as_second();
        let number = now.div_euclid(60);
        let mut minute = self.minute.lock().unwrap_or_else(PoisonError::into_inner);
        // When the clock is set back, the counts of the newest minute stay.
        if number > minute.number {
            minute.number = number;
            minute.counts.fill(0);
        }
        let count = minute.counts.get_mut(index)?;
        *count = count.saturating_add(1);
        let wait = u64::try_from(60 - now.rem_euclid(60)).unwrap_or(60);
        (*count > MAX_WRONG_KEYS).then_some(wait)
    }
}

/// The part of an address that a client cannot choose.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    /// How many wrong keys an address may still send.
    fn left(wrong: &WrongKeys, from: &str, now: i64) -> usize {
        (0..1_000)
            .take_while(|_| wrong.count(address(from), at(now)).is_none())
            .count()
    }

    #[test]
    fn an_address_waits_for_the_end_of_the_minute() {
        let wrong = WrongKeys::new();
        assert_eq!(left(&wrong, "192.0.2.1", 600), usize::from(MAX_WRONG_KEYS));
        assert_eq!(wrong.count(address("192.0.2.1"), at(610)), Some(50));
        assert_eq!(wrong.count(address("192.0.2.1"), at(659)), Some(1));
        // A clock that is set back.
        assert!(wrong.count(address("192.0.2.1"), at(60)).is_some());
        assert_eq!(left(&wrong, "192.0.2.1", 660), usize::from(MAX_WRONG_KEYS));
    }

    #[test]
    fn an_ipv6_network_is_one_address() {
        let wrong = WrongKeys::new();
        for n in 0..MAX_WRONG_KEYS {
            let from = format!("2001:db8:1:2:{n:x}::1");
            assert_eq!(wrong.count(address(&from), at(0)), None);
        }
        assert!(wrong.count(address("2001:db8:1:2::ffff"), at(0)).is_some());
        assert!(wrong.count(address("::ffff:192.0.2.1"), at(0)).is_none());
    }

    #[test]
    fn the_unknown_address_is_counted_too() {
        let wrong = WrongKeys::new();
        let waits = (0..100).filter(|_| wrong.count(None, at(0)).is_some());
        assert_eq!(waits.count(), 100 - usize::from(MAX_WRONG_KEYS));
    }
}
