//! The tables of the file, and how their entries are read and written.

use std::borrow::Cow;
use std::ops::Bound;
use std::sync::Arc;

use redb::{
    Database, ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition, TableError,
    WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::recovery::FastRecovery;
use crate::store::OrgId;
use crate::store::org_id::InvalidOrgId;
use crate::trail::EventFilter;
use crate::trail::chain::{ChainHead, SealedEvent};

/// The format of the tables, for later versions to compare.
pub(super) const FORMAT: &str = "2";

/// The format with several organizations.
pub(super) const WITH_ORGANIZATIONS: &str = "3";

/// The format with pending decisions or webhooks, and possibly several organizations.
pub(super) const WITH_APPROVALS: &str = "4";

/// The format with [recent changes](super::recent), and possibly all of the above.
pub(super) const WITH_RECENT: &str = "5";

/// The format without an index of the events, which the writer makes after the file is opened.
pub(super) const WITHOUT_INDEX: &str = "1";

/// The organizations beside `local`, by their ids.
pub(super) const ORGANIZATIONS: TableDefinition<'_, &str, ()> =
    TableDefinition::new("organizations");

/// The names of an organization's tables. Those of `local` have no suffix, as in a file that holds
/// no other organization.
///
/// Each organization has tables of its own, so a read of them finds no entry of another one. Only
/// [recent changes](super::recent) share a table.
#[derive(Debug)]
pub(super) struct Tables {
    org: OrgId,
    meta: Name,
    cells: Name,
    expiry: Name,
    permits: Name,
    approvals: Name,
    events: Name,
    index: Name,
}

type Name = Cow<'static, str>;

impl Tables {
    pub(super) fn new(org: &OrgId) -> Self {
        let name = |base: &'static str| match org.is_local() {
            true => Cow::Borrowed(base),
            false => Cow::Owned(format!("{base}/{org}")),
        };
        Self {
            org: org.clone(),
            meta: name("meta"),
            cells: name("cells"),
            expiry: name("expiry"),
            permits: name("permits"),
            approvals: name("approvals"),
            events: name("events"),
            index: name("index"),
        }
    }

    pub(super) fn org(&self) -> &OrgId {
        &self.org
    }

    /// The head of the chain, and how far background work has come.
    pub(super) fn meta(&self) -> TableDefinition<'_, &'static str, &'static str> {
        TableDefinition::new(&self.meta)
    }

    pub(super) fn cells(&self) -> TableDefinition<'_, &'static [u8; 33], &'static [u8]> {
        TableDefinition::new(&self.cells)
    }

    /// The cells by their expiry, in microseconds since 1970.
    pub(super) fn expiry(&self) -> TableDefinition<'_, (i64, &'static [u8; 33]), ()> {
        TableDefinition::new(&self.expiry)
    }

    /// The permits by the sequence numbers of the events that issued them.
    pub(super) fn permits(&self) -> TableDefinition<'_, u64, &'static [u8; 33]> {
        TableDefinition::new(&self.permits)
    }

    /// The pending decisions: see [`approvals`](super::approvals). The first one creates the table.
    pub(super) fn approvals(&self) -> TableDefinition<'_, (u8, u64), &'static [u8; 33]> {
        TableDefinition::new(&self.approvals)
    }

    pub(super) fn events(&self) -> TableDefinition<'_, u64, StoredEvent<'static>> {
        TableDefinition::new(&self.events)
    }

    /// The events by type and agent: see [`index`](super::index).
    pub(super) fn index(&self) -> TableDefinition<'_, (&'static str, &'static str, u64), u64> {
        TableDefinition::new(&self.index)
    }

    /// Creates the tables, with a chain that has no events.
    pub(super) fn create(&self, transaction: &WriteTransaction) -> Result<(), redb::Error> {
        let head = json(&ChainHead::genesis(self.org.as_str()))?;
        transaction
            .open_table(self.meta())?
            .insert("head", &*head)?;
        transaction.open_table(self.cells())?;
        transaction.open_table(self.expiry())?;
        transaction.open_table(self.permits())?;
        transaction.open_table(self.events())?;
        transaction.open_table(self.index())?;
        Ok(())
    }

    /// Returns whether the organization exists.
    pub(super) fn exist(&self, database: &Database) -> Result<bool, redb::Error> {
        if self.org.is_local() {
            return Ok(true);
        }
        match database.begin_read()?.open_table(ORGANIZATIONS) {
            Ok(table) => Ok(table.get(self.org.as_str())?.is_some()),
            Err(TableError::TableDoesNotExist(_)) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns whether the organization exists, for a change that is about to open its tables:
    /// opening a table for writing creates it.
    pub(super) fn exist_for(&self, transaction: &WriteTransaction) -> Result<bool, redb::Error> {
        let is_local = self.org.is_local();
        Ok(is_local
            || transaction
                .open_table(ORGANIZATIONS)?
                .get(self.org.as_str())?
                .is_some())
    }
}

/// Returns all organizations of a file: `local`, and the others in the order of their ids.
pub(super) fn organizations(transaction: &ReadTransaction) -> Result<Vec<OrgId>, redb::Error> {
    let others = after(transaction, None, usize::MAX)?;
    Ok(std::iter::once(OrgId::local()).chain(others).collect())
}

/// Returns the organizations beside `local` whose ids are greater than `after`, in their order.
pub(super) fn after(
    transaction: &ReadTransaction,
    after: Option<&OrgId>,
    limit: usize,
) -> Result<Vec<OrgId>, redb::Error> {
    let table = match transaction.open_table(ORGANIZATIONS) {
        Ok(table) => table,
        Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let after = after.map_or("", OrgId::as_str);
    let range = (Bound::Excluded(after), Bound::Unbounded);
    let mut all = Vec::new();
    for entry in table.range::<&str>(range)?.take(limit) {
        let id = entry?.0.value().parse();
        all.push(id.map_err(|error: InvalidOrgId| redb::Error::Corrupted(error.to_string()))?);
    }
    Ok(all)
}

/// Creates an organization. Returns `false` if it exists.
pub(super) fn create(
    database: &Database,
    recovery: &FastRecovery,
    tables: &Tables,
) -> Result<bool, redb::Error> {
    let mut transaction = database.begin_write()?;
    recovery.apply_to(&mut transaction);
    if tables.exist_for(&transaction)? {
        transaction.abort()?;
        return Ok(false);
    }
    tables.create(&transaction)?;
    transaction
        .open_table(ORGANIZATIONS)?
        .insert(tables.org().as_str(), ())?;
    // Releases that know one organization only must not open the file: they would take the keys
    // of another organization for their own.
    require_format(&transaction, WITH_ORGANIZATIONS)?;
    transaction.commit()?;
    Ok(true)
}

/// Raises the format of the file, so that releases that do not know the new one refuse to open it.
/// Each format is one digit.
pub(super) fn require_format(
    transaction: &WriteTransaction,
    format: &str,
) -> Result<(), redb::Error> {
    let local = Tables::new(&OrgId::local());
    let mut meta = transaction.open_table(local.meta())?;
    let is_lower = meta.get("format")?.is_none_or(|now| now.value() < format);
    if is_lower {
        meta.insert("format", format)?;
    }
    Ok(())
}

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

pub(super) fn stored(event: &SealedEvent) -> StoredEvent<'_> {
    (
        &event.kind,
        event.actor_id.as_deref().unwrap_or_default(),
        &event.occurred_at,
        &event.previous_hash,
        &event.hash,
        &event.payload,
    )
}

pub(super) fn sealed(sequence: u64, event: StoredEvent<'_>) -> SealedEvent {
    let (kind, actor, occurred_at, previous_hash, hash, payload) = event;
    SealedEvent {
        sequence,
        kind: kind.to_owned().into(),
        actor_id: Some(actor).filter(|actor| !actor.is_empty()).map(Arc::from),
        occurred_at: occurred_at.to_owned(),
        payload: payload.to_owned(),
        previous_hash: previous_hash.into(),
        hash: hash.into(),
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
