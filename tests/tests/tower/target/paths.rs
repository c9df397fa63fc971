//! Tests that ambiguous paths get 400, before the authority is asked.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use atlasent::testing::MockAuthority;
use atlasent_tests::cases::{ACTION, AGENT};
use atlasent_tower::{Access, AtiLayer, ProtectedMethods, RouteGuard};
use http::{Method, Request, Uri};
use proptest::prelude::*;
use proptest::sample::select;
use tower::Layer;

use super::{ask, authority, expect_refusal};
use crate::agents::{agent, any_token, bearing, request, verifier};
use crate::answer::{Answer, send};
use crate::inner::{Body, Inner};
use crate::ways::{fixed, ways};

/// Paths that some components treat as `/cluster.v1.Clusters/Deploy` or a path below it, and others
/// do not.
const TWISTED: [&str; 26] = [
    "/cluster.v1.Clusters/./Deploy",
    "/cluster.v1.Clusters/../cluster.v1.Clusters/Deploy",
    "/x/../cluster.v1.Clusters/Deploy",
    "/../cluster.v1.Clusters/Deploy",
    "/cluster.v1.Clusters/Deploy/.",
    "/cluster.v1.Clusters/Deploy/..",
    "//cluster.v1.Clusters/Deploy",
    "/cluster.v1.Clusters//Deploy",
    "/cluster.v1.Clusters/Deploy//",
    "/cluster.v1.Clusters/%2e/Deploy",
    "/cluster.v1.Clusters/%2E%2E/Deploy",
    "/cluster.v1.Clusters/.%2e/Deploy",
    "/cluster%2ev1.Clusters/Deploy",
    "/cluster.v1.Clusters%2FDeploy",
    "/cluster.v1.Clusters%2fDeploy",
    "/cluster.v1.Clusters%5CDeploy",
    "/cluster.v1.Clusters\\Deploy",
    "/cluster.v1.Clusters/%44eploy",
    "/cluster.v1.Clusters/Deploy%00",
    "/cluster.v1.Clusters/Deploy%0d%0a",
    "/cluster.v1.Clusters/Deploy%7f",
    "/cluster.v1.Clusters/Deploy%c3%a9",
    "/cluster.v1.Clusters/Deploy%",
    "/cluster.v1.Clusters/Deploy%4",
    "/cluster.v1.Clusters/Deploy%zz",
    "/cluster.v1.Clusters/{Deploy}",
];

/// Returns the paths that the crate `http` accepts.
fn uris() -> Vec<(&'static str, Uri)> {
    let uris = TWISTED.map(|path| Some((path, path.parse().ok()?)));
    let uris: Vec<_> = uris.into_iter().flatten().collect();
    assert!(
        uris.len() >= TWISTED.len() - 2,
        "only {} of them",
        uris.len()
    );
    uris
}

fn at(uri: &Uri) -> Request<Body> {
    let mut request = bearing("/", any_token());
    *request.uri_mut() = uri.clone();
    request
}

#[test]
fn no_way_asks_about_a_path_that_can_be_read_in_two_ways() {
    for way in ways::<MockAuthority>() {
        for (path, uri) in uris() {
            let case = format!("{}, {path}", way.name);
            let (authority, inner) = (authority(), Inner::new());
            let mut request = (way.request)();
            *request.uri_mut() = uri;
            let answer = send((way.around)(Arc::clone(&authority), inner.clone()), request);
            answer.expect_refusal(400, "its path ", &case);
            assert_eq!((inner.count(), authority.calls().len()), (0, 0), "{case}");
        }
    }
}

#[test]
fn no_scope_is_read_from_a_path_that_can_be_read_in_two_ways() {
    let read = Arc::new(AtomicUsize::new(0));
    let layer = AtiLayer::new(verifier()).scope_from({
        let read = Arc::clone(&read);
        move |request| {
            read.fetch_add(1, Ordering::SeqCst);
            Ok(format!("tool:{}", request.uri.path()))
        }
    });
    let inner = Inner::new();
    for (path, uri) in uris() {
        let answer = send(layer.layer(inner.clone()), at(&uri));
        answer.expect_refusal(400, "its path ", path);
    }
    assert_eq!((inner.count(), read.load(Ordering::SeqCst)), (0, 0));
    let answer = send(layer.layer(inner.clone()), bearing("/search", any_token()));
    assert_eq!((answer.status.as_u16(), inner.count()), (200, 1));
}

#[test]
fn no_agent_goes_on_to_a_path_that_can_be_read_in_two_ways() {
    let inner = Inner::new();
    for (path, uri) in uris() {
        let answer = send(AtiLayer::new(verifier()).layer(inner.clone()), at(&uri));
        answer.expect_refusal(400, "its path ", path);
    }
    assert_eq!(inner.count(), 0);
}

/// Calls a public method: an ambiguous path could call another one.
fn methods(inner: &Inner, path: &Uri) -> Answer {
    let methods = ProtectedMethods::new(MockAuthority::new())
        .method("grpc.health.v1.Health/Check", Access::public());
    send(methods.layer(inner.clone()), at(path))
}

#[test]
fn a_public_method_goes_by_one_path() {
    let inner = Inner::new();
    let good: Uri = "/grpc.health.v1.Health/Check".parse().unwrap();
    assert_eq!(methods(&inner, &good).status, 200);
    for (path, status) in [
        ("//grpc.health.v1.Health/Check", 400),
        ("/grpc.health.v1.Health//Check", 400),
        ("/grpc.health.v1.Health/./Check", 400),
        ("/grpc.health.v1.Health/%43heck", 400),
        ("/grpc.health.v1.Health/Check/", 404),
        ("/grpc.health.v1.Health/check", 404),
        ("/GRPC.health.v1.Health/Check", 404),
        ("/grpc.health.v1.Health/Checks", 404),
        ("/grpc.health.v1.Health/Check;v=1", 404),
        ("/grpc.health.v1.Health/Check%20", 404),
        ("/grpc.health.v1.Health", 404),
        ("/", 404),
        ("*", 404),
    ] {
        methods(&inner, &path.parse().unwrap()).expect_refusal(status, "", path);
    }
    assert_eq!(inner.count(), 1);
}

#[test]
fn a_method_that_is_not_declared_is_not_there_whoever_asks() {
    let (authority, inner) = (authority(), Inner::new());
    let layer = ProtectedMethods::new(Arc::clone(&authority));
    for request in [request("/a.B/C"), bearing("/a.B/C", any_token())] {
        let answer = send(layer.layer(inner.clone()), request);
        answer.expect_refusal(404, "no such route", "undeclared");
    }
    assert_eq!((inner.count(), authority.calls().len()), (0, 0));
}

#[test]
fn a_path_is_looked_at_before_a_handler_that_asks_by_itself() {
    // Both if the guard authenticates and if an outer layer does.
    let authentication = AtiLayer::new(verifier()).into();
    for authentication in [Some(&authentication), None] {
        let guard = RouteGuard::new(authentication, Access::in_handler(ACTION));
        let pass = |uri: &Uri| {
            let (mut parts, _) = at(uri).into_parts();
            parts.extensions.insert(agent().build().unwrap());
            futures_executor::block_on(guard.authorize(&MockAuthority::new(), &mut parts))
        };
        for (path, uri) in uris() {
            assert_eq!(pass(&uri).unwrap_err().status(), 400, "{path}");
        }
        assert!(pass(&"/a/b".parse().unwrap()).unwrap().is_none());
    }
}

#[test]
fn requests_without_a_path_are_decided_on_all_the_same() {
    for (method, target, path) in [
        (Method::OPTIONS, "*", "*"),
        (Method::CONNECT, "example.com:443", ""),
        (Method::GET, "http://example.com", "/"),
        (Method::GET, "http://example.com/a?b=/../c", "/a"),
        (Method::GET, "/a?b=//%2e", "/a"),
    ] {
        let mut request = request(target);
        *request.method_mut() = method;
        let (answer, heard) = ask(fixed().path(), request);
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(
            heard.unwrap().context.get("path"),
            Some(&path.into()),
            "{target}"
        );
    }
    let result = ask(fixed().path(), request("http://example.com//a"));
    expect_refusal(&result, 400, "empty segment", "absolute");
}

/// Pieces of paths, and of attacks on paths.
fn piece() -> impl Strategy<Value = String> {
    let pieces = select(vec![
        "/", "/", "/", "a", "Z", "7", ".", "..", "%2e", "%2E", "%2f", "%2F", "%5c", "\\", "%",
        "%4", "%41", "%20", "%25", "%252e", "%C3%A9", "%c3%a9", "%00", "%0A", ";", "=", "@", ":",
        "~", "+", "*", "?", "#", "&", "!", "'", "(", "{", "}", "|", "^", "\"", "<", " ", "\t",
        "\u{e9}", "\u{2215}",
    ]);
    prop_oneof![4 => pieces.prop_map(str::to_owned), 1 => any::<char>().prop_map(String::from)]
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(piece(), 0..10).prop_map(|pieces| format!("/{}", pieces.concat()))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4096, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_authority_hears_a_path_as_it_was_sent_or_nothing(text in path()) {
        // The crate `http` rejects other request targets.
        if let Ok(uri) = text.parse::<Uri>() {
            let (answer, heard) = ask(fixed().path(), at(&uri));
            // The path ends where the query begins; a fragment is never sent (RFC 9110 §7.1).
            let sent = text.split(['?', '#']).next().unwrap();
            match heard {
                Some(heard) => {
                    prop_assert_eq!(answer.status, 200);
                    prop_assert_eq!(heard.actor_id.as_str(), AGENT);
                    prop_assert_eq!(heard.context.get("path"), Some(&sent.into()));
                }
                None => prop_assert_eq!(answer.status, 400),
            }
        }
    }

    #[test]
    fn a_scope_is_read_from_a_path_as_it_was_sent_or_not_at_all(text in path()) {
        if let Ok(uri) = text.parse::<Uri>() {
            let seen = Arc::new(Mutex::new(None));
            let layer = AtiLayer::new(verifier()).scope_from({
                let seen = Arc::clone(&seen);
                move |request| {
                    *seen.lock().unwrap() = Some(request.uri.path().to_owned());
                    Ok(format!("tool:{}", request.uri.path()))
                }
            });
            let inner = Inner::new();
            let answer = send(layer.layer(inner.clone()), at(&uri));
            let sent = text.split(['?', '#']).next().unwrap();
            match &*seen.lock().unwrap() {
                Some(seen) => prop_assert_eq!((answer.status.as_u16(), &**seen), (200, sent)),
                None => prop_assert_eq!(answer.status, 400),
            }
            // The layer does not rewrite the request for the inner service.
            for parts in inner.seen() {
                prop_assert_eq!(&parts.uri, &uri);
            }
        }
    }
}
