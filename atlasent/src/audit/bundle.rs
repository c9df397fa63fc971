//! Checks a signed export from end to end, in memory that does not grow with it.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::Path;

use tempfile::SpooledTempFile;

use super::error::BundleError;
use super::keys::TrustedKeys;
use super::members;
use super::report::ChainReport;
use super::scan::{Limits, Scanner, Tee};
use super::signature::{self, Source};

/// What of a stream is kept in memory before it goes to a temporary file.
const SPOOLED: usize = 4 * 1024 * 1024;

/// Progress is told each time that this many bytes went by.
const STEP: u64 = 256 * 1024;

/// Checks bundles: the chain of their events, and their signature (contract, part C).
///
/// A bundle is read twice, since its signature usually stands behind its events. What is in memory
/// at any time is one event, whatever the bundle's size. What is not a regular file is kept in an
/// unnamed temporary one for the second time.
///
/// ```
/// use atlasent::audit::{BundleVerifier, TrustedKeys};
///
/// let bundle = br#"{"export_id":"x","org_id":"o","events":[],"event_count":0,"signature":"",
///     "chain_head_hash":"0000000000000000000000000000000000000000000000000000000000000000"}"#;
/// let keys = TrustedKeys::from_pems(["-----BEGIN PUBLIC KEY-----\n\
///     MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n\
///     -----END PUBLIC KEY-----\n"]);
/// let report = BundleVerifier::new(&keys)
///     .on_progress(|progress| println!("{} events", progress.events))
///     .verify_bytes(bundle)?;
/// assert!(report.chain.integrity_ok && !report.verified());
/// assert_eq!(report.reason.as_deref(), Some("bundle carries no signature"));
/// # Ok::<(), atlasent::audit::BundleError>(())
/// ```
#[must_use = "a verifier does nothing before it is given a bundle"]
pub struct BundleVerifier<'a> {
    keys: &'a TrustedKeys,
    progress: Option<Box<dyn FnMut(Progress) + 'a>>,
    limits: Limits,
    expected: Option<(u64, String)>,
}

/// What the check of a bundle found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BundleReport {
    /// What is to be said of the chain.
    pub chain: ChainReport,
    /// The organization that the bundle names. The signature covers it.
    pub org_id: Option<String>,
    /// Whether the signature is good under a trusted key.
    pub signature_valid: bool,
    /// The id of that key.
    pub matched_key_id: Option<String>,
    /// Why it is not verified, in the words of the SDKs; the first reason that applies. None when
    /// it is.
    pub reason: Option<String>,
}

/// How far a check is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Progress {
    /// What is being checked.
    pub phase: Phase,
    /// How many events were checked. Stays as it was while the signature is.
    pub events: u64,
    /// How many bytes of the bundle this phase has passed.
    pub bytes: u64,
    /// How many bytes the bundle has, where that is known.
    pub total_bytes: Option<u64>,
}

/// The two times that a bundle is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// First, for the chain.
    Chain,
    /// Then for the signature, if there is one to check.
    Signature,
}

impl BundleReport {
    /// Whether the chain holds and the signature is good: what the SDKs call verified.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.chain.integrity_ok && self.signature_valid
    }

    /// Whether it is verified, and nothing else is wrong with it either: see
    /// [`ChainReport::findings`].
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.verified() && self.chain.is_intact()
    }
}

impl<'a> BundleVerifier<'a> {
    /// A verifier that trusts `keys`. Without any, it still checks the chain.
    pub fn new(keys: &'a TrustedKeys) -> Self {
        Self {
            keys,
            progress: None,
            limits: Limits {
                value: 4 * 1024 * 1024,
                total: 64 * 1024 * 1024 * 1024,
            },
            expected: None,
        }
    }

    /// Compares the bundle with a head of its chain that was seen before: the sequence number and
    /// the hash of an event. [`ChainReport::continuation`] says how they relate. A second call
    /// replaces the first.
    pub fn expect_head(mut self, sequence: u64, hash: impl Into<String>) -> Self {
        self.expected = Some((sequence, hash.into()));
        self
    }

    /// Calls `tell` about every 256 KiB, and at the end of each phase. A second call replaces the
    /// first.
    pub fn on_progress(mut self, tell: impl FnMut(Progress) + 'a) -> Self {
        self.progress = Some(Box::new(tell));
        self
    }

    /// How many bytes an event may have, or any other value that is not an array: 4 MiB by default.
    /// A hostile event takes up to 20 times that in memory. A second call replaces the first.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.limits.value = bytes;
        self
    }

    /// How many bytes a bundle may have: 64 GiB by default. From a reader, that many may go to the
    /// temporary file. A second call replaces the first.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.limits.total = bytes;
        self
    }

    /// Checks the bundle in a file, which must not change meanwhile.
    ///
    /// # Errors
    ///
    /// [`BundleError`] when it cannot be read, is not a bundle, or exceeds a limit.
    pub fn verify_path(&mut self, path: impl AsRef<Path>) -> Result<BundleReport, BundleError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|source| BundleError::Io { at: 0, source })?;
        match metadata.is_file() {
            true => self.verify_in_place(file, Some(metadata.len())),
            false => self.verify_reader(file),
        }
    }

    /// Checks the bundle in memory.
    ///
    /// # Errors
    ///
    /// [`BundleError`] when it is not a bundle, or exceeds a limit.
    pub fn verify_bytes(&mut self, bundle: impl AsRef<[u8]>) -> Result<BundleReport, BundleError> {
        let bundle = bundle.as_ref();
        self.verify_in_place(Cursor::new(bundle), Some(bundle.len() as u64))
    }

    /// Checks the bundle that comes from a reader, to its end. Use
    /// [`verify_path`](Self::verify_path) for files: they need no copy.
    ///
    /// # Errors
    ///
    /// [`BundleError`] when it cannot be read, or kept, is not a bundle, or exceeds a limit.
    pub fn verify_reader(&mut self, reader: impl Read) -> Result<BundleReport, BundleError> {
        if self.keys.is_empty() {
            return self.verify(reader, None, |_| io::empty());
        }
        let tee = Tee {
            from: reader,
            to: SpooledTempFile::new(SPOOLED),
        };
        self.verify(tee, None, |tee| tee.to)
    }

    fn verify_in_place(
        &mut self,
        bundle: impl Read + Seek,
        total: Option<u64>,
    ) -> Result<BundleReport, BundleError> {
        self.verify(bundle, total, |bundle| bundle)
    }

    /// Reads the bundle, and then its events `again` if there is a signature to check.
    fn verify<R: Read, S: Read + Seek>(
        &mut self,
        reader: R,
        total: Option<u64>,
        again: impl FnOnce(R) -> S,
    ) -> Result<BundleReport, BundleError> {
        let mut teller = Teller {
            tell: self.progress.as_deref_mut(),
            total,
            last: Progress::of_events(0, 0),
        };
        let mut scanner = Scanner::new(reader, 0, self.limits);
        let expected = self.expected.as_ref();
        let mut members = members::read(&mut scanner, expected, &mut |progress| {
            teller.tell(progress);
        })?;
        let chain = members.finish_chain();
        teller.end(Progress::of_events(chain.events, scanner.position()));
        let signed = match signature::claim(&members, self.keys) {
            Err(why) => Err(why),
            Ok(claim) => {
                let mut source = Source {
                    reader: again(scanner.into_reader()),
                    limits: self.limits,
                    progress: &mut |progress| teller.tell(progress),
                };
                let signed = signature::check(&claim, &members, self.keys, &mut source)?;
                teller.end(Progress::of_signature(members.end()));
                signed
            }
        };
        Ok(report(chain, members.org_id, signed))
    }
}

/// The verdict. The reason is the first that applies, in the order of the contract.
fn report(chain: ChainReport, org_id: Option<String>, signed: signature::Signed) -> BundleReport {
    let (matched_key_id, unsigned) = match signed {
        Ok(id) => (Some(id), None),
        Err(why) => (None, Some(why)),
    };
    let reason = unsigned.or_else(|| match &chain {
        chain if chain.integrity_ok => None,
        chain if chain.tampered > 0 => {
            Some(format!("hash mismatch for {} event(s)", chain.tampered))
        }
        chain if !chain.adjacent => Some("chain adjacency broken".to_owned()),
        _ => Some("chain_head_hash does not match last event".to_owned()),
    });
    BundleReport {
        chain,
        org_id,
        signature_valid: matched_key_id.is_some(),
        matched_key_id,
        reason,
    }
}

impl Progress {
    pub(super) fn of_events(events: u64, bytes: u64) -> Self {
        Self {
            phase: Phase::Chain,
            events,
            bytes,
            total_bytes: None,
        }
    }

    pub(super) fn of_signature(bytes: u64) -> Self {
        Self {
            phase: Phase::Signature,
            ..Self::of_events(0, bytes)
        }
    }
}

/// Tells progress now and then, and never backwards.
struct Teller<'a, F: ?Sized> {
    tell: Option<&'a mut F>,
    total: Option<u64>,
    last: Progress,
}

impl<F: FnMut(Progress) + ?Sized> Teller<'_, F> {
    fn tell(&mut self, now: Progress) {
        if now.phase != self.last.phase || now.bytes >= self.last.bytes + STEP {
            self.end(now);
        }
    }

    fn end(&mut self, now: Progress) {
        self.last = Progress {
            events: now.events.max(self.last.events),
            total_bytes: self.total,
            ..now
        };
        if let Some(tell) = &mut self.tell {
            tell(self.last);
        }
    }
}

impl fmt::Debug for BundleVerifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleVerifier")
            .field("keys", self.keys)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
