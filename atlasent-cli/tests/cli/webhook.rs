//! `webhook verify`: believes exactly the notifications that a secret has signed a short time ago.

use std::fs;

use base64ct::{Base64, Encoding};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::support::{Atlasent, atlasent, directory, now};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
const BODY: &str = r#"{"type":"stop.set","data":{}}"#;

/// Signs by the specification's formula.
fn signature(id: &str, timestamp: &str) -> String {
    let key = Base64::decode_vec(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
    let mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    let mac = mac.chain_update(format!("{id}.{timestamp}.{BODY}"));
    format!("v1,{}", Base64::encode_string(&mac.finalize().into_bytes()))
}

fn verify(arguments: &[&str]) -> Atlasent {
    let command = ["webhook", "verify", "--secret-env", "HOOK"];
    let command = command.iter().chain(arguments);
    atlasent(command)
        .env("HOOK", format!("{OTHER} {SECRET}"))
        .stdin(BODY)
}

#[test]
fn a_notification_is_verified_by_its_headers_as_arguments_or_in_a_file() {
    let at = now().to_string();
    let signed = signature("msg_1", &at);
    let arguments = ["--id", "msg_1", "--timestamp", &at, "--signature", &signed];
    assert_eq!(verify(&arguments).prints(), "verified\n");

    let headers = format!(
        "POST / HTTP/1.1\r\nHost: h:1\r\nWebhook-Id: msg_1\r\nwebhook-timestamp: {at}\r\n\
         WEBHOOK-SIGNATURE: v1,AAAA {signed}\r\n"
    );
    let folder = directory(&[("headers", &headers), ("secret", &format!("{SECRET}\n"))]);
    let [headers, secret] = ["headers", "secret"].map(|name| folder.path().join(name));
    let arguments = ["--headers", headers.to_str().unwrap()];
    assert_eq!(verify(&arguments).prints(), "verified\n");
    let command = [
        "webhook",
        "verify",
        "--secret-file",
        secret.to_str().unwrap(),
    ];
    let command = atlasent(command.iter().chain(&arguments)).stdin(BODY);
    assert_eq!(command.prints(), "verified\n");
}

#[test]
fn a_secret_in_place_of_its_variable_is_not_repeated() {
    let at = now().to_string();
    let signed = signature("msg_1", &at);
    let arguments = ["--id", "msg_1", "--timestamp", &at, "--signature", &signed];
    let command = ["webhook", "verify", "--secret-env", SECRET];
    let line = atlasent(command.iter().chain(&arguments))
        .stdin(BODY)
        .misuse();
    assert!(line.contains("is not set"), "{line}");
    assert!(!line.contains("whsec_"), "{line}");
}

#[test]
fn what_is_changed_old_or_signed_by_another_is_refused() {
    let at = now().to_string();
    let old = (now() - 400).to_string();
    let signed = signature("msg_1", &at);
    let old_signed = signature("msg_1", &old);
    let arguments = |id, at, signature| ["--id", id, "--timestamp", at, "--signature", signature];
    let matches = "no signature of `webhook-signature` matches";
    let changed = verify(&arguments("msg_1", &at, &signed)).stdin("{}");
    assert!(changed.refusal().contains(matches));
    let other = verify(&arguments("msg_1", &at, &signed)).env("HOOK", OTHER);
    assert!(other.refusal().contains(matches));
    assert!(
        verify(&arguments("msg_2", &at, &signed))
            .refusal()
            .contains(matches)
    );
    let late = verify(&arguments("msg_1", &old, &old_signed));
    assert!(late.refusal().contains("sent too long ago"));
    let mut patient = arguments("msg_1", &old, &old_signed).to_vec();
    patient.extend(["--tolerance", "1h"]);
    assert_eq!(verify(&patient).prints(), "verified\n");
}

#[test]
fn missing_headers_and_unusable_secrets_are_named_without_the_secret() {
    let folder = directory(&[
        ("headers", "webhook-id: a\nwebhook-id: b\n"),
        ("none", "\n"),
    ]);
    let [twice, none] = ["headers", "none"].map(|name| folder.path().join(name));
    let twice = verify(&["--headers", twice.to_str().unwrap()]).refusal();
    assert!(twice.contains("`webhook-id` twice"), "{twice}");
    let lacks = verify(&["--headers", none.to_str().unwrap()]).refusal();
    assert!(lacks.contains("lacks the header `webhook-id`"), "{lacks}");
    let arguments = ["--id", "a", "--timestamp", "1", "--signature", "v1,"];
    let secret = verify(&arguments).env("HOOK", "hunter2").misuse();
    assert!(
        secret.contains("`HOOK`") && !secret.contains("hunter2"),
        "{secret}"
    );
    assert!(
        verify(&arguments)
            .env("HOOK", " ")
            .misuse()
            .contains("holds no secret")
    );
    let incomplete = atlasent(["webhook", "verify", "--id", "a", "--secret-env", "HOOK"]);
    incomplete.misuse();
    fs::remove_file(&none).unwrap();
    let missing = verify(&["--headers", none.to_str().unwrap()]).misuse();
    assert!(missing.contains("No such file"), "{missing}");
}
