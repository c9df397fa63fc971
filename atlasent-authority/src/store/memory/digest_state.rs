//! The hash of maps whose keys are digests.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Builds hashers of keys that are SHA-256 digests: the first eight bytes of a digest differ as well
/// as all of it. A random number, which each map has of its own, keeps callers from choosing names
/// whose digests share a place in the map.
#[derive(Clone, Debug)]
pub(super) struct DigestState(u64);

#[derive(Debug)]
pub(super) struct DigestHasher(u64);

impl Default for DigestState {
    fn default() -> Self {
        Self(RandomState::new().hash_one(()))
    }
}

impl BuildHasher for DigestState {
    type Hasher = DigestHasher;

    fn build_hasher(&self) -> DigestHasher {
        DigestHasher(self.0)
    }
}

impl Hasher for DigestHasher {
    /// Adds the first eight bytes of a digest, or a number.
    fn write(&mut self, bytes: &[u8]) {
        let mut first = [0; 8];
        for (place, byte) in first.iter_mut().zip(bytes) {
            *place = *byte;
        }
        // An odd number with its bits spread out: the fraction of the golden ratio.
        const SPREAD: u128 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ u64::from_le_bytes(first)) * SPREAD;
        let [low, high] = [product, product >> 64].map(|half| half as u64);
        self.0 = low ^ high;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use sha2::{Digest, Sha256};

    use super::*;
    use crate::store::{AgentKey, CellKey, PermitKey};

    #[test]
    fn keys_of_all_kinds_are_found_and_share_no_place_by_rule() {
        let mut map: HashMap<CellKey, u64, DigestState> = HashMap::default();
        let keys = |number: u64| {
            let digest = Sha256::digest(number.to_le_bytes()).into();
            let agent = AgentKey::new(&number.to_string(), None);
            [
                CellKey::Permit(PermitKey::from_bytes(digest)),
                CellKey::Agent(agent),
                CellKey::Questions(agent),
            ]
        };
        for number in 0..1_000 {
            for key in keys(number) {
                assert_eq!(map.insert(key, number), None);
            }
        }
        assert_eq!(map.insert(CellKey::Stops, 7), None);
        for number in 0..1_000 {
            assert!(keys(number).iter().all(|key| map.get(key) == Some(&number)));
        }
        // Half of 4,096 places at least, as chance has it.
        let hashes = map.keys().map(|key| map.hasher().hash_one(key));
        let places: HashSet<u64> = hashes.map(|hash| hash % 4_096).collect();
        assert!(places.len() > 1_900, "{}", places.len());
        // Another map has other hashes.
        let other = DigestState::default();
        assert_ne!(
            other.hash_one(CellKey::Stops),
            map.hasher().hash_one(CellKey::Stops)
        );
    }
}
