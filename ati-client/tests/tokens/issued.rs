//! Issued tokens, compared byte for byte.

use std::time::{Duration, SystemTime};

use ati_client::{Claims, Error, MAX_TOKEN_BYTES, RateSpec, RateUnit, issue};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::support::{NOW, at, key, verifier};

fn parts(token: &str) -> (String, String) {
    let mut parts = token
        .split('.')
        .map(|part| String::from_utf8_lossy(&URL_SAFE_NO_PAD.decode(part).unwrap()).into_owned());
    (parts.next().unwrap(), parts.next().unwrap())
}

#[test]
fn a_token_has_the_claims_that_ati_knows_and_no_others() {
    let claims = Claims::builder("agent-7")
        .issued_at(NOW)
        .jti("6c1f")
        .scopes(["tool:a", "help"])
        .build()
        .unwrap();
    let token = issue(&claims, &key()).unwrap();
    let (header, payload) = parts(&token);
    assert_eq!(header, r#"{"alg":"HS256","typ":"JWT"}"#);
    assert_eq!(
        payload,
        r#"{"sub":"agent-7","aud":"ati-proxy","iat":1900000000,"exp":1900003600,"scope":"tool:a help","iss":"ati-orchestrator","jti":"6c1f","ati":{"v":1}}"#
    );
    assert_eq!(claims.to_json(), payload);
}

#[test]
fn the_optional_claims_are_written_when_they_are_set() {
    let claims = Claims::builder("agent-7")
        .issued_at(NOW)
        .expires_at(NOW + 1)
        .jti("6c1f")
        .no_issuer()
        .audiences(["a", "b"])
        .job_id("job-12")
        .sandbox_id("box-3")
        .rate("tool:b", RateSpec::new(3, RateUnit::Second))
        .rate("tool:a", RateSpec::new(1, RateUnit::Minute))
        .build()
        .unwrap();
    assert_eq!(
        claims.to_json(),
        r#"{"sub":"agent-7","aud":["a","b"],"iat":1900000000,"exp":1900000001,"scope":"","jti":"6c1f","ati":{"v":1,"rate":{"tool:b":"3/second","tool:a":"1/minute"}},"job_id":"job-12","sandbox_id":"box-3"}"#
    );
}

#[test]
fn what_is_not_said_is_as_ati_has_it() {
    let before = seconds(SystemTime::now());
    let claims = Claims::builder("agent-7").build().unwrap();
    let after = seconds(SystemTime::now());
    assert!((before..=after).contains(&claims.iat()));
    assert_eq!(claims.exp(), claims.iat() + 3600);
    let id = uuid::Uuid::parse_str(claims.jti().unwrap()).unwrap();
    assert_eq!(id.get_version_num(), 4);
    let other = Claims::builder("agent-7").build().unwrap();
    assert_ne!(claims.jti(), other.jti());
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[test]
fn claims_that_cannot_be_are_not_built() {
    let builder = || Claims::builder("agent-7");
    let none: [&str; 0] = [];
    assert!(matches!(
        Claims::builder("").build(),
        Err(Error::BadClaim { claim: "sub", .. })
    ));
    assert_eq!(builder().audience("").build(), Err(Error::EmptyAudience));
    assert_eq!(builder().audiences(none).build(), Err(Error::EmptyAudience));
    assert!(matches!(
        builder().ttl(Duration::MAX).build(),
        Err(Error::BadClaim { claim: "exp", .. })
    ));
    for scope in ["", " ", "tool:a tool:b", "tool:a\n"] {
        assert!(
            matches!(builder().scope(scope).build(), Err(Error::BadScope { .. })),
            "{scope:?}"
        );
        let rate = builder().rate(scope, RateSpec::new(1, RateUnit::Second));
        assert!(
            matches!(rate.build(), Err(Error::BadScope { .. })),
            "{scope:?}"
        );
    }
}

#[test]
fn a_token_that_nobody_accepts_is_not_issued() {
    let claims = |scopes: usize| {
        Claims::builder("agent-7")
            .issued_at(NOW)
            .scopes((0..scopes).map(|n| format!("tool:{n:05}")))
            .build()
            .unwrap()
    };
    let mut longest = 0;
    for scopes in 520..560 {
        match issue(&claims(scopes), &key()) {
            Ok(token) => {
                longest = token.len();
                assert!(verifier().verify_at(&token, at(NOW)).is_ok());
            }
            Err(error) => {
                assert!(matches!(error, Error::TooLong { bytes } if bytes > MAX_TOKEN_BYTES));
            }
        }
    }
    assert!(longest > MAX_TOKEN_BYTES - 20, "{longest}");
    assert!(matches!(
        issue(&claims(560), &key()),
        Err(Error::TooLong { .. })
    ));
}

#[test]
fn the_same_claims_are_the_same_token() {
    let claims = Claims::builder("agent-7").build().unwrap();
    assert_eq!(issue(&claims, &key()), issue(&claims, &key()));
}
