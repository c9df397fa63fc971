//! Requests that only ask what would be decided (`shadow`): many of them are one transaction.

use std::collections::BTreeSet;

use atlasent::Error;
use atlasent::wire::EvaluateRequest;

use crate::local::caller::Caller;
use crate::local::evaluate::{EvaluateOutcome, repeatable};
use crate::local::pending::{Attempt, PendingDecision};
use crate::local::{LocalAuthority, failed};
use crate::store::{Changeset, Store};

impl<S: Store> LocalAuthority<S> {
    /// Evaluates requests that only ask what would be decided. They change nothing but the trail,
    /// so one transaction records them all.
    pub(super) async fn decide_shadows(
        &self,
        caller: Caller<'_>,
        requests: &[EvaluateRequest],
    ) -> Result<Vec<Result<EvaluateOutcome, Error>>, Error> {
        let (mut reads, mut changes, mut errors) = (BTreeSet::new(), Vec::new(), Vec::new());
        for request in requests {
            match self.pending_shadow(&caller, request) {
                Ok(change) => {
                    reads.extend(change.reads());
                    changes.push(change);
                    errors.push(None);
                }
                Err(error) => errors.push(Some(error)),
            }
        }
        let run = move |changeset: &mut Changeset<'_>| {
            let attempts = changes.into_iter().map(|change| change.run(changeset));
            attempts.collect::<Vec<_>>()
        };
        let reads = reads.into_iter().collect();
        let mut attempts = self.commit(failed::DECISION, reads, run).await?.into_iter();
        let mut outcomes = Vec::new();
        for (request, error) in requests.iter().zip(errors) {
            outcomes.push(match error {
                Some(error) => Err(error),
                None => self.outcome(caller, request, attempts.next()).await,
            });
        }
        Ok(outcomes)
    }

    fn pending_shadow(
        &self,
        caller: &Caller<'_>,
        request: &EvaluateRequest,
    ) -> Result<Box<PendingDecision>, Error> {
        let mut change = self.change(caller, request, None, None)?;
        change.repeat = repeatable(caller, request)?;
        Ok(change)
    }

    async fn outcome(
        &self,
        caller: Caller<'_>,
        request: &EvaluateRequest,
        attempt: Option<Attempt>,
    ) -> Result<EvaluateOutcome, Error> {
        match attempt {
            Some(Attempt::First(evaluation)) => Ok(EvaluateOutcome::First(*evaluation)),
            Some(Attempt::Conflict) => Ok(EvaluateOutcome::Conflict),
            Some(Attempt::StorageLimit(limit)) => Err(limit.into_failure()),
            // Something that the decision depends on has changed meanwhile.
            _ => self.evaluate_for(caller, request, None).await,
        }
    }
}
