//! Where a collector is and how it is reached, by the variables that OpenTelemetry specifies.

use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::time::Duration;

use atlasent::text::is_loopback_host;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};

/// The endpoint that OpenTelemetry specifies where none is named.
const DEFAULT_ENDPOINT: &str = "http://localhost:4318/v1/logs";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const LOGS_PATH: &str = "/v1/logs";

/// Set to `1`, it allows plain `http` to any host, as for the client.
const ALLOW_HTTP: &str = "ATLASENT_ALLOW_INSECURE_HTTP";

/// Headers that the HTTP client sets by how it sends the body.
const CLIENT_HEADERS: [HeaderName; 4] = [
    CONNECTION,
    CONTENT_ENCODING,
    CONTENT_LENGTH,
    TRANSFER_ENCODING,
];

/// Where records are sent, and what is sent along.
pub(super) struct Config {
    pub(super) endpoint: Url,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Duration,
    /// A file with the CA certificates that are trusted instead of the system's.
    pub(super) certificate: Option<PathBuf>,
    /// The attributes of the resource, of which the last one of a name counts.
    pub(super) resource: Vec<(String, String)>,
}

impl Config {
    /// Reads the configuration. An endpoint that is named counts before those of the variables. An
    /// empty variable counts as unset, as OpenTelemetry specifies.
    pub(super) fn read(
        endpoint: Option<&str>,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> io::Result<Self> {
        let environment = Environment(variable);
        let allow_http = environment.text(ALLOW_HTTP)?.as_deref() == Some("1");
        let (endpoint, source) = match endpoint {
            Some(endpoint) => (with_logs_path(endpoint), "the endpoint".to_owned()),
            None => environment.endpoint()?,
        };
        Ok(Self {
            endpoint: checked(&endpoint, allow_http)
                .map_err(|why| invalid(format!("{source} {why}")))?,
            headers: environment.headers()?,
            timeout: environment.timeout()?,
            certificate: environment.path("CERTIFICATE"),
            resource: environment.resource()?,
        })
    }

    /// The endpoint without its query, which may hold a secret.
    pub(super) fn shown_endpoint(&self) -> String {
        let mut shown = self.endpoint.clone();
        shown.set_query(None);
        shown.into()
    }

    /// Whether the collector runs on this machine, so that no proxy is used.
    pub(super) fn is_local(&self) -> bool {
        self.endpoint.host_str().is_some_and(is_loopback_host)
    }
}

/// The variables of the process.
struct Environment<F>(F);

impl<F: Fn(&str) -> Option<OsString>> Environment<F> {
    fn text(&self, name: &str) -> io::Result<Option<String>> {
        let Some(value) = (self.0)(name).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let value = value.into_string();
        value
            .map(Some)
            .map_err(|_| invalid(format!("`{name}` is not UTF-8")))
    }

    /// The variable for logs, or else the one for all signals. Returns its name and value.
    fn option(&self, name: &str) -> io::Result<Option<(String, String)>> {
        for prefix in ["OTEL_EXPORTER_OTLP_LOGS_", "OTEL_EXPORTER_OTLP_"] {
            let name = format!("{prefix}{name}");
            if let Some(value) = self.text(&name)? {
                return Ok(Some((name, value)));
            }
        }
        Ok(None)
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        let names = [
            format!("OTEL_EXPORTER_OTLP_LOGS_{name}"),
            format!("OTEL_EXPORTER_OTLP_{name}"),
        ];
        let mut values = names.iter().filter_map(|name| (self.0)(name));
        values.find(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// Returns the endpoint, and how an error names it.
    fn endpoint(&self) -> io::Result<(String, String)> {
        if let Some((name, protocol)) = self.option("PROTOCOL")?
            && protocol != "http/protobuf"
        {
            return Err(invalid(format!(
                "`{name}` names a protocol that is not supported: set it to `http/protobuf`"
            )));
        }
        let Some((name, endpoint)) = self.option("ENDPOINT")? else {
            return Ok((DEFAULT_ENDPOINT.to_owned(), "the endpoint".to_owned()));
        };
        let source = format!("`{name}`");
        match name.contains("_LOGS_") {
            true => Ok((endpoint, source)),
            false => Ok((
                format!("{}{LOGS_PATH}", endpoint.trim_end_matches('/')),
                source,
            )),
        }
    }

    fn headers(&self) -> io::Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        let Some((variable, text)) = self.option("HEADERS")? else {
            return Ok(headers);
        };
        // The error repeats no part of the variable: in a malformed one, the secret may be
        // anywhere.
        let wrong = |why: &str| invalid(format!("`{variable}` {why}"));
        for (name, value) in pairs(&text).ok_or_else(|| wrong(MALFORMED))? {
            let name = HeaderName::try_from(name).map_err(|_| wrong("holds an invalid name"))?;
            if CLIENT_HEADERS.contains(&name) {
                return Err(wrong(&format!("must not set `{name}`: take it out")));
            }
            let value = HeaderValue::try_from(value);
            let mut value = value.map_err(|_| wrong("holds an invalid value"))?;
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn timeout(&self) -> io::Result<Duration> {
        let Some((variable, text)) = self.option("TIMEOUT")? else {
            return Ok(DEFAULT_TIMEOUT);
        };
        match text.trim().parse() {
            Ok(milliseconds @ 1..=3_600_000) => Ok(Duration::from_millis(milliseconds)),
            _ => Err(invalid(format!(
                "`{variable}` is no time: write milliseconds from 1 to 3600000"
            ))),
        }
    }

    fn resource(&self) -> io::Result<Vec<(String, String)>> {
        let mut attributes = vec![
            ("service.name".to_owned(), "atlasent".to_owned()),
            (
                "service.version".to_owned(),
                env!("CARGO_PKG_VERSION").to_owned(),
            ),
        ];
        let variable = "OTEL_RESOURCE_ATTRIBUTES";
        if let Some(text) = self.text(variable)? {
            let named = pairs(&text);
            attributes.extend(named.ok_or_else(|| invalid(format!("`{variable}` {MALFORMED}")))?);
        }
        if let Some(name) = self.text("OTEL_SERVICE_NAME")? {
            attributes.push(("service.name".to_owned(), name));
        }
        Ok(attributes)
    }
}

const MALFORMED: &str = "is malformed: write `name=value,name=value`, with `%2C` for a comma";

/// The pairs of a list such as `name=value,name=value`, whose values are percent-encoded.
fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let parts = text
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = part.split_once('=')?;
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            let name = name.trim();
            (!name.is_empty()).then(|| (name.to_owned(), value.into_owned()))
        })
        .collect()
}

/// The endpoint with the path of logs, if it has none.
fn with_logs_path(endpoint: &str) -> String {
    match Url::parse(endpoint) {
        Ok(mut url) if url.has_host() && url.path() == "/" => {
            url.set_path(LOGS_PATH);
            url.into()
        }
        _ => endpoint.to_owned(),
    }
}

/// Checks an endpoint. The reason of a refusal repeats no part of the endpoint, since any part of a
/// malformed URL may be a password.
fn checked(endpoint: &str, allow_http: bool) -> Result<Url, &'static str> {
    let malformed = "is not an absolute URL: write it as `https://host:4318/v1/logs`";
    let url = Url::parse(endpoint).map_err(|_| malformed)?;
    let host = url.host_str().ok_or(malformed)?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a user or password: send it in `OTEL_EXPORTER_OTLP_HEADERS`");
    }
    match url.scheme() {
        "https" => {}
        "http" if allow_http || is_loopback_host(host) => {}
        "http" => {
            return Err(
                "would send the audit trail in the clear: use `https`; in a closed network, \
                 `ATLASENT_ALLOW_INSECURE_HTTP=1` allows `http`",
            );
        }
        _ => return Err("is neither `https` nor `http`"),
    }
    Ok(url)
}

fn invalid(why: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, why)
}

#[cfg(test)]
#[path = "config_tests.rs"]
mod tests;
