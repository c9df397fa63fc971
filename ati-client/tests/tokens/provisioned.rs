//! The environment of an agent's sandbox.

use std::process::Command;
use std::time::Duration;

use ati_client::{Error, Orchestrator, RateSpec, RateUnit, Sandbox, Verifier};

use crate::support::{key, verifier};

fn orchestrator(url: &str) -> Result<Orchestrator, Error> {
    Orchestrator::new(url, key())
}

#[test]
fn a_sandbox_starts_with_exactly_two_variables() {
    let sandbox = Sandbox::new("agent-7")
        .tool("web_search")
        .tools(["tool:a", "github:*"])
        .skill("research-*")
        .skills(["skill:b"])
        .scope("help")
        .scopes(["tool:c"])
        .rate("tool:github:*", RateSpec::new(10, RateUnit::Hour))
        .ttl(Duration::from_secs(7200));
    let env = orchestrator("https://ati.example.com///")
        .unwrap()
        .provision_sandbox(&sandbox)
        .unwrap();

    let [(first, url), (second, token)] = env.vars();
    assert_eq!((first, url), ("ATI_PROXY_URL", "https://ati.example.com"));
    assert_eq!((second, token), ("ATI_SESSION_TOKEN", env.token()));

    let claims = verifier().verify(token).unwrap();
    assert_eq!(claims.sub(), "agent-7");
    assert_eq!(
        claims.scopes().as_str(),
        "tool:web_search tool:a tool:github:* skill:research-* skill:b help tool:c"
    );
    assert_eq!(claims.exp(), claims.iat() + 7200);
    assert_eq!(
        claims.rates().unwrap(),
        [("tool:github:*", RateSpec::new(10, RateUnit::Hour))]
    );
    assert_eq!(claims.aud(), ["ati-proxy"]);
    assert_eq!(claims.iss(), Some("ati-orchestrator"));
}

#[test]
fn an_orchestrator_can_have_an_audience_and_an_issuer_of_its_own() {
    let orchestrator = orchestrator("http://localhost:8090")
        .unwrap()
        .audience("billing")
        .issuer("us");
    let env = orchestrator
        .provision_sandbox(&Sandbox::new("agent-7"))
        .unwrap();
    let verifier = Verifier::builder(key().verifying_key())
        .audience("billing")
        .issuer("us")
        .build()
        .unwrap();
    let claims = verifier.verify(env.token()).unwrap();
    assert!(claims.scopes().is_empty());
    assert_eq!(claims.exp(), claims.iat() + 3600);
}

#[test]
fn each_sandbox_has_a_token_of_its_own() {
    let orchestrator = orchestrator("http://localhost:8090").unwrap();
    let sandbox = Sandbox::new("agent-7");
    let [a, b] = [(); 2].map(|()| orchestrator.provision_sandbox(&sandbox).unwrap());
    assert_ne!(a.token(), b.token());
}

#[test]
fn the_variables_reach_a_process() {
    let env = orchestrator("http://localhost:8090")
        .unwrap()
        .provision_sandbox(&Sandbox::new("agent-7"))
        .unwrap();
    let mut command = Command::new("agent");
    env.apply_to(&mut command);
    let set: Vec<_> = command
        .get_envs()
        .map(|(name, value)| (name.to_str().unwrap(), value.unwrap().to_str().unwrap()))
        .collect();
    assert_eq!(set, env.vars());
}

#[test]
fn invalid_values_are_not_provisioned() {
    for url in [
        "",
        "/",
        "https://",
        "https:///",
        "ati.example.com",
        "ftp://a",
        "https://a b",
        "https://a\nB=c",
        "https://a\u{7f}",
        "https://a\u{202e}",
        "https://a/\u{200b}",
        "HTTP",
        "https://:8090",
        // User information, in every spelling that some parser accepts.
        "https://user:password@a",
        "https://user@a/",
        "https://@a",
        "https://user:password@a:8090/ati",
        "http://user:password@[::1]:8090",
        "https://user:pass%40word@a",
        "https://user:password\\@a",
        "https://a\\@b",
        "https://a#@b",
        "https://a?@b",
        "https://a@b@c",
        "https:///user:password@a",
        // Queries and fragments can hold secrets, too.
        "https://a/?key=hunter2",
        "https://a?key=hunter2",
        "https://a#hunter2",
    ] {
        assert_eq!(
            orchestrator(url).unwrap_err(),
            Error::BadProxyUrl,
            "{url:?}"
        );
    }
    let orchestrator = orchestrator("https://a").unwrap();
    let fails = |sandbox: Sandbox| orchestrator.provision_sandbox(&sandbox).unwrap_err();
    assert!(matches!(
        fails(Sandbox::new("")),
        Error::BadClaim { claim: "sub", .. }
    ));
    assert!(matches!(
        fails(Sandbox::new("a").tool("b c")),
        Error::BadScope { .. }
    ));
    assert!(matches!(
        fails(Sandbox::new("a").skill("")),
        Error::BadScope { .. }
    ));
    assert!(matches!(
        fails(Sandbox::new("a").scope("tool:a *")),
        Error::BadScope { .. }
    ));
    assert!(matches!(
        fails(Sandbox::new("a").rate(" ", RateSpec::new(1, RateUnit::Day))),
        Error::BadScope { .. }
    ));
}

#[test]
fn an_address_has_a_host_and_perhaps_a_port_and_a_path() {
    for url in [
        "https://a",
        "http://localhost:8090",
        "http://127.0.0.1:8090/ati/v1",
        "http://[::1]:8090",
        "https://ati.example.com/@team/ati",
        "https://bücher.example",
    ] {
        let orchestrator = orchestrator(&format!("{url}//")).unwrap();
        let env = orchestrator.provision_sandbox(&Sandbox::new("agent-7"));
        assert_eq!(env.unwrap().proxy_url(), url);
    }
}

#[test]
fn a_refused_address_is_not_repeated() {
    let error = orchestrator("https://user:hunter2@a").unwrap_err();
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn the_token_is_not_shown() {
    let orchestrator = orchestrator("https://a").unwrap();
    let env = orchestrator
        .provision_sandbox(&Sandbox::new("agent-7"))
        .unwrap();
    assert_eq!(
        format!("{env:?}"),
        r#"SandboxEnv { proxy_url: "https://a", token: "[hidden]" }"#
    );
    assert!(format!("{orchestrator:?}").contains("[hidden]"));
}
