//! Reads how much of each budget is used up, for the console.
//!
//! The ledger knows the holders of budgets by digests only, and cannot list their names. The names
//! of the newest permits are tried, or one that the caller gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use atlasent::Error;
use jiff::Timestamp;

use super::budgets::{NO_RESOURCE, key_of};
use super::caller::Caller;
use super::{LocalAuthority, failed, unavailable};
use crate::ledger::budget::{BudgetKey, BudgetUse};
use crate::policy::{Budget, BudgetScope, Units};
use crate::store::{CellKey, Changeset, Store};

/// How many of the newest permits name holders of budgets.
const NEWEST: usize = 1_000;

/// How many budgets are read at most.
const MOST: usize = 500;

/// How much of one budget is used up, by one agent, for one resource, or by the organization.
#[derive(Clone, Debug)]
pub(crate) struct BudgetReading {
    /// The id of the policy.
    pub(crate) policy: Arc<str>,
    /// The budget, as its policy writes it.
    pub(crate) budget: String,
    pub(crate) scope: BudgetScope,
    /// The agent or the resource; empty for the organization.
    pub(crate) holder: String,
    pub(crate) limit: Units,
    /// What unused and used permits have taken.
    pub(crate) used: Units,
    /// When the first of these amounts is free again, and when all are.
    pub(crate) free: Option<(Timestamp, Timestamp)>,
}

/// Budgets of the policies in force, and whether there are more.
pub(crate) struct BudgetReadings {
    pub(crate) readings: Vec<BudgetReading>,
    pub(crate) is_cut: bool,
    pub(crate) now: Timestamp,
}

impl<S: Store> LocalAuthority<S> {
    /// Returns how much of the budgets is used up: those of the organization, and those of the
    /// agents and resources of the newest permits that take anything. `named` asks for one agent or
    /// resource instead of these.
    pub(crate) async fn budget_use(
        &self,
        caller: &Caller<'_>,
        named: Option<&str>,
    ) -> Result<BudgetReadings, Error> {
        let policies = self.policies();
        let environment = caller.attribution().environment;
        let environment = environment.as_deref();
        let budgets = policies.all_budgets();
        let (agents, resources) = match named {
            Some(named) => {
                let holders = BTreeSet::from([named.to_owned()]);
                (holders.clone(), holders)
            }
            None if budgets.is_empty() => (BTreeSet::new(), BTreeSet::new()),
            None => self.holders(environment).await?,
        };
        let mut asked: Vec<(&Budget, &str, BudgetKey)> = Vec::new();
        let organization = BTreeSet::from([String::new()]);
        for budget in budgets {
            let holders = match budget.scope {
                BudgetScope::Agent => &agents,
                BudgetScope::Resource => &resources,
                BudgetScope::Organization => &organization,
            };
            let holders = holders.iter().map(String::as_str);
            asked.extend(
                holders.map(|holder| (budget, holder, key_of(budget, holder, environment))),
            );
        }
        let is_cut = asked.len() > MOST;
        asked.truncate(MOST);
        let (uses, now) = self.read_uses(asked.iter().map(|(_, _, key)| *key)).await?;
        let readings = asked.into_iter().zip(uses);
        let readings = readings.map(|((budget, holder, _), used)| BudgetReading {
            policy: Arc::clone(&budget.policy),
            budget: budget.to_string(),
            scope: budget.scope,
            holder: holder.to_owned(),
            limit: budget.limit,
            used: Units(used.used(now)),
            free: used.ends(now),
        });
        // Of a holder that was not asked for, nothing used up is nothing to show.
        let is_shown = |reading: &BudgetReading| {
            named.is_some() || reading.scope == BudgetScope::Organization || reading.used.0 > 0
        };
        Ok(BudgetReadings {
            readings: readings.filter(is_shown).collect(),
            is_cut,
            now,
        })
    }

    /// Returns the agents and the resources of the newest permits that take from budgets.
    async fn holders(
        &self,
        environment: Option<&str>,
    ) -> Result<(BTreeSet<String>, BTreeSet<String>), Error> {
        let permits = self.store.permits(u64::MAX, NEWEST).await;
        let permits = permits.map_err(|error| unavailable(failed::BUDGETS, error))?;
        let charged = permits
            .into_iter()
            .filter(|(_, entry)| !entry.charges.is_empty() && entry.grant.is_known_to(environment));
        Ok(charged
            .map(|(_, entry)| {
                let resource = entry.grant.resource.as_deref().unwrap_or(NO_RESOURCE);
                (entry.grant.agent.as_str().to_owned(), resource.to_owned())
            })
            .unzip())
    }

    /// Reads cells at one time, which changes nothing.
    async fn read_uses(
        &self,
        keys: impl Iterator<Item = BudgetKey>,
    ) -> Result<(Vec<BudgetUse>, Timestamp), Error> {
        let keys: Vec<_> = keys.collect();
        let cells = keys.iter().map(|key| CellKey::Budget(*key)).collect();
        let read = move |changeset: &mut Changeset<'_>| {
            let uses = keys.iter().map(|key| changeset.budget(*key)).collect();
            (uses, changeset.time())
        };
        self.commit(failed::BUDGETS, cells, read).await
    }
}
