//! Tests a custom responder of a router, which builds the responses of refusals and of rejections
//! by extractors.

use atlasent::{AnyAction, Error, protect};
use atlasent_axum::{
    Access, ActionSource, Authorized, Extracted, ProblemDetails, ProtectedRouter, Refusal, Refused,
    Respond, TakePermit, by_signature, get, post,
};
use atlasent_tests::cases::ACTION;
use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::agents::{ati, good_token};
use crate::passing::allowing;
use crate::ways::{App, Deploy};

/// A responder with an error format of the service, which includes the path.
struct Envelope;

impl Envelope {
    fn answer(
        kind: &str,
        said: &str,
        mut head: http::response::Parts,
        request: &Parts,
    ) -> http::Response<Bytes> {
        let body = json!({ "kind": kind, "said": said, "path": request.uri.path() });
        let content_type = HeaderValue::from_static("application/vnd.example+json");
        head.headers.insert(CONTENT_TYPE, content_type);
        http::Response::from_parts(head, body.to_string().into())
    }
}

impl Respond for Envelope {
    fn respond(&self, refusal: &Refusal, request: &Parts) -> http::Response<Bytes> {
        let (head, _) = ProblemDetails.respond(refusal, request).into_parts();
        Self::answer("refusal", &refusal.detail(), head, request)
    }

    fn respond_to_rejection(
        &self,
        rejection: http::Response<Bytes>,
        request: &Parts,
    ) -> http::Response<Bytes> {
        let (head, said) = rejection.into_parts();
        Self::answer(
            "rejection",
            std::str::from_utf8(&said).unwrap(),
            head,
            request,
        )
    }
}

/// A responder for refusals only.
struct RefusalsOnly;

impl Respond for RefusalsOnly {
    fn respond(&self, refusal: &Refusal, request: &Parts) -> http::Response<Bytes> {
        Envelope.respond(refusal, request)
    }
}

#[derive(Deserialize)]
struct Count {
    #[expect(dead_code, reason = "read by the extractor")]
    count: u8,
}

async fn by_json(
    State(app): State<App>,
    Authorized(permit): Authorized<Json<Deploy>>,
) -> &'static str {
    app.run(&permit)
}

async fn by_query(
    State(app): State<App>,
    Authorized(permit): Authorized<Query<Deploy>>,
) -> &'static str {
    app.run(&permit)
}

async fn counted(
    State(app): State<App>,
    TakePermit(permit): TakePermit,
    _: Extracted<Json<Count>>,
) -> &'static str {
    app.run(&permit)
}

async fn numbered(_: Extracted<Path<u8>>) -> &'static str {
    "public"
}

async fn bare(_: Json<Count>) -> &'static str {
    "public"
}

#[protect(action = "deploy.production", agent = "another-bot", authority = app.authority)]
async fn annotated(State(app): State<App>) -> Result<&'static str, Refused> {
    app.ran.hit();
    Ok("ran")
}

/// An extractor that rejects every request, with a body that streams.
struct Streams;

impl<S: Sync> FromRequest<S> for Streams {
    type Rejection = Response;

    async fn from_request(_: Request, _: &S) -> Result<Self, Response> {
        let frames = futures_util::stream::iter(["as ", "it comes"].map(Ok::<_, Error>));
        Err((StatusCode::IM_A_TEAPOT, Body::from_stream(frames)).into_response())
    }
}

impl ActionSource for Streams {
    type Action = AnyAction;

    fn into_action(self) -> Result<AnyAction, Refusal> {
        Ok(AnyAction::new(ACTION)?)
    }
}

async fn streams(_: Authorized<Streams>) {}

fn router() -> ProtectedRouter<App> {
    ProtectedRouter::new()
        .authenticate(ati())
        .route("/json", post(by_signature(), by_json))
        .route("/query", get(by_signature(), by_query))
        .route("/counted", post(Access::action(ACTION), counted))
        .route("/numbers/{number}", get(Access::public(), numbered))
        .route("/bare", post(Access::public(), bare))
        .route("/annotated", get(Access::public(), annotated))
        .route("/streams", post(Access::in_handler(ACTION), streams))
}

/// Returns the response of this router, and its body.
async fn ask(
    app: &App,
    router: ProtectedRouter<App>,
    asked: (&str, &str, Option<&str>),
) -> (Response<()>, String) {
    let (path, body, token) = asked;
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = router
        .with_state(app.clone())
        .oneshot(request)
        .await
        .unwrap();
    let (head, body) = response.into_parts();
    let body = to_bytes(body, 4096).await.unwrap();
    (
        Response::from_parts(head, ()),
        String::from_utf8(body.to_vec()).unwrap(),
    )
}

/// Asserts that the response has the error format of the service, and returns it.
async fn envelope(app: &App, asked: (&str, &str, Option<&str>), status: u16) -> Value {
    let (head, body) = ask(app, router().respond_with(Envelope), asked).await;
    assert_eq!(head.status(), status, "{asked:?}: {body}");
    let kind = head.headers()[CONTENT_TYPE].to_str().unwrap();
    assert_eq!(kind, "application/vnd.example+json", "{asked:?}");
    let value: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(value["path"], asked.0.split('?').next().unwrap());
    value
}

const NO_COUNT: &str = r#"{"count":"many"}"#;

#[tokio::test]
async fn the_responder_answers_rejections_of_extractors() {
    let app = allowing();
    let token = Some(good_token());
    for (asked, status, said) in [
        (
            ("/json", "{", token),
            400,
            "Failed to parse the request body as JSON",
        ),
        (
            ("/json", r#"{"cluster":7}"#, token),
            422,
            "Failed to deserialize the JSON body",
        ),
        (
            ("/query", "", token),
            400,
            "Failed to deserialize query string",
        ),
        (
            ("/counted", NO_COUNT, token),
            422,
            "Failed to deserialize the JSON body",
        ),
        (("/numbers/many", "", None), 400, "Invalid URL"),
    ] {
        let answer = envelope(&app, asked, status).await;
        assert_eq!(answer["kind"], "rejection", "{asked:?}");
        let text = answer["said"].as_str().unwrap();
        assert!(text.starts_with(said), "{asked:?}: {text}");
    }
    assert_eq!(app.ran.count(), 0);
}

#[tokio::test]
async fn the_responder_answers_refusals_of_extractors_and_handlers() {
    let app = allowing();
    // Refusals by the router, an extractor and a handler.
    for (asked, status) in [
        (("/nowhere", "", None), 404),
        (("/counted", NO_COUNT, None), 401),
        (("/json", "{", None), 401),
    ] {
        let answer = envelope(&app, asked, status).await;
        assert_eq!(answer["kind"], "refusal", "{asked:?}");
    }
    app.scripted
        .follow(atlasent::testing::MockAuthority::new().deny(ACTION, "frozen"));
    for asked in [
        ("/json", r#"{"cluster":"prod-1"}"#, Some(good_token())),
        ("/query?cluster=prod-1", "", Some(good_token())),
        ("/annotated", "", None),
    ] {
        let answer = envelope(&app, asked, 403).await;
        assert_eq!(answer["kind"], "refusal", "{asked:?}");
        assert!(
            answer["said"].as_str().unwrap().contains("frozen"),
            "{answer}"
        );
    }
    let challenge = ask(&app, router().respond_with(Envelope), ("/json", "{", None))
        .await
        .0;
    assert_eq!(challenge.headers()[WWW_AUTHENTICATE], "Bearer");
    assert_eq!(app.ran.count(), 0);
}

#[tokio::test]
async fn admitted_requests_and_rejections_of_axum_stay_unchanged() {
    let app = allowing();
    let whole = r#"{"cluster":"prod-1"}"#;
    let (head, body) = ask(
        &app,
        router().respond_with(Envelope),
        ("/json", whole, Some(good_token())),
    )
    .await;
    assert_eq!(
        (head.status(), &*body, app.ran.count()),
        (StatusCode::OK, "ran", 1)
    );

    let (head, body) = ask(
        &app,
        router().respond_with(Envelope),
        ("/bare", NO_COUNT, None),
    )
    .await;
    assert_eq!(head.status(), 422);
    assert!(
        body.starts_with("Failed to deserialize the JSON body"),
        "{body}"
    );
    // A streaming rejection is not read.
    let (head, body) = ask(
        &app,
        router().respond_with(Envelope),
        ("/streams", "{}", Some(good_token())),
    )
    .await;
    assert_eq!(
        (head.status(), &*body),
        (StatusCode::IM_A_TEAPOT, "as it comes")
    );
}

#[tokio::test]
async fn a_responder_that_says_nothing_of_rejections_leaves_them_to_axum() {
    let app = allowing();
    for asked in [
        ("/json", "{", Some(good_token())),
        ("/query", "", Some(good_token())),
        ("/counted", NO_COUNT, Some(good_token())),
        ("/numbers/many", "", None),
    ] {
        let (own, said) = ask(&app, router(), asked).await;
        let (same, repeated) = ask(&app, router().respond_with(RefusalsOnly), asked).await;
        assert_eq!(said, repeated, "{asked:?}");
        assert_eq!(own.status(), same.status(), "{asked:?}");
        assert_eq!(own.headers(), same.headers(), "{asked:?}");
    }
    assert_eq!(app.ran.count(), 0);
}
