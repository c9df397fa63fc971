//! Checks a signed bundle from end to end, in memory that does not grow with the bundle.

use std::fmt;
use std::fs::File;
use std::io::{self, Cursor, Read, Seek};
use std::path::Path;

use tempfile::SpooledTempFile;

use super::error::BundleError;
use super::keys::TrustedKeys;
use super::members;
use super::progress::{Progress, ProgressReporter};
use super::report::ChainReport;
use super::scan::{Scanner, SizeLimits, Tee};
use super::signature::{self, EventSource};

/// The size up to which a copied stream stays in memory; a larger one goes to a temporary file.
const MAX_COPY_IN_MEMORY: usize = 4 * 1024 * 1024;

/// Checks bundles: the chain of their events, and their signature (contract, part C).
///
/// The verifier reads a bundle twice, because the signature usually stands behind the events. It
/// holds a few events in memory at a time, whatever the bundle's size, and checks them on all
/// processors. It copies a bundle that is not a regular file to an unnamed temporary file for the
/// second pass.
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
#[must_use = "a verifier checks nothing until one of its `verify_…` methods is called"]
pub struct BundleVerifier<'a> {
    keys: &'a TrustedKeys,
    progress: Option<Box<dyn FnMut(Progress) + 'a>>,
    limits: SizeLimits,
    expected: Option<(u64, String)>,
}

/// What the check of a bundle found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BundleReport {
    /// The report on the chain of events.
    pub chain: ChainReport,
    /// The organization that the bundle names. The signature covers it.
    pub org_id: Option<String>,
    /// Whether the signature is valid under a trusted key.
    pub signature_valid: bool,
    /// The id of the trusted key that made the signature. `None` if the signature is not valid.
    pub matched_key_id: Option<String>,
    /// The first reason why the bundle is not verified, in the words of the SDKs. `None` if the
    /// bundle is verified.
    pub reason: Option<String>,
}

impl BundleReport {
    /// Whether the chain is unbroken and the signature is valid. The SDKs call such a bundle
    /// verified.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.chain.integrity_ok && self.signature_valid
    }

    /// Whether the bundle is [verified](Self::verified) and its chain has no
    /// [findings](ChainReport::findings).
    #[must_use]
    pub fn is_intact(&self) -> bool {
        self.verified() && self.chain.is_intact()
    }
}

impl<'a> BundleVerifier<'a> {
    /// Creates a verifier that trusts `keys`. With an empty set of keys, it checks the chain only.
    pub fn new(keys: &'a TrustedKeys) -> Self {
        Self {
            keys,
            progress: None,
            limits: SizeLimits {
                value: 4 * 1024 * 1024,
                total: 64 * 1024 * 1024 * 1024,
            },
            expected: None,
        }
    }

    /// Compares the bundle with an earlier head of its chain: the sequence number and the hash of
    /// an event. [`ChainReport::continuation`] holds the result. A second call replaces the first.
    pub fn expect_head(mut self, sequence: u64, hash: impl Into<String>) -> Self {
        self.expected = Some((sequence, hash.into()));
        self
    }

    /// Calls `report` about every 256 KiB, and at the end of each phase. A second call replaces the
    /// first.
    pub fn on_progress(mut self, report: impl FnMut(Progress) + 'a) -> Self {
        self.progress = Some(Box::new(report));
        self
    }

    /// Sets the maximum size in bytes of an event, or of any other value that is not an array: 4
    /// MiB by default. A hostile event takes up to 20 times its size in memory. A second call
    /// replaces the first.
    pub fn max_event_bytes(mut self, bytes: usize) -> Self {
        self.limits.value = bytes;
        self
    }

    /// Sets the maximum size in bytes of a bundle: 64 GiB by default. It also bounds the temporary
    /// file to which [`verify_reader`](Self::verify_reader) copies a bundle. A second call replaces
    /// the first.
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.limits.total = bytes;
        self
    }

    /// Checks the bundle in a file. The file must not change during the check.
    ///
    /// # Errors
    ///
    /// [`BundleError`] when the file cannot be read, is not a bundle, or exceeds a limit.
    pub fn verify_path(&mut self, path: impl AsRef<Path>) -> Result<BundleReport, BundleError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = opened.map_err(|source| BundleError::Io { at: 0, source })?;
        match metadata.is_file() {
            true => self.verify_in_place(file, Some(metadata.len())),
            false => self.verify_reader(file),
        }
    }

    /// Checks a bundle in memory.
    ///
    /// # Errors
    ///
    /// [`BundleError`] when `bundle` is not a bundle, or exceeds a limit.
    pub fn verify_bytes(&mut self, bundle: impl AsRef<[u8]>) -> Result<BundleReport, BundleError> {
        let bundle = bundle.as_ref();
        self.verify_in_place(Cursor::new(bundle), Some(bundle.len() as u64))
    }

    /// Reads a bundle from a reader, to its end, and checks it. For files, use
    /// [`verify_path`](Self::verify_path), which needs no copy.
    ///
    /// # Errors
    ///
    /// [`BundleError`] when the bundle cannot be read or copied, is not a bundle, or exceeds a
    /// limit.
    pub fn verify_reader(&mut self, reader: impl Read) -> Result<BundleReport, BundleError> {
        if self.keys.is_empty() {
            return self.verify(reader, None, |_| io::empty());
        }
        let tee = Tee {
            from: reader,
            to: SpooledTempFile::new(MAX_COPY_IN_MEMORY),
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

    /// Checks the chain from `reader`, then the signature. `again` turns the reader that was read
    /// to its end into one that can read the events a second time.
    fn verify<R: Read, S: Read + Seek>(
        &mut self,
        reader: R,
        total: Option<u64>,
        again: impl FnOnce(R) -> S,
    ) -> Result<BundleReport, BundleError> {
        let mut reporter = ProgressReporter::new(self.progress.as_deref_mut(), total);
        let mut scanner = Scanner::new(reader, 0, self.limits);
        let expected = self.expected.as_ref();
        let mut members = members::read(&mut scanner, expected, &mut |progress| {
            reporter.update(progress);
        })?;
        let chain = members.finish_chain();
        reporter.report(Progress::chain(chain.events, scanner.position()));
        let matched_key = match signature::parse(&members, self.keys) {
            Err(why) => Err(why),
            Ok(signature) => {
                let mut source = EventSource {
                    reader: again(scanner.into_reader()),
                    limits: self.limits,
                    progress: &mut |progress| reporter.update(progress),
                };
                let matched_key = signature::verify(&signature, &members, self.keys, &mut source)?;
                reporter.report(Progress::signature(members.events_end()));
                matched_key
            }
        };
        Ok(report(chain, members.org_id, matched_key))
    }
}

/// Joins the results of both passes. The reason is the first that applies, in the order of the
/// contract.
fn report(
    chain: ChainReport,
    org_id: Option<String>,
    matched_key: signature::MatchedKey,
) -> BundleReport {
    let (matched_key_id, signature_reason) = match matched_key {
        Ok(id) => (Some(id), None),
        Err(why) => (None, Some(why)),
    };
    let reason = signature_reason.or_else(|| match &chain {
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

impl fmt::Debug for BundleVerifier<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BundleVerifier")
            .field("keys", self.keys)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
