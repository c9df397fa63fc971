//! Any bytes as an audit bundle: a bundle that is read is JSON, is never verified without the right
//! key, and reads the same whole and in pieces.

#![no_main]

use std::io::Read;

use atlasent::audit::{BundleVerifier, TrustedKeys};
use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;

/// The public key of RFC 8032, 7.1, test 1, which signed no seed.
const FOREIGN_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
    -----END PUBLIC KEY-----\n";

/// The public key that signed most seeds.
const SEEDS_KEY: &str = "-----BEGIN PUBLIC KEY-----\n\
    MCowBQYDK2VwAyEAiojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w=\n\
    -----END PUBLIC KEY-----\n";

fuzz_target!(|bytes: &[u8]| {
    for pems in [&[][..], &[FOREIGN_KEY], &[FOREIGN_KEY, SEEDS_KEY]] {
        let keys = TrustedKeys::from_pems(pems);
        let whole = BundleVerifier::new(&keys).verify_bytes(bytes);
        let pieces = BundleVerifier::new(&keys).verify_reader(Trickle(bytes));
        match (whole, pieces) {
            (Ok(whole), Ok(pieces)) => {
                assert!(is_json(bytes));
                assert!(!whole.signature_valid || pems.contains(&SEEDS_KEY));
                assert_eq!(whole.verified(), whole.reason.is_none());
                assert_eq!(whole, pieces);
            }
            (Err(whole), Err(pieces)) => assert_eq!(whole.to_string(), pieces.to_string()),
            (whole, pieces) => panic!("{whole:?} and {pieces:?}"),
        }
    }
});

/// Whether `serde_json` accepts the bytes, up to its recursion limit.
fn is_json(bytes: &[u8]) -> bool {
    match serde_json::from_slice::<IgnoredAny>(bytes) {
        Ok(_) => true,
        Err(error) => error.to_string().starts_with("recursion limit"),
    }
}

/// A reader that returns at most seven bytes at a time.
struct Trickle<'a>(&'a [u8]);

impl Read for Trickle<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = buffer.len().min(7);
        self.0.read(&mut buffer[..length])
    }
}
