//! Tests combined routers: no route loses its guard, whatever the order.

use std::sync::Arc;

use atlasent::testing::MockAuthority;
use atlasent_axum::{Access, ProtectLayer, ProtectedRouter, RequestTarget, get};
use atlasent_tests::cases::ACTION;
use axum::{Router, routing};

use crate::agents::{SCOPE, accepting, agent, another_key, ati, good_token, signed};
use crate::door::Door;
use crate::passing::allowing;
use crate::router::count;
use crate::ways::App;

fn action() -> Access {
    Access::action(ACTION)
}

/// Returns a router whose route `path` requires the action, and whose route `open` is public.
fn with(path: &str, open: &str) -> ProtectedRouter<App> {
    ProtectedRouter::new()
        .route(path, get(action(), count))
        .route(open, get(Access::public(), count))
}

type Step = fn(ProtectedRouter<App>) -> ProtectedRouter<App>;

/// Returns all orders of the steps.
fn orders(steps: &[Step]) -> Vec<Vec<Step>> {
    if steps.is_empty() {
        return vec![Vec::new()];
    }
    let mut orders = Vec::new();
    for (index, step) in steps.iter().enumerate() {
        let others = [&steps[..index], &steps[index + 1..]].concat();
        orders.extend(orders_after(*step, &others));
    }
    orders
}

fn orders_after(first: Step, others: &[Step]) -> impl Iterator<Item = Vec<Step>> {
    let rest = orders(others).into_iter();
    rest.map(move |rest| [&[first], &*rest].concat())
}

#[tokio::test]
async fn the_order_in_which_a_router_is_put_together_does_not_matter() {
    let steps: [Step; 5] = [
        |router| router.authenticate(ati()),
        |router| router.route("/a", get(action(), count)),
        |router| router.route("/b", get(Access::public(), count)),
        |router| router.nest("/nested", with("/a", "/b")),
        |router| router.merge(with("/merged/a", "/merged/b")),
    ];
    let orders = orders(&steps);
    assert_eq!(orders.len(), 120);
    let mut tables = Vec::new();
    for order in orders {
        let router = order
            .iter()
            .fold(ProtectedRouter::new(), |router, step| step(router));
        tables.push(router.table().to_string());
        let app = allowing();
        let door = Door::with_router(&app, router).await;
        for place in ["", "/nested", "/merged"] {
            door.refuses(401, "GET", &format!("{place}/a"), None).await;
            door.opens("GET", &format!("{place}/a"), Some(good_token()))
                .await;
            door.opens("GET", &format!("{place}/b"), None).await;
            door.refuses(405, "POST", &format!("{place}/a"), None).await;
            door.refuses(404, "GET", &format!("{place}/c"), None).await;
        }
    }
    tables.dedup();
    assert_eq!(tables.len(), 1, "{tables:#?}");
}

#[tokio::test]
async fn a_guard_goes_along_through_every_level() {
    let app = App::new();
    let innermost = ProtectedRouter::new().route(
        "/",
        get(action().scope(SCOPE), count).post(action().scope("tool:other"), count),
    );
    let inner = ProtectedRouter::new().nest("/{tenant}/", innermost);
    let outer = ProtectedRouter::new().merge(ProtectedRouter::new().nest("/tenants", inner));
    let door = Door::with_router(&app, outer.authenticate(ati())).await;
    let path = "/tenants/acme";
    for method in ["GET", "HEAD", "POST"] {
        door.refuses(401, method, path, None).await;
    }
    door.refuses(403, "GET", path, Some(good_token())).await;
    app.scripted.follow(MockAuthority::new().allow(ACTION));
    door.opens("GET", path, Some(good_token())).await;
    // The route requires another scope than the token grants.
    door.refuses(403, "POST", path, Some(good_token())).await;
    door.refuses(404, "GET", "/tenants/acme/", Some(good_token()))
        .await;
}

#[tokio::test]
async fn a_router_that_authenticates_by_itself_keeps_that() {
    let app = allowing();
    let child = || with("/a", "/b").authenticate(accepting(&another_key()));
    let router = with("/a", "/b")
        .nest("/nested", child())
        .merge(ProtectedRouter::new().nest("/deep", child()))
        .nest("/theirs", with("/a", "/b"))
        .authenticate(ati());
    let door = Door::with_router(&app, router).await;
    let (ours, theirs) = (good_token(), signed(agent(), &another_key()));
    for path in ["/a", "/theirs/a"] {
        door.opens("GET", path, Some(ours)).await;
        door.refuses(401, "GET", path, Some(&theirs)).await;
    }
    for path in ["/nested/a", "/deep/a"] {
        door.opens("GET", path, Some(&theirs)).await;
        door.refuses(401, "GET", path, Some(ours)).await;
    }
    for path in ["/a", "/theirs/a", "/nested/a", "/deep/a"] {
        door.refuses(401, "GET", path, None).await;
    }
}

#[tokio::test]
async fn a_protected_app_inside_of_an_open_router_keeps_its_guards() {
    let app = allowing();
    let inner = || {
        let router = with("/a", "/b").authenticate(ati());
        router.with_state(app.clone())
    };
    let outer = Router::new()
        .route("/own", routing::get(async || "the open router's own"))
        .nest_service("/nested", inner())
        .route_service("/a", inner())
        .nest_service("/{tenant}/deep", inner());
    let door = Door::new(&app, outer.into_make_service()).await;
    assert_eq!(door.ask("GET", "/own", None).await.status, 200);
    for path in ["/nested/a", "/a", "/acme/deep/a"] {
        door.refuses(401, "GET", path, None).await;
        door.refuses(401, "HEAD", path, None).await;
        door.refuses(405, "DELETE", path, Some(good_token())).await;
        door.opens("GET", path, Some(good_token())).await;
    }
    door.opens("GET", "/nested/b", None).await;
    let asked = app.scripted.calls().len();
    for path in [
        "/nested",
        "/nested/",
        "/nested/c",
        "/nested/./a",
        "/nested/x/../a",
        "/nested/../nested/a",
        "/nested/%61",
    ] {
        door.refuses(404, "GET", path, Some(good_token())).await;
    }
    assert_eq!(app.scripted.calls().len(), asked);

    let outer = Router::new().route("/own", routing::get(async || "the open router's own"));
    let outer = outer.fallback_service(inner());
    let door = Door::new(&app, outer.into_make_service()).await;
    door.refuses(401, "GET", "/a", None).await;
    door.opens("GET", "/a", Some(good_token())).await;
    door.refuses(404, "GET", "/c", None).await;
}

#[tokio::test]
async fn a_router_may_leave_it_to_a_layer_outside_to_know_who_asks() {
    let app = allowing();
    let inner = with("/a", "/b").with_state(app.clone()).layer(ati());
    let door = Door::new(&app, inner.into_make_service()).await;
    door.opens("GET", "/a", Some(good_token())).await;
    // The layer wraps all routes, so no route is public.
    for path in ["/a", "/b", "/c"] {
        door.refuses(401, "GET", path, None).await;
    }
}

/// Shows why `ProtectedRouter` exists.
#[tokio::test]
async fn a_route_that_is_added_after_the_layer_is_open_in_axum_and_guarded_here() {
    let app = allowing();
    let protect = ProtectLayer::new(Arc::clone(&app.scripted), RequestTarget::action(ACTION));
    let theirs = Router::new()
        .route("/before", routing::get(count))
        .layer((ati(), protect))
        .route("/after", routing::get(count))
        .with_state(app.clone());
    let theirs = Door::new(&app, theirs.into_make_service()).await;
    theirs.refuses(401, "GET", "/before", None).await;
    // The handler runs without a token, and without asking the authority.
    theirs.opens("GET", "/after", None).await;
    assert_eq!(app.scripted.calls(), []);

    let ours = ProtectedRouter::new()
        .route("/before", get(action(), count))
        .authenticate(ati())
        .route("/after", get(action(), count));
    let ours = Door::with_router(&app, ours).await;
    ours.refuses(401, "GET", "/before", None).await;
    ours.refuses(401, "GET", "/after", None).await;
}
