//! What an endpoint says to clients before it takes a message: where its metadata is, which
//! versions and web pages it serves, and whose sessions are whose.

use std::sync::Arc;

use ati_client::{Claims, SigningKey, Verifier, delegate, issue};
use atlasent_mcp::guard::http::{Authentication, ProtectedResource};
use atlasent_mcp::guard::limits::Limits;
use reqwest::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    ORIGIN, WWW_AUTHENTICATE,
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

use super::http::{AUDIENCE, SECRET, by_token};
use super::over_http::{Listening, Messages, ORIGIN_OF_PAGE, Session, http};
use super::support::{PATIENCE, Stage, allowing};

fn ping(id: i64) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "ping"})
}

#[tokio::test]
async fn the_metadata_is_where_the_challenge_says_and_names_the_audience() {
    for (url, path, audience) in [
        (
            "https://g.example/files/mcp",
            "/files/mcp",
            "https://g.example/files/mcp",
        ),
        (
            "https://g.example/:a/*b/{c}",
            "/:a/*b/%7Bc%7D",
            "https://g.example/:a/*b/%7Bc%7D",
        ),
        ("https://G.Example:443", "", "https://g.example/"),
    ] {
        let stage = Stage::new("");
        let resource = ProtectedResource {
            url: url.parse().unwrap(),
            authorization_servers: Vec::new(),
            scopes: Vec::new(),
        };
        let key = SigningKey::from_hex(SECRET).unwrap();
        let verifier = Verifier::builder(key.verifying_key()).audience(resource.audience());
        let verifier = verifier.build().unwrap();
        let authentication = Authentication::Token { verifier, resource };
        let guard =
            Listening::start(stage.guard(allowing()), stage.upstream(), authentication).await;
        let mut session = Session::new(&guard);
        let challenge = session.post(ping(1)).await.headers()[WWW_AUTHENTICATE].clone();
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let expected = format!(r#"Bearer resource_metadata="https://g.example{path}""#);
        assert_eq!(challenge, expected);
        let found = http()
            .get(format!("http://{}{path}", guard.address))
            .send()
            .await
            .unwrap();
        assert_eq!(found.status(), StatusCode::OK, "{path}");
        let found: Value = serde_json::from_str(&found.text().await.unwrap()).unwrap();
        assert_eq!(found["resource"], audience);
        // A token for the published resource is accepted.
        let claims = Claims::builder("ann").audience(found["resource"].as_str().unwrap());
        session.token = Some(issue(&claims.build().unwrap(), &key).unwrap());
        session.initialize().await;
    }
}

#[tokio::test]
async fn a_version_that_is_neither_known_nor_negotiated_is_refused() {
    let stage = Stage::new("version@2025-12-24");
    let guard = Listening::open(stage.guard(allowing()), stage.upstream()).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    for (version, status) in [
        ("2025-12-24", StatusCode::OK),
        ("2025-06-18", StatusCode::OK),
        ("2025-12-25", StatusCode::BAD_REQUEST),
        ("2099-01-01", StatusCode::BAD_REQUEST),
        ("latest", StatusCode::BAD_REQUEST),
    ] {
        let request = session
            .request(Method::POST)
            .header("content-type", "application/json")
            .header("mcp-protocol-version", version)
            .body(ping(1).to_string());
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status, "{version}");
        let get = session
            .request(Method::GET)
            .header("mcp-protocol-version", version);
        assert_eq!(get.send().await.unwrap().status(), status, "{version}");
        let body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
        if status == StatusCode::BAD_REQUEST {
            assert_eq!(body["id"], 1);
            assert_eq!(body["error"]["data"]["requested"], version);
            let supported = body["error"]["data"]["supported"].as_array().unwrap();
            assert!(supported.contains(&json!("2025-11-25")), "{body}");
        }
    }
    // What another session negotiated does not count.
    let stage = Stage::new("");
    let another = Listening::open(stage.guard(allowing()), stage.upstream()).await;
    let mut other = Session::new(&another);
    other.initialize().await;
    let request = other
        .request(Method::GET)
        .header("mcp-protocol-version", "2025-12-24");
    assert_eq!(
        request.send().await.unwrap().status(),
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn a_web_page_that_may_call_can_do_so_and_no_other() {
    let stage = Stage::new("");
    let authentication = by_token(vec!["https://login.example".to_owned()]);
    let guard = Listening::start(stage.guard(allowing()), stage.upstream(), authentication).await;
    let address = guard.address;
    let url = format!("http://{address}/mcp");
    let preflight = |origin: &str| {
        http()
            .request(Method::OPTIONS, &url)
            .header(ORIGIN, origin)
            .header(ACCESS_CONTROL_REQUEST_METHOD, "POST")
            .header(
                ACCESS_CONTROL_REQUEST_HEADERS,
                "authorization,mcp-session-id",
            )
            .send()
    };
    let allowed = preflight(ORIGIN_OF_PAGE).await.unwrap();
    assert!(allowed.status().is_success());
    let headers = allowed.headers();
    assert_eq!(headers[ACCESS_CONTROL_ALLOW_ORIGIN], ORIGIN_OF_PAGE);
    let methods = headers[ACCESS_CONTROL_ALLOW_METHODS].to_str().unwrap();
    assert!(
        ["GET", "POST", "DELETE"]
            .iter()
            .all(|method| methods.contains(method))
    );
    let sent = headers[ACCESS_CONTROL_ALLOW_HEADERS].to_str().unwrap();
    for name in [
        "authorization",
        "content-type",
        "mcp-session-id",
        "last-event-id",
    ] {
        assert!(sent.contains(name), "{sent}");
    }
    // A page reads the challenge, the metadata and the id of its session.
    let post = || http().post(&url).body(ping(1).to_string());
    let challenged = post().header(ORIGIN, ORIGIN_OF_PAGE).send().await.unwrap();
    assert_eq!(challenged.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(
        challenged.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
        ORIGIN_OF_PAGE
    );
    let exposed = challenged.headers()[ACCESS_CONTROL_EXPOSE_HEADERS]
        .to_str()
        .unwrap();
    assert!(exposed.contains("mcp-session-id") && exposed.contains("www-authenticate"));
    let metadata = format!("http://{address}/.well-known/oauth-protected-resource/mcp");
    let metadata = http()
        .get(metadata)
        .header(ORIGIN, ORIGIN_OF_PAGE)
        .send()
        .await
        .unwrap();
    assert_eq!(
        metadata.headers()[ACCESS_CONTROL_ALLOW_ORIGIN],
        ORIGIN_OF_PAGE
    );

    for origin in [
        "https://evil.example",
        "null",
        "https://app.example.evil.example",
    ] {
        let headers = preflight(origin).await.unwrap().headers().clone();
        assert!(
            !headers.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN),
            "{origin}"
        );
        let refused = post().header(ORIGIN, origin).send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{origin}");
        assert!(!refused.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
    }
}

#[tokio::test]
async fn a_delegate_cannot_use_the_session_of_its_parent_nor_the_other_way_round() {
    let stage = Stage::new("");
    let guard = Listening::start(
        stage.guard(allowing()),
        stage.upstream(),
        by_token(Vec::new()),
    )
    .await;
    let key = SigningKey::from_hex(SECRET).unwrap();
    let parent = Claims::builder("ann")
        .audience(AUDIENCE)
        .scope("tool:fake:*");
    let parent = parent.build().unwrap();
    let delegated = |actor: &str| {
        let claims = delegate(&parent, actor)
            .scope("tool:fake:read")
            .build()
            .unwrap();
        issue(&claims, &key).unwrap()
    };
    let parent_token = issue(&parent, &key).unwrap();
    let (helper, another) = (delegated("helper"), delegated("another"));
    let mut session = Session::new(&guard);
    for (owner, strangers) in [
        (&parent_token, [&helper, &another]),
        (&helper, [&parent_token, &another]),
    ] {
        session.id = None;
        session.token = Some(owner.clone());
        session.initialize().await;
        for stranger in strangers {
            session.token = Some(stranger.clone());
            let resumed = session.request(Method::GET).header("last-event-id", "0-0");
            assert_eq!(
                resumed.send().await.unwrap().status(),
                StatusCode::NOT_FOUND
            );
            assert_eq!(session.post(ping(2)).await.status(), StatusCode::NOT_FOUND);
            let ended = session.request(Method::DELETE).send().await.unwrap();
            assert_eq!(ended.status(), StatusCode::NOT_FOUND);
        }
        session.token = Some(owner.clone());
        assert_eq!(session.post(ping(3)).await.status(), StatusCode::OK);
    }
    // Another token of the same agent and actors goes on with the session.
    session.token = Some(delegated("helper"));
    assert_eq!(session.post(ping(4)).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn a_head_request_does_not_take_the_stream_over() {
    let stage = Stage::new("");
    let guard = Listening::open(stage.guard(allowing()), stage.upstream()).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let mut stream = Messages::new(session.listen(None).await.unwrap());
    let response = session.request(Method::HEAD).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(response.headers()["allow"], "GET, POST, DELETE");
    let ended = timeout(Duration::from_millis(200), stream.next()).await;
    assert!(ended.is_err(), "{ended:?}");
    session.delete().await.unwrap();
    assert_eq!(stream.next().await, None);
}

#[tokio::test]
async fn a_session_whose_initialize_fails_ends_with_its_server_and_has_no_id() {
    let stage = Stage::new("error@initialize");
    let limits = Limits {
        sessions: Some(1),
        ..Limits::default()
    };
    let guard = stage.new_guard(allowing()).with_limits(limits).unwrap();
    let guard = Listening::open(Arc::new(guard), stage.upstream()).await;
    let session = Session::new(&guard);
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    let initialize = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    for failed in 1..=3 {
        // The session before it has to end first.
        let response = timeout(PATIENCE, async {
            loop {
                let response = session.post(&initialize).await;
                if response.status() == StatusCode::OK {
                    return response;
                }
                sleep(Duration::from_millis(20)).await;
            }
        });
        let response = response.await.expect("a session that ends");
        // A server that starts slowly answers on a stream, which begins before the answer.
        let is_stream = response.headers()["content-type"] == "text/event-stream";
        let has_id = response.headers().contains_key("mcp-session-id");
        assert!(is_stream || !has_id, "the response names a session");
        let told = Messages::new(response).rest().await;
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(told[0].1["error"]["message"], "no", "{told:?}");
        let ended = timeout(PATIENCE, async {
            while stage.noted("ended").len() < failed {
                sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(ended.await.is_ok(), "the server does not end");
    }
}

/// Sends the head of a request, and nothing of its body.
async fn head(guard: &Listening, length: &str) -> TcpStream {
    let mut stream = TcpStream::connect(guard.address).await.unwrap();
    let head = format!(
        "POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n{length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

/// Sends pings until one has this status.
async fn until(session: &Session, status: StatusCode) {
    let trying = async {
        while session.post(ping(1)).await.status() != status {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let came = timeout(PATIENCE, trying).await;
    assert!(came.is_ok(), "no ping is answered with {status}");
}

#[tokio::test]
async fn bodies_that_never_arrive_hold_a_limited_number_of_bytes() {
    let stage = Stage::new("");
    let guard = Listening::open(stage.guard(allowing()), stage.upstream()).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let mut too_long = head(&guard, "content-length: 16777217").await;
    let mut status = [0; 12];
    let answered = timeout(PATIENCE, too_long.read_exact(&mut status)).await;
    answered.unwrap().unwrap();
    assert_eq!(&status, b"HTTP/1.1 413");

    let mut silent = Vec::new();
    for _ in 0..2 {
        silent.push(head(&guard, "content-length: 16777216").await);
        // It may have any length.
        silent.push(head(&guard, "transfer-encoding: chunked").await);
    }
    until(&session, StatusCode::TOO_MANY_REQUESTS).await;
    drop(silent);
    until(&session, StatusCode::OK).await;
    assert_eq!(stage.runs(), 0);
}

#[tokio::test]
async fn answered_messages_hold_no_bytes() {
    let stage = Stage::new("");
    let guard = Listening::open(stage.guard(allowing()), stage.upstream()).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    // Together they have more bytes than one agent may send at a time.
    for id in 1..=10 {
        let params = json!({"_meta": {"padding": "x".repeat(8 * 1024 * 1024)}});
        let ping = json!({"jsonrpc": "2.0", "id": id, "method": "ping", "params": params});
        assert_eq!(session.post(ping).await.status(), StatusCode::OK, "{id}");
    }
}

#[tokio::test]
async fn the_type_of_a_body_is_read_in_any_case() {
    let stage = Stage::new("");
    let guard = Listening::open(stage.guard(allowing()), stage.upstream()).await;
    let mut session = Session::new(&guard);
    session.initialize().await;
    let posted = session
        .request(Method::POST)
        .header("content-type", "Application/JSON; charset=utf-8")
        .body(ping(1).to_string());
    assert_eq!(posted.send().await.unwrap().status(), StatusCode::OK);
}
