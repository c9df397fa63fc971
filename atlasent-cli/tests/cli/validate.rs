//! `atlasent token validate`: its output, its input and its refusals.

use serde_json::{Value, json};

use crate::support::{Atlasent, atlasent, now, payload, sign, sign_text, token};

fn validate(token: &str) -> Atlasent {
    atlasent(["token", "validate", "-"]).keyed().stdin(token)
}

/// Returns the required claims of a token that is valid for an hour.
fn valid_claims() -> Value {
    json!({"sub": "a", "aud": "ati-proxy", "iat": now(), "exp": now() + 3600, "scope": "help"})
}

/// Returns the valid claims with one of them replaced or removed.
fn with(claim: &str, value: Option<Value>) -> Value {
    let mut claims = valid_claims();
    let members = claims.as_object_mut().unwrap();
    match value {
        Some(value) => members.insert(claim.to_owned(), value),
        None => members.remove(claim),
    };
    claims
}

#[test]
fn a_good_token_s_claims_are_printed_as_one_object() {
    let token = token();
    let output = validate(&token).prints();
    assert_eq!(output.matches('\n').count(), 1, "{output}");
    let printed: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(
        printed,
        serde_json::from_slice::<Value>(&payload(&token)).unwrap()
    );
}

#[test]
fn the_claims_are_printed_exactly() {
    for claims in [
        valid_claims(),
        with("aud", Some(json!(["other", "ati-proxy"]))),
        with("team", Some(json!({"unknown": [1, 2.5, null, "ü\n"]}))),
        with("job_id", Some(json!("J"))),
        with("ati", Some(json!({"v": 1, "rate": {"tool:a": "10/h"}}))),
        with("nbf", Some(json!(now()))),
    ] {
        let output = validate(&sign(&claims)).prints();
        assert_eq!(serde_json::from_str::<Value>(&output).unwrap(), claims);
    }
}

#[test]
fn numbers_are_printed_as_the_token_writes_them() {
    let digits = "123456789012345678901234567890";
    let claims = valid_claims()
        .to_string()
        .replacen('{', &format!("{{\"big\":{digits},"), 1);
    let output = validate(&sign_text(&claims)).prints();
    assert!(output.contains(&format!(":{digits},")), "{output}");
}

#[test]
fn control_characters_in_claims_are_escaped() {
    let claims = with(
        "sub",
        Some(json!("\u{1b}[31m\u{9b}31m\u{202e}evil\u{2028}\u{7f}")),
    );
    let output = validate(&sign(&claims)).prints();
    assert!(
        output.trim_end_matches('\n').is_ascii() && !output.trim_end().contains(char::is_control),
        "{output:?}"
    );
    assert_eq!(serde_json::from_str::<Value>(&output).unwrap(), claims);
}

#[test]
fn the_token_comes_from_the_argument_or_from_standard_input() {
    let token = token();
    let from = |arguments: &[&str], stdin: &str| {
        atlasent(["token", "validate"].iter().chain(arguments))
            .keyed()
            .stdin(stdin)
            .prints()
    };
    let printed = from(&[&token], "");
    assert_eq!(from(&["-"], &token), printed);
    assert_eq!(from(&[], &token), printed);
    assert_eq!(
        from(&[&token], "an argument goes before standard input"),
        printed
    );
}

#[test]
fn one_line_end_is_no_part_of_the_token() {
    let token = token();
    for end in ["", "\n", "\r\n"] {
        validate(&format!("{token}{end}")).prints();
    }
}

#[test]
fn white_space_is_refused_wherever_it_stands() {
    let token = token();
    for text in [
        format!("{token}\n\n"),
        format!("{token} \n"),
        format!("{token}\r\r\n"),
        format!(" {token}"),
        format!("\n{token}"),
        format!("\u{feff}{token}"),
        token.replacen('.', ". ", 1),
        token.replacen('.', "\n.", 1),
    ] {
        validate(&text).refusal();
    }
    // A line end is removed from standard input only, not from an argument.
    atlasent(["token", "validate", &format!("{token}\n")])
        .keyed()
        .refusal();
}

#[test]
fn no_token_at_all_is_refused() {
    for stdin in ["", "\n"] {
        let line = validate(stdin).refusal();
        assert!(line.contains("the token is empty"), "{line}");
        let line = atlasent(["token", "validate"]).keyed().stdin(stdin);
        assert!(line.refusal().contains("the token is empty"));
    }
    // An empty argument is an empty token: standard input is not read instead.
    let argument = atlasent(["token", "validate", ""]).keyed().stdin(token());
    let line = argument.refusal();
    assert!(line.contains("the token is empty"), "{line}");
}

#[test]
fn an_argument_that_looks_like_an_option_is_a_token_behind_two_dashes() {
    atlasent(["token", "validate", "-eyJ"]).keyed().misuse();
    atlasent(["token", "validate", "--", "-eyJ"])
        .keyed()
        .refusal();
    let token = token();
    atlasent(["token", "validate", "--", &token])
        .keyed()
        .prints();
}

#[test]
fn text_that_is_not_a_token_is_refused_and_not_repeated() {
    let long = "a.".repeat(10_000_000);
    for text in [
        "not a token",
        "a.b.c",
        "..",
        ".",
        "eyJhbGciOiJIUzI1NiJ9..",
        "sesame",
        "{}",
        &long,
    ] {
        let line = validate(text).refusal();
        assert!(text.len() < 4 || !line.contains(text), "{line}");
    }
    atlasent(["token", "validate"])
        .keyed()
        .stdin([0xff; 9000])
        .refusal();
    atlasent(["token", "validate"])
        .keyed()
        .stdin([0; 100])
        .refusal();
}

#[test]
fn a_token_that_was_changed_is_refused() {
    let token = token();
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let other = sign(&with("scope", Some(json!("*"))));
    let other = other.split('.').nth(1).unwrap();
    for text in [
        format!("{header}.{other}.{signature}"),
        format!("{header}.{claims}."),
        format!("{header}.{claims}.{signature}="),
        format!("{header}.{claims}.{signature}.{signature}"),
        format!("{header}.{claims}"),
    ] {
        validate(&text).refusal();
    }
}

#[test]
fn each_refusal_says_why() {
    for (claims, why) in [
        (with("exp", Some(json!(now() - 3600))), "expired"),
        (with("exp", None), "`exp`"),
        (with("exp", Some(json!("soon"))), "`exp`"),
        (with("nbf", Some(json!(now() + 3600))), "`nbf`"),
        (with("iat", Some(json!(now() + 3600))), "`iat`"),
        (with("aud", Some(json!("other"))), "audience"),
        (with("aud", Some(json!([]))), "aud"),
        (with("scope", Some(json!(["help"]))), "`scope`"),
        (with("sub", None), "`sub`"),
        (with("ati", Some(json!({"rate": {}}))), "ati"),
    ] {
        let token = sign(&claims);
        let line = validate(&token).refusal();
        assert!(line.contains(why), "{claims}: {line}");
        assert!(!token.split('.').any(|part| line.contains(part)), "{line}");
    }
    let line = validate(&token())
        .env("ATI_JWT_SECRET", "ff".repeat(32))
        .refusal();
    assert!(line.contains("signature"), "{line}");
}

#[test]
fn the_leeway_is_the_caller_s_and_sixty_seconds_by_default() {
    let expired = |ago| sign(&with("exp", Some(json!(now() - ago))));
    let within = |leeway: &str, token: &str| {
        atlasent(["token", "validate", "--leeway", leeway])
            .keyed()
            .stdin(token)
            .run()
            .code
    };
    assert_eq!(validate(&expired(30)).run().code, 0);
    assert_eq!(validate(&expired(90)).run().code, 1);
    assert_eq!(within("0", &expired(30)), 1);
    assert_eq!(within("120", &expired(90)), 0);
}

#[test]
fn the_audience_is_the_option_s_or_else_the_environment_s() {
    let token = sign(&with("aud", Some(json!("gate"))));
    let accepts = |options: &[&str], environment: &[(&str, &str)]| {
        let mut run = atlasent(["token", "validate"].iter().chain(options))
            .keyed()
            .stdin(token.as_str());
        for (name, value) in environment {
            run = run.env(name, value);
        }
        match run.run().code {
            0 => true,
            1 => false,
            code => panic!("{code}"),
        }
    };
    assert!(!accepts(&[], &[]));
    assert!(accepts(&["--aud", "gate"], &[]));
    assert!(accepts(&[], &[("ATI_JWT_AUDIENCE", "gate")]));
    assert!(!accepts(&[], &[("ATI_JWT_AUDIENCE", "other,gate")]));
    assert!(accepts(
        &[],
        &[("ATI_JWT_ACCEPTED_AUDIENCES", "other,gate")]
    ));
    assert!(!accepts(
        &[],
        &[
            ("ATI_JWT_ACCEPTED_AUDIENCES", "other"),
            ("ATI_JWT_AUDIENCE", "gate")
        ]
    ));
    assert!(accepts(
        &[],
        &[
            ("ATI_JWT_ACCEPTED_AUDIENCES", "gate"),
            ("ATI_JWT_AUDIENCE", "other")
        ]
    ));
    assert!(!accepts(
        &["--aud", "other"],
        &[("ATI_JWT_ACCEPTED_AUDIENCES", "gate")]
    ));
    assert!(accepts(
        &["--aud", "gate"],
        &[("ATI_JWT_ACCEPTED_AUDIENCES", "other")]
    ));
}

#[test]
fn an_empty_audience_never_means_any() {
    validate(&token())
        .env("ATI_JWT_ACCEPTED_AUDIENCES", "")
        .misuse();
    validate(&token())
        .env("ATI_JWT_ACCEPTED_AUDIENCES", " , ")
        .misuse();
    validate(&token()).env("ATI_JWT_AUDIENCE", "").misuse();
    atlasent(["token", "validate", "--aud", ""])
        .keyed()
        .stdin(token())
        .misuse();
}

#[test]
fn the_issuer_is_required_if_the_option_or_the_environment_says_so() {
    let mine = sign(&with("iss", Some(json!("me"))));
    let without_issuer = sign(&valid_claims());
    let required = |token: &str| {
        atlasent(["token", "validate", "--iss", "me"])
            .keyed()
            .stdin(token)
            .run()
            .code
    };
    assert_eq!((required(&mine), required(&without_issuer)), (0, 1));
    let configured = |token: &str| validate(token).env("ATI_JWT_ISSUER", "me").run().code;
    assert_eq!((configured(&mine), configured(&without_issuer)), (0, 1));
    let both = |token: &str| {
        atlasent(["token", "validate", "--iss", "me"])
            .keyed()
            .env("ATI_JWT_ISSUER", "you")
            .stdin(token)
            .run()
            .code
    };
    assert_eq!((both(&mine), both(&without_issuer)), (0, 1));
    assert_eq!(
        (
            validate(&mine).run().code,
            validate(&without_issuer).run().code
        ),
        (0, 0)
    );
    atlasent(["token", "validate", "--iss", ""])
        .keyed()
        .stdin(mine)
        .misuse();
}

#[test]
fn a_token_that_was_issued_here_is_valid_here() {
    let issue = ["token", "issue", "--sub", "a", "--scope", "help"];
    let token = atlasent(issue)
        .keyed()
        .env("ATI_JWT_ISSUER", "ours")
        .prints();
    validate(&token).env("ATI_JWT_ISSUER", "ours").prints();
}
