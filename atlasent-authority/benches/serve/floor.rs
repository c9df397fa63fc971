//! The floor: HTTP alone, by the same libraries with the same settings. Bodies are read, and
//! answered with constants.

use std::future::Future;
use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use hyper_util::rt::TokioTimer;

const EVALUATED: &str = concat!(
    r#"{"decision":"allow","permit_token":"permit_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","#,
    r#""request_id":"01234567-89ab-4def-8123-456789abcdef","expires_at":"2026-11-01T10:00:00.000000Z","#,
    r#""reason":"permitted by refund-1","#,
    r#""audit_hash":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","#,
    r#""timestamp":"2026-11-01T09:00:00.000000Z"}"#,
);

const VERIFIED: &str = concat!(
    r#"{"valid":true,"outcome":"allow","#,
    r#""permit_hash":"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef","#,
    r#""timestamp":"2026-11-01T09:00:00.000000Z"}"#,
);

pub(super) async fn serve(tell: fn(SocketAddr), stop: impl Future<Output = ()>) {
    let router = Router::new()
        .route("/v1-evaluate", post(|body| answer(body, EVALUATED)))
        .route("/v1-verify-permit", post(|body| answer(body, VERIFIED)));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    tell(listener.local_addr().unwrap());
    let mut server = axum_server::from_tcp(listener).unwrap();
    // The same limit as the server's `listen.rs`.
    let limit = std::time::Duration::from_secs(10);
    (server.http_builder().http1())
        .timer(TokioTimer::new())
        .header_read_timeout(limit)
        .max_headers(100);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        served = server.serve(service) => served.unwrap(),
        () = stop => {}
    }
}

async fn answer(body: Bytes, answer: &'static str) -> Response {
    drop(body);
    ([(CONTENT_TYPE, "application/json")], answer).into_response()
}
