use proptest::prelude::*;
use proptest::sample::select;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::*;

const KEY: &str = "ask_test_Qm7xV2pLz9";
const TOKEN: &str = "permit_2f9d4c8b7a6e5f10";

fn secrets() -> Secrets {
    let key = Credential::api_key(SecretString::from(KEY)).unwrap();
    let mut secrets = Secrets::new(&key);
    secrets.add_permit(&PermitToken::new(TOKEN).unwrap());
    secrets
}

#[test]
fn a_text_is_scrubbed_of_what_was_sent() {
    let secrets = secrets();
    for (text, shown) in [
        ("nothing", "nothing"),
        (&format!("no {KEY}."), "no [api key]."),
        (&format!("{TOKEN}{TOKEN}"), "…6e5f10…6e5f10"),
        // The server repeats only a part.
        ("permit_2f9d4c8b7 is unknown", "… is unknown"),
        ("… 8b7a6e5f10", "… …"),
        ("Qm7xV2pLz", "…"),
        (
            "use a key such as ask_test_…",
            "use a key such as ask_test_…",
        ),
        ("4c8b7a6", "4c8b7a6"),
        // The text itself contains the escapes.
        (
            r"got {\u0022t\u0022:\u0022permit_2f9d4c8b7a6e5f1\u0030",
            "…",
        ),
        ("/v1?key=ask%5Ftest%5FQm7xV2pLz9", "…"),
    ] {
        assert_eq!(secrets.scrub(text), shown);
    }
}

#[test]
fn a_short_secret_is_hidden_where_it_stands_alone() {
    let mut secrets = Secrets::default();
    secrets.add_permit(&PermitToken::new("p").unwrap());
    secrets.add_permit(&PermitToken::new("").unwrap());
    assert_eq!(secrets.scrub("p"), "…");
    assert_eq!(secrets.scrub("a pump"), "a pump");
    assert_eq!(secrets.scrub(""), "");
}

#[test]
fn a_secret_that_holds_another_goes_first() {
    let mut secrets = Secrets::default();
    for token in ["abcdefgh12", "abcdefgh12-abcdefgh34"] {
        secrets.add_permit(&PermitToken::new(token).unwrap());
    }
    assert_eq!(secrets.scrub("abcdefgh12-abcdefgh34"), "…efgh34");
}

#[test]
fn a_request_s_tokens_and_approvals_are_secrets_and_what_it_says_in_the_open_is_not() {
    let request = json!({
        "action_type": "deploy.production",
        "approval": {
            "approval_id": "apr-20261128-77",
            "artifact": {"action_type": "deploy.production", "signature": "c2lnbmF0dXJlLW9mLWFkYQ", "nonce": "9f8e7d6c5b4a"}
        },
        "context": {"db_password": "hunter2-hunter2", "replicas": "three of them"},
    });
    let mut secrets = Secrets::default();
    secrets.add_request(&request.to_string());
    for hidden in [
        "apr-20261128-77",
        "c2lnbmF0dXJlLW9mLWFkYQ",
        "9f8e7d6c5b4a",
        "hunter2-hunter2",
    ] {
        let shown = secrets.scrub(hidden);
        assert!(!shown.contains(hidden), "{shown}");
    }
    for open in ["deploy.production", "three of them", "apr-2026"] {
        assert_eq!(secrets.scrub(open), open);
    }
}

#[test]
fn an_answer_keeps_its_tokens_where_they_belong_and_nowhere_else() {
    let token = "permit_new_0123456789";
    let body = format!(
        r#"{{"decision":"allow","permit_token":"{token}","decision_id":"{token}","reason":"for {KEY} and {token}","n":1.50}}"#
    );
    assert_eq!(
        secrets().scrub_answer(&body),
        r#"{"decision":"allow","permit_token":"permit_new_0123456789","decision_id":"permit_new_0123456789","reason":"for [api key] and …456789","n":1.50}"#
    );
    let clean = r#"{"decision":"allow","permit_token":"permit_new_0123456789","reason":"fine"}"#;
    assert!(matches!(secrets().scrub_answer(clean), Cow::Borrowed(_)));
    // The id of a refusal is public.
    let refused =
        r#"{"decision":"deny","decision_id":"4711-4711-4711","reason":"see 4711-4711-4711"}"#;
    assert!(matches!(secrets().scrub_answer(refused), Cow::Borrowed(_)));
}

#[test]
fn what_is_not_json_is_neither_repeated_nor_made_into_json() {
    for text in [
        format!("{{\"x\":\"{TOKEN}\""),
        format!("data: {{\"x\":\"{TOKEN}\"}}"),
    ] {
        assert_eq!(secrets().scrub_error_body(text.as_bytes()), None);
        assert_eq!(secrets().scrub_answer(&text), text);
    }
}

#[test]
fn a_server_that_sends_more_secrets_than_are_remembered_is_not_repeated() {
    let many: Vec<_> = (0..20_000)
        .map(|n| json!({"token": format!("{n:08}"), "said": "x"}))
        .collect();
    let body = json!({"message": "00019999 and some", "all": many}).to_string();
    let mut secrets = secrets();
    let shown = secrets.scrub_error_body(body.as_bytes()).unwrap();
    assert!(
        !shown.contains("00019999") && !shown.contains("some"),
        "{shown}"
    );
}

#[test]
fn a_batch_of_tokens_is_remembered_whole() {
    let items: Vec<_> = (0..100)
        .map(|n| json!({"permit_token": format!("{n:03}-").repeat(2000), "reason": "fine"}))
        .collect();
    let body = json!({"items": items}).to_string();
    assert!(matches!(secrets().scrub_answer(&body), Cow::Borrowed(_)));
}

#[test]
fn however_many_approvals_were_sent_the_answer_is_read() {
    let approvals: Vec<_> = (0..200)
        .map(|n| json!({"signature": format!("signature-{n}"), "nonce": format!("nonce-{n:04}"), "kid": format!("kid-number-{n}")}))
        .collect();
    let mut secrets = secrets();
    secrets.add_request(&json!({"approval_quorum": {"approvals": approvals}}).to_string());
    let body = r#"{"decision":"deny","reason":"signature-150 is not good, nor is kid-number-7"}"#;
    assert_eq!(
        secrets.scrub_answer(body),
        r#"{"decision":"deny","reason":"…re-150 is not good, nor is …"}"#
    );
}

/// Or a token that is called as a member would take the member away.
#[test]
fn the_names_of_an_answer_stay() {
    let body = r#"{"decision":"deny","permitted":true,"permit_token":"decision"}"#;
    assert_eq!(secrets().scrub_answer(body), body);
    let body = format!(r#"{{"permit_token":"{TOKEN}","{TOKEN}":1}}"#);
    assert!(secrets().scrub_answer(&body).contains("\"…6e5f10\":1"));
}

#[test]
fn a_request_hides_no_number_and_no_contract_word_of_its_answer() {
    let request = json!({"context": {
        "max_tokens": 1, "tokens": 0, "token_budget": 20_261_128, "key": "allow", "auth": "escalate",
        "session_id": "TIMED_OUT", "password": "hunter2-hunter2",
    }});
    let mut secrets = secrets();
    secrets.add_request(&request.to_string());
    let kept = r#"{"decision":"escalate","vote":"allow","status":"timed_out","index":0,"min_approvers":1,"n":20261128,"max_tokens":1}"#;
    assert!(matches!(secrets.scrub_answer(kept), Cow::Borrowed(_)));
    let repeated = r#"{"decision":"allow","reason":"no hunter2-hunter2","new":"hunter2-hunter2"}"#;
    let shown = secrets.scrub_answer(repeated);
    assert!(!shown.contains("hunter2-"), "{shown}");
    // In an error nothing but its text is read, so short secrets are hidden there.
    let error = secrets.scrub_error_body(br#"{"message":"allow","n":1}"#);
    assert_eq!(error.as_deref(), Some(r#"{"message":"…","n":"…"}"#));
}

#[test]
fn a_page_of_rows_with_token_limits_is_read() {
    let rows: Vec<_> = (0..500)
        .map(|n| json!({"status": "pending", "proposed_action": {"max_tokens": n}}))
        .collect();
    let page = json!({"escalations": rows, "reason": "fine"}).to_string();
    assert!(matches!(secrets().scrub_answer(&page), Cow::Borrowed(_)));
}

#[test]
fn of_the_key_nothing_is_shown_in_any_place() {
    let body =
        json!({"message": KEY, "api_key": KEY, "x": {"authorization": format!("Bearer {KEY}")}});
    let shown = secrets()
        .scrub_error_body(body.to_string().as_bytes())
        .unwrap();
    assert!(!shown.contains("Lz9"), "{shown}");
    let answer = json!({"decision": "deny", "token": KEY, "decision_id": KEY, "reason": KEY});
    assert!(!secrets().scrub_answer(&answer.to_string()).contains("Lz9"));
}

#[test]
fn debug_prints_none_of_them() {
    assert_eq!(format!("{:?}", secrets()), "Secrets { .. }");
}

/// A secret that its own escapes are part of the matter.
fn secret() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_-]{16,40}",
        r#"[a-z"\\/üß€🦀 {}\[\]:,\n%]{16,40}"#,
        "eyJ[A-Za-z0-9_-]{20}\\.[A-Za-z0-9_-]{20}",
    ]
}

/// Spells a text as a string of JSON, each character in one of the spellings of RFC 8259 §7.
fn spelled(text: &str, ways: &[u8]) -> String {
    let mut literal = String::from("\"");
    for (character, way) in text.chars().zip(ways.iter().cycle()) {
        match (way % 3, character) {
            (0, '/') => literal.push_str("\\/"),
            (0 | 1, c) if !matches!(c, '"' | '\\') && !c.is_control() => literal.push(c),
            (2, _) | (_, '\n') => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    literal.push_str(&format!("\\u{unit:04x}"));
                }
            }
            (_, c) => {
                literal.push('\\');
                literal.push(c);
            }
        }
    }
    literal + "\""
}

/// A body with this string somewhere in it: in a member, a name, an array, deep down, twice, or in
/// JSON in a string.
fn around(literal: &str, places: &[u8], text: &str) -> String {
    places
        .iter()
        .fold(literal.to_owned(), |json, wrapping| match wrapping % 8 {
            0 => format!(r#"{{"message":{json}}}"#),
            1 => format!(r#"[1.5,{json},null]"#),
            2 => format!(r#"{{"permit_token":{json},"message":{json}}}"#),
            3 => format!(r#"{{"error":"x","error":{json}}}"#),
            4 => format!(
                r#"{{"detail":{{"at":[{json}]}}, {} :7}}"#,
                serde_json::to_string(text).unwrap()
            ),
            5 => format!(r#"{{"message":{}}}"#, Value::from(json)),
            6 => format!(
                r#"{{"reason":{}}}"#,
                Value::from(format!("say {text}; {text}"))
            ),
            _ => format!(r#" {{ "message" : "no" , "x" : {json} }} "#),
        })
}

fn holds_a_piece(shown: &str, secret: &str) -> Option<String> {
    let found: Option<(usize, [char; PIECE_CHARS])> =
        windows(secret).find(|(_, piece)| shown.contains(&piece.iter().collect::<String>()));
    found.map(|(_, piece)| piece.iter().collect())
}

proptest! {
    #[test]
    fn no_piece_of_a_secret_is_left_of_any_body(
        secret in secret(), ways in prop::collection::vec(any::<u8>(), 1..20),
        places in prop::collection::vec(any::<u8>(), 0..4), known in any::<bool>(),
        name in select(vec!["permit_token", "api_key", "secret", "Authorization", "jwt"]),
    ) {
        let literal = spelled(&secret, &ways);
        prop_assert_eq!(&serde_json::from_str::<String>(&literal).unwrap(), &secret);
        let body = around(&literal, &places, &secret);
        // The call does not know this secret; the name of its member marks it.
        let body = if known { body } else { format!(r#"{{"all":{body},"{name}":{literal}}}"#) };
        let mut secrets = Secrets::default();
        if known {
            secrets.add_permit(&PermitToken::new(secret.clone()).unwrap());
        }
        let shown = secrets.scrub_error_body(body.as_bytes()).unwrap();
        let value: Value = serde_json::from_str(&shown).unwrap();
        for text in [shown.clone(), value.to_string(), format!("{value:?}")] {
            prop_assert_eq!(holds_a_piece(&text, &secret), None, "{} of {}", text, body);
        }
    }

    /// Most answers are not walked a second time.
    #[test]
    fn an_answer_stays_only_where_rewriting_it_changes_nothing(
        secret in secret(), ways in prop::collection::vec(any::<u8>(), 1..20),
        places in prop::collection::vec(any::<u8>(), 0..4), known in any::<bool>(),
        name in select(vec!["permit_token", "decision_id", "tokens", "jwt", "reason", KEY]),
        value in select(vec![KEY, TOKEN, "p", "1"]),
    ) {
        let literal = spelled(&secret, &ways);
        let body = around(&literal, &places, &secret);
        let body = format!(r#"{{"all":{body},"{name}":{literal},"{name}":"{value}","token":1}}"#);
        let mut secrets = secrets();
        if known {
            secrets.add_permit(&PermitToken::new(secret).unwrap());
        }
        let scrubbed = secrets.scrub_answer(&body).into_owned();
        prop_assert_eq!(scrubbed, secrets.rewrite(&body, BodyKind::Success, 0));
    }

    #[test]
    fn the_numbers_of_an_answer_stay_whatever_the_request_holds(
        limits in prop::collection::vec(any::<u64>(), 1..4), token in "[1-9][0-9]{0,19}",
    ) {
        let mut secrets = secrets();
        secrets.add_request(&json!({"context": {"tokens": limits, "token": token}}).to_string());
        let answer = format!(r#"{{"decision":"deny","n":{},"m":{token}}}"#, limits[0]);
        prop_assert_eq!(secrets.scrub_answer(&answer), answer.as_str());
    }

    #[test]
    fn a_text_without_secrets_stays_as_it_is(text in "[a-z ]{0,60}") {
        prop_assert_eq!(secrets().scrub(&text), text.as_str());
    }
}
