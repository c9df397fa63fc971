//! A guard that serves streamable HTTP with tokens.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use ati_client::{Claims, ClaimsBuilder, SigningKey, issue};
use serde_json::{Value, json};

use super::support::{EVERYTHING, Listening, Stage, atlasent, counting_server, output};

const SECRET: &str = "5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210";

/// Starts a guard whose clients have tokens and know it by a URL.
pub(crate) fn listening(stage: &Stage, url: &str) -> Listening {
    Listening::start(&mut with_tokens(stage, url))
}

/// Returns the command of a guard whose clients have tokens and know it by a URL.
fn with_tokens(stage: &Stage, url: &str) -> Command {
    let file = stage.path("guard.toml");
    let listen = format!("[listen]\naddress = \"127.0.0.1:0\"\nurl = {url:?}\n");
    fs::write(&file, listen).unwrap();
    let mut command = Command::new(atlasent());
    command
        .args(stage.guard("fake"))
        .args(["--config", &file])
        .args(counting_server(&stage.path("log"), ""))
        .env("ATI_JWT_SECRET", SECRET);
    command
}

/// Returns a token of `ann` for every tool.
pub(crate) fn token(audience: &str) -> String {
    issued(Claims::builder("ann").audience(audience))
}

/// Issues a token for every tool.
fn issued(claims: ClaimsBuilder) -> String {
    let claims = claims.scope("tool:fake:*").build().unwrap();
    issue(&claims, &SigningKey::from_hex(SECRET).unwrap()).unwrap()
}

/// Sends a request, and returns the status and the body.
fn request(guard: &Listening, head: &str, body: &str) -> (u16, String) {
    let address = guard.url.trim_start_matches("http://");
    let address = address.trim_end_matches("/mcp");
    let mut stream = TcpStream::connect(address).unwrap();
    write!(
        stream,
        "{head}\r\nhost: {address}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body.to_owned())
}

fn initialize(guard: &Listening, token: &str) -> u16 {
    let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
    let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
    let head = format!(
        "POST /mcp HTTP/1.1\r\nauthorization: Bearer {token}\r\ncontent-type: application/json"
    );
    request(guard, &head, &message.to_string()).0
}

#[test]
fn the_audience_of_tokens_is_the_resource_that_the_metadata_names() {
    for (url, resource) in [
        ("https://guard.example", "https://guard.example/"),
        (
            "https://Guard.Example:443/files/mcp",
            "https://guard.example/files/mcp",
        ),
    ] {
        let stage = Stage::new(EVERYTHING);
        let guard = listening(&stage, url);
        let path = resource.trim_start_matches("https://guard.example");
        let path = path.trim_end_matches('/');
        let head = format!("GET /.well-known/oauth-protected-resource{path} HTTP/1.1");
        let (status, metadata) = request(&guard, &head, "");
        assert_eq!(status, 200, "{metadata}");
        let metadata: Value = serde_json::from_str(&metadata).unwrap();
        assert_eq!(metadata["resource"], resource);
        assert_eq!(initialize(&guard, &token(resource)), 200);
        let other = token("https://other.example/");
        assert_eq!(initialize(&guard, &other), 401);
    }
}

#[test]
fn the_issuer_of_the_environment_is_required_of_tokens() {
    const URL: &str = "https://guard.example/mcp";
    let stage = Stage::new(EVERYTHING);
    let mut command = with_tokens(&stage, URL);
    let guard = Listening::start(command.env("ATI_JWT_ISSUER", "ours"));
    let claims = || Claims::builder("ann").audience(URL);
    for (claims, status) in [
        (claims().issuer("ours"), 200),
        (claims().issuer("theirs"), 401),
        (claims(), 401),
        (claims().no_issuer(), 401),
    ] {
        assert_eq!(initialize(&guard, &issued(claims)), status);
    }
    drop(guard);
    let (code, _, stderr) = output(command.env("ATI_JWT_ISSUER", ""));
    assert_eq!(code, 2, "{stderr}");
    assert!(stderr.contains("`ATI_JWT_ISSUER`"), "{stderr}");
}

#[test]
fn a_url_that_no_client_can_use_is_refused() {
    for url in [
        "guard.example",
        "guard.example:443",
        "ftp://guard.example",
        "https://g.example/#a",
    ] {
        let stage = Stage::new(EVERYTHING);
        let (code, _, stderr) = output(&mut with_tokens(&stage, url));
        assert_eq!(code, 2, "{url}: {stderr}");
        assert!(stderr.contains("`listen.url`"), "{url}: {stderr}");
    }
}

#[test]
fn a_guard_whose_clients_cannot_find_out_where_to_get_a_token_warns_at_its_start() {
    const URL: &str = "https://guard.example/mcp";
    for servers in ["[]", "[\"https://login.example\"]"] {
        let stage = Stage::new(EVERYTHING);
        let mut command = with_tokens(&stage, URL);
        let (file, log) = (stage.path("guard.toml"), stage.path("stderr"));
        let listen = fs::read_to_string(&file).unwrap();
        fs::write(
            &file,
            format!("{listen}authorization_servers = {servers}\n"),
        )
        .unwrap();
        let guard = Listening::start(command.stderr(fs::File::create(&log).unwrap()));
        let head = "GET /.well-known/oauth-protected-resource/mcp HTTP/1.1";
        let (status, metadata) = request(&guard, head, "");
        assert_eq!(status, 200, "{metadata}");
        let metadata: Value = serde_json::from_str(&metadata).unwrap();
        // The warning is written before the address is.
        let stderr = fs::read_to_string(&log).unwrap();
        let warns = stderr.contains("`listen.authorization_servers` is empty");
        assert_eq!(warns, servers == "[]", "{stderr}");
        assert_eq!(
            metadata.get("authorization_servers").is_none(),
            warns,
            "{metadata}"
        );
    }
}

#[test]
fn a_token_without_a_scope_of_the_settings_file_gets_403_with_the_refusal() {
    const URL: &str = "https://guard.example/mcp";
    let stage = Stage::new(EVERYTHING);
    let mut command = with_tokens(&stage, URL);
    let file = stage.path("guard.toml");
    let listen = fs::read_to_string(&file).unwrap();
    let scope = "[methods.\"resources/read\"]\nscope = \"docs:read\"\n";
    fs::write(&file, format!("{listen}{scope}")).unwrap();
    let guard = Listening::start(&mut command);
    let token = token(URL);
    let head = format!(
        "POST /mcp HTTP/1.1\r\nauthorization: Bearer {token}\r\ncontent-type: application/json"
    );
    let params = json!({"uri": "file:///a"});
    let read = json!({"jsonrpc": "2.0", "id": 1, "method": "resources/read", "params": params});
    let (status, body) = request(&guard, &head, &read.to_string());
    assert_eq!(status, 403, "{body}");
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body["error"]["data"]["missing_scope"], "docs:read",
        "{body}"
    );
    // No session was opened for it, so no server was started.
    assert!(!std::path::Path::new(&stage.path("log")).exists());
}
