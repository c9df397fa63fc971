//! The rows that batches leave, column by column: each statement writes those of all organizations.

use crate::store::postgres::approvals;
use crate::store::postgres::rows::{signed, to_text};
use crate::store::{Batch, OrgId, REMEMBERED};

/// Expired cells of an organization are deleted after so many events of it, and after a pause,
/// rather than in each transaction: looking for them costs as much as writing some.
const FORGET_EVERY: u64 = 16;

/// How many cells are deleted at most, beside two for each change of the transaction: more than so
/// many events add, so that a backlog shrinks.
const FORGET_MOST: usize = 4 * FORGET_EVERY as usize;

/// The rows that batches leave, column by column.
#[derive(Default)]
pub(super) struct BatchRows<'a> {
    pub(super) events: EventColumns<'a>,
    pub(super) cells: CellColumns<'a>,
    pub(super) heads: HeadColumns<'a>,
    pub(super) forget: ForgetColumns<'a>,
}

#[derive(Default)]
pub(super) struct EventColumns<'a> {
    pub(super) org: Vec<&'a str>,
    pub(super) sequence: Vec<i64>,
    pub(super) kind: Vec<String>,
    pub(super) actor_id: Vec<Option<String>>,
    pub(super) occurred_at: Vec<&'a str>,
    pub(super) previous_hash: Vec<&'a str>,
    pub(super) hash: Vec<&'a str>,
    pub(super) payload: Vec<&'a str>,
}

#[derive(Default)]
pub(super) struct CellColumns<'a> {
    pub(super) org: Vec<&'a str>,
    pub(super) key: Vec<Vec<u8>>,
    pub(super) value: Vec<String>,
    pub(super) expires_at: Vec<i64>,
    pub(super) issued: Vec<Option<i64>>,
    pub(super) opened: Vec<Option<i64>>,
    pub(super) closed: Vec<Option<bool>>,
}

#[derive(Default)]
pub(super) struct HeadColumns<'a> {
    pub(super) org: Vec<&'a str>,
    pub(super) org_id: Vec<&'a str>,
    pub(super) sequence: Vec<i64>,
    pub(super) hash: Vec<&'a str>,
    pub(super) time: Vec<String>,
    pub(super) dropped: Vec<i64>,
}

/// The organizations whose expired cells are deleted.
#[derive(Default)]
pub(super) struct ForgetColumns<'a> {
    pub(super) org: Vec<&'a str>,
    /// Cells that expired before this time, in microseconds since 1970, are deleted.
    pub(super) over: Vec<i64>,
    /// How many cells of an organization are deleted at most.
    pub(super) most: i64,
}

impl<'a> BatchRows<'a> {
    /// Returns the rows of batches, which a number of changes have left.
    pub(super) fn from_batches(
        batches: &'a [(OrgId, Batch)],
        changes: usize,
    ) -> Result<Self, serde_json::Error> {
        let mut rows = Self {
            forget: ForgetColumns {
                most: i64::try_from(FORGET_MOST + 2 * changes).unwrap_or(i64::MAX),
                ..ForgetColumns::default()
            },
            ..Self::default()
        };
        for (org, batch) in batches {
            rows.push(org.as_str(), batch)?;
        }
        Ok(rows)
    }

    fn push(&mut self, org: &'a str, batch: &'a Batch) -> Result<(), serde_json::Error> {
        let Self {
            events,
            cells,
            heads,
            forget,
        } = self;
        for event in batch.events() {
            events.org.push(org);
            events.sequence.push(signed(event.sequence));
            events.kind.push(to_text(&event.kind));
            events.actor_id.push(event.actor_id.as_deref().map(to_text));
            events.occurred_at.push(&event.occurred_at);
            events.previous_hash.push(&event.previous_hash);
            events.hash.push(&event.hash);
            events.payload.push(&event.payload);
        }
        for (key, cell) in batch.cells() {
            cells.org.push(org);
            cells.key.push(key.to_bytes().to_vec());
            cells.value.push(serde_json::to_string(cell)?);
            cells.expires_at.push(cell.expires_at().as_microsecond());
            let permit = cell.permit();
            cells
                .issued
                .push(permit.map(|entry| signed(entry.sequence)));
            let approval = approvals::columns(cell);
            cells.opened.push(approval.map(|(opened, _)| opened));
            cells.closed.push(approval.map(|(_, closed)| closed));
        }
        let head = batch.head();
        heads.org.push(org);
        heads.org_id.push(&head.org_id);
        heads.sequence.push(signed(head.sequence));
        heads.hash.push(&head.hash);
        heads.time.push(head.time.to_string());
        heads.dropped.push(batch.dropped().map_or(0, signed));
        if (batch.passes(FORGET_EVERY) || batch.is_after_pause())
            && let Ok(over) = head.time.checked_sub(REMEMBERED)
        {
            forget.org.push(org);
            forget.over.push(over.as_microsecond());
        }
        Ok(())
    }
}
