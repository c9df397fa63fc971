//! Queries on events, written so that the server answers them from an index.

use std::fmt::Write;
use std::pin::pin;
use std::sync::Arc;

use futures_util::TryStreamExt;
use tokio_postgres::Error;
use tokio_postgres::types::{ToSql, Type};

use super::rows::{EVENT, sealed, signed, to_text, unsigned};
use super::session::Session;
use crate::store::OrgId;
use crate::trail::EventFilter;
use crate::trail::chain::SealedEvent;
use crate::trail::filter::EventCollector;

/// A request for a page of events.
pub(crate) struct Page {
    pub(super) org: OrgId,
    pub(super) after: u64,
    pub(super) limit: usize,
    pub(super) filter: EventFilter,
}

impl Page {
    pub(super) async fn events(&self, session: &Session) -> Result<Vec<Arc<SealedEvent>>, Error> {
        let mut query = Query::new(&self.org);
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        query.of_events(EVENT, self.after, &self.filter, Some(limit));
        if let Some(bytes) = self.filter.most_bytes {
            // Sizes are counted before any text is read.
            let bytes = query.parameter(i64::try_from(bytes).unwrap_or(i64::MAX), Type::INT8);
            query.text = format!(
                "SELECT {EVENT} FROM (SELECT *, \
                     sum(octet_length(payload)) OVER (ORDER BY sequence) - octet_length(payload) \
                     AS before FROM ({}) page) sized \
                 WHERE before < {bytes} OR before = 0 ORDER BY sequence",
                query.text
            );
        }
        let rows = session.client.query_stream(&query.text, query.parameters);
        let mut rows = pin!(rows.await?);
        let mut found = EventCollector::new(self.limit, &self.filter);
        while let Some(row) = rows.try_next().await? {
            found.push(Arc::new(sealed(&row)?));
        }
        Ok(found.into_events())
    }
}

/// Counts the events above `after` that pass the filter.
pub(super) async fn count(
    session: &Session,
    org: &OrgId,
    after: u64,
    filter: &EventFilter,
) -> Result<u64, Error> {
    let mut query = Query::new(org);
    query.of_events("sequence", after, filter, None);
    let text = format!("SELECT count(*) FROM ({}) passing", query.text);
    let rows = session.client.query_stream(&text, query.parameters).await?;
    let rows: Vec<_> = rows.try_collect().await?;
    let count = rows.first().map_or(Ok(0), |row| row.try_get(0))?;
    Ok(unsigned(count))
}

/// The text of a query on one organization, with its parameters: the first one is the organization.
/// A condition that a filter does not set is left out, so
/// that the server picks the right index.
struct Query {
    text: String,
    parameters: Vec<(Box<dyn ToSql + Sync + Send>, Type)>,
}

impl Query {
    fn new(org: &OrgId) -> Self {
        let mut query = Self {
            text: String::new(),
            parameters: Vec::new(),
        };
        query.parameter(org.as_str().to_owned(), Type::TEXT);
        query
    }

    /// Appends the query for the events that pass, in their order if `limit` is set. Each type has
    /// a subquery of its own, since no index has the events of several types in order.
    fn of_events(&mut self, columns: &str, after: u64, filter: &EventFilter, limit: Option<i64>) {
        let conditions = self.conditions(after, filter);
        let end = limit.map_or_else(String::new, |limit| {
            format!(
                "ORDER BY sequence LIMIT {}",
                self.parameter(limit, Type::INT8)
            )
        });
        let mut kinds: Vec<_> = filter.types.iter().map(|kind| to_text(kind)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        self.text = if kinds.is_empty() {
            format!("SELECT {columns} FROM atlasent_events WHERE {conditions} {end}")
        } else {
            let kinds = self.parameter(kinds, Type::TEXT_ARRAY);
            format!(
                "SELECT {columns} FROM unnest({kinds}) AS wanted(name) CROSS JOIN LATERAL \
                 (SELECT * FROM atlasent_events WHERE kind = name COLLATE \"C\" AND {conditions} {end}) found {end}"
            )
        };
    }

    fn conditions(&mut self, after: u64, filter: &EventFilter) -> String {
        let mut text =
            "org = $1 AND sequence > (SELECT dropped FROM atlasent_head WHERE org = $1)".to_owned();
        let mut add = |condition: &str, parameter: String| {
            let _ = write!(text, " AND {}", condition.replace('?', &parameter));
        };
        add("sequence > ?", self.parameter(signed(after), Type::INT8));
        if let Some(through) = filter.through {
            add("sequence <= ?", self.parameter(signed(through), Type::INT8));
        }
        if let Some(actor) = &filter.actor_id {
            add("actor_id = ?", self.parameter(to_text(actor), Type::TEXT));
        }
        // The chain's time never runs backwards, so a time is a position in it. Where no event is
        // that late, the position is NULL, which no event passes.
        if let Some(since) = &filter.since {
            let first = "sequence >= (SELECT sequence FROM atlasent_events \
                 WHERE org = $1 AND occurred_at >= ? ORDER BY occurred_at, sequence LIMIT 1)";
            add(first, self.parameter(since.clone(), Type::TEXT));
        }
        if let Some(until) = &filter.until {
            let last = "sequence <= (SELECT sequence FROM atlasent_events \
                 WHERE org = $1 AND occurred_at <= ? ORDER BY occurred_at DESC, sequence DESC LIMIT 1)";
            add(last, self.parameter(until.clone(), Type::TEXT));
        }
        text
    }

    /// Adds a parameter. Returns its placeholder.
    fn parameter(&mut self, value: impl ToSql + Sync + Send + 'static, kind: Type) -> String {
        self.parameters.push((Box::new(value), kind));
        format!("${}", self.parameters.len())
    }
}
