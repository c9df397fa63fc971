//! Pages of pending decisions.

use std::collections::VecDeque;

use atlasent::Error;

use super::AT_ONCE;
use crate::ledger::approval::{ApprovalEntry, ApprovalState, Asker};
use crate::local::caller::Caller;
use crate::local::{LocalAuthority, failed};
use crate::policy::ApproverName;
use crate::store::{ApprovalList, CellKey, Changeset, Store};

/// A page ends with the decision by which the answer that lists it would reach this many bytes. One
/// decision has at most some 200 KiB, and clients read answers of at most 1 MiB (contract, part A).
const PAGE_BYTES: usize = 512 * 1024;

/// How many decisions are looked at for one page, and how many bytes of what approvers see. A
/// filter may pass few of them.
const MOST_ROWS: usize = 2_000;
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// Selects pending decisions: those that pass every condition that is set. The default passes every
/// decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct ApprovalFilter {
    list: Option<ApprovalList>,
    state: Option<ApprovalState>,
    agent: Option<String>,
    approver: Option<String>,
    asked_by: Option<Asker>,
}

impl ApprovalFilter {
    /// Passes only decisions of this list: those that approvers can vote on, or the others. A
    /// second call replaces the first.
    pub fn list(mut self, list: ApprovalList) -> Self {
        self.list = Some(list);
        self
    }

    /// Passes only decisions in this state. A second call replaces the first.
    pub fn state(mut self, state: ApprovalState) -> Self {
        self.state = Some(state);
        self
    }

    /// Passes only decisions that this agent asked for. A second call replaces the first.
    pub fn agent(mut self, agent: impl Into<String>) -> Self {
        self.agent = Some(agent.into());
        self
    }

    /// Passes only decisions whose policies name this person, from the first or since an
    /// escalation. A second call replaces the first.
    pub fn approver(mut self, principal: impl Into<String>) -> Self {
        self.approver = Some(principal.into());
        self
    }

    /// Passes only decisions that this caller asked for. A second call replaces the first.
    pub fn asked_by(mut self, asker: Asker) -> Self {
        self.asked_by = Some(asker);
        self
    }

    fn passes(&self, row: &ApprovalEntry) -> bool {
        let state = self.state.is_none_or(|state| state == row.state);
        let agent = self.agent.as_deref();
        let agent = agent.is_none_or(|agent| agent == row.question.agent.as_str());
        let approver = self.approver.clone().map(ApproverName::User);
        let approver = approver.is_none_or(|approver| row.names(&approver));
        let asked = self.asked_by.as_ref();
        state && agent && approver && asked.is_none_or(|asker| row.askers.contains(asker))
    }

    /// Returns the lists that can hold decisions in the state.
    fn lists(&self) -> Vec<ApprovalList> {
        let of_state: &[ApprovalList] = match self.state {
            None => &[ApprovalList::Open, ApprovalList::Closed],
            Some(ApprovalState::Pending | ApprovalState::Escalated) => &[ApprovalList::Open],
            Some(_) => &[ApprovalList::Closed],
        };
        let wanted = |list: &&ApprovalList| self.list.is_none_or(|wanted| wanted == **list);
        of_state.iter().filter(wanted).copied().collect()
    }
}

/// A page of pending decisions, the newest first.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ApprovalPage {
    /// The decisions of the page.
    pub approvals: Vec<ApprovalEntry>,
    /// How many decisions there are from this page on. It is an estimate, because an exact count
    /// would read all decisions, of which there can be ten thousand open ones and more closed ones.
    ///
    /// On the last page, it is exactly the number of its decisions. Before the last page, it is the
    /// number of open decisions of the organization, whatever the filter and the environment are,
    /// and at least one more than the page has. [`next`](Self::next) alone tells whether there are
    /// more.
    pub total: u64,
    /// The next page starts before this sequence number. Unset on the last page.
    ///
    /// A page before the last one may have fewer decisions than requested, or no decisions: it ends
    /// when it is large, or after some thousand decisions that do not match the filter.
    pub next: Option<u64>,
}

impl<S: Store> LocalAuthority<S> {
    /// Returns a page of the decisions that pass the filter and were opened before the event
    /// `before`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the decisions cannot be read.
    pub async fn approvals_page(
        &self,
        filter: &ApprovalFilter,
        before: u64,
        limit: usize,
    ) -> Result<ApprovalPage, Error> {
        let caller = Caller::embedded(&self.secret);
        self.approvals_page_for(&caller, filter, before, limit)
            .await
    }

    /// Returns a page of the decisions that a caller may see.
    pub(crate) async fn approvals_page_for(
        &self,
        caller: &Caller<'_>,
        filter: &ApprovalFilter,
        before: u64,
        limit: usize,
    ) -> Result<ApprovalPage, Error> {
        let mut lists: Vec<List> = filter
            .lists()
            .into_iter()
            .map(|list| List::new(list, before))
            .collect();
        let (mut approvals, mut bytes) = (Vec::new(), 0);
        let (mut rows_read, mut bytes_read) = (0, 0);
        let next = loop {
            for list in &mut lists {
                list.fill(self, limit.saturating_add(1)).await?;
            }
            // The list whose next decision is the newest.
            let newest = lists.iter_mut().max_by_key(|list| list.next_sequence());
            let Some(row) = newest.and_then(|list| list.rows.pop_front()) else {
                break None;
            };
            let (sequence, seen) = (row.sequence, row.shown.len());
            if row.is_known_to(caller) && filter.passes(&row) {
                if approvals.len() >= limit || bytes >= PAGE_BYTES {
                    // The next page starts with this one.
                    break Some(sequence.saturating_add(1));
                }
                bytes += answer_bytes(&row);
                approvals.push(row);
            }
            rows_read += 1;
            bytes_read += seen;
            if rows_read >= MOST_ROWS || bytes_read >= MOST_BYTES {
                break Some(sequence);
            }
        };
        let count = u64::try_from(approvals.len()).unwrap_or(u64::MAX);
        let total = match next {
            None => count,
            Some(_) => self.open_approvals().await?.max(count + 1),
        };
        Ok(ApprovalPage {
            approvals,
            total,
            next,
        })
    }

    /// Returns how many decisions are open, of all callers.
    pub(crate) async fn open_approvals(&self) -> Result<u64, Error> {
        let look = |changeset: &mut Changeset<'_>| changeset.open_approvals();
        self.commit(failed::APPROVALS, vec![CellKey::OpenApprovals], look)
            .await
    }
}

/// Returns about how many bytes a decision has in an answer of the server: there, what approvers
/// see is an object and, with escapes, a text. The rest of most decisions fits into 1 KiB.
fn answer_bytes(row: &ApprovalEntry) -> usize {
    1_024 + 3 * row.shown.len() + 2 * row.reason.len()
}

/// One list of decisions, of which some are read.
struct List {
    list: ApprovalList,
    rows: VecDeque<ApprovalEntry>,
    before: u64,
    is_at_end: bool,
}

impl List {
    fn new(list: ApprovalList, before: u64) -> Self {
        Self {
            list,
            rows: VecDeque::new(),
            before,
            is_at_end: false,
        }
    }

    fn next_sequence(&self) -> Option<u64> {
        self.rows.front().map(|row| row.sequence)
    }

    /// Reads the next decisions if all that were read are used.
    async fn fill<S: Store>(
        &mut self,
        authority: &LocalAuthority<S>,
        wanted: usize,
    ) -> Result<(), Error> {
        if self.rows.is_empty() && !self.is_at_end {
            let most = wanted.min(AT_ONCE);
            let rows = authority.approvals(self.list, self.before, most).await?;
            self.is_at_end = rows.is_empty();
            self.before = rows.last().map_or(0, |last| last.sequence);
            self.rows.extend(rows);
        }
        Ok(())
    }
}
