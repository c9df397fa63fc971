//! `#[protect]` stands straight on axum handlers, beside `#[axum::debug_handler]` in either order.

use atlasent::testing::MockAuthority;
use atlasent::{Action, Error, Permit, protect};
use atlasent_axum::{Ati, Authorized, Built, Refused, SharedAuthority, TakePermit};
use axum::extract::{FromRef, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use axum::{Form, Json, Router};
use serde::Deserialize;

#[derive(Clone, FromRef)]
struct App {
    authority: SharedAuthority,
}

#[derive(Action, Deserialize)]
#[action("modify_patient_record")]
struct ModifyPatientRecord {
    #[action(resource)]
    patient_id: String,
    change_reason: String,
}

#[derive(Deserialize)]
struct Change {
    reason: String,
}

impl TryFrom<(Path<String>, Json<Change>)> for ModifyPatientRecord {
    type Error = &'static str;

    fn try_from(
        (Path(patient_id), Json(change)): (Path<String>, Json<Change>),
    ) -> Result<Self, &'static str> {
        if change.reason.is_empty() {
            return Err("give a reason");
        }
        Ok(Self {
            patient_id,
            change_reason: change.reason,
        })
    }
}

/// An error type of one's own, which hands a refusal's response on.
enum AppError {
    Refused(Refused),
}

impl From<Error> for AppError {
    fn from(error: Error) -> Self {
        Self::Refused(error.into())
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        let Self::Refused(refused) = self;
        refused.into_response()
    }
}

// As in the design: the values move into the action, and come back in the permit.
#[protect(
    action = ModifyPatientRecord { patient_id, change_reason: change.reason },
    agent = claims.sub(),
    authority = app.authority,
    scope = "tool:ehr:write",
    claims = claims,
)]
#[axum::debug_handler]
async fn modify(
    State(app): State<App>,
    Ati(claims): Ati,
    Path(patient_id): Path<String>,
    Json(change): Json<Change>,
    permit: Permit<ModifyPatientRecord>,
) -> Result<Json<String>, AppError> {
    Ok(Json(permit.into_action().patient_id))
}

#[axum::debug_handler]
#[protect(action = "deploy", agent = claims.sub(), authority = app.authority, context = { commit })]
async fn deploy(
    State(app): State<App>,
    Ati(claims): Ati,
    commit: String,
) -> Result<String, Refused> {
    Ok(commit)
}

#[axum::debug_handler(state = App)]
async fn authorized(Authorized(permit): Authorized<Json<ModifyPatientRecord>>) -> String {
    permit.change_reason.clone()
}

#[axum::debug_handler(state = App)]
async fn built(
    Authorized(permit): Authorized<Built<ModifyPatientRecord, (Path<String>, Json<Change>)>>,
) -> String {
    permit.into_action().patient_id
}

#[axum::debug_handler(state = App)]
async fn by_path(
    Authorized(permit): Authorized<Path<ModifyPatientRecord>>,
    Form(_): Form<Change>,
) -> String {
    permit.into_action().patient_id
}

#[axum::debug_handler]
async fn taken(Ati(_): Ati, TakePermit(permit): TakePermit<ModifyPatientRecord>) -> String {
    permit.into_action().patient_id
}

#[test]
fn protected_functions_are_axum_handlers() {
    let app = App {
        authority: SharedAuthority::new(MockAuthority::new()),
    };
    let _: Router = Router::new()
        .route("/patients/{id}", put(modify).post(built))
        .route("/deploy", post(deploy))
        .route("/records", post(authorized).put(taken))
        .route("/records/{patient_id}/{change_reason}", put(by_path))
        .with_state(app);
    // An authority alone is a state, too.
    let _: Router = Router::new()
        .route("/records", post(authorized_alone))
        .with_state(SharedAuthority::new(MockAuthority::new()));
}

async fn authorized_alone(_: Authorized<Json<ModifyPatientRecord>>) {}
