//! The extractor that builds an action from the request, and obtains a permit for it.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use ati_client::Claims;
use atlasent::{Action, Agent, AuthorityExt, Permit};
use atlasent_tower::{Refusal, check_request_path, claims, preferred_wait, subject};
use axum::extract::{Form, FromRequest, FromRequestParts, Json, Path, Query, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

use crate::{ExtractedRejection, HasAuthority, Refused};

/// Extracts an action with `E`, obtains a permit for it from the authority in the state, and passes
/// the permit, which owns the action, to the handler.
///
/// The agent is the subject of the verified token, and the authority hears who acts for it by a
/// [delegated](ati_client::delegate) token.
///
/// ```
/// # use atlasent::testing::MockAuthority;
/// use atlasent::Action;
/// use atlasent_axum::{Authorized, SharedAuthority};
/// use axum::{Json, Router, routing::post};
/// use serde::Deserialize;
///
/// #[derive(Action, Deserialize)]
/// #[action("modify_patient_record")]
/// struct ModifyPatientRecord {
///     #[action(resource)]
///     patient_id: String,
///     change_reason: String,
/// }
///
/// // This does not run without a permit for exactly these values.
/// async fn modify(Authorized(permit): Authorized<Json<ModifyPatientRecord>>) -> String {
///     format!("{} is changed: {}", permit.patient_id, permit.change_reason)
/// }
///
/// # let authority = MockAuthority::new();
/// // Add an `AtiLayer`, which authenticates the agent.
/// let app: Router = Router::new().route("/records", post(modify)).with_state(SharedAuthority::new(authority));
/// ```
///
/// `E` is [`Json`], [`Path`], [`Query`] or [`Form`] of an action, [`Built`] where the values of an
/// action come from several places, or an extractor of yours that implements [`ActionSource`].
pub struct Authorized<E: ActionSource>(pub Permit<E::Action>);

/// An extractor that yields an action.
///
/// ```
/// use atlasent::AnyAction;
/// use atlasent_axum::{ActionSource, Refusal};
/// use axum::body::Bytes;
/// use axum::extract::FromRequest; // with axum's feature `macros`
///
/// #[derive(FromRequest)]
/// struct Command {
///     text: Bytes,
/// }
///
/// impl ActionSource for Command {
///     type Action = AnyAction;
///
///     fn into_action(self) -> Result<AnyAction, Refusal> {
///         let text = std::str::from_utf8(&self.text).map_err(|_| Refusal::bad_request("it is not UTF-8"))?;
///         Ok(AnyAction::new("run_command")?.with_field("command", text)?)
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` yields no action",
    label = "this does not implement `atlasent_axum::ActionSource`",
    note = "take `Json<A>`, `Path<A>`, `Query<A>` or `Form<A>` of a type `A` that derives `atlasent::Action`",
    note = "or `Built<A, (Path<…>, Json<…>)>`, where the values of `A` come from several places"
)]
pub trait ActionSource {
    /// The type of the action.
    type Action: Action;

    /// Converts the extracted value into the action.
    ///
    /// # Errors
    ///
    /// Returns a [`Refusal`] if the extracted value is not a valid action.
    fn into_action(self) -> Result<Self::Action, Refusal>;
}

macro_rules! sources {
    ($($extractor:ident),*) => {$(
        impl<A: Action> ActionSource for $extractor<A> {
            type Action = A;

            fn into_action(self) -> Result<A, Refusal> {
                Ok(self.0)
            }
        }
    )*};
}

sources!(Json, Path, Query, Form);

/// Builds an action from the values of several extractors, by [`TryFrom`] of their tuple.
///
/// ```
/// # use atlasent::Action;
/// use atlasent_axum::{Authorized, Built, SharedAuthority};
/// use axum::Json;
/// use axum::extract::Path;
///
/// # #[derive(Action)]
/// # #[action("modify_patient_record")]
/// # struct ModifyPatientRecord {
/// #     #[action(resource)]
/// #     patient_id: String,
/// #     change_reason: String,
/// # }
/// #[derive(serde::Deserialize)]
/// struct Change {
///     reason: String,
/// }
///
/// impl From<(Path<String>, Json<Change>)> for ModifyPatientRecord {
///     fn from((Path(patient_id), Json(change)): (Path<String>, Json<Change>)) -> Self {
///         Self { patient_id, change_reason: change.reason }
///     }
/// }
///
/// async fn modify(
///     Authorized(permit): Authorized<Built<ModifyPatientRecord, (Path<String>, Json<Change>)>>,
/// ) -> String {
///     permit.into_action().patient_id
/// }
/// # axum::Router::<SharedAuthority>::new().route("/patients/{id}", axum::routing::put(modify));
/// ```
pub struct Built<A, T> {
    parts: T,
    action: PhantomData<fn() -> A>,
}

impl<A, T> Built<A, T> {
    fn new(parts: T) -> Self {
        Self {
            parts,
            action: PhantomData,
        }
    }
}

impl<A, T> ActionSource for Built<A, T>
where
    A: Action + TryFrom<T, Error: fmt::Display>,
{
    type Action = A;

    fn into_action(self) -> Result<A, Refusal> {
        A::try_from(self.parts).map_err(|error| Refusal::bad_request(error.to_string()))
    }
}

impl<A, T: FromRequest<S>, S: Send + Sync> FromRequest<S> for Built<A, T> {
    type Rejection = T::Rejection;

    async fn from_request(request: Request, state: &S) -> Result<Self, T::Rejection> {
        T::from_request(request, state).await.map(Self::new)
    }
}

impl<A, T: FromRequestParts<S>, S: Send + Sync> FromRequestParts<S> for Built<A, T> {
    type Rejection = T::Rejection;

    async fn from_request_parts(request: &mut Parts, state: &S) -> Result<Self, T::Rejection> {
        T::from_request_parts(request, state).await.map(Self::new)
    }
}

impl<E, S> FromRequest<S> for Authorized<E>
where
    E: ActionSource + FromRequest<S>,
    S: HasAuthority + Send + Sync,
{
    type Rejection = AuthorizedRejection<E::Rejection>;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let (mut parts, body) = request.into_parts();
        let caller = caller(&mut parts)?;
        let wait = preferred_wait(&parts);
        let request = Request::from_parts(parts, body);
        let action = E::from_request(request, state).await.map(E::into_action);
        let action = action.map_err(AuthorizedRejection::Extraction)?;
        Ok(Self(authorize(caller, action, wait, state).await?))
    }
}

impl<E, S> FromRequestParts<S> for Authorized<E>
where
    E: ActionSource + FromRequestParts<S>,
    S: HasAuthority + Send + Sync,
{
    type Rejection = AuthorizedRejection<E::Rejection>;

    async fn from_request_parts(request: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let caller = caller(request)?;
        let wait = preferred_wait(request);
        let action = E::from_request_parts(request, state)
            .await
            .map(E::into_action);
        let action = action.map_err(AuthorizedRejection::Extraction)?;
        Ok(Self(authorize(caller, action, wait, state).await?))
    }
}

/// Returns the agent of the request, and the claims of its token. This comes before extraction, so
/// that an anonymous caller does not learn what is wrong with the rest of the request.
fn caller(request: &mut Parts) -> Result<(Agent, Claims), Refused> {
    check_request_path(request)?;
    Ok((subject(request)?, claims(request)?.clone()))
}

async fn authorize<A: Action, S: HasAuthority>(
    (agent, claims): (Agent, Claims),
    action: Result<A, Refusal>,
    wait: Option<Duration>,
    state: &S,
) -> Result<Permit<A>, Refused> {
    let authority = state.authority();
    let mut ask = authority.ask(agent, action?);
    // Only a delegated token names actors, and only a request that waits can outlive its token.
    if claims.actors().len() > 0 || wait.is_some() {
        ask = ask.claims(&claims);
    }
    if let Some(at_most) = wait {
        ask = ask.wait(at_most);
    }
    Ok(ask.protect().await?)
}

/// Why [`Authorized`] rejected a request: the action could not be extracted, or no permit was
/// granted for it.
#[derive(Debug)]
pub enum AuthorizedRejection<R> {
    /// No permit was granted, or the request has no agent.
    Refused(Refused),
    /// The inner extractor failed, with this rejection.
    Extraction(R),
}

impl<R> From<Refused> for AuthorizedRejection<R> {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl<R: IntoResponse> IntoResponse for AuthorizedRejection<R> {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refused) => refused.into_response(),
            Self::Extraction(rejection) => ExtractedRejection(rejection).into_response(),
        }
    }
}

impl<E: ActionSource> fmt::Debug for Authorized<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Authorized").field(&self.0).finish()
    }
}

/// Prints no extracted value, since it may be a secret.
impl<A, T> fmt::Debug for Built<A, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built").finish_non_exhaustive()
    }
}
