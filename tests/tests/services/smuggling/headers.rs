//! Tests headers that name an agent ambiguously.

use std::sync::Arc;

use ati_client::Claims;
use atlasent::testing::Call;
use atlasent_axum::{ProtectLayer, RequestTarget};
use atlasent_tests::cases::{ACTION, AGENT};
use axum::{Router, routing};
use http::header::{AUTHORIZATION, HeaderValue};
use http::{Method, Version};

use super::targets;
use crate::agents::{SCOPE, good_token, token, token_with_id};
use crate::passing::allowing;
use crate::raw::Raw;
use crate::router::count;
use crate::serving::Served;
use crate::ways::PATH;
use crate::wire::{Wire, full, soon};

/// Returns header lines that name no agent, or more than one.
fn misleading() -> Vec<Vec<u8>> {
    let good = good_token();
    let other = token(Claims::builder("other-bot").scope(SCOPE));
    let bytes = |text: String| text.into_bytes();
    vec![
        // Two headers: a proxy may have checked either one.
        bytes(format!(
            "authorization: Bearer {good}\r\nauthorization: Bearer {good}\r\n"
        )),
        bytes(format!(
            "authorization: Bearer {good}\r\nauthorization: Bearer {other}\r\n"
        )),
        bytes(format!(
            "Authorization: Bearer {good}\r\naUTHORIZATION: Bearer {other}\r\n"
        )),
        bytes(format!(
            "authorization: Bearer {good}\r\nauthorization: Basic YTpi\r\n"
        )),
        bytes(format!(
            "authorization: Basic YTpi\r\nauthorization: Bearer {good}\r\n"
        )),
        bytes(format!(
            "authorization: Bearer {good}\r\nauthorization:\r\n"
        )),
        // Two values in one header, as a proxy may join them.
        bytes(format!("authorization: Bearer {good}, Bearer {other}\r\n")),
        bytes(format!("authorization: Bearer {good},{other}\r\n")),
        bytes(format!("authorization: Bearer {good} {other}\r\n")),
        bytes(format!("authorization: Bearer {good},\r\n")),
        // Another scheme, or no scheme.
        bytes(format!("authorization: {good}\r\n")),
        bytes(format!("authorization: Token {good}\r\n")),
        bytes(format!("authorization: Bearer\t{good}\r\n")),
        bytes(format!("authorization: Bearer{good}\r\n")),
        b"authorization: Bearer\r\n".to_vec(),
        b"authorization: Bearer \xe2\x80\x8b\r\n".to_vec(),
        // A token in another header.
        bytes(format!("proxy-authorization: Bearer {good}\r\n")),
        bytes(format!("x-authorization: Bearer {good}\r\n")),
        bytes(format!("cookie: authorization=Bearer {good}\r\n")),
        // An agent that names itself.
        bytes(format!("x-agent-id: {AGENT}\r\n")),
        bytes(format!(
            "x-forwarded-user: {AGENT}\r\nx-atlasent-permit-id: p\r\n"
        )),
    ]
}

/// Returns header lines that HTTP does not allow.
fn malformed() -> Vec<Vec<u8>> {
    let good = good_token();
    let bytes = |text: String| text.into_bytes();
    vec![
        // Folded (RFC 9112 §5.2).
        bytes(format!("authorization: Bearer\r\n {good}\r\n")),
        bytes(format!("authorization: Bearer {good}\r\n\tx\r\n")),
        bytes(format!("x: y\r\n authorization: Bearer {good}\r\n")),
        // A space before the colon (§5.1).
        bytes(format!("authorization : Bearer {good}\r\n")),
        [b"authorization: Bearer \0", good.as_bytes(), b"\r\n"].concat(),
        bytes(format!(
            "authorization: Bearer x\rauthorization: Bearer {good}\r\n"
        )),
    ]
}

#[tokio::test]
async fn a_header_that_can_be_read_in_two_ways_names_nobody() {
    for target in targets().await {
        for lines in misleading() {
            target.refuses(&target.request(PATH, &lines), &[401]).await;
        }
        for lines in malformed() {
            target
                .refuses(&target.request(PATH, &lines), &[400, 401])
                .await;
        }
        let in_query = format!("{PATH}&access_token={}", good_token());
        target
            .refuses(&target.request(&in_query, b""), &[401])
            .await;
    }
}

#[tokio::test]
async fn a_token_that_is_too_long_names_nobody() {
    let long = "x".repeat(9 << 10);
    for target in targets().await {
        for token in [&*token_with_id(&long), &long, &".".repeat(9 << 10)] {
            let line = format!("authorization: Bearer {token}\r\n");
            target
                .refuses(&target.request(PATH, line.as_bytes()), &[401])
                .await;
        }
        // The token is refused only because of its length.
        let line = format!("authorization: Bearer {}\r\n", token_with_id("x"));
        let head = target
            .send(&target.request(PATH, line.as_bytes()))
            .await
            .unwrap();
        assert_eq!(
            (head.status, target.app.ran.count()),
            (200, 1),
            "{}",
            target.way.name
        );
    }
}

#[tokio::test]
async fn the_case_of_a_name_and_of_a_scheme_is_of_no_matter() {
    for target in targets().await {
        for start in [
            "AUTHORIZATION: BEARER",
            "aUtHoRiZaTiOn:bEaReR",
            "authorization:  Bearer ",
        ] {
            let before = target.app.ran.count();
            let line = format!("{start} {}\r\n", good_token());
            let head = target
                .send(&target.request(PATH, line.as_bytes()))
                .await
                .unwrap();
            let found = (head.status, target.app.ran.count());
            assert_eq!(found, (200, before + 1), "{}, {start}", target.way.name);
        }
    }
}

#[tokio::test]
async fn a_header_that_anybody_can_send_changes_nothing_of_who_asks() {
    for target in targets().await {
        let lines = format!(
            "authorization: Bearer {}\r\nx-agent-id: admin\r\nx-forwarded-user: admin\r\nactor-id: admin\r\n",
            good_token()
        );
        let head = target
            .send(&target.request(PATH, lines.as_bytes()))
            .await
            .unwrap();
        assert_eq!(
            (head.status, target.app.ran.count()),
            (200, 1),
            "{}",
            target.way.name
        );
        let calls = target.app.scripted.calls();
        let [Call::Evaluate(first), Call::Verify(second)] = &*calls else {
            panic!("{}: {calls:?}", target.way.name);
        };
        assert_eq!(first.actor_id, AGENT);
        assert_eq!(second.actor_id.as_ref(), Some(&first.actor_id));
        assert!(
            !format!("{calls:?}").contains("admin"),
            "{}",
            target.way.name
        );
    }
}

#[tokio::test]
async fn a_trusted_header_that_stands_there_twice_names_nobody() {
    let app = allowing();
    let target = RequestTarget::action(ACTION).trusted_header("x-agent-id");
    let protect = ProtectLayer::new(Arc::clone(&app.scripted), target);
    let router = Router::new()
        .route("/a", routing::get(count))
        .layer(protect);
    let served = Served::new(router.with_state(app.clone()).into_make_service()).await;
    let ask = async |lines: &[u8]| {
        let mut raw = Raw::connect(served.address).await;
        raw.write([b"GET /a HTTP/1.1\r\nhost: x\r\n", lines, b"\r\n"].concat())
            .await;
        raw.response().await.unwrap().0.status
    };
    for lines in [
        &b""[..],
        b"x-agent-id: deploy-bot\r\nx-agent-id: deploy-bot\r\n",
        b"x-agent-id: admin\r\nX-Agent-ID: deploy-bot\r\n",
        b"x-agent-id: deploy-bot, admin\r\n",
        b"x-agent-id:\r\n",
        b"x-agent-id: caf\xc3\xa9\r\n",
        b"x_agent_id: deploy-bot\r\n",
    ] {
        let case = String::from_utf8_lossy(lines);
        assert_eq!((ask(lines).await, app.ran.count()), (401, 0), "{case}");
    }
    assert_eq!(app.scripted.calls(), []);
    assert_eq!(ask(b"X-AGENT-ID: deploy-bot\r\n").await, 200);
}

#[tokio::test]
async fn over_http_2_two_headers_name_nobody_as_well() {
    for target in targets().await {
        let mut wire = Wire::connect(target.served.address, Version::HTTP_2).await;
        for second in [
            format!("Bearer {}", good_token()),
            "Basic YTpi".to_owned(),
            String::new(),
        ] {
            let mut request = wire.request(Method::POST, PATH, full(target.way.body.1));
            let second = HeaderValue::from_str(&second).unwrap();
            request.headers_mut().append(AUTHORIZATION, second);
            let status = soon(wire.send(request)).await.unwrap().status();
            let found = (status.as_u16(), target.app.ran.count());
            assert_eq!(found, (401, 0), "{}", target.way.name);
        }
        assert_eq!(target.app.scripted.calls(), [], "{}", target.way.name);
    }
}
