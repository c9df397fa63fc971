//! Which headers a token may have: RFC 7515 §4, RFC 7519 §5, RFC 9068 §2.1.

use ati_client::inspect;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use crate::hostile::is_malformed;
use crate::support::{HEADER, NOW, forge, good, verify};

#[test]
fn a_header_is_an_object_that_names_its_algorithm_once() {
    let payload = good().to_string();
    for header in [
        "",
        "null",
        "true",
        "256",
        "[]",
        r#"["HS256"]"#,
        r#"["HS256","JWT"]"#,
        r#"["HS256","JWT",null]"#,
        r#"[{"alg":"HS256"}]"#,
        "\"HS256\"",
        "{}",
        "{",
        r#"{"alg":"HS256"}x"#,
        r#"{"alg":"HS256"}{"alg":"HS256"}"#,
        r#"{"alg":null}"#,
        r#"{"alg":["HS256"]}"#,
        r#"{"alg":256}"#,
        r#"{"Alg":"HS256"}"#,
        r#"{"alg":"HS256","alg":"HS256"}"#,
        r#"{"alg":"none","alg":"HS256"}"#,
        r#"{"alg":"HS256","\u0061lg":"none"}"#,
        r#"{"alg":"HS256","typ":"JWT","typ":"JWT"}"#,
        r#"{"alg":"HS256","kid":"1","kid":"2"}"#,
        r#"{"alg":"HS256","x":{"y":1,"y":2}}"#,
        "\u{feff}{\"alg\":\"HS256\"}",
    ] {
        assert!(is_malformed(&forge(header, &payload)), "{header}");
    }
    assert!(is_malformed(&forge(
        b"{\"alg\":\"HS256\",\"x\":\"\xff\"}",
        &payload
    )));
    for header in [
        HEADER,
        r#"{"typ":"JWT","alg":"HS256"}"#,
        r#"{"alg":"HS256"}"#,
        r#" { "alg" : "HS256" , "typ" : "jwt" } "#,
        r#"{"\u0061lg":"HS256"}"#,
        r#"{"alg":"HS256","kid":"1","jku":"https://evil.example","jwk":{"kty":"oct","k":""},"x":[1,{}]}"#,
    ] {
        assert!(verify(&forge(header, &payload)).is_ok(), "{header}");
    }
}

#[test]
fn an_unknown_critical_header_is_refused() {
    for crit in [
        json!(["exp"]),
        json!(["b64"]),
        json!([]),
        json!(null),
        json!("b64"),
        json!(["sub"]),
    ] {
        let header = json!({"alg": "HS256", "crit": crit, "b64": false, "exp": NOW}).to_string();
        assert!(is_malformed(&forge(header, good().to_string())), "{crit}");
    }
}

#[test]
fn a_payload_that_claims_not_to_be_encoded_is_refused() {
    let with = |b64: &str| {
        forge(
            format!(r#"{{"alg":"HS256","b64":{b64}}}"#),
            good().to_string(),
        )
    };
    for b64 in [
        "false",
        "null",
        "0",
        "1",
        "\"false\"",
        "\"true\"",
        "[]",
        "{}",
    ] {
        assert!(is_malformed(&with(b64)), "{b64}");
    }
    assert!(verify(&with("true")).is_ok());
}

/// Signs a token whose header has this `typ`, given in JSON.
fn typed(typ: &str) -> String {
    let header = format!(r#"{{"alg":"HS256","typ":{typ}}}"#);
    forge(header, good().to_string())
}

#[test]
fn a_jwt_and_an_access_token_are_read_in_any_case_and_with_their_media_type() {
    for typ in [
        "JWT",
        "jwt",
        "Jwt",
        "at+jwt",
        "AT+JWT",
        "at+JWT",
        "application/jwt",
        "application/JWT",
        "Application/at+jwt",
        "APPLICATION/AT+JWT",
        r"at\u002bjwt",
        r"application\/jwt",
    ] {
        let token = typed(&format!("\"{typ}\""));
        assert!(verify(&token).is_ok(), "{typ}");
        assert!(inspect(&token).is_ok(), "{typ}");
    }
}

#[test]
fn any_other_type_is_refused() {
    for typ in [
        "\"\"",
        "\" \"",
        "\"JOSE\"",
        "\"JOSE+JSON\"",
        "\"dpop+jwt\"",
        "\"id+jwt\"",
        "\"secevent+jwt\"",
        "\"logout+jwt\"",
        "\"at+jwt \"",
        "\" JWT\"",
        "\"JWT\\u0000\"",
        "\"at jwt\"",
        "\"application/\"",
        "\"application/json\"",
        "\"application/application/jwt\"",
        "\"applicationjwt\"",
        "\"/jwt\"",
        "\"text/jwt\"",
        "\"application/jwt;charset=utf-8\"",
        // Only ASCII letters are case-insensitive: the Kelvin sign is no `k`, the long s no `s`.
        "\"\u{212a}WT\"",
        "\"application\u{17f}/jwt\"",
        "null",
        "1",
        "true",
        "[]",
        "[\"JWT\"]",
        "{}",
        "{\"JWT\":1}",
    ] {
        assert!(is_malformed(&typed(typ)), "{typ}");
    }
}

#[test]
fn a_key_is_named_by_a_string() {
    for kid in ["null", "1", "true", "[]", "[\"1\"]", "{}"] {
        let header = format!(r#"{{"alg":"HS256","kid":{kid}}}"#);
        assert!(is_malformed(&forge(header, good().to_string())), "{kid}");
    }
}

#[test]
fn a_registered_member_is_of_its_type_though_nothing_follows_from_it() {
    let wrong = ["null", "1", "true", "{}", "[]", "[1]"];
    for name in [
        "cty", "jku", "x5u", "x5t", "x5t#S256", "enc", "zip", "url", "nonce",
    ] {
        for value in wrong {
            let header = format!(r#"{{"alg":"HS256","{name}":{value}}}"#);
            let token = forge(header, good().to_string());
            assert!(is_malformed(&token), "{name}: {value}");
        }
        let header = format!(r#"{{"alg":"HS256","{name}":"https://evil.example"}}"#);
        assert!(verify(&forge(header, good().to_string())).is_ok(), "{name}");
    }
    for (name, value, is_right) in [
        ("x5c", r#"["AAAA","AAAA"]"#, true),
        ("x5c", r#""AAAA""#, false),
        ("x5c", "[1]", false),
        ("jwk", r#"{"kty":"oct","k":""}"#, true),
        ("jwk", r#"{"kty":"oct","kty":"oct"}"#, false),
        ("jwk", r#"["oct"]"#, false),
        ("jwk", r#"{}"#, false),
        ("jwk", r#"{"k":""}"#, false),
        ("jwk", r#"{"kty":1}"#, false),
        ("jwk", "null", false),
    ] {
        let header = format!(r#"{{"alg":"HS256","{name}":{value}}}"#);
        let token = forge(header, good().to_string());
        assert_eq!(verify(&token).is_ok(), is_right, "{name}: {value}");
    }
}

/// Generates a value of a header's member, in JSON.
fn member() -> impl Strategy<Value = Value> {
    prop_oneof![
        select(vec![
            json!("HS256"),
            json!("ES256"),
            json!("JWT"),
            json!("at+jwt"),
            json!("application/jwt"),
            json!("APPLICATION/AT+JWT"),
            json!(null),
            json!(1),
            json!(true),
            json!(["JWT"]),
            json!({}),
        ]),
        "\\PC{0,12}".prop_map(Value::from),
    ]
}

/// Whether the contract accepts a header whose algorithm is that of the key.
fn is_accepted(header: &Map<String, Value>) -> bool {
    let typ = match header.get("typ") {
        None => true,
        Some(Value::String(typ)) => ["jwt", "at+jwt", "application/jwt", "application/at+jwt"]
            .contains(&typ.to_ascii_lowercase().as_str()),
        Some(_) => false,
    };
    let kid = header.get("kid").is_none_or(Value::is_string);
    header.get("alg") == Some(&json!("HS256")) && typ && kid && !header.contains_key("crit")
}

proptest! {
    #[test]
    fn a_header_is_accepted_exactly_when_the_contract_accepts_it(
        members in vec((select(vec!["alg", "typ", "kid", "crit", "x"]), member()), 0..4),
        is_signed_alike: bool,
    ) {
        let mut header: Map<String, Value> =
            members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        if is_signed_alike {
            header.insert("alg".to_owned(), json!("HS256"));
        }
        let is_right = is_accepted(&header);
        let token = forge(Value::Object(header).to_string(), good().to_string());
        prop_assert_eq!(verify(&token).is_ok(), is_right);
    }

    #[test]
    fn a_header_that_is_no_object_is_refused(items in vec(member(), 0..4)) {
        let header = Value::Array(items).to_string();
        prop_assert!(is_malformed(&forge(header, good().to_string())));
    }
}
