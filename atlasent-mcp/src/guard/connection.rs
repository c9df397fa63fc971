//! The permit under which a session is connected to a server that asks for credentials.
//!
//! A call carries the server's credentials under its own permit. Messages that need no permit, such
//! as `initialize`, lists and notifications, carry them under one for the action
//! `mcp.<server>:connect`, which a session obtains once and again when it expires.

use std::sync::{Mutex, PoisonError};

use atlasent::{Action as _, AnyAction, AuthorityExt, Permit};

use super::Guard;
use crate::credential::SecretHeader;
use crate::gate::Clearance;
use crate::{Caller, Refusal};

/// The code of a refusal because the credentials are not released.
const NO_CREDENTIALS: &str = "NO_CREDENTIALS";

/// The permit of a session.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    permit: Mutex<Option<Permit>>,
    /// Held while the authority is asked, so that it is asked once.
    asking: tokio::sync::Mutex<()>,
}

impl Guard {
    /// Adds the credentials of the server to the clearance of a request.
    pub(super) async fn with_secret_for(
        &self,
        cleared: Result<Clearance, Refusal>,
        connection: &Connection,
        caller: &Caller,
    ) -> Result<(Clearance, Option<SecretHeader>), Refusal> {
        let clearance = cleared?;
        let Some(secret) = &self.secret else {
            return Ok((clearance, None));
        };
        let released = match clearance.permit() {
            Some(permit) => secret
                .release(permit)
                .map_err(|error| not_released(&error))?,
            None => self.connect(connection, caller).await?,
        };
        Ok((clearance, Some(released)))
    }

    /// Returns the credentials for a message that needs no permit of its own, if the session is
    /// connected.
    pub(super) fn kept_secret(&self, connection: &Connection) -> Option<SecretHeader> {
        let secret = self.secret.as_ref()?;
        let permit = connection
            .permit
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        secret.release(permit.as_ref()?).ok()
    }

    async fn connect(
        &self,
        connection: &Connection,
        caller: &Caller,
    ) -> Result<SecretHeader, Refusal> {
        let _asking = connection.asking.lock().await;
        if let Some(kept) = self.kept_secret(connection) {
            return Ok(kept);
        }
        let secret = self.secret.as_ref();
        let secret =
            secret.ok_or_else(|| Refusal::deny(NO_CREDENTIALS, "there are no credentials"))?;
        let name = format!("mcp.{}:connect", self.gate.mapping().server());
        let refused = |error: atlasent::Error| Refusal::from_error(&error, &name);
        let action = AnyAction::new(name.clone()).map_err(refused)?;
        let permit = self
            .gate
            .authority()
            .protect(caller.agent(), action)
            .await
            .map_err(refused)?;
        let released = secret
            .release(&permit)
            .map_err(|error| not_released(&error))?;
        tracing::debug!(action = permit.action().name(), "connected");
        *connection
            .permit
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some(permit);
        Ok(released)
    }
}

fn not_released(error: &crate::credential::CredentialError) -> Refusal {
    tracing::error!(%error, "the credentials of the server were not released");
    Refusal::deny(
        NO_CREDENTIALS,
        "the credentials of the server were not released for this message",
    )
}
