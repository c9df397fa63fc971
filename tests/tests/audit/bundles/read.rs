//! A bundle is read as a stream, in pieces of any size. A read error is not a verdict.

use std::cell::RefCell;
use std::io::{self, Read};

use atlasent::audit::{BundleError, BundleVerifier, Phase, Progress, TrustedKeys};

use super::{bundle, chain, keys, signed, unsigned, verify};

/// A reader that returns at most a given number of bytes at once, and then ends or fails.
struct Pieces<'a> {
    rest: &'a [u8],
    size: usize,
    fails: bool,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.size.min(buffer.len()).min(self.rest.len());
        if length == 0 && self.fails {
            return Err(io::Error::other("the line is cut"));
        }
        let (now, rest) = self.rest.split_at(length);
        buffer[..length].copy_from_slice(now);
        self.rest = rest;
        Ok(length)
    }
}

/// Returns a bundle of 5 MB, with small and large events. It exceeds one window and the verifier's
/// memory.
fn large() -> String {
    let payloads: Vec<String> = (0..2_000)
        .map(|n| {
            format!(
                r#"{{"text":"{}"}}"#,
                "é".repeat(if n % 200 == 0 { 200_000 } else { 300 })
            )
        })
        .collect();
    let (events, head) = chain(&payloads);
    signed(&unsigned(&events, &head))
}

#[test]
fn the_size_of_the_pieces_does_not_matter() {
    let bundle = bundle();
    for size in [1, 2, 3, 7, 64] {
        let pieces = Pieces {
            rest: bundle.as_bytes(),
            size,
            fails: false,
        };
        let report = BundleVerifier::new(&keys()).verify_reader(pieces).unwrap();
        assert!(report.is_intact(), "{report:?}");
    }
}

#[test]
fn a_large_bundle_is_verified_from_wherever_it_comes() {
    let bundle = large();
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &bundle).unwrap();
    let keys = keys();
    let mut verifier = BundleVerifier::new(&keys);
    let pieces = Pieces {
        rest: bundle.as_bytes(),
        size: 100_000,
        fails: false,
    };
    for report in [
        verifier.verify_path(file.path()),
        verifier.verify_bytes(&bundle),
        verifier.verify_reader(pieces),
    ] {
        let report = report.unwrap();
        assert!(report.verified() && report.chain.events == 2_000);
    }
    // In another formatting, the verifier rewrites the events for the signature.
    let spaced = bundle.replace("},{", "},\n{");
    assert!(verifier.verify_bytes(&spaced).unwrap().verified());
    let changed = spaced.replacen('é', "e", 1);
    assert!(!verifier.verify_bytes(&changed).unwrap().signature_valid);
}

#[test]
fn a_value_that_two_windows_share_is_one_value() {
    let unsigned =
        unsigned(&[], &"0".repeat(64)).replace(r#""event_count":0"#, r#""event_count":123456"#);
    let good = signed(&unsigned);
    let number = good.find("123456").unwrap();
    // Each byte around the number is in turn the last byte of the first 256 KiB.
    for last in number - 2..number + 8 {
        let padding = "x".repeat(256 * 1024 - last - r#""pad":"","#.len());
        let padded = good.replacen('{', &format!(r#"{{"pad":"{padding}","#), 1);
        let report = verify(&padded).unwrap();
        assert!(report.verified(), "{last}: {report:?}");
        let found = super::problems(&report);
        assert_eq!(found, [atlasent::audit::Problem::WrongCount]);
    }
}

#[test]
fn progress_is_told_and_never_runs_backwards() {
    let bundle = large();
    let reported = RefCell::new(Vec::<Progress>::new());
    let keys = keys();
    let report = BundleVerifier::new(&keys)
        .on_progress(|progress| reported.borrow_mut().push(progress))
        .verify_bytes(&bundle)
        .unwrap();
    assert!(report.verified());
    let reported = reported.into_inner();
    let total = Some(bundle.len() as u64);
    for phase in [Phase::Chain, Phase::Signature] {
        let of_phase: Vec<_> = reported.iter().filter(|p| p.phase == phase).collect();
        assert!(of_phase.len() > 10, "{}", of_phase.len());
        assert!(of_phase.is_sorted_by_key(|p| (p.bytes, p.events)));
        assert!(
            of_phase
                .iter()
                .all(|p| p.total_bytes == total && Some(p.bytes) <= total)
        );
    }
    assert!(reported.is_sorted_by_key(|p| (p.phase, p.events)));
    assert_eq!(reported.last().map(|p| p.events), Some(2_000));

    let mut last = None;
    let pieces = Pieces {
        rest: bundle.as_bytes(),
        size: 9_999,
        fails: false,
    };
    BundleVerifier::new(&TrustedKeys::new())
        .on_progress(|progress| last = Some(progress))
        .verify_reader(pieces)
        .unwrap();
    let last = last.unwrap();
    assert_eq!(
        (last.phase, last.events, last.total_bytes),
        (Phase::Chain, 2_000, None)
    );
    assert_eq!(last.bytes, bundle.len() as u64);
}

#[test]
fn a_reader_that_fails_is_an_error_and_says_where() {
    let bundle = bundle();
    for length in 0..=bundle.len() {
        let pieces = Pieces {
            rest: &bundle.as_bytes()[..length],
            size: 50,
            fails: true,
        };
        let error = BundleVerifier::new(&keys())
            .verify_reader(pieces)
            .unwrap_err();
        assert!(
            matches!(error, BundleError::Io { at, .. } if at == length as u64),
            "{error}"
        );
    }
    let missing = BundleVerifier::new(&keys())
        .verify_path("no/such/file")
        .unwrap_err();
    assert!(
        matches!(missing, BundleError::Io { at: 0, .. }),
        "{missing}"
    );
    assert!(BundleVerifier::new(&keys()).verify_path(".").is_err());
}

#[test]
fn a_bundle_that_is_cut_off_is_an_error_wherever_it_is_cut() {
    let bundle = bundle();
    for length in 0..bundle.len() {
        let error = verify(&bundle.as_bytes()[..length]).unwrap_err();
        let BundleError::Malformed { at, .. } = error else {
            panic!("{error}");
        };
        assert!(at <= length as u64);
    }
}

#[test]
fn an_error_says_where_and_what() {
    let good = bundle();
    let second = good.find(r#"{"id":"evt-1""#).unwrap();
    for (text, says) in [
        (
            "[]".to_owned(),
            "expected `{`, found `[` at byte 0".to_owned(),
        ),
        (
            "\u{feff}{}".to_owned(),
            r"expected `{`, found `\xef` at byte 0".to_owned(),
        ),
        (
            String::new(),
            "expected `{`, found the end of the text at byte 0".to_owned(),
        ),
        (
            format!("{good} x"),
            format!("more text follows the bundle at byte {}", good.len() + 1),
        ),
        (
            good.replace(r#"{"id":"evt-1""#, "[\"evt-1\"],{\"id\":1"),
            format!("an event is not an object at byte {second}, in the event at index 1"),
        ),
        (
            good.replace("evt-1", "evt\t1"),
            format!("at byte {}, in the event at index 1", second + 9),
        ),
        (good.replace("]}", ",]}"), String::new()),
        (
            good.replacen("},{", "}{", 1),
            "expected `]`, found `{` at byte".to_owned(),
        ),
    ] {
        let error = verify(&text).unwrap_err().to_string();
        assert!(
            error.starts_with("this is not a bundle: ") && error.contains(&says),
            "{error} / {says}"
        );
    }
}

#[test]
fn a_bundle_beyond_a_limit_is_refused_with_the_limit_to_raise() {
    let bundle = large();
    let keys = keys();
    let limited = |bytes: usize| {
        BundleVerifier::new(&keys)
            .max_event_bytes(bytes)
            .verify_bytes(&bundle)
    };
    let error = limited(300_000).unwrap_err().to_string();
    assert!(
        error.contains("more than 300000 bytes") && error.contains("max_event_bytes"),
        "{error}"
    );
    assert!(error.contains("index 0"), "{error}");
    assert!(limited(401_000).unwrap().verified());

    let limited = |bytes: usize| {
        BundleVerifier::new(&keys)
            .max_bytes(bytes as u64)
            .verify_bytes(&bundle)
    };
    let error = limited(bundle.len() - 1).unwrap_err().to_string();
    assert!(error.contains("max_bytes"), "{error}");
    assert!(limited(bundle.len()).unwrap().verified());
}
