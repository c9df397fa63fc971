//! An orders API with a state and an error type of its own, behind a `ProtectedRouter`.
//!
//! ```text
//! cargo run --bin app_state [ADDRESS]      # default: 127.0.0.1:3000
//! ```
//!
//! Its policies are in `services/policies/orders.cedar`. It prints calls that are ready to paste.
//! Every error has one form, whether the handler, the router or the authority refused:
//!
//! ```text
//! {"error":{"code":"denied","message":"…"}}
//! ```
#![allow(
    clippy::print_stdout,
    reason = "it prints where it listens, and how to call it"
)]

use std::collections::BTreeMap;
use std::env;
use std::error::Error;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ati_client::Claims;
use atlasent::{Action, Decision, NamedAction, Permit, protect};
use atlasent_axum::{
    Access, Ati, AtiLayer, ProblemDetails, ProtectedRouter, Refusal, Respond, SharedAuthority, get,
    post,
};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{FromRef, Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use clinic::Tokens;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::TcpListener;

/// The state of the service. `FromRef` gives the router the authority.
#[derive(Clone, FromRef)]
struct AppState {
    authority: SharedAuthority,
    orders: Arc<Orders>,
}

#[derive(Action)]
#[action("read_order")]
struct ReadOrder {
    #[action(resource)]
    order: u32,
}

#[derive(Action)]
#[action("refund_order")]
struct RefundOrder {
    #[action(resource)]
    order: u32,
    amount: u32,
}

/// What the service does for an agent, each with a permit. `ApiError` is the error of all of them:
/// `#[protect]` needs `From<atlasent::Error>` for it.
impl AppState {
    #[protect(action = ReadOrder { order }, agent = claims.sub(), authority = self.authority)]
    async fn read_order(
        &self,
        claims: &Claims,
        order: u32,
        permit: Permit<ReadOrder>,
    ) -> Result<Order, ApiError> {
        let ReadOrder { order } = permit.into_action();
        self.orders.find(order)
    }

    #[protect(action = RefundOrder { order, amount }, agent = claims.sub(), authority = self.authority)]
    async fn refund_order(
        &self,
        claims: &Claims,
        order: u32,
        amount: u32,
        permit: Permit<RefundOrder>,
    ) -> Result<Order, ApiError> {
        self.orders.refund(permit)
    }
}

async fn read(
    State(state): State<AppState>,
    Ati(claims): Ati,
    order: Result<Path<u32>, PathRejection>,
) -> Result<Json<Order>, ApiError> {
    let Path(order) = order?;
    state.read_order(&claims, order).await.map(Json)
}

#[derive(Deserialize)]
struct Refund {
    amount: u32,
}

async fn refund(
    State(state): State<AppState>,
    Ati(claims): Ati,
    order: Result<Path<u32>, PathRejection>,
    refund: Result<Json<Refund>, JsonRejection>,
) -> Result<Json<Order>, ApiError> {
    let (Path(order), Json(Refund { amount })) = (order?, refund?);
    let order = state.refund_order(&claims, order, amount).await?;
    Ok(Json(order))
}

/// Every error of the service.
#[derive(Debug, thiserror::Error)]
enum ApiError {
    /// The authority refused the action, or could not be asked.
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("there is no order {0}")]
    NoSuchOrder(u32),
    #[error("only {left} of this order can be refunded")]
    TooMuch { left: u32 },
    #[error(transparent)]
    Path(#[from] PathRejection),
    #[error(transparent)]
    Json(#[from] JsonRejection),
}

impl From<atlasent::Error> for ApiError {
    fn from(error: atlasent::Error) -> Self {
        Self::Refused(error.into())
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> axum::response::Response {
        let (status, code) = match &self {
            Self::Refused(refusal) => {
                return in_our_form(refusal.to_problem(), refusal).map(Body::from);
            }
            Self::NoSuchOrder(_) => (StatusCode::NOT_FOUND, "no_such_order"),
            Self::TooMuch { .. } => (StatusCode::CONFLICT, "too_much"),
            Self::Path(rejection) => (rejection.status(), "bad_request"),
            Self::Json(rejection) => (rejection.status(), "bad_request"),
        };
        (status, Json(error_body(code, &self.to_string()))).into_response()
    }
}

/// Puts the refusals of the router, such as a missing token, into the form of [`ApiError`].
struct ApiResponder;

impl Respond for ApiResponder {
    fn respond(&self, refusal: &Refusal, request: &Parts) -> Response<Bytes> {
        in_our_form(ProblemDetails.respond(refusal, request), refusal)
    }
}

/// Replaces the body of a problem. Its status and headers stay: `WWW-Authenticate`, `Retry-After`.
fn in_our_form(problem: Response<Bytes>, refusal: &Refusal) -> Response<Bytes> {
    let code = match refusal {
        Refusal::Unauthenticated(_) => "unauthenticated",
        Refusal::Denied(denied) if denied.decision() == Decision::Hold => "on_hold",
        Refusal::Denied(_) | Refusal::MissingScope { .. } => "denied",
        Refusal::NotFound => "no_such_route",
        refusal if refusal.status().is_server_error() => "unavailable",
        _ => "bad_request",
    };
    let body = error_body(code, &refusal.detail()).to_string();
    let mut response = problem.map(|_| Bytes::from(body));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn error_body(code: &str, message: &str) -> serde_json::Value {
    json!({"error": {"code": code, "message": message}})
}

/// One order.
#[derive(Clone, Debug, Serialize)]
struct Order {
    order: u32,
    paid: u32,
    refunded: u32,
}

/// The orders, in memory.
struct Orders(Mutex<BTreeMap<u32, Order>>);

impl Orders {
    fn sample() -> Self {
        let order = |order, paid| {
            let refunded = 0;
            (
                order,
                Order {
                    order,
                    paid,
                    refunded,
                },
            )
        };
        Self(Mutex::new([order(7, 60), order(8, 900)].into()))
    }

    fn find(&self, order: u32) -> Result<Order, ApiError> {
        let found = self.lock().get(&order).cloned();
        found.ok_or(ApiError::NoSuchOrder(order))
    }

    /// Refunds what the permit was granted for. Without a permit, no code can call it.
    fn refund(&self, permit: Permit<RefundOrder>) -> Result<Order, ApiError> {
        let RefundOrder { order, amount } = permit.into_action();
        let mut orders = self.lock();
        let found = orders.get_mut(&order).ok_or(ApiError::NoSuchOrder(order))?;
        let left = found.paid.saturating_sub(found.refunded);
        if amount > left {
            return Err(ApiError::TooMuch { left });
        }
        found.refunded = found.refunded.saturating_add(amount);
        Ok(found.clone())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u32, Order>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let address = env::args().nth(1);
    let address: SocketAddr = address.as_deref().unwrap_or("127.0.0.1:3000").parse()?;
    let tokens = Tokens::from_env()?;
    let state = AppState {
        authority: SharedAuthority::new(clinic::authority()?),
        orders: Arc::new(Orders::sample()),
    };

    // The handlers obtain the permits, since their actions have values of the path and the body.
    let in_handler = |action| Access::in_handler(action).scope("tool:orders");
    let router = ProtectedRouter::new()
        .authenticate(AtiLayer::new(tokens.verifier()))
        .respond_with(ApiResponder)
        .route("/orders/{order}", get(in_handler(ReadOrder::NAME), read))
        .route(
            "/orders/{order}/refunds",
            post(in_handler(RefundOrder::NAME), refund),
        );

    let listener = TcpListener::bind(address).await?;
    introduce(listener.local_addr()?, &tokens)?;
    println!("Each route, and its action:\n\n{}", router.table());
    axum::serve(listener, router.with_state(state).into_make_service()).await?;
    Ok(())
}

/// Prints calls to paste: allowed, on hold and denied.
fn introduce(address: SocketAddr, tokens: &Tokens) -> Result<(), ati_client::Error> {
    let support_bot = tokens.token("support-bot", &["orders"])?;
    let sales_bot = tokens.token("sales-bot", &["orders"])?;
    let refund = |token: &str, order: u32, amount: u32| {
        println!(
            "curl -i -H 'Authorization: Bearer {token}' \\\n  \
             --json '{{\"amount\": {amount}}}' http://{address}/orders/{order}/refunds\n"
        );
    };
    println!("The orders are on http://{address}. support-bot may refund 20:\n");
    refund(&support_bot, 7, 20);
    println!("A refund of 500 waits for a person:\n");
    refund(&support_bot, 8, 500);
    println!("sales-bot may not refund:\n");
    refund(&sales_bot, 7, 20);
    Ok(())
}
