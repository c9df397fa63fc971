//! The calls about escalations for code that is not async.

use std::time::Duration;

use super::client::{BlockingIter, Client};
use super::wait;
use crate::Error;
use crate::wire::{
    CastVote, CreateEscalation, EscalateRequest, Escalation, EscalationFilter, EscalationPage,
    EscalationStatus, EscalationStep, Vote,
};

impl Client {
    /// Calls [`Client::create_escalation`](crate::Client::create_escalation), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::create_escalation`](crate::Client::create_escalation), and [`Error::Config`] when the system has no resources for the runtime.
    pub fn create_escalation(&self, request: &CreateEscalation) -> Result<Escalation, Error> {
        wait(self.0.create_escalation(request))
    }

    /// Calls [`Client::escalations`](crate::Client::escalations), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::escalations`](crate::Client::escalations), and [`Error::Config`] when the system has no resources for the runtime.
    pub fn escalations(&self, filter: &EscalationFilter) -> Result<EscalationPage, Error> {
        wait(self.0.escalations(filter))
    }

    /// Iterates over the items of [`Client::escalation_stream`](crate::Client::escalation_stream).
    /// Each step blocks until its item arrives.
    pub fn escalation_stream(
        &self,
        filter: EscalationFilter,
    ) -> impl Iterator<Item = Result<Escalation, Error>> + use<> {
        BlockingIter(Box::pin(self.0.escalation_stream(filter)))
    }

    /// Calls [`Client::escalation`](crate::Client::escalation), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::escalation`](crate::Client::escalation), and [`Error::Config`] when the system has no resources for the runtime.
    pub fn escalation(&self, id: &str) -> Result<Escalation, Error> {
        wait(self.0.escalation(id))
    }

    /// Calls [`Client::escalation_votes`](crate::Client::escalation_votes), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::escalation_votes`](crate::Client::escalation_votes), and [`Error::Config`] when the system has no resources for the runtime.
    pub fn escalation_votes(&self, id: &str) -> Result<Vec<Vote>, Error> {
        wait(self.0.escalation_votes(id))
    }

    /// Calls [`Client::escalation_chain`](crate::Client::escalation_chain), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::escalation_chain`](crate::Client::escalation_chain), and [`Error::Config`] when the system has no resources for the runtime.
    pub fn escalation_chain(&self, id: &str) -> Result<Vec<EscalationStep>, Error> {
        wait(self.0.escalation_chain(id))
    }

    /// Calls [`Client::approve`](crate::Client::approve), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::approve`](crate::Client::approve), and [`Error::Config`] when the system has no resources for the runtime.
    pub fn approve(&self, id: &str, note: Option<&str>) -> Result<Escalation, Error> {
        wait(self.0.approve(id, note))
    }

    /// Calls [`Client::approve_with`](crate::Client::approve_with), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::approve_with`](crate::Client::approve_with), and [`Error::Config`] when the system has no resources for the runtime.
    pub fn approve_with(&self, id: &str, vote: &CastVote) -> Result<Escalation, Error> {
        wait(self.0.approve_with(id, vote))
    }

    /// Calls [`Client::reject`](crate::Client::reject), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::reject`](crate::Client::reject), and [`Error::Config`] when the system has no resources for the runtime.
    pub fn reject(&self, id: &str, note: Option<&str>) -> Result<Escalation, Error> {
        wait(self.0.reject(id, note))
    }

    /// Calls [`Client::escalate`](crate::Client::escalate), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::escalate`](crate::Client::escalate), and [`Error::Config`] when the system has no resources for the runtime.
    pub fn escalate(&self, id: &str, request: &EscalateRequest) -> Result<Escalation, Error> {
        wait(self.0.escalate(id, request))
    }

    /// Calls [`Client::time_out_escalation`](crate::Client::time_out_escalation), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::time_out_escalation`](crate::Client::time_out_escalation), and [`Error::Config`] when the system has no resources for the runtime.
    pub fn time_out_escalation(&self, id: &str) -> Result<Escalation, Error> {
        wait(self.0.time_out_escalation(id))
    }

    /// Calls [`Client::wait`](crate::Client::wait), and blocks until it returns.
    ///
    /// # Errors
    ///
    /// The errors of [`Client::wait`](crate::Client::wait), and [`Error::Config`] when the system has no resources for the runtime.
    pub fn wait(&self, escalation_id: &str, at_most: Duration) -> Result<EscalationStatus, Error> {
        wait(self.0.wait(escalation_id, at_most))
    }
}
