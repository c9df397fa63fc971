//! The authority of a server, for code in the same process: [`SharedAuthority`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atlasent::authority::IssuerId;
use atlasent::permit::PermitRecord;
use atlasent::wire::{
    EscalationStatus, EvaluateRequest, Evaluation, PermitStatus, Receipt, Verification,
    VerifyRequest,
};
use atlasent::{Authority, Error};

use super::Server;
use super::organizations::ServedOrg;
use crate::local::LocalAuthority;
use crate::store::{RateCounter, Store};

/// The authority of a [`Server`], from [`Server::authority`]. People release what it holds over the
/// server, and policies that the server reads again decide here, too.
pub struct SharedAuthority<S>(Arc<ServedOrg<S>>);

impl<S: Store + RateCounter> Server<S> {
    /// Returns the authority, for code that asks it in this process.
    #[must_use]
    pub fn authority(&self) -> SharedAuthority<S> {
        SharedAuthority(self.app.organizations.shared_local())
    }
}

impl<S> SharedAuthority<S> {
    /// Returns the authority itself.
    #[must_use]
    pub fn local(&self) -> &LocalAuthority<S> {
        &self.0.authority
    }
}

impl<S> Clone for SharedAuthority<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Store> Authority for SharedAuthority<S> {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        self.local().evaluate(request).await
    }

    async fn evaluate_all(
        &self,
        requests: &[EvaluateRequest],
    ) -> Result<Vec<Result<Evaluation, Error>>, Error> {
        self.local().evaluate_all(requests).await
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        self.local().verify(request).await
    }

    async fn permit_status(&self, permit: &PermitRecord) -> Result<PermitStatus, Error> {
        self.local().permit_status(permit).await
    }

    async fn complete(&self, receipt: &Receipt) -> Result<(), Error> {
        self.local().complete(receipt).await
    }

    async fn wait(
        &self,
        escalation_id: &str,
        at_most: Duration,
    ) -> Result<EscalationStatus, Error> {
        self.local().wait(escalation_id, at_most).await
    }

    fn issuer(&self) -> Option<IssuerId> {
        self.local().issuer()
    }
}

impl<S: Store> fmt::Debug for SharedAuthority<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.local(), f)
    }
}
