//! The settings of an issuer.

use std::fs;

use crate::server::oidc::{OidcConfig, OidcVerifier};

const GOOD: &str = "issuer = \"https://login.example.com\"\naudience = \"atlasent\"\n";

#[test]
fn settings_that_are_wrong_are_refused_with_advice() {
    for (text, words) in [
        ("", "missing field `issuer`"),
        ("issuer = \"https://a.example\"", "missing field `audience`"),
        (&format!("{GOOD}roles = \"x\""), "unknown field `roles`"),
        (&format!("{GOOD}audience = \"x\""), "duplicate key"),
        (
            &format!("{GOOD}organization = \"../x\""),
            "organization's id",
        ),
        (
            &format!("{GOOD}roles_claim = \"\""),
            "`roles_claim` is empty",
        ),
        (
            &format!("{GOOD}jwks_url = \"http://a.example/k\""),
            "`jwks_url` is not `https`",
        ),
        (
            "issuer = \"https://a.example\"\naudience = \"\"",
            "`audience` is empty",
        ),
        (
            "issuer = \"http://a.example\"\naudience = \"x\"",
            "`issuer` is not `https`",
        ),
        (
            "issuer = \"a.example\"\naudience = \"x\"",
            "`issuer` is not an absolute URL",
        ),
        (
            "issuer = \"https://u@a.example\"\naudience = \"x\"",
            "`issuer` has a user",
        ),
        (
            "issuer = \"https://a.example?x\"\naudience = \"x\"",
            "`issuer` has a query",
        ),
    ] {
        let error = OidcConfig::from_toml(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[test]
fn settings_are_read_from_toml_and_json() {
    let folder = tempfile::tempdir().unwrap();
    let toml = folder.path().join("oidc.toml");
    fs::write(&toml, format!("{GOOD}organization = \"acme\"")).unwrap();
    let json = folder.path().join("oidc.json");
    let text = r#"{"issuer": "https://login.example.com", "audience": "atlasent", "organization": "acme"}"#;
    fs::write(&json, text).unwrap();
    for path in [&toml, &json] {
        let verifier = OidcVerifier::new(OidcConfig::from_file(path).unwrap()).unwrap();
        assert_eq!(verifier.issuer(), "https://login.example.com");
        assert_eq!(verifier.organization().as_str(), "acme");
    }
    fs::write(&json, "{").unwrap();
    let error = OidcConfig::from_file(&json).unwrap_err().to_string();
    assert!(error.contains("oidc.json"), "{error}");
    fs::write(&toml, "#".repeat(70_000)).unwrap();
    let error = OidcConfig::from_file(&toml).unwrap_err().to_string();
    assert!(error.contains("more than 65536 bytes"), "{error}");
    assert!(OidcConfig::from_file(folder.path().join("missing.toml")).is_err());
}

#[test]
fn a_ca_file_that_cannot_be_used_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ca.pem");
    fs::write(&path, "nothing").unwrap();
    let text = format!("{GOOD}ca_file = {path:?}");
    let error = OidcVerifier::new(OidcConfig::from_toml(&text).unwrap()).unwrap_err();
    assert!(error.to_string().contains("ca.pem"), "{error}");
}
