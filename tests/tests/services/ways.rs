//! All ways in axum to a protected handler. Each way asks the authority about the same agent and
//! action, requires the same scope, and counts exactly if the handler runs.

use std::sync::Arc;

use atlasent::{Action, AnyAction, Permit, protect};
use atlasent_axum::{
    Access, Ati, Authorized, Built, ProtectLayer, ProtectedRouter, Refused, RequestTarget,
    SharedAuthority, TakePermit, by_signature, post,
};
use atlasent_tests::Ran;
use atlasent_tests::cases::{ACTION, AGENT};
use axum::extract::{Form, FromRef, Path, Query, State};
use axum::handler::Handler;
use axum::{Json, Router, routing};
use serde::Deserialize;
use serde_json::Value;

use crate::agents::{SCOPE, ati};
use crate::scripted::Scripted;
use crate::serving::Serve;

/// The route of all ways. The cluster is in the path, the query and the body.
pub(crate) const PATH: &str = "/deploy/prod-1?cluster=prod-1";
const ROUTE: &str = "/deploy/{cluster}";

/// One way to a protected handler.
#[derive(Clone, Copy)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) app: fn(App) -> Serve,
    pub(crate) body: Content,
}

/// A body and its type.
pub(crate) type Content = (&'static str, &'static str);

const JSON: Content = ("application/json", r#"{"cluster":"prod-1"}"#);
const FORM: Content = ("application/x-www-form-urlencoded", "cluster=prod-1");

/// The state of all apps.
#[derive(Clone, FromRef)]
pub(crate) struct App {
    pub(crate) scripted: Arc<Scripted>,
    pub(crate) authority: SharedAuthority,
    pub(crate) ran: Arc<Ran>,
}

impl App {
    pub(crate) fn new() -> Self {
        let scripted = Arc::new(Scripted::new());
        Self {
            authority: SharedAuthority::new(Arc::clone(&scripted)),
            scripted,
            ran: Arc::new(Ran::new()),
        }
    }

    /// Counts a run of the handler with this permit.
    pub(crate) fn run<A: Action>(&self, permit: &Permit<A>) -> &'static str {
        assert_eq!(
            (permit.action().name(), permit.agent().as_str()),
            (ACTION, AGENT)
        );
        self.ran.hit();
        "ran"
    }
}

pub(crate) fn ways() -> Vec<Way> {
    let mut ways = layers();
    ways.extend(extractors());
    ways.extend(routers());
    ways
}

fn way(name: &'static str, app: fn(App) -> Serve) -> Way {
    Way {
        name,
        app,
        body: JSON,
    }
}

fn layers() -> Vec<Way> {
    vec![
        way("a layer", |app| layered(taken, app)),
        way("a layer, and a permit that nobody takes", |app| {
            layered(unaware, app)
        }),
        way("a layer of a typed action", |app| {
            let protect = ProtectLayer::new(Arc::clone(&app.scripted), typed());
            let router = Router::new().route(ROUTE, routing::post(taken_typed));
            let router = router.layer((ati().scope(SCOPE), protect));
            router.with_state(app).into_make_service()
        }),
    ]
}

fn extractors() -> Vec<Way> {
    vec![
        way("Authorized<Json>", |app| open(from_json, app)),
        way("Authorized<Path>", |app| open(from_path, app)),
        way("Authorized<Query>", |app| open(from_query, app)),
        Way {
            body: FORM,
            ..way("Authorized<Form>", |app| open(from_form, app))
        },
        way("Authorized<Built>", |app| open(from_several, app)),
        way("#[protect]", |app| open(annotated, app)),
        way("#[protect] with the scope", |app| {
            let router = Router::new().route(ROUTE, routing::post(annotated_scope));
            router.layer(ati()).with_state(app).into_make_service()
        }),
    ]
}

fn routers() -> Vec<Way> {
    vec![
        way("a router's action", |app| routed(action(), taken, app)),
        way("a router's target", |app| {
            routed(Access::target(typed()).scope(SCOPE), taken_typed, app)
        }),
        way("a router, by signature of the body", |app| {
            routed(by_signature().scope(SCOPE), from_json, app)
        }),
        way("a router, by signature of the path", |app| {
            routed(by_signature().scope(SCOPE), from_path, app)
        }),
        way("a router, in the handler", |app| {
            routed(Access::in_handler(ACTION).scope(SCOPE), annotated, app)
        }),
        way("a nested router", |app| {
            let inner = ProtectedRouter::new().route("/{cluster}", post(action(), taken));
            let router = ProtectedRouter::new()
                .nest("/deploy", inner)
                .authenticate(ati());
            router.with_state(app).into_make_service()
        }),
        way("a router as a service of an open one", |app| {
            let inner = ProtectedRouter::new()
                .authenticate(ati())
                .route("/{cluster}", post(by_signature().scope(SCOPE), from_path));
            let router = Router::new().nest_service("/deploy", inner.with_state(app));
            router.into_make_service()
        }),
    ]
}

/// Serves a handler behind both layers.
fn layered<H, T>(handler: H, app: App) -> Serve
where
    H: Handler<T, App>,
    T: 'static,
{
    let protect = ProtectLayer::new(Arc::clone(&app.scripted), RequestTarget::action(ACTION));
    let router = Router::new().route(ROUTE, routing::post(handler));
    let router = router.layer((ati().scope(SCOPE), protect));
    router.with_state(app).into_make_service()
}

/// Serves a handler behind the authenticating layer only.
fn open<H, T>(handler: H, app: App) -> Serve
where
    H: Handler<T, App>,
    T: 'static,
{
    let router = Router::new().route(ROUTE, routing::post(handler));
    let router = router.layer(ati().scope(SCOPE));
    router.with_state(app).into_make_service()
}

fn routed<A, H, T>(access: A, handler: H, app: App) -> Serve
where
    A: atlasent_axum::RouteAccess<T>,
    H: Handler<T, App>,
    T: 'static,
{
    let router = ProtectedRouter::new().route(ROUTE, post(access, handler));
    router
        .authenticate(ati())
        .with_state(app)
        .into_make_service()
}

fn action() -> Access {
    Access::action(ACTION).scope(SCOPE)
}

#[derive(Action, Deserialize)]
#[action("deploy.production")]
pub(crate) struct Deploy {
    #[action(resource)]
    cluster: String,
}

impl Deploy {
    pub(crate) fn new(cluster: &str) -> Self {
        Self {
            cluster: cluster.to_owned(),
        }
    }
}

type Several = (Path<String>, Json<Value>);

impl From<Several> for Deploy {
    fn from((Path(cluster), Json(_)): Several) -> Self {
        Self { cluster }
    }
}

fn typed() -> RequestTarget<Deploy> {
    RequestTarget::action_from(|request| {
        let cluster = request.uri.path().replace("/deploy/", "");
        Ok(Deploy { cluster })
    })
}

async fn taken(State(app): State<App>, TakePermit(permit): TakePermit<AnyAction>) -> &'static str {
    app.run(&permit)
}

async fn taken_typed(
    State(app): State<App>,
    TakePermit(permit): TakePermit<Deploy>,
) -> &'static str {
    app.run(&permit)
}

async fn unaware(State(app): State<App>) -> &'static str {
    app.ran.hit();
    "ran"
}

async fn from_json(
    State(app): State<App>,
    Authorized(permit): Authorized<Json<Deploy>>,
) -> &'static str {
    app.run(&permit)
}

async fn from_path(
    State(app): State<App>,
    Authorized(permit): Authorized<Path<Deploy>>,
) -> &'static str {
    app.run(&permit)
}

pub(crate) async fn from_query(
    State(app): State<App>,
    Authorized(permit): Authorized<Query<Deploy>>,
) -> &'static str {
    app.run(&permit)
}

async fn from_form(
    State(app): State<App>,
    Authorized(permit): Authorized<Form<Deploy>>,
) -> &'static str {
    app.run(&permit)
}

async fn from_several(
    State(app): State<App>,
    Authorized(permit): Authorized<Built<Deploy, Several>>,
) -> &'static str {
    app.run(&permit)
}

#[protect(action = Deploy { cluster }, agent = claims.sub(), authority = app.authority)]
async fn annotated(
    State(app): State<App>,
    Ati(claims): Ati,
    Path(cluster): Path<String>,
    permit: Permit<Deploy>,
) -> Result<&'static str, Refused> {
    Ok(app.run(&permit))
}

#[protect(
    action = Deploy { cluster }, agent = claims.sub(), authority = app.authority,
    scope = SCOPE, claims = claims,
)]
async fn annotated_scope(
    State(app): State<App>,
    Ati(claims): Ati,
    Path(cluster): Path<String>,
    permit: Permit<Deploy>,
) -> Result<&'static str, Refused> {
    Ok(app.run(&permit))
}
