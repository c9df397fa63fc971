//! A state that holds no authority.

use atlasent::Action;
use atlasent_axum::Authorized;
use axum::Json;

#[derive(Clone)]
struct App;

#[derive(Action, serde::Deserialize)]
#[action("deploy")]
struct Deploy {
    commit: String,
}

#[axum::debug_handler(state = App)]
async fn deploy(Authorized(permit): Authorized<Json<Deploy>>) -> String {
    permit.into_action().commit
}

fn main() {}
