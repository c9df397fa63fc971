//! What an endpoint says to clients before it takes a message.

use ati_client::{Claims, SigningKey, Verifier, delegate, issue};
use atlasent_mcp::guard::http::{Authentication, ProtectedResource};
use reqwest::header::WWW_AUTHENTICATE;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use super::http::{AUDIENCE, SECRET, Session, by_token, http, listen};
use super::support::{Stage, allowing};

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
        };
        let key = SigningKey::from_hex(SECRET).unwrap();
        let verifier = Verifier::builder(key.verifying_key()).audience(resource.audience());
        let verifier = verifier.build().unwrap();
        let authentication = Authentication::Token { verifier, resource };
        let address = listen(stage.guard(allowing()), stage.upstream(), authentication).await;
        let mut session = Session::new(address);
        let challenge = session.post(ping(1)).await.headers()[WWW_AUTHENTICATE].clone();
        let path = format!("/.well-known/oauth-protected-resource{path}");
        let expected = format!(r#"Bearer resource_metadata="https://g.example{path}""#);
        assert_eq!(challenge, expected);
        let found = http()
            .get(format!("http://{address}{path}"))
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
async fn a_delegate_cannot_use_the_session_of_its_parent_nor_the_other_way_round() {
    let stage = Stage::new("");
    let address = listen(
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
    let mut session = Session::new(address);
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
