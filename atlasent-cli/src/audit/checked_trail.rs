//! A trail in a file that is checked before a command uses its events.

use std::fmt;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use atlasent::audit::{BundleReport, BundleVerifier, ChainVerifier, Event};
use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::keys::VerificationKeys;
use super::progress::VerifyProgress;
use crate::exit::Failure;

/// How much of a file is read at a time.
const BUFFER: usize = 256 * 1024;

/// A trail whose chain is intact, and whose signature is valid unless an unsigned one is allowed.
pub(crate) struct CheckedTrail {
    path: PathBuf,
    report: BundleReport,
}

impl CheckedTrail {
    /// Checks the bundle in a file, as `atlasent audit verify` does. With `allow_unsigned`, checks
    /// its chain alone.
    ///
    /// # Errors
    ///
    /// When the bundle or a key cannot be read, or when the bundle is not verified and intact.
    pub(crate) fn open(
        path: &Path,
        keys: &[PathBuf],
        allow_unsigned: bool,
    ) -> Result<Self, Failure> {
        let shown = path.display();
        let failed = |why: &dyn fmt::Display| Failure::misuse(format!("`{shown}`: {why}"));
        let keys = VerificationKeys::read(keys)?;
        let metadata = fs::metadata(path).map_err(|error| failed(&error))?;
        if !metadata.is_file() {
            return Err(failed(
                &"is not a regular file; it is read twice, so save the trail in one first",
            ));
        }
        let mut bar = VerifyProgress::on_stderr();
        let mut verifier = BundleVerifier::new(&keys.trusted).on_progress(|now| bar.update(now));
        let report = verifier.verify_path(path).map_err(|error| failed(&error))?;
        drop(verifier);
        let is_good = match allow_unsigned {
            true => report.chain.is_intact(),
            false => report.is_intact(),
        };
        if is_good {
            return Ok(Self {
                path: path.to_owned(),
                report,
            });
        }
        let finding = report.chain.findings.first().map(ToString::to_string);
        // Without a valid signature, that is the reason, unless the chain alone counts.
        let reason = report.reason.clone().filter(|_| !allow_unsigned);
        let why = reason.or(finding).unwrap_or_default();
        Err(failed(&format!(
            "the trail is not verified, so it is not used: {why} (see `atlasent audit verify`)"
        )))
    }

    /// Returns the path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the report of the verification.
    pub(crate) fn report(&self) -> &BundleReport {
        &self.report
    }

    /// Returns the number of events.
    pub(crate) fn len(&self) -> u64 {
        self.report.chain.events
    }

    /// Returns the id of the key that signed the trail, or `None` if no signature was checked.
    pub(crate) fn key_id(&self) -> Option<&str> {
        self.report.matched_key_id.as_deref()
    }

    /// Reads the events in order, with one in memory at a time.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or when its events are not those that were checked.
    pub(crate) fn for_each(&self, mut each: impl FnMut(&Event)) -> Result<(), Failure> {
        let shown = self.path.display();
        let failed = |why: &dyn fmt::Display| Failure::misuse(format!("`{shown}`: {why}"));
        let file = File::open(&self.path).map_err(|error| failed(&error))?;
        let mut chain = ChainVerifier::new();
        let mut count = 0;
        let mut visit = |event: Event| {
            chain.push(&event);
            count += 1;
            each(&event);
        };
        let mut reader =
            serde_json::Deserializer::from_reader(BufReader::with_capacity(BUFFER, file));
        let seed = BundleSeed {
            visit: &mut visit,
            may_wrap: true,
        };
        seed.deserialize(&mut reader)
            .map_err(|error| failed(&error))?;
        // The hashes of the second reading have to end in the checked head.
        let checked = &self.report.chain;
        let head = checked.last.as_ref().and_then(|last| last.hash.as_deref());
        let again = chain.finish(head, Some(count));
        let is_same =
            again.events == checked.events && again.first == checked.first && again.is_intact();
        match is_same || checked.events == 0 && count == 0 {
            true => Ok(()),
            false => Err(failed(&"the file changed while it was read")),
        }
    }
}

/// Reads the events of a bundle, `{"events": […]}` or `{"bundle": {"events": […]}}`.
struct BundleSeed<'v> {
    visit: &'v mut dyn FnMut(Event),
    may_wrap: bool,
}

impl<'de> DeserializeSeed<'de> for BundleSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for BundleSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bundle")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(key) = members.next_key::<String>()? {
            match key.as_str() {
                "events" => members.next_value_seed(EventsSeed(self.visit))?,
                "bundle" if self.may_wrap => members.next_value_seed(BundleSeed {
                    visit: self.visit,
                    may_wrap: false,
                })?,
                _ => drop(members.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct EventsSeed<'v>(&'v mut dyn FnMut(Event));

impl<'de> DeserializeSeed<'de> for EventsSeed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EventsSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<(), A::Error> {
        while let Some(event) = events.next_element::<Event>()? {
            (self.0)(event);
        }
        Ok(())
    }
}
