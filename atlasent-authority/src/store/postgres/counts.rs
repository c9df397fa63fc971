//! A cache of event counts. Events never change, so counting continues where the last count ended,
//! until events are dropped.

use std::collections::VecDeque;

use tokio_postgres::Error;

use super::query;
use super::rows::unsigned;
use super::session::{Parameter, Session};
use crate::store::OrgId;
use crate::trail::EventFilter;

/// How many counts are cached.
const REMEMBERED: usize = 256;

/// The cached counts, the most recently used last.
#[derive(Debug, Default)]
pub(super) struct CountCache(VecDeque<CachedCount>);

#[derive(Clone, Debug)]
struct CachedCount {
    org: OrgId,
    filter: EventFilter,
    count: u64,
    /// The sequence number of the last event that was counted.
    through: u64,
    /// The number of dropped events at the time of the count.
    dropped: u64,
}

impl CountCache {
    /// Counts the events that pass the filter. Returns `None` for an unknown organization.
    pub(super) async fn count(
        counts: &std::sync::Mutex<Self>,
        session: &Session,
        org: &OrgId,
        filter: &EventFilter,
    ) -> Result<Option<u64>, Error> {
        let head = "SELECT sequence, dropped FROM atlasent_head WHERE org = $1";
        let parameters: [&dyn Parameter; 1] = [&org.as_str()];
        let head = session.client.query_opt(head, &parameters);
        let Some(head) = session.at_once(head).await? else {
            return Ok(None);
        };
        let (head, dropped) = (unsigned(head.try_get(0)?), unsigned(head.try_get(1)?));
        if filter.is_all() {
            // The chain has no gaps.
            return Ok(Some(head.saturating_sub(dropped)));
        }
        let cached = lock(counts).take(org, filter);
        let cached = cached.filter(|cached| cached.dropped == dropped && cached.through <= head);
        let (before, after) = cached.map_or((0, 0), |cached| (cached.count, cached.through));
        let through = filter.clone().through(head);
        let count = query::count(session, org, after, &through);
        let count = before + session.at_once(count).await?;
        lock(counts).keep(CachedCount {
            org: org.clone(),
            filter: filter.clone(),
            count,
            through: head,
            dropped,
        });
        Ok(Some(count))
    }

    fn take(&mut self, org: &OrgId, filter: &EventFilter) -> Option<CachedCount> {
        let is_it = |cached: &CachedCount| cached.org == *org && cached.filter == *filter;
        let place = self.0.iter().position(is_it)?;
        self.0.remove(place)
    }

    fn keep(&mut self, cached: CachedCount) {
        if self.0.len() >= REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(cached);
    }
}

fn lock(counts: &std::sync::Mutex<CountCache>) -> std::sync::MutexGuard<'_, CountCache> {
    counts
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
