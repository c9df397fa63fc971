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
            &format!("{GOOD}authorized_parties = []"),
            "`authorized_parties` is empty",
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

#[cfg(feature = "console")]
#[test]
fn settings_of_a_login_that_are_wrong_are_refused_with_advice() {
    let login = "client_id = \"c\"\nconsole_url = \"https://console.example\"\n";
    let check = |text: &str| OidcConfig::from_toml(&format!("{GOOD}[login]\n{text}"));
    for good in [
        login,
        "client_id = \"c\"\nconsole_url = \"http://127.0.0.1:8080/\"",
        &format!("{login}session = \"12h\"\nscopes = [\"email\", \"openid\"]"),
        &format!("{login}client_secret = {{ env = \"X\" }}"),
        &format!(
            "{login}authorization_url = \"https://a.example/a\"\ntoken_url = \"https://a.example/t\""
        ),
    ] {
        assert!(check(good).unwrap().has_login(), "{good}");
    }
    for (text, words) in [
        ("client_id = \"c\"", "missing field `console_url`"),
        (
            "client_id = \"\"\nconsole_url = \"https://a.example\"",
            "`client_id` is empty",
        ),
        (
            "client_id = \"c\"\nconsole_url = \"http://a.example\"",
            "`console_url` is not `https`",
        ),
        (
            "client_id = \"c\"\nconsole_url = \"https://a.example/x\"",
            "has a path",
        ),
        (
            "client_id = \"c\"\nconsole_url = \"https://a.example?x\"",
            "has a path",
        ),
        (&format!("{login}session = \"13h\""), "longer than `12h`"),
        (
            &format!("{login}session = \"soon\""),
            "`session`: invalid duration",
        ),
        (&format!("{login}scopes = [\"email\"]"), "lacks `openid`"),
        (&format!("{login}scopes = [\"openid\", \"a b\"]"), "no word"),
        (
            &format!("{login}token_url = \"https://a.example/t\""),
            "or neither",
        ),
        (
            &format!("{login}secret = \"hunter2\""),
            "unknown field `secret`",
        ),
        (
            &format!("{login}client_secret = {{}}"),
            "line 6: wanted exactly 1 element",
        ),
    ] {
        let error = check(text).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
}

#[cfg(feature = "console")]
#[test]
fn a_client_secret_that_is_written_in_place_is_not_repeated() {
    let login = "client_id = \"c\"\nconsole_url = \"https://console.example\"\n";
    for secret in [
        r#""hunter2""#,
        r#"{ hunter2 = "x" }"#,
        r#"["hunter2"]"#,
        "hunter2",
    ] {
        let text = format!("{GOOD}[login]\n{login}client_secret = {secret}\n");
        let error = OidcConfig::from_toml(&text).unwrap_err().to_string();
        assert!(error.starts_with("line 6: "), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    for secret in [r#""hunter2""#, r#"{"hunter2": "x"}"#, r#"["hunter2"]"#] {
        let text = format!(
            r#"{{"issuer": "https://a.example", "audience": "x", "login": {{"client_id": "c",
            "console_url": "https://console.example", "client_secret": {secret}}}}}"#
        );
        let error = OidcConfig::from_json(&text).unwrap_err().to_string();
        assert!(error.contains("at line 2"), "{error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[cfg(feature = "console")]
#[test]
fn a_client_secret_that_cannot_be_read_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let text = format!(
        "{GOOD}[login]\nclient_id = \"c\"\nconsole_url = \"https://console.example\"\n\
         client_secret = {{ file = {path:?} }}"
    );
    let open = || OidcVerifier::new(OidcConfig::from_toml(&text).unwrap()).map(drop);
    let error = open().unwrap_err().to_string();
    assert!(
        error.contains("`login`") && error.contains("secret`"),
        "{error}"
    );
    fs::write(&path, " \n").unwrap();
    assert!(open().unwrap_err().to_string().contains("is empty"));
    fs::write(&path, "hunter2\n").unwrap();
    open().unwrap();
    // The secret in place of the name of its variable.
    let secret = "hunter2".repeat(6);
    let file = format!("file = {path:?}");
    let text = text.replace(&file, &format!("env = {secret:?}"));
    let config = OidcConfig::from_toml(&text).unwrap();
    let error = OidcVerifier::new(config).map(drop).unwrap_err().to_string();
    assert!(!error.contains("hunter2"), "{error}");
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
