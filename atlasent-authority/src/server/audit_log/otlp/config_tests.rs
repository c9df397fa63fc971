use std::collections::HashMap;

use super::*;

fn read(endpoint: Option<&str>, variables: &[(&str, &str)]) -> io::Result<Config> {
    let variables: HashMap<&str, &str> = variables.iter().copied().collect();
    Config::read(endpoint, |name| variables.get(name).map(OsString::from))
}

fn endpoint(named: Option<&str>, variables: &[(&str, &str)]) -> String {
    read(named, variables).unwrap().endpoint.into()
}

fn error(endpoint: Option<&str>, variables: &[(&str, &str)]) -> String {
    read(endpoint, variables).err().unwrap().to_string()
}

#[test]
fn endpoints_are_those_of_the_specification() {
    let logs = "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT";
    let all = "OTEL_EXPORTER_OTLP_ENDPOINT";
    for (variables, expected) in [
        (&[][..], "http://localhost:4318/v1/logs"),
        (&[(all, "")], "http://localhost:4318/v1/logs"),
        (&[(all, "https://otel")], "https://otel/v1/logs"),
        (&[(all, "https://otel/base/")], "https://otel/base/v1/logs"),
        // As it is: without a path, it is the root.
        (&[(logs, "https://otel")], "https://otel/"),
        (
            &[(logs, "https://otel/x"), (all, "https://y")],
            "https://otel/x",
        ),
        (&[(logs, ""), (all, "https://y")], "https://y/v1/logs"),
    ] {
        assert_eq!(endpoint(None, variables), expected, "{variables:?}");
    }
    for (named, expected) in [
        ("https://otel", "https://otel/v1/logs"),
        ("https://otel:4318/", "https://otel:4318/v1/logs"),
        ("https://otel/otlp/v1/logs", "https://otel/otlp/v1/logs"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/logs"),
    ] {
        assert_eq!(endpoint(Some(named), &[(logs, "https://else")]), expected);
    }
}

#[test]
fn plain_http_stays_on_this_machine() {
    for named in [
        "http://otel:4318",
        "http://10.0.0.1",
        "http://localhost.evil.example",
    ] {
        let refused = error(Some(named), &[]);
        assert!(refused.contains("in the clear"), "{refused}");
        assert!(read(Some(named), &[("ATLASENT_ALLOW_INSECURE_HTTP", "1")]).is_ok());
    }
    assert!(read(Some("http://127.0.0.1:4318"), &[]).unwrap().is_local());
    assert!(!read(Some("https://otel"), &[]).unwrap().is_local());
}

#[test]
fn an_invalid_endpoint_is_refused_and_not_repeated() {
    for named in [
        "",
        "otel:4318",
        "hunter2",
        "file:///hunter2",
        "ftp://otel/hunter2",
        "https://user:hunter2@otel",
        "https://hunter2@otel",
    ] {
        let refused = error(Some(named), &[]);
        assert!(refused.starts_with("the endpoint "), "{refused}");
        assert!(!refused.contains("hunter2"), "{refused}");
    }
    let refused = error(None, &[("OTEL_EXPORTER_OTLP_ENDPOINT", "otel")]);
    assert!(
        refused.starts_with("`OTEL_EXPORTER_OTLP_ENDPOINT` is not"),
        "{refused}"
    );
    let shown = read(Some("https://otel/logs?token=hunter2"), &[]).unwrap();
    assert_eq!(shown.shown_endpoint(), "https://otel/logs");
}

#[test]
fn headers_are_decoded_and_those_for_logs_count_first() {
    let all = (
        "OTEL_EXPORTER_OTLP_HEADERS",
        "authorization=Bearer%20a%3Db, x-team = core ,",
    );
    let headers = read(None, &[all]).unwrap().headers;
    assert_eq!(headers["authorization"], "Bearer a=b");
    assert_eq!(headers["x-team"], "core");
    assert!(headers.values().all(HeaderValue::is_sensitive));
    let logs = ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-one=1");
    let headers = read(None, &[all, logs]).unwrap().headers;
    assert_eq!(headers.len(), 1);
}

#[test]
fn invalid_headers_are_refused_without_repeating_them() {
    for text in [
        "hunter2",
        "=hunter2",
        "a b=hunter2",
        "a=%0ahunter2",
        "a=%ffhunter2",
        "content-length=1",
    ] {
        let refused = error(None, &[("OTEL_EXPORTER_OTLP_HEADERS", text)]);
        assert!(
            refused.starts_with("`OTEL_EXPORTER_OTLP_HEADERS` "),
            "{refused}"
        );
        assert!(!refused.contains("hunter2"), "{refused}");
    }
}

#[test]
fn timeouts_are_milliseconds() {
    let name = "OTEL_EXPORTER_OTLP_TIMEOUT";
    let read = |text| read(None, &[(name, text)]).map(|config| config.timeout);
    assert_eq!(read("").unwrap(), Duration::from_secs(10));
    assert_eq!(read("250").unwrap(), Duration::from_millis(250));
    for text in ["0", "10s", "-1", "99999999999"] {
        assert!(read(text).is_err(), "{text}");
    }
}

#[test]
fn a_protocol_that_is_not_supported_is_refused() {
    let name = "OTEL_EXPORTER_OTLP_PROTOCOL";
    assert!(read(None, &[(name, "http/protobuf")]).is_ok());
    for protocol in ["grpc", "http/json"] {
        let refused = error(None, &[(name, protocol)]);
        assert!(
            refused.contains(name) && refused.contains("http/protobuf"),
            "{refused}"
        );
        // The variable is about the endpoint of the variables.
        assert!(read(Some("https://otel"), &[(name, protocol)]).is_ok());
    }
}

#[test]
fn a_resource_has_a_name_and_what_the_environment_adds() {
    let named = ("OTEL_SERVICE_NAME", "gate");
    let more = (
        "OTEL_RESOURCE_ATTRIBUTES",
        "service.name=other,deployment.environment.name=a%2Cb",
    );
    let resource = read(None, &[named, more]).unwrap().resource;
    let value = |name| {
        resource
            .iter()
            .rfind(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    assert_eq!(value("service.name"), Some("gate"));
    assert_eq!(value("deployment.environment.name"), Some("a,b"));
    assert_eq!(value("service.version"), Some(env!("CARGO_PKG_VERSION")));
    assert!(read(None, &[("OTEL_RESOURCE_ATTRIBUTES", "x")]).is_err());
}
