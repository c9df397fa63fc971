//! Tests requests whose body arrives late or never: `HEAD`, and `Expect: 100-continue`.

use std::sync::Arc;

use atlasent::testing::MockAuthority;
use atlasent_tests::Ran;
use atlasent_tests::cases::ACTION;
use axum::body::Bytes;
use axum::extract::State;
use http::{Method, header};

use crate::agents::{good_token, token};
use crate::asking::{VERSIONS, asking, client, send};
use crate::passing::{PATH, all, allowing, guarded};
use crate::raw::Raw;
use crate::serving::Served;
use crate::ways::{App, ways};

async fn counted(State(app): State<App>, body: Bytes) -> Bytes {
    app.ran.hit();
    match body.is_empty() {
        true => Bytes::from("ran"),
        false => body,
    }
}

#[tokio::test]
async fn a_head_request_is_answered_as_the_get_would_be_and_has_no_body() {
    let app = allowing();
    for (name, serve) in all(&app, counted) {
        let served = Served::new(serve).await;
        for version in VERSIONS {
            let case = format!("{name}, {version:?}");
            let before = app.ran.count();
            let request = asking(Method::HEAD, PATH, Some(good_token()));
            let answer = send(&client(version), served.address, request)
                .await
                .unwrap();
            assert_eq!(
                (answer.status.as_u16(), &*answer.body),
                (200, &b""[..]),
                "{case}"
            );
            let length = answer.header(header::CONTENT_LENGTH);
            assert_eq!(length, Some("3"), "{case}");
            assert_eq!(app.ran.count(), before + 1, "{case}");
        }
    }
}

#[tokio::test]
async fn a_head_request_needs_the_permit_of_the_get() {
    let app = App::new();
    for (name, serve) in guarded(&app, counted) {
        let served = Served::new(serve).await;
        for version in VERSIONS {
            for (token, status) in [(None, 401), (Some(good_token()), 403)] {
                let request = asking(Method::HEAD, PATH, token);
                let answer = send(&client(version), served.address, request)
                    .await
                    .unwrap();
                let case = format!("{name}, {version:?}");
                assert_eq!(
                    (answer.status.as_u16(), &*answer.body),
                    (status, &b""[..]),
                    "{case}"
                );
                let kind = answer.header(header::CONTENT_TYPE);
                assert_eq!(kind, Some("application/problem+json"), "{case}");
                assert_eq!(app.ran.count(), 0, "{case}");
            }
        }
    }
}

fn expecting(path: &str, token: Option<&str>, length: usize) -> String {
    let token = token.map(|token| format!("authorization: Bearer {token}\r\n"));
    format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n{}\r\n",
        token.unwrap_or_default()
    )
}

#[tokio::test]
async fn a_client_that_waits_to_send_its_body_is_told_to() {
    let app = allowing();
    for (name, serve) in all(&app, counted) {
        let served = Served::new(serve).await;
        let before = app.ran.count();
        let mut raw = Raw::connect(served.address).await;
        raw.write(expecting(PATH, Some(good_token()), 4)).await;
        assert_eq!(raw.head().await.unwrap().status, 100, "{name}");
        assert_eq!(app.ran.count(), before, "{name}");
        raw.write("body").await;
        let (head, body) = raw.response().await.unwrap();
        assert_eq!((head.status, &*body), (200, "body"), "{name}");
        assert_eq!(app.ran.count(), before + 1, "{name}");
    }
}

#[tokio::test]
async fn a_stranger_is_refused_before_its_body_is_sent() {
    let without_scope = token(ati_client::Claims::builder("deploy-bot"));
    for way in ways() {
        let app = allowing();
        let served = Served::new((way.app)(app.clone())).await;
        for (token, status) in [(None, 401), (Some(&*without_scope), 403)] {
            let mut raw = Raw::connect(served.address).await;
            raw.write(expecting(crate::ways::PATH, token, 1 << 30))
                .await;
            let (head, _) = raw.response().await.unwrap();
            assert_eq!(head.status, status, "{}", way.name);
        }
        let asked = app.scripted.calls().len();
        assert_eq!((asked, app.ran.count()), (0, 0), "{}", way.name);
    }
}

/// If the action does not depend on the body, a denied client is not told to send the body.
#[tokio::test]
async fn a_denied_request_is_refused_before_its_body_is_sent() {
    let app = App::new();
    app.scripted.follow(MockAuthority::new().deny(ACTION, "no"));
    for (name, serve) in guarded(&app, counted) {
        let served = Served::new(serve).await;
        let mut raw = Raw::connect(served.address).await;
        raw.write(expecting(PATH, Some(good_token()), 1 << 30))
            .await;
        let (head, _) = raw.response().await.unwrap();
        let ran: &Arc<Ran> = &app.ran;
        assert_eq!((head.status, ran.count()), (403, 0), "{name}");
        // Following bytes would be read as the body, so the connection accepts no more requests.
        raw.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n").await;
        assert_eq!(raw.rest().await, b"", "{name}");
    }
}
