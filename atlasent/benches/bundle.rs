//! Measures the check of a bundle against the minimum of any check: hashing its bytes once and
//! parsing its JSON once.
//!
//! Each measurement is a process of its own, so that its peak of memory can be read (`VmHWM`,
//! Linux).
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a benchmark reports on standard output, and may panic"
)]

use std::env;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use atlasent::audit::{BundleVerifier, GENESIS_HASH, TrustedKeys, chain_hash};
use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::hazmat::{ExpandedSecretKey, raw_sign_byupdate};
use ed25519_dalek::{SigningKey, VerifyingKey};
use serde::de::IgnoredAny;
use sha2::{Digest, Sha256, Sha512};

const KEY: [u8; 32] = [7; 32];
const SIZES: [u64; 3] = [10_000, 100_000, 1_000_000];
const RUNS: usize = 5;

fn main() {
    let arguments: Vec<String> = env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, what, path] if what != "--bench" => measure(what, Path::new(path)),
        _ => compare(),
    }
}

fn compare() {
    println!(
        "   events      MB   what                 best      events/s    MB/s   peak MB   of the floor"
    );
    for events in SIZES {
        let bundle = tempfile::NamedTempFile::new().unwrap();
        generate(bundle.path(), events);
        let size = fs::metadata(bundle.path()).unwrap().len();
        let mut floor = None;
        for what in ["floor", "floor-in-memory", "verify"] {
            let runs = (0..RUNS).map(|_| run(what, bundle.path()));
            let (time, peak) = runs.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1))).unwrap();
            let floor = *floor.get_or_insert(time);
            println!(
                "{events:>9} {:>7.1}   {what:<16} {:>8.1} ms {:>11.0} {:>7.0} {:>9.1} {:>14.2}",
                size as f64 / 1e6,
                time.as_secs_f64() * 1e3,
                events as f64 / time.as_secs_f64(),
                size as f64 / 1e6 / time.as_secs_f64(),
                peak as f64 / 1e3,
                time.as_secs_f64() / floor.as_secs_f64(),
            );
        }
    }
}

/// Measures in a new process. Returns the time, and the peak of memory in kB.
fn run(what: &str, path: &Path) -> (Duration, u64) {
    let output = Command::new(env::current_exe().unwrap())
        .args([what.as_ref(), path.as_os_str()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let answer = String::from_utf8(output.stdout).unwrap();
    let (nanos, peak) = answer.trim().split_once(' ').unwrap();
    (
        Duration::from_nanos(nanos.parse().unwrap()),
        peak.parse().unwrap(),
    )
}

fn measure(what: &str, path: &Path) {
    let begin = Instant::now();
    match what {
        "verify" => verify(path),
        "floor" => floor(File::open(path).unwrap()),
        "floor-in-memory" => {
            let bundle = fs::read(path).unwrap();
            std::hint::black_box(Sha256::digest(&bundle));
            serde_json::from_slice::<IgnoredAny>(&bundle).unwrap();
        }
        other => assert!(other.is_empty(), "unknown measurement `{other}`"),
    }
    let time = begin.elapsed();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.unwrap_or("0 kB").trim().trim_end_matches(" kB");
    println!("{} {peak}", time.as_nanos());
}

fn verify(path: &Path) {
    let key = SigningKey::from_bytes(&KEY).verifying_key();
    let keys = TrustedKeys::new().raw("bench", key.as_bytes()).unwrap();
    let report = BundleVerifier::new(&keys).verify_path(path).unwrap();
    assert!(report.is_intact(), "{report:?}");
}

/// Hashes and parses a file once, both as a stream, so that memory is bounded as in the verifier.
fn floor(file: File) {
    let mut hashing = Hashing {
        file,
        hash: Sha256::new(),
    };
    serde_json::from_reader::<_, IgnoredAny>(BufReader::with_capacity(256 * 1024, &mut hashing))
        .unwrap();
    std::hint::black_box(hashing.hash.finalize());
}

struct Hashing {
    file: File,
    hash: Sha256,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// Writes a bundle of events as a server exports them: about 600 bytes each, with unsorted keys in
/// the payload.
fn generate(path: &Path, events: u64) {
    let mut out = BufWriter::new(File::create(path).unwrap());
    let head = (0..events).fold(GENESIS_HASH.to_owned(), |hash, n| event(n, &hash).1);
    write!(
        out,
        r#"{{"export_id":"exp-1","org_id":"org-1","chain_head_hash":"{head}","event_count":{events},"signed_at":"2026-01-01T00:00:00Z","events":["#
    )
    .unwrap();
    let mut hash = GENESIS_HASH.to_owned();
    for n in 0..events {
        let (text, next) = event(n, &hash);
        out.write_all(if n == 0 { b"" } else { b"," }).unwrap();
        out.write_all(text.as_bytes()).unwrap();
        hash = next;
    }
    out.write_all(b"]").unwrap();
    let mut file = out.into_inner().unwrap();
    let signature = sign(path);
    file.seek(SeekFrom::End(0)).unwrap();
    write!(
        file,
        r#","signature":"{signature}","signing_key_id":"bench","signature_status":"signed"}}"#
    )
    .unwrap();
}

/// Returns the signature over the content of the file and a `}`.
fn sign(path: &Path) -> String {
    let key = SigningKey::from_bytes(&KEY);
    let verifying: VerifyingKey = key.verifying_key();
    let feed = |hash: &mut Sha512| {
        let mut file = File::open(path).unwrap();
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer).unwrap() {
                0 => break,
                read => hash.update(&buffer[..read]),
            }
        }
        hash.update(b"}");
        Ok(())
    };
    let expanded = ExpandedSecretKey::from(key.as_bytes());
    let signature = raw_sign_byupdate::<Sha512, _>(&expanded, feed, &verifying).unwrap();
    Base64UrlUnpadded::encode_string(&signature.to_bytes())
}

/// Returns the text of the nth event, and its hash.
fn event(n: u64, previous: &str) -> (String, String) {
    let said = format!(
        r#""id":"7c9e6679-7425-40de-944b-{n:012}","org_id":"org-1","sequence":{},"type":"evaluate.allow","decision":"allow","actor_id":"deploy-bot""#,
        n + 1
    );
    let time = format!(
        r#""occurred_at":"2026-01-{:02}T{:02}:{:02}:{:02}.000000Z""#,
        1 + n / 86_400,
        n / 3_600 % 24,
        n / 60 % 60,
        n % 60
    );
    let payload = format!(
        r#"{{{said},{time},"reason":"permitted by policy `deployers-deploy`","action_type":"deploy.production"}}"#
    );
    let hash = chain_hash(previous, &payload.parse().unwrap());
    let mut text = String::new();
    write!(
        text,
        r#"{{{said},"payload":{payload},"hash":"{hash}","previous_hash":"{previous}",{time}}}"#
    )
    .unwrap();
    (text, hash)
}
