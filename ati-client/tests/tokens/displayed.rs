//! Text from outside is displayed without characters that act on a terminal or a log.

use std::io;
use std::time::Duration;

use ati_client::{
    Claims, Error, Orchestrator, RateSpec, Sandbox, SigningKey, VerifyingKey, build_scope_string,
    check_scope, inspect,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{key, token, verify, with};

/// Whether the character acts on a terminal or a log: control characters, line ends, directional
/// formatting.
fn is_obeyed(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn is_plain(text: &str) -> bool {
    !text.contains(is_obeyed)
}

const EVIL: &str = "a\r\n\u{1b}[31mb\u{9b}2J\u{202e}c\u{2028}\u{7f}";

/// Every variant of `Error` that holds text from outside.
fn errors(text: &str) -> Vec<Error> {
    let text = || text.to_owned();
    let errors = vec![
        Error::BadScope {
            scope: text(),
            reason: "it is empty",
        },
        Error::BadRate { spec: text() },
        Error::TwoRates { pattern: text() },
        Error::RateExceeded {
            pattern: text(),
            retry_after: Some(Duration::from_secs(1)),
        },
        Error::RateStoreFailed { reason: text() },
        Error::UnreadableKey {
            path: text(),
            kind: io::ErrorKind::NotFound,
        },
        Error::KeyFile {
            path: text(),
            cause: Box::new(Error::NotText),
        },
    ];
    let wrapped = errors.iter().map(|cause| Error::Environment {
        variable: "ATI_JWT_SECRET",
        cause: Box::new(cause.clone()),
    });
    wrapped.chain(errors.clone()).collect()
}

#[test]
fn an_error_is_one_line_whoever_made_it() {
    for error in errors(EVIL) {
        for shown in [
            error.to_string(),
            format!("{error:?}"),
            format!("{error:#?}").replace('\n', ""),
        ] {
            assert!(is_plain(&shown), "{shown:?}");
            assert!(shown.contains("\\u{1b}[31m"), "{shown}");
        }
    }
}

#[test]
fn an_error_shows_what_is_harmless_as_it_is() {
    for error in errors("naïve 'ü' \"漢\"") {
        assert!(error.to_string().contains("naïve 'ü' \"漢\""), "{error}");
    }
}

#[test]
fn what_the_library_refuses_is_shown_on_one_line() {
    let rate = format!("{EVIL}/hour").parse::<RateSpec>().unwrap_err();
    let scope = check_scope(EVIL, ["*"]).unwrap_err();
    let none: [&str; 0] = [];
    let name = build_scope_string([EVIL], none, none).unwrap_err();
    let claims = Claims::builder(EVIL).scope(EVIL).build().unwrap_err();
    let directory = VerifyingKey::from_pem_directory(EVIL).unwrap_err();
    let keys = SigningKey::from_pem_directory(EVIL).unwrap_err();
    for error in [rate, scope, name, claims, directory, keys] {
        assert!(is_plain(&error.to_string()), "{error}");
    }
}

#[test]
fn claims_are_shown_on_one_line() {
    let mut claims = crate::support::good();
    claims["sub"] = json!(EVIL);
    claims["scope"] = json!(format!("tool:{EVIL}"));
    claims["ati"] = json!({"v": 1, "rate": {EVIL: EVIL}});
    let token = token(&claims);
    let (verified, unverified) = (verify(&token).unwrap(), inspect(&token).unwrap());
    for shown in [
        format!("{verified:?}"),
        format!("{unverified:?}"),
        verified.scopes().to_string(),
        format!("{:?}", verified.scopes()),
        verified.rates().unwrap_err().to_string(),
    ] {
        assert!(is_plain(&shown), "{shown:?}");
    }
    assert_eq!(verified.scopes().as_str(), format!("tool:{EVIL}"));
    let plain = verify(&with("scope", json!("tool:a  help"))).unwrap();
    assert_eq!(plain.scopes().to_string(), "tool:a  help");
}

#[test]
fn what_is_provisioned_and_configured_is_shown_on_one_line() {
    let orchestrator = Orchestrator::new("https://a", key())
        .unwrap()
        .audience(EVIL)
        .issuer(EVIL);
    let sandbox = Sandbox::new(EVIL).tool(EVIL);
    let key = key().with_id(EVIL).unwrap();
    for shown in [
        format!("{orchestrator:?}"),
        format!("{sandbox:?}"),
        format!("{key:?}"),
        format!("{:?}", key.verifying_key()),
    ] {
        assert!(is_plain(&shown), "{shown:?}");
    }
}

proptest! {
    #[test]
    fn no_text_from_outside_is_obeyed(
        text in ".{0,80}|[\\x00-\\x1f\\x7f-\\u{9f}\u{61c}\u{200e}\u{200f}\u{2028}-\u{202e}\u{2066}-\u{2069}]{1,20}",
    ) {
        for error in errors(&text) {
            prop_assert!(is_plain(&error.to_string()), "{:?}", error.to_string());
        }
        let mut claims = crate::support::good();
        claims["scope"] = json!(text);
        let scopes = verify(&token(&claims)).unwrap().scopes().to_string();
        prop_assert!(is_plain(&scopes), "{scopes:?}");
    }
}
