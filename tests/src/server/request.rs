//! What the server heard.

/// One request, as it was received.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The path and the query, as they were written.
    pub target: String,
    /// `HTTP/1.1` or `HTTP/2`.
    pub version: &'static str,
    /// The headers in their order, as they were written. HTTP/2 writes them in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body.
    pub body: Vec<u8>,
    /// How many requests for this target there have been, this one included.
    pub attempt: usize,
    /// Which of the server's connections it came by, from 0.
    pub connection: usize,
}

impl Request {
    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target
            .split_once('?')
            .map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The query without its question mark.
    #[must_use]
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// All values of a header, in their order.
    #[must_use]
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        (self.headers.iter())
            .filter(|(other, _)| other.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
            .collect()
    }

    /// The value of a header that stands there once, and is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        match *self.values(name) {
            [value] => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }

    /// The body as text; nothing when it is none.
    #[must_use]
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or_default()
    }
}
