//! Describes a recorded request.

/// A request, as it was received.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path and the query, as sent.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2`.
    pub version: &'static str,
    /// The headers, in order and as sent. HTTP/2 sends names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// The number of requests for this target so far, including this one.
    pub attempt: usize,
    /// The number of the connection, from 0.
    pub connection: usize,
}

impl Request {
    /// Returns the target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }

    /// Returns the query without the question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// Returns all values of a header, in order.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        (self.headers.iter())
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
            .collect()
    }

    /// Returns the value of a header that appears once and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        match *self.values(name) {
            [value] => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }

    /// Returns the body as text, or an empty text if it is not UTF-8.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }
}
