//! A request with optional fields, and the outcome of one as data.

use std::time::Duration;

use crate::permit::PermitRecord;
use crate::protect::run::ObtainThenRun;
use crate::protect::{Conditions, PermitWithAnswers, obtain};
use crate::wire::RequestOptions;
use crate::{Action, Agent, Authority, Denied, Error, Permit};

/// A request that is not sent yet, from [`AuthorityExt::ask`](crate::AuthorityExt::ask). Add
/// optional fields, scopes and a time to wait for approvers, and end it with one of [`protect`](Self::protect),
/// [`with_permit`](Self::with_permit), [`gate`](Self::gate) and [`authorize`](Self::authorize).
///
/// ```
/// use atlasent::{AnyAction, AuthorityExt, testing::MockAuthority};
///
/// # futures_executor::block_on(async {
/// let authority = MockAuthority::new().allow("deploy");
/// let permit = authority
///     .ask("deploy-bot", AnyAction::new("deploy")?)
///     .options(|options| options.environment("production"))
///     .protect()
///     .await?;
/// println!("{} runs now", permit.into_action().name());
/// # use atlasent::Action;
/// # Ok::<(), atlasent::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
#[must_use = "the request is sent by `protect`, `with_permit`, `gate` or `authorize`"]
pub struct Ask<'a, P: ?Sized, A> {
    authority: &'a P,
    agent: Result<Agent, Error>,
    action: A,
    conditions: Conditions,
}

impl<'a, P: Authority + ?Sized, A: Action> Ask<'a, P, A> {
    pub(crate) fn new(authority: &'a P, agent: Result<Agent, Error>, action: A) -> Self {
        Self {
            authority,
            agent,
            action,
            conditions: Conditions::default(),
        }
    }

    /// Sets optional fields of the request. The closure receives the fields that earlier calls set.
    pub fn options(mut self, set: impl FnOnce(RequestOptions) -> RequestOptions) -> Self {
        self.conditions.set_options(set);
        self
    }

    /// Requires that the agent's token grants a scope. Without the scope, the action is refused
    /// before the authority is asked, and [`Denied::missing_scope`] names the scope.
    ///
    /// Further calls require further scopes. The refusal names the first missing one.
    ///
    /// The `sub` of the claims has to be the agent of the request: one agent's token grants nothing
    /// to another. Otherwise the action is refused with the code `SCOPE_OF_ANOTHER_AGENT`.
    ///
    /// ```
    /// use ati_client::Claims;
    /// use atlasent::{AnyAction, AuthorityExt, testing::MockAuthority};
    ///
    /// # futures_executor::block_on(async {
    /// let authority = MockAuthority::new().allow("search");
    /// let claims = Claims::builder("agent-7").scope("tool:github:*").build().unwrap();
    /// let ask = |scope| authority.ask(claims.sub(), AnyAction::new("search").unwrap()).scope(scope, &claims);
    ///
    /// assert!(ask("tool:github:search").protect().await.is_ok());
    /// let error = ask("tool:gitlab:search").protect().await.unwrap_err();
    /// assert_eq!(error.denied().unwrap().missing_scope(), Some("tool:gitlab:search"));
    /// # });
    /// ```
    #[cfg(feature = "ati")]
    pub fn scope(
        mut self,
        required: &str,
        claims: &(impl crate::scope::HasClaims + ?Sized),
    ) -> Self {
        let claims = claims.claims();
        self.conditions.require_claims(claims, Some(required));
        self
    }

    /// Asks with an agent's verified token, and tells the authority who acts with it: the actors of
    /// a [delegated](ati_client::delegate) token, which policies see as `context.actors`.
    ///
    /// The `sub` of the claims has to be the agent of the request, as for [`scope`](Self::scope),
    /// which includes this. All claims of a request have to name the same actors. If the token
    /// expires while the request [waits](Self::wait) for approvers, the action is refused with the
    /// code `TOKEN_EXPIRED`.
    ///
    /// ```
    /// use ati_client::{Claims, delegate};
    /// use atlasent::testing::{Call, MockAuthority};
    /// use atlasent::{AnyAction, AuthorityExt};
    ///
    /// # futures_executor::block_on(async {
    /// let authority = MockAuthority::new().allow("search");
    /// let agent = Claims::builder("agent-7").build().unwrap();
    /// let helper = delegate(&agent, "helper").build().unwrap();
    ///
    /// authority.ask(helper.sub(), AnyAction::new("search")?).claims(&helper).protect().await?;
    /// let calls = authority.calls();
    /// let Some(Call::Evaluate(asked)) = calls.first() else { panic!() };
    /// assert_eq!(asked.actors[0].as_str(), "helper");
    /// # Ok::<(), atlasent::Error>(()) }).unwrap();
    /// ```
    #[cfg(feature = "ati")]
    pub fn claims(mut self, claims: &(impl crate::scope::HasClaims + ?Sized)) -> Self {
        self.conditions.require_claims(claims.claims(), None);
        self
    }

    /// Waits for approvers, for at most this time, if the authority holds or escalates the request
    /// and opens an escalation. By default, a held request is a refusal at once.
    ///
    /// After an approval, the same request is evaluated once more, and the authority decides. A
    /// rejection, an escalation that timed out, and a second hold are refusals;
    /// [`Denied::escalation_id`] names the escalation. When the time is over, the refusal is the
    /// hold, and the escalation stays open: the same request joins it later. Dropping the future
    /// leaves the escalation open, too. A second call replaces the time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use atlasent::testing::{MockAuthority, ScriptedApproval};
    /// use atlasent::{AnyAction, AuthorityExt};
    ///
    /// # futures_executor::block_on(async {
    /// let authority = MockAuthority::new()
    ///     .hold_for_approval("deploy", "a release needs two people", ScriptedApproval::approve());
    /// let ask = authority.ask("deploy-bot", AnyAction::new("deploy")?);
    /// let permit = ask.wait(Duration::from_secs(600)).protect().await?;
    /// # drop(permit);
    /// # Ok::<(), atlasent::Error>(()) }).unwrap();
    /// ```
    pub fn wait(mut self, at_most: Duration) -> Self {
        self.conditions.set_wait(at_most);
        self
    }

    /// Obtains the permit: [`AuthorityExt::protect`](crate::AuthorityExt::protect).
    ///
    /// # Errors
    ///
    /// [`Error::Denied`] for every refusal, another [`Error`] when the authority gave no usable
    /// answer.
    pub fn protect(self) -> impl Future<Output = Result<Permit<A>, Error>> + use<'a, P, A> {
        obtain(self.authority, self.agent, self.action, self.conditions)
    }

    /// Obtains the permit with both answers: [`AuthorityExt::gate`](crate::AuthorityExt::gate).
    ///
    /// # Errors
    ///
    /// As [`protect`](Self::protect).
    pub fn gate(self) -> impl Future<Output = Result<PermitWithAnswers<A>, Error>> + use<'a, P, A> {
        obtain(self.authority, self.agent, self.action, self.conditions)
    }

    /// Obtains the permit and runs `body` with it:
    /// [`AuthorityExt::with_permit`](crate::AuthorityExt::with_permit).
    ///
    /// # Errors
    ///
    /// As [`protect`](Self::protect), and the errors of `body`.
    pub fn with_permit<T, E, B, F>(
        self,
        body: B,
    ) -> impl Future<Output = Result<T, E>> + use<'a, P, A, T, E, B, F>
    where
        B: FnOnce(Permit<A>) -> F,
        F: Future<Output = Result<T, E>>,
        E: From<Error>,
    {
        ObtainThenRun::new(self.protect(), body)
    }

    /// Returns the outcome as data, a refusal included:
    /// [`AuthorityExt::authorize`](crate::AuthorityExt::authorize).
    ///
    /// # Errors
    ///
    /// When the authority gave no usable answer.
    pub async fn authorize(self) -> Result<Authorization, Error> {
        match self.protect().await {
            Ok(permit) => Ok(Authorization(Ok(permit.record()))),
            Err(Error::Denied(denied)) => Ok(Authorization(Err(*denied))),
            Err(other) => Err(other),
        }
    }
}

/// The outcome of a request as data, for dashboards and dry runs. It holds no permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authorization(Result<PermitRecord, Denied>);

impl Authorization {
    /// Returns whether the action was allowed *and* its permit verified.
    #[must_use]
    pub fn permitted(&self) -> bool {
        self.0.is_ok()
    }

    /// Returns the record of the permit, if the action was permitted.
    #[must_use]
    pub fn record(&self) -> Option<&PermitRecord> {
        self.0.as_ref().ok()
    }

    /// Returns the refusal, if the action was refused.
    #[must_use]
    pub fn denied(&self) -> Option<&Denied> {
        self.0.as_ref().err()
    }
}
