//! The credentials of a server in one session, and the permits that release them.
//!
//! A call carries the server's credentials under its own permit. Everything else that goes to the
//! server, such as `initialize`, lists, notifications and the streams of a session, carries them
//! under one permit for the action `mcp.<server>:connect`, which a session obtains when it first
//! needs it and again when it has expired.
//!
//! Credentials are released for each HTTP request, and kept by none: once the permit has expired,
//! the next request needs another one, which the authority refuses after a stop.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use atlasent::{AnyAction, AuthorityExt, Permit};
use reqwest::Request;
use tokio::sync::Notify;

use crate::credential::{CredentialError, HostSecret, SecretHeader};
use crate::{Caller, Gate, Refusal};

/// The code of a refusal because the credentials are not released.
const NO_CREDENTIALS: &str = "NO_CREDENTIALS";

/// The credentials of a server in one session.
#[derive(Debug)]
pub(crate) struct Credentials {
    /// Unset for a server without credentials.
    secret: Option<GuardedSecret>,
    /// The caller of the client's last message, in whose name the session is connected.
    caller: Mutex<Option<Caller>>,
    /// Notified when the client sends a message.
    heard: Notify,
    /// The permit to connect.
    permit: Mutex<Option<Permit>>,
    /// Held while the authority is asked, so that concurrent messages ask it once.
    asking: tokio::sync::Mutex<()>,
}

/// A secret, and the gate whose authority grants the permits that release it.
#[derive(Debug)]
pub(crate) struct GuardedSecret {
    pub(crate) gate: Gate,
    pub(crate) secret: Arc<HostSecret>,
}

impl Credentials {
    pub(crate) fn new(secret: Option<GuardedSecret>) -> Self {
        Self {
            secret,
            caller: Mutex::default(),
            heard: Notify::new(),
            permit: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
        }
    }

    /// Notes that the client sent a message.
    pub(crate) fn heard_from(&self, caller: &Caller) {
        *lock(&self.caller) = Some(caller.clone());
        self.heard.notify_waiters();
    }

    /// Resolves when the client sends its next message after the future was enabled.
    pub(crate) fn next_message(&self) -> tokio::sync::futures::Notified<'_> {
        self.heard.notified()
    }

    /// Puts the credentials of the server, if it has any, on one HTTP request: under the permit of
    /// the request's message, or else under the permit to connect.
    pub(crate) async fn put<A>(
        &self,
        request: &mut Request,
        permit: Option<&Permit<A>>,
    ) -> Result<(), Refusal> {
        match self.release(permit).await? {
            Some(secret) => secret.put(request).map_err(|error| not_released(&error)),
            None => Ok(()),
        }
    }

    /// Refuses a message for which the credentials would not be released. For a message without a
    /// permit of its own, obtains the permit to connect.
    pub(crate) async fn check<A>(&self, permit: Option<&Permit<A>>) -> Result<(), Refusal> {
        self.release(permit).await.map(drop)
    }

    async fn release<A>(
        &self,
        permit: Option<&Permit<A>>,
    ) -> Result<Option<SecretHeader>, Refusal> {
        let Some(GuardedSecret { gate, secret }) = &self.secret else {
            return Ok(None);
        };
        let released = match permit {
            Some(permit) => secret.release(permit).map_err(|error| not_released(&error)),
            None => self.connect(gate, secret).await,
        };
        released.map(Some)
    }

    async fn connect(&self, gate: &Gate, secret: &HostSecret) -> Result<SecretHeader, Refusal> {
        let _asking = self.asking.lock().await;
        let kept = lock(&self.permit)
            .as_ref()
            .and_then(|permit| secret.release(permit).ok());
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let caller = lock(&self.caller).clone();
        let caller =
            caller.ok_or_else(|| Refusal::deny(NO_CREDENTIALS, "the client sent nothing yet"))?;
        caller.require_current()?;
        let name = format!("mcp.{}:connect", gate.mapping().server());
        let refused = |error: atlasent::Error| Refusal::from_error(&error, &name);
        let action = AnyAction::new(name.clone()).map_err(refused)?;
        let ask = gate.authority().ask(caller.agent(), action);
        let ask = match caller.claims() {
            Some(claims) => ask.claims(claims),
            None => ask,
        };
        let permit = ask.protect().await.map_err(refused)?;
        let released = secret
            .release(&permit)
            .map_err(|error| not_released(&error))?;
        tracing::debug!(action = name, "connected");
        *lock(&self.permit) = Some(permit);
        Ok(released)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn not_released(error: &CredentialError) -> Refusal {
    tracing::error!(%error, "the credentials of the server were not released");
    Refusal::deny(
        NO_CREDENTIALS,
        "the credentials of the server were not released for this message",
    )
}
