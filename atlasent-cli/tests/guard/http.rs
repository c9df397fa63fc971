//! A guard that serves streamable HTTP with tokens.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};

use ati_client::{Claims, SigningKey, issue};
use serde_json::{Value, json};

use super::support::{EVERYTHING, Stage, atlasent, counting_server};

const SECRET: &str = "5a1e7b90c3d2f4861122334455667788a9b8c7d6e5f40312fedcba9876543210";

/// A guard that listens for clients with tokens.
struct Listening {
    process: Child,
    address: String,
}

impl Listening {
    /// Starts a guard whose clients know it by a URL.
    fn start(stage: &Stage, url: &str) -> Self {
        let file = stage.path("guard.toml");
        let listen = format!("[listen]\naddress = \"127.0.0.1:0\"\nurl = {url:?}\n");
        fs::write(&file, listen).unwrap();
        let mut process = Command::new(atlasent())
            .args(stage.guard("fake"))
            .args(["--config", &file])
            .args(counting_server(&stage.path("log"), ""))
            .env("ATI_JWT_SECRET", SECRET)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let address = line.trim().rsplit_once("://").expect("an address").1;
        let address = address.trim_end_matches("/mcp").to_owned();
        Self { process, address }
    }

    /// Sends a request, and returns the status and the body.
    fn request(&self, head: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(
            stream,
            "{head}\r\nhost: {}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, body.to_owned())
    }

    fn initialize(&self, audience: &str) -> u16 {
        let claims = Claims::builder("ann").audience(audience).build().unwrap();
        let token = issue(&claims, &SigningKey::from_hex(SECRET).unwrap()).unwrap();
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {}});
        let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        let head = format!(
            "POST /mcp HTTP/1.1\r\nauthorization: Bearer {token}\r\ncontent-type: application/json"
        );
        self.request(&head, &message.to_string()).0
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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
        let guard = Listening::start(&stage, url);
        let path = resource.trim_start_matches("https://guard.example");
        let path = path.trim_end_matches('/');
        let head = format!("GET /.well-known/oauth-protected-resource{path} HTTP/1.1");
        let (status, metadata) = guard.request(&head, "");
        assert_eq!(status, 200, "{metadata}");
        let metadata: Value = serde_json::from_str(&metadata).unwrap();
        assert_eq!(metadata["resource"], resource);
        assert_eq!(guard.initialize(resource), 200);
        assert_eq!(guard.initialize("https://other.example/"), 401);
    }
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
        let file = stage.path("guard.toml");
        let listen = format!("[listen]\naddress = \"127.0.0.1:0\"\nurl = {url:?}\n");
        fs::write(&file, listen).unwrap();
        let mut command = Command::new(atlasent());
        command
            .args(stage.guard("fake"))
            .args(["--config", &file])
            .args(counting_server(&stage.path("log"), ""))
            .env("ATI_JWT_SECRET", SECRET);
        let (code, _, stderr) = super::support::output(&mut command);
        assert_eq!(code, 2, "{url}: {stderr}");
        assert!(stderr.contains("`listen.url`"), "{url}: {stderr}");
    }
}
