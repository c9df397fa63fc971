//! The one way from an operation to a permit for it: [`Gate`].
//!
//! ```text
//! Operation ──► mapped to an action? ──► scope of the token ──► arguments fit the schema?
//!                                                                     │
//!           Clearance ◄── permit ◄── atlasent: evaluate, verify ◄── rate of the token
//!              │                            └ a hold waits, with notifications of progress
//!              └ the caller forwards `arguments()`, and says how it ended
//! ```

mod arguments;
mod builder;
mod clearance;
#[cfg(any(feature = "guard", feature = "rmcp"))]
mod inputs;
mod list;
mod progress;
mod rates;
mod shadow;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use atlasent::authority::{DynAuthority, PermitWithAnswers};
use atlasent::wire::RequestOptions;
use atlasent::{Action, AuthorityExt, Permit};
use tokio::sync::watch;

use arguments::Catalogue;
pub use builder::GateBuilder;
pub use clearance::{AuthorizedOperation, Clearance};
#[cfg(any(feature = "guard", feature = "rmcp"))]
pub(crate) use inputs::asks_nothing;
#[cfg(feature = "guard")]
pub(crate) use inputs::may_ask;
#[cfg(any(feature = "guard", feature = "rmcp"))]
pub(crate) use list::List;
pub use progress::{Progress, Silent, WaitingFor};
#[cfg(feature = "ati")]
pub(crate) use rates::Rates;

use crate::caller::Caller;
use crate::mapping::Mapping;
use crate::operation::Operation;
use crate::refusal::Refusal;
use progress::ObservedAuthority;
use shadow::ShadowAnswers;

/// Decides on the operations of one server: each one that needs a permit gets one from the
/// authority, or is refused.
///
/// A gate knows nothing of a connection. `GuardedServer` puts one in front of a server of `rmcp`.
///
/// ```
/// use std::sync::Arc;
/// use atlasent::testing::MockAuthority;
/// use atlasent_mcp::gate::{Gate, Silent};
/// use atlasent_mcp::{Caller, Mapping, Operation};
///
/// # futures_executor::block_on(async {
/// let authority = Arc::new(MockAuthority::new().allow("mcp.fs.read_file"));
/// let gate = Gate::builder(authority, Mapping::standard("fs")?).build();
/// let caller = Caller::configured("desktop-agent")?;
///
/// let read = Operation::tool("read_file", r#"{"path":"/etc/hosts"}"#)?;
/// let clearance = gate.authorize(&read, &caller, &Silent).await.unwrap();
/// assert_eq!(clearance.arguments(), r#"{"path":"/etc/hosts"}"#);
/// clearance.completed(b"127.0.0.1 localhost");
///
/// let write = Operation::tool("write_file", r#"{"path":"/etc/hosts"}"#)?;
/// assert!(gate.authorize(&write, &caller, &Silent).await.is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone)]
pub struct Gate {
    shared: Arc<Shared>,
}

struct Shared {
    authority: Arc<dyn DynAuthority>,
    mapping: Mapping,
    options: RequestOptions,
    max_wait: Duration,
    progress_interval: Duration,
    catalogue: Catalogue,
    shadow: ShadowAnswers,
    lists_changed: watch::Sender<()>,
    #[cfg(feature = "ati")]
    rates: Arc<dyn Rates>,
}

impl Gate {
    /// Starts a gate in front of the server that `mapping` names.
    pub fn builder(authority: Arc<dyn DynAuthority>, mapping: Mapping) -> GateBuilder {
        GateBuilder::new(authority, mapping)
    }

    /// Returns the mapping.
    #[must_use]
    pub fn mapping(&self) -> &Mapping {
        &self.shared.mapping
    }

    /// Returns the authority.
    #[must_use]
    pub fn authority(&self) -> &Arc<dyn DynAuthority> {
        &self.shared.authority
    }

    /// Obtains the clearance for one execution of an operation.
    ///
    /// An operation that [needs no permit](Operation::is_open) gets a clearance without one. Every
    /// other one is evaluated and verified by the authority. If the authority holds it, the call
    /// waits for people, for at most the [maximum](GateBuilder::max_wait), and reports progress.
    /// After that, the refusal says that the operation is pending, and the same operation asked
    /// again joins the waiting one.
    ///
    /// Dropping the future runs nothing and leaves a waiting escalation open.
    ///
    /// # Errors
    ///
    /// [`Refusal`] for every operation that must not run now.
    pub async fn authorize<P: Progress + ?Sized>(
        &self,
        operation: &Operation,
        caller: &Caller,
        progress: &P,
    ) -> Result<Clearance, Refusal> {
        if operation.is_open() {
            return Ok(Clearance::open(operation));
        }
        let granted = self.granted(operation, caller, progress).await?;
        Ok(Clearance::permitted(granted))
    }

    /// Obtains the permit for one execution of an operation that runs in another process. No
    /// receipt is sent, because this process does not learn how the operation ends. Unlike
    /// [`authorize`](Self::authorize), it also asks about operations that need no permit.
    ///
    /// # Errors
    ///
    /// [`Refusal`] for every operation that must not run now.
    pub async fn permit<P: Progress + ?Sized>(
        &self,
        operation: &Operation,
        caller: &Caller,
        progress: &P,
    ) -> Result<Permit<AuthorizedOperation>, Refusal> {
        let granted = self.granted(operation, caller, progress).await?;
        Ok(granted.permit)
    }

    async fn granted<P: Progress + ?Sized>(
        &self,
        operation: &Operation,
        caller: &Caller,
        progress: &P,
    ) -> Result<PermitWithAnswers<AuthorizedOperation>, Refusal> {
        caller.require_current()?;
        let action = self.action(operation)?;
        let name = action.name().to_owned();
        self.require_scope(operation, caller)?;
        self.check_arguments(operation, caller).await?;
        self.count(operation, caller).await?;
        let authority = ObservedAuthority::new(
            &*self.shared.authority,
            progress,
            self.shared.progress_interval,
        );
        let ask = authority
            .ask(caller.agent(), action)
            .options(|_| self.shared.options.clone());
        let ask = match self.shared.max_wait {
            Duration::ZERO => ask,
            at_most => ask.wait(at_most),
        };
        #[cfg(feature = "ati")]
        let ask = match (self.shared.mapping.scope(operation), caller.claims()) {
            (Some(scope), Some(claims)) => ask.scope(&scope, claims),
            (None, Some(claims)) => ask.claims(claims),
            (_, None) => ask,
        };
        let granted = ask.gate().await;
        let granted = granted.map_err(|error| Refusal::from_error(&error, &name))?;
        // People may decide minutes after the token was verified.
        if let Err(expired) = caller.require_current() {
            // The permit is used up, and the trail records that nothing ran under it.
            drop(granted.permit.execution());
            return Err(expired);
        }
        Ok(granted)
    }

    /// Returns the scope that an operation needs and that the token of its caller does not grant.
    /// Returns `None` for an operation that needs no scope or is not mapped, and for a caller
    /// without a token.
    ///
    /// [`authorize`](Self::authorize) refuses such an operation. A transport can tell the client
    /// which scope its token lacks, as HTTP does with the status 403.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use ati_client::Claims;
    /// use atlasent::testing::MockAuthority;
    /// use atlasent_mcp::{Caller, Gate, Mapping, Operation};
    ///
    /// let authority = Arc::new(MockAuthority::new().allow("mcp.fs.write_file"));
    /// let gate = Gate::builder(authority, Mapping::standard("fs")?).build();
    /// let claims = Claims::builder("bot").scope("tool:fs:read_file").build()?;
    /// let write = Operation::tool("write_file", "{}")?;
    /// let missing = gate.missing_scope(&write, &Caller::from_claims(claims)?);
    /// assert_eq!(missing.as_deref(), Some("tool:fs:write_file"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[cfg(feature = "ati")]
    #[must_use]
    pub fn missing_scope(&self, operation: &Operation, caller: &Caller) -> Option<String> {
        if operation.is_open() {
            return None;
        }
        let scope = self.lacking_scope(operation, caller)?;
        // With another scope, an operation without an action would still be refused.
        self.action(operation).is_ok().then_some(scope)
    }

    #[cfg(feature = "ati")]
    fn lacking_scope(&self, operation: &Operation, caller: &Caller) -> Option<String> {
        let (scope, claims) = (self.shared.mapping.scope(operation)?, caller.claims()?);
        let is_granted = claims.scopes().grants(&scope).unwrap_or(false);
        (!is_granted).then_some(scope)
    }

    /// Returns the action that an operation is.
    fn action(&self, operation: &Operation) -> Result<AuthorizedOperation, Refusal> {
        let mapped = self.shared.mapping.action(operation);
        let mapped = mapped.map_err(|missing| Refusal::without_resource(&missing))?;
        let mapped = mapped.ok_or_else(|| Refusal::unmapped(operation))?;
        Ok(AuthorizedOperation::new(mapped, operation.clone()))
    }

    /// Refuses a caller whose token does not grant the scope of an operation. It is called before
    /// the arguments are checked. The request for the permit checks the scope once more.
    #[cfg(feature = "ati")]
    fn require_scope(&self, operation: &Operation, caller: &Caller) -> Result<(), Refusal> {
        match self.lacking_scope(operation, caller) {
            Some(scope) => Err(Refusal::missing_scope_of(&scope)),
            None => Ok(()),
        }
    }

    #[cfg(not(feature = "ati"))]
    fn require_scope(&self, _: &Operation, _: &Caller) -> Result<(), Refusal> {
        Ok(())
    }

    /// Counts the call for the rates of the caller's token.
    #[cfg(feature = "ati")]
    async fn count(&self, operation: &Operation, caller: &Caller) -> Result<(), Refusal> {
        let Some(claims) = caller.claims() else {
            return Ok(());
        };
        let scope = self.shared.mapping.scope(operation);
        self.shared.rates.count(claims, scope.as_deref()).await
    }

    #[cfg(not(feature = "ati"))]
    #[allow(
        clippy::unused_async,
        reason = "the same shape as with the feature `ati`"
    )]
    async fn count(&self, _: &Operation, _: &Caller) -> Result<(), Refusal> {
        Ok(())
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate")
            .field("mapping", &self.shared.mapping)
            .field("max_wait", &self.shared.max_wait)
            .finish_non_exhaustive()
    }
}
