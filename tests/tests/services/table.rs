//! Tests the table of the routes of a service.

use atlasent::AnyAction;
use atlasent_axum::{
    Access, Authorized, ProtectedRouter, RequestTarget, TakePermit, by_signature, delete, get,
    head, post,
};
use axum::Json;

use crate::agents::SCOPE;
use crate::router::count;
use crate::ways::{App, Deploy};

async fn take(TakePermit(_): TakePermit) {}

async fn deploy(_: Authorized<Json<Deploy>>) {}

fn admin() -> ProtectedRouter<App> {
    let scoped = |action, scope: &'static str| Access::action(action).scope(scope);
    ProtectedRouter::new()
        .route("/", get(Access::action("show_admin"), take))
        .route(
            "/caches",
            get(scoped("show_caches", "tool:admin:read"), take),
        )
        .route(
            "/caches",
            delete(scoped("drop_caches", "tool:admin:write"), take),
        )
}

fn files() -> ProtectedRouter<App> {
    let by_method =
        RequestTarget::action_from(|request| Ok(AnyAction::new(request.method.to_string())?));
    ProtectedRouter::new().route("/files/{*rest}", get(Access::target(by_method), take))
}

#[test]
fn the_table_of_routers_that_were_put_together_shows_every_route() {
    let router = ProtectedRouter::new()
        .merge(files())
        .route("/health", get(Access::public(), count))
        .nest("/{tenant}/admin", admin())
        .route("/deploy", post(by_signature().scope(SCOPE), deploy))
        .route("/roll-back", post(Access::in_handler("roll_back"), count));
    assert_eq!(
        router.table().to_string(),
        "\
METHOD  PATH                    ACTION             SCOPE
POST    /deploy                 deploy.production  tool:deploy
GET     /files/{*rest}          (by request)
HEAD    /files/{*rest}          (by request)
GET     /health                 (public)
HEAD    /health                 (public)
POST    /roll-back              roll_back
GET     /{tenant}/admin         show_admin
HEAD    /{tenant}/admin         show_admin
DELETE  /{tenant}/admin/caches  drop_caches        tool:admin:write
GET     /{tenant}/admin/caches  show_caches        tool:admin:read
HEAD    /{tenant}/admin/caches  show_caches        tool:admin:read
"
    );
}

#[test]
fn the_table_shows_a_head_of_its_own_instead_of_the_one_of_get() {
    let action = |name| Access::action(name);
    let router = ProtectedRouter::<App>::new()
        .route("/a", get(action("read"), take).head(action("probe"), take))
        .route("/b", head(action("probe"), take))
        .route("/b", get(action("read"), take))
        .route("/c", post(action("write"), take));
    assert_eq!(
        router.table().to_string(),
        "\
METHOD  PATH  ACTION  SCOPE
GET     /a    read
HEAD    /a    probe
GET     /b    read
HEAD    /b    probe
POST    /c    write
"
    );
}

#[test]
fn the_table_shows_every_scope() {
    let router = ProtectedRouter::<App>::new()
        .route(
            "/a",
            post(Access::public().scope("tool:a").scope("tool:b"), take),
        )
        .route(
            "/b",
            post(by_signature().scope("tool:c").scope("tool:d"), deploy),
        );
    assert_eq!(
        router.table().to_string(),
        "\
METHOD  PATH  ACTION             SCOPE
POST    /a    (by request)       tool:a tool:b
POST    /b    deploy.production  tool:c tool:d
"
    );
}
