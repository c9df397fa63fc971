//! The tables of the file, and how their entries are read and written.

use redb::{ReadableTable, TableDefinition};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::trail::EventFilter;
use crate::trail::chain::{ChainHead, SealedEvent};

/// The format of the tables, for later versions to compare.
pub(super) const FORMAT: &str = "2";

/// The format without an index of the events, which the writer makes after the file is opened.
pub(super) const WITHOUT_INDEX: &str = "1";

pub(super) const META: TableDefinition<'_, &str, &str> = TableDefinition::new("meta");
pub(super) const CELLS: TableDefinition<'_, &[u8; 33], &[u8]> = TableDefinition::new("cells");
/// The cells by their expiry, in microseconds since 1970.
pub(super) const EXPIRY: TableDefinition<'_, (i64, &[u8; 33]), ()> = TableDefinition::new("expiry");
/// The permits by the sequence numbers of the events that issued them.
pub(super) const PERMITS: TableDefinition<'_, u64, &[u8; 33]> = TableDefinition::new("permits");
pub(super) const EVENTS: TableDefinition<'_, u64, StoredEvent<'_>> = TableDefinition::new("events");

/// The type, the agent or an empty text, the time, the previous hash, the hash and the payload.
pub(super) type StoredEvent<'a> = (&'a str, &'a str, &'a str, &'a str, &'a str, &'a str);

pub(super) fn head(
    meta: &impl ReadableTable<&'static str, &'static str>,
) -> Result<ChainHead, redb::Error> {
    let Some(head) = meta.get("head")? else {
        return Err(redb::Error::Corrupted(
            "it has no head of a chain".to_owned(),
        ));
    };
    parse(head.value().as_bytes())
}

pub(super) fn dropped(
    meta: &impl ReadableTable<&'static str, &'static str>,
) -> Result<u64, redb::Error> {
    let dropped = meta.get("dropped")?;
    dropped.map_or(Ok(0), |text| parse(text.value().as_bytes()))
}

/// Returns the sequence number that an unfinished index reaches to. `None` for a complete index,
/// which reaches to the head.
pub(super) fn indexed(
    meta: &impl ReadableTable<&'static str, &'static str>,
) -> Result<Option<u64>, redb::Error> {
    let indexed = meta.get("indexed")?;
    indexed
        .map(|text| parse(text.value().as_bytes()))
        .transpose()
}

pub(super) fn passes(filter: &EventFilter, sequence: u64, event: &StoredEvent<'_>) -> bool {
    let (kind, actor, occurred_at, ..) = *event;
    let actor = Some(actor).filter(|actor| !actor.is_empty());
    filter.passes_fields(sequence, kind, actor, occurred_at)
}

pub(super) fn sealed(sequence: u64, event: StoredEvent<'_>) -> SealedEvent {
    let (kind, actor, occurred_at, previous_hash, hash, payload) = event;
    SealedEvent {
        sequence,
        kind: kind.to_owned().into(),
        actor_id: Some(actor.to_owned()).filter(|actor| !actor.is_empty()),
        occurred_at: occurred_at.to_owned(),
        payload: payload.to_owned(),
        previous_hash: previous_hash.to_owned(),
        hash: hash.to_owned(),
    }
}

pub(super) fn json<T: Serialize>(value: &T) -> Result<String, redb::Error> {
    serde_json::to_string(value).map_err(|error| redb::Error::Corrupted(error.to_string()))
}

pub(super) fn parse<T: DeserializeOwned>(json: &[u8]) -> Result<T, redb::Error> {
    serde_json::from_slice(json).map_err(|error| {
        // Without the payload, which may contain a caller's values.
        redb::Error::Corrupted(format!("an entry cannot be read: {error}"))
    })
}
