//! Tests that `SIGHUP` does not end a server that listens and does not serve yet. The signal goes
//! to the whole process, so the test has a process of its own.
#![cfg(unix)]

use std::process::Command;

use atlasent_authority::server::{ApiKeys, Server};
use atlasent_authority::signing::KeyRing;
use atlasent_authority::{LocalAuthority, Policies};

#[tokio::test]
async fn a_hangup_between_listening_and_serving_does_not_end_the_process() {
    let policies = Policies::parse("permit (principal, action, resource);").unwrap();
    let authority = LocalAuthority::in_memory(policies).unwrap();
    let server = Server::new(authority, ApiKeys::new([]), KeyRing::in_memory().unwrap());
    let address = "127.0.0.1:0".parse().unwrap();
    let _listening = server.listen(address, None).await.unwrap();
    // Every shell has `kill` built in. Some machines lack it as a program.
    let kill = format!("kill -HUP {}", std::process::id());
    let sent = Command::new("sh").args(["-c", &kill]).status().unwrap();
    assert!(sent.success());
}
