//! Converting between rows and values.

use tokio_postgres::Row;

use super::connector::Connector;
use crate::store::StoreError;
use crate::trail::chain::{ChainHead, SealedEvent};

/// The columns of an event, in the order that [`sealed`] reads.
pub(super) const EVENT: &str =
    "sequence, kind, actor_id, occurred_at, previous_hash, hash, payload";

/// Returns the event in a row of [`EVENT`].
pub(super) fn sealed(row: &Row) -> Result<SealedEvent, tokio_postgres::Error> {
    let kind: &str = row.try_get(1)?;
    let actor_id: Option<&str> = row.try_get(2)?;
    Ok(SealedEvent {
        sequence: unsigned(row.try_get(0)?),
        kind: from_text(kind).into(),
        actor_id: actor_id.map(|actor| from_text(actor).into()),
        occurred_at: row.try_get(3)?,
        previous_hash: row.try_get::<_, &str>(4)?.into(),
        hash: row.try_get::<_, &str>(5)?.into(),
        payload: row.try_get(6)?,
    })
}

/// Returns the head in a row that starts with `org_id, sequence, hash, time`.
pub(super) fn head_of(connector: &Connector, row: &Row) -> Result<ChainHead, StoreError> {
    let time: &str = row.try_get(3).map_err(|error| connector.failed(&error))?;
    let time = time.parse().map_err(|error| {
        connector.refused(format_args!(
            "the time of the chain cannot be read: {error}"
        ))
    })?;
    let head = || {
        Ok(ChainHead {
            org_id: row.try_get::<_, &str>(0)?.into(),
            sequence: unsigned(row.try_get(1)?),
            hash: row.try_get::<_, &str>(2)?.into(),
            time,
        })
    };
    head().map_err(|error| connector.failed(&error))
}

/// Escapes a name. PostgreSQL texts hold every character but NUL, which becomes `\0`; `\` becomes
/// `\\`.
pub(super) fn to_text(name: &str) -> String {
    name.replace('\\', r"\\").replace('\0', r"\0")
}

fn from_text(text: &str) -> String {
    let mut name = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        name.push(match character {
            '\\' => match characters.next() {
                Some('0') => '\0',
                other => other.unwrap_or('\\'),
            },
            other => other,
        });
    }
    name
}

/// Converts a number to PostgreSQL's signed type. Numbers above `i64::MAX`, which no chain reaches,
/// become `i64::MAX`.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Converts a number from PostgreSQL's signed type. The tables contain no negative numbers.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_as_it_went_and_none_holds_nul() {
        for name in [
            "bot",
            "",
            "a\0b",
            r"a\0b",
            r"DOMAIN\bot",
            "\\\0\\\\0",
            "ü🦀",
            r"\",
        ] {
            let text = to_text(name);
            assert!(!text.contains('\0'));
            assert_eq!(from_text(&text), name);
        }
    }
}
