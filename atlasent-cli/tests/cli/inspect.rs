//! `atlasent token inspect`: prints claims without verifying the token.

use serde_json::{Value, json};

use crate::support::{Atlasent, atlasent, payload, sign, token};

fn inspect(token: &str) -> Atlasent {
    atlasent(["token", "inspect"]).stdin(token)
}

#[test]
fn it_prints_the_claims_and_needs_no_key() {
    let token = token();
    let printed = inspect(&token).prints();
    assert_eq!(printed.matches('\n').count(), 1);
    let printed: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(
        printed,
        serde_json::from_slice::<Value>(&payload(&token)).unwrap()
    );
}

#[test]
fn an_invalid_key_is_not_read() {
    inspect(&token())
        .env("ATI_JWT_SECRET", "no hex")
        .env("ATI_JWT_AUDIENCE", "")
        .prints();
}

#[test]
fn the_token_comes_from_the_argument_or_from_standard_input() {
    let token = token();
    let printed = inspect(&token).prints();
    assert_eq!(atlasent(["token", "inspect", &token]).prints(), printed);
    assert_eq!(
        atlasent(["token", "inspect", "-"])
            .stdin(format!("{token}\n"))
            .prints(),
        printed
    );
}

#[test]
fn it_shows_tokens_that_validate_refuses() {
    let expired =
        sign(&json!({"sub": "a", "aud": "other", "iat": 1, "exp": 2, "scope": "", "mine": [true]}));
    let printed: Value = serde_json::from_str(&inspect(&expired).prints()).unwrap();
    assert_eq!(
        printed,
        json!({"sub": "a", "aud": "other", "iat": 1, "exp": 2, "scope": "", "mine": [true]})
    );

    let token = token();
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.AAAA");
    assert_eq!(inspect(&forged).prints(), inspect(&token).prints());
    atlasent(["token", "validate"])
        .keyed()
        .stdin(forged)
        .refusal();
}

#[test]
fn text_that_is_not_a_token_is_refused() {
    for text in ["", "\n", "a.b.c", "..", "sesame", "{\"sub\":\"a\"}"] {
        inspect(text).refusal();
    }
    inspect(&format!("{} ", token())).refusal();
    inspect(&"a".repeat(10_000_000)).refusal();
    atlasent(["token", "inspect"]).stdin([0xfe; 4096]).refusal();
}
