//! Tokens that the Python SDK `ati-client` issued, versions 0.1.0 and 0.7.15.
//!
//! Each file has the tokens of these calls, one a line, at the time [`NOW`] and with [`SECRET`]:
//!
//! ```python
//! issue_token(secret=S, sub="agent-7", scope="tool:web_search tool:finnhub_quote", jti=…1)
//! issue_token(secret=S, sub="agent-7", scope="", jti=…2, iss=None)
//! issue_token(secret=S.upper(), sub="агент-7", scope="help", jti=…3, ttl_seconds=60, aud="billing", iss="us")
//! issue_token(secret=S, sub="agent-7", scope="tool:github:* skill:research-*", jti=…4,
//!             rate={"tool:github:*": "10/hour", "tool:*": "100/d"})
//! AtiOrchestrator(proxy_url="https://ati-proxy.example.com///", secret=S).provision_sandbox(
//!     agent_id="sandbox:abc123", tools=["finnhub_quote", "web_search", "github:*"],
//!     skills=["financial-analysis"], extra_scopes=["help"], ttl_seconds=7200,
//!     rate={"tool:github:*": "10/hour"})
//! ```

use std::time::Duration;

use ati_client::{
    Claims, RateSpec, RateUnit, Verifier, build_scope_string, inspect, issue, parse_scopes,
};

use crate::support::{NOW, SECRET, at, key, verifier};

const ISSUED: [&str; 2] = [
    include_str!("python/0.1.0.tokens"),
    include_str!("python/0.7.15.tokens"),
];

fn id(number: u8) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// The tokens that one version of the SDK issued.
fn tokens(issued: &str) -> [&str; 5] {
    let tokens: Vec<_> = issued.lines().collect();
    tokens.try_into().unwrap()
}

#[test]
fn python_s_tokens_are_good_and_say_what_python_said() {
    for issued in ISSUED {
        let [plain, bare, foreign, limited, provisioned] = tokens(issued);
        let claims = verifier().verify_at(plain, at(NOW)).unwrap();
        assert_eq!(claims.sub(), "agent-7");
        assert_eq!(claims.aud(), ["ati-proxy"]);
        assert_eq!(claims.iss(), Some("ati-orchestrator"));
        assert_eq!((claims.iat(), claims.exp()), (NOW, NOW + 3600));
        assert_eq!(claims.jti(), Some(id(1).as_str()));
        assert_eq!(claims.rates(), Ok(vec![]));

        let claims = verifier().verify_at(bare, at(NOW)).unwrap();
        assert_eq!(claims.iss(), None);
        assert!(claims.scopes().is_empty());

        let billing = Verifier::builder(key().verifying_key())
            .audience("billing")
            .issuer("us")
            .build()
            .unwrap();
        let claims = billing.verify_at(foreign, at(NOW)).unwrap();
        assert_eq!((claims.sub(), claims.exp()), ("агент-7", NOW + 60));
        assert!(verifier().verify_at(foreign, at(NOW)).is_err());

        let claims = verifier().verify_at(limited, at(NOW)).unwrap();
        assert_eq!(
            claims.rates().unwrap(),
            [
                ("tool:github:*", RateSpec::new(10, RateUnit::Hour)),
                ("tool:*", RateSpec::new(100, RateUnit::Day)),
            ]
        );

        let claims = verifier().verify_at(provisioned, at(NOW)).unwrap();
        assert_eq!(claims.sub(), "sandbox:abc123");
        assert_eq!(claims.exp(), NOW + 7200);
        assert!(claims.scopes().grants("tool:github:search").unwrap());
        assert!(claims.scopes().grants("help").unwrap());
    }
}

#[test]
fn python_s_tokens_are_refused_where_any_other_is() {
    let other = SECRET.replace('5', "6");
    let other = ati_client::VerifyingKey::from_hex(&other).unwrap();
    let other = Verifier::builder(other).build().unwrap();
    for token in ISSUED.into_iter().flat_map(tokens) {
        assert!(other.verify_at(token, at(NOW)).is_err());
        assert!(verifier().verify_at(token, at(NOW + 7261)).is_err());
        assert!(inspect(token).is_ok());
    }
}

#[test]
fn the_same_claims_are_the_same_token_here_and_in_python() {
    for issued in ISSUED {
        let [plain, bare, _, _, provisioned] = tokens(issued);
        let claims = Claims::builder("agent-7")
            .issued_at(NOW)
            .scopes(["tool:web_search", "tool:finnhub_quote"])
            .jti(id(1));
        assert_eq!(issue(&claims.build().unwrap(), &key()).unwrap(), plain);
        let claims = Claims::builder("agent-7")
            .issued_at(NOW)
            .no_issuer()
            .jti(id(2));
        assert_eq!(issue(&claims.build().unwrap(), &key()).unwrap(), bare);

        // The SDK's orchestrator chose a random id.
        let id = inspect(provisioned).unwrap().jti().unwrap().to_owned();
        let scope = build_scope_string(
            ["finnhub_quote", "web_search", "github:*"],
            ["financial-analysis"],
            ["help"],
        )
        .unwrap();
        let claims = Claims::builder("sandbox:abc123")
            .issued_at(NOW)
            .ttl(Duration::from_secs(7200))
            .scopes(parse_scopes(&scope))
            .rate("tool:github:*", RateSpec::new(10, RateUnit::Hour))
            .jti(id);
        assert_eq!(
            issue(&claims.build().unwrap(), &key()).unwrap(),
            provisioned
        );
    }
}
