//! Signed exports of the audit trail (contract, part C), written in constant memory.

use std::cell::RefCell;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};

use atlasent::audit::{ChainVerifier, Event, GENESIS_HASH};
use base64ct::{Base64UrlUnpadded, Encoding};
use jiff::Timestamp;
use tempfile::SpooledTempFile;

use crate::clock::Clock;
use crate::signing::{ExportSigningKey, KeyRing};
use crate::store::{Store, StoreError};
use crate::trail::EventFilter;
use crate::trail::chain::format_time;
use crate::trail::complete::Completeness;

/// How many bytes are in memory before the rest is written to a temporary file.
const SPOOLED: usize = 4 * 1024 * 1024;

/// How many events are in memory at a time: few enough that other reads in between do not wait
/// long.
const AT_ONCE: usize = 500;

/// Returns a signed export of the events of a store that pass the filter, up to the newest event at
/// the time of the call. `clock` gives the time of the signature.
///
/// # Errors
///
/// [`StoreError`] when the events cannot be read, or the export cannot be written to a temporary
/// file. [`StoreError::Incomplete`] when events of the chain are missing: nothing is signed then.
pub async fn export<S: Store>(
    store: &S,
    filter: &EventFilter,
    keys: &KeyRing,
    clock: &dyn Clock,
) -> Result<Bundle, StoreError> {
    let status = store.status().await?;
    let mut complete = Completeness::new(status.clone(), filter.clone());
    let head = status.head;
    // Events that are appended meanwhile are left out, so that the export ends.
    let filter = filter.clone().through(head.sequence).most_bytes(SPOOLED);
    let mut writer = BundleWriter::new();
    let mut after = 0;
    loop {
        let events = store.events(after, AT_ONCE, &filter).await?;
        let Some(last) = events.last() else {
            break;
        };
        after = last.sequence;
        for event in &events {
            complete.push(event);
            let event = event.to_event().map_err(StoreError::failed)?;
            writer.push(&event).map_err(StoreError::failed)?;
        }
    }
    // A trail with missing events is never signed.
    complete.finish(store).await?;
    writer
        .finish(&head.org_id, keys.active(), clock.now())
        .map_err(StoreError::failed)
}

/// Writes a bundle: the events first, then the signature over them.
///
/// ```
/// use std::io::Read;
/// use atlasent::audit::{BundleVerifier, TrustedKeys};
/// use atlasent_authority::signing::ExportSigningKey;
/// use atlasent_authority::trail::BundleWriter;
/// use atlasent_authority::{LocalAuthority, Policies};
///
/// let policies = Policies::parse("permit (principal, action, resource);")?;
/// let authority = LocalAuthority::in_memory(policies)?;
/// let key = ExportSigningKey::generate()?;
///
/// let mut writer = BundleWriter::new();
/// for event in futures_executor::block_on(authority.trail())?.events {
///     writer.push(&event)?;
/// }
/// let mut text = Vec::new();
/// writer.finish("local", &key, jiff::Timestamp::now())?.read_to_end(&mut text)?;
///
/// let trusted = TrustedKeys::new().pem(key.key_id(), key.public_key_pem())?;
/// assert!(BundleVerifier::new(&trusted).verify_bytes(&text)?.is_intact());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// The events of a filter by time have no gaps, and verify as a chain. Events of certain types or
/// of one agent are an extract: its signature verifies, and the bundle states that its chain has
/// gaps.
#[derive(Debug)]
pub struct BundleWriter {
    events: SpooledTempFile,
    chain: ChainVerifier,
    count: u64,
    head: String,
}

impl BundleWriter {
    /// Creates a bundle without events.
    #[must_use]
    pub fn new() -> Self {
        Self {
            events: SpooledTempFile::new(SPOOLED),
            chain: ChainVerifier::new(),
            count: 0,
            head: GENESIS_HASH.to_owned(),
        }
    }

    /// Adds the next event.
    ///
    /// # Errors
    ///
    /// When the temporary file cannot be written.
    pub fn push(&mut self, event: &Event) -> io::Result<()> {
        if self.count > 0 {
            self.events.write_all(b",")?;
        }
        serde_json::to_writer(&mut self.events, event)?;
        self.chain.push(event);
        self.count += 1;
        self.head.clone_from(&event.hash);
        Ok(())
    }

    /// Returns the number of events.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.count
    }

    /// Returns whether the bundle has no events.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Signs the bundle, as of the time `signed_at`.
    ///
    /// # Errors
    ///
    /// When the temporary file cannot be read.
    pub fn finish(
        mut self,
        org_id: &str,
        key: &ExportSigningKey,
        signed_at: Timestamp,
    ) -> io::Result<Bundle> {
        let export_id = uuid::Uuid::new_v4().to_string();
        let json = |text: &str| serde_json::to_string(text).map_err(io::Error::from);
        // The signed fields, in their order; the other fields of the bundle follow.
        let head = format!(
            r#"{{"export_id":{},"org_id":{},"chain_head_hash":{},"event_count":{},"signed_at":{},"events":["#,
            json(&export_id)?,
            json(org_id)?,
            json(&self.head)?,
            self.count,
            json(&format_time(signed_at))?,
        );
        let length = self.events.seek(SeekFrom::End(0))?;
        let events = RefCell::new(&mut self.events);
        let signature = key.sign_in_pieces(|piece| {
            piece(head.as_bytes());
            let mut events = events.borrow_mut();
            events.rewind()?;
            copy(&mut **events, length, piece)?;
            piece(b"]}");
            Ok(())
        })?;
        let report = self.chain.finish(Some(&self.head), Some(self.count));
        let tail = format!(
            r#"],"signature":"{}","signing_key_id":{},"signature_status":"signed","chain_integrity_ok":{},"tampered_event_ids":{}}}"#,
            Base64UrlUnpadded::encode_string(&signature.to_bytes()),
            json(key.key_id())?,
            report.integrity_ok,
            serde_json::to_string(&report.tampered_event_ids)?,
        );
        self.events.rewind()?;
        Ok(Bundle {
            export_id,
            chain_head_hash: self.head,
            event_count: self.count,
            length: head.len() as u64 + length + tail.len() as u64,
            head: Cursor::new(head.into_bytes()),
            events: self.events,
            tail: Cursor::new(tail.into_bytes()),
        })
    }
}

impl Default for BundleWriter {
    fn default() -> Self {
        Self::new()
    }
}

/// A signed export, which reads as JSON text.
#[derive(Debug)]
pub struct Bundle {
    export_id: String,
    chain_head_hash: String,
    event_count: u64,
    length: u64,
    head: Cursor<Vec<u8>>,
    events: SpooledTempFile,
    tail: Cursor<Vec<u8>>,
}

impl Bundle {
    /// Returns the export's id.
    #[must_use]
    pub fn export_id(&self) -> &str {
        &self.export_id
    }

    /// Returns the hash of the last event; 64 zeros for a bundle without events.
    #[must_use]
    pub fn chain_head_hash(&self) -> &str {
        &self.chain_head_hash
    }

    /// Returns the number of events.
    #[must_use]
    pub fn event_count(&self) -> u64 {
        self.event_count
    }

    /// Returns the length of the text in bytes, from the beginning.
    #[must_use]
    pub fn byte_len(&self) -> u64 {
        self.length
    }
}

impl Read for Bundle {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.head.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        match self.events.read(buffer)? {
            0 => self.tail.read(buffer),
            count => Ok(count),
        }
    }
}

/// Passes on exactly `length` bytes, or fails.
fn copy(from: &mut impl Read, length: u64, piece: &mut dyn FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut left = length;
    while left > 0 {
        let count = match from.read(&mut buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        piece(buffer.get(..count).unwrap_or_default());
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}
