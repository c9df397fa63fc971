//! The audit trail of the server: its events page by page, and exports of it.

use std::fmt;
use std::io::Write;

use futures_util::stream::Stream;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use tokio::time::timeout;

use super::message::scrub_failure;
use super::pages::{self, PagedFilter};
use super::transport::LIST_LIMIT;
use super::{Client, failure};
use crate::Error;
use crate::audit::{BundleError, BundleReport, BundleVerifier, Event, SignedHead, TrustedKeys};
use crate::error::{Code, Failure};
use crate::json::object::Object;
use crate::wire::RateLimit;

/// Selects events of the audit trail. The default selects all events.
///
/// Each method narrows the list further. A second call of the same method replaces the first.
///
/// ```
/// use atlasent::client::EventFilter;
///
/// let filter = EventFilter::default()
///     .types(["evaluate.deny", "permit.verify_failed"])
///     .actor_id("deploy-bot")
///     .since("2026-11-01T00:00:00Z")
///     .limit(200);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[must_use]
pub struct EventFilter {
    #[serde(skip_serializing_if = "Option::is_none")]
    types: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<String>,
    // Not sent with an export, which has no pages.
    #[serde(skip)]
    limit: Option<u32>,
    #[serde(skip)]
    cursor: Option<String>,
}

impl EventFilter {
    /// Selects events of these types, such as `evaluate.deny`. An empty list selects all types. A
    /// second call replaces the first.
    pub fn types<T: AsRef<str>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        let types: Vec<_> = types.into_iter().collect();
        let types: Vec<_> = types.iter().map(AsRef::as_ref).collect();
        self.types = Some(types.join(",")).filter(|types| !types.is_empty());
        self
    }

    /// Selects events of this agent. A second call replaces the first.
    pub fn actor_id(mut self, agent: impl Into<String>) -> Self {
        self.actor_id = Some(agent.into());
        self
    }

    /// Selects events at or after this time (ISO 8601). A second call replaces the first.
    pub fn since(mut self, time: impl Into<String>) -> Self {
        self.from = Some(time.into());
        self
    }

    /// Selects events at or before this time (ISO 8601). A second call replaces the first.
    pub fn until(mut self, time: impl Into<String>) -> Self {
        self.to = Some(time.into());
        self
    }

    /// Sets the number of events on a page: 50 by default, 500 at most. Exports have no pages and
    /// ignore it. A second call replaces the first.
    pub fn limit(mut self, events: u32) -> Self {
        self.limit = Some(events);
        self
    }

    /// Selects the page at this cursor, taken from [`EventPage::next_cursor`]. Exports have no
    /// pages and ignore it. A second call replaces the first.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let limit = self.limit.map(|limit| limit.to_string());
        [
            ("types", &self.types),
            ("actor_id", &self.actor_id),
            ("from", &self.from),
            ("to", &self.to),
            ("limit", &limit),
            ("cursor", &self.cursor),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.clone()?)))
        .collect()
    }
}

/// A page of the audit trail.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// The number of events on all pages.
    pub total: u64,
    /// The cursor of the next page. `None` on the last page.
    pub next_cursor: Option<String>,
    /// The rate limit after this call. `None` if the server sent none.
    pub rate_limit: Option<RateLimit>,
}

/// An export of the audit trail. The bundle is kept byte for byte, so that its signature can be
/// checked.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditExport {
    /// The export's id.
    pub export_id: String,
    /// The hash of the last event.
    pub chain_head_hash: String,
    /// The bundle. It is not verified yet: see [`verify`](Self::verify).
    pub bundle: Vec<u8>,
    /// The rate limit after this call. `None` if the server sent none.
    pub rate_limit: Option<RateLimit>,
}

/// Prints the size of the bundle instead of its content.
impl fmt::Debug for AuditExport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuditExport")
            .field("export_id", &self.export_id)
            .field("chain_head_hash", &self.chain_head_hash)
            .field("bundle", &format_args!("{} bytes", self.bundle.len()))
            .field("rate_limit", &self.rate_limit)
            .finish()
    }
}

impl AuditExport {
    /// Checks the chain of the events, and the signature.
    ///
    /// # Errors
    ///
    /// [`BundleError`] when the export is not a bundle. A broken chain or an invalid signature is
    /// returned as a [`BundleReport`], not as an error.
    ///
    /// ```no_run
    /// use atlasent::{Client, client::EventFilter};
    ///
    /// # async fn f(client: Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let keys = client.signing_keys().await?.trusted()?; // better: keys that you got another way
    /// let export = client.audit_export(&EventFilter::default()).await?;
    /// let report = export.verify(&keys)?;
    /// println!("{}: {:?}", report.verified(), report.reason);
    /// # Ok(()) }
    /// ```
    pub fn verify(&self, keys: &TrustedKeys) -> Result<BundleReport, BundleError> {
        BundleVerifier::new(keys).verify_bytes(&self.bundle)
    }
}

impl Client {
    /// Fetches a page of the audit trail: `GET /v1-audit/events`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer.
    ///
    /// ```no_run
    /// use atlasent::{Client, client::EventFilter};
    ///
    /// # async fn f(client: Client) -> Result<(), atlasent::Error> {
    /// let page = client.audit_events(&EventFilter::default().actor_id("deploy-bot")).await?;
    /// for event in &page.events {
    ///     println!("{} {}", event.envelope.occurred_at, event.envelope.kind);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn audit_events(&self, filter: &EventFilter) -> Result<EventPage, Error> {
        #[derive(Deserialize)]
        struct Wire {
            events: Vec<Event>,
            total: u64,
            next_cursor: Option<String>,
        }
        let transport = &self.shared.transport;
        let call = transport
            .get("/v1-audit/events")
            .with_query(&filter.query())
            .answer_limit(LIST_LIMIT);
        let (Object(page), metadata) = transport.fetch::<Object<Wire>>(&call).await?;
        Ok(EventPage {
            events: page.events,
            total: page.total,
            // On the last page, servers send `null` or an empty cursor.
            next_cursor: page.next_cursor.filter(|cursor| !cursor.is_empty()),
            rate_limit: metadata.rate_limit,
        })
    }

    /// Fetches the signed head of the audit trail: `GET /v1/audit/head`. Only `atlasent serve` has
    /// this call. Keep the head where the server cannot write, and check later exports against it.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer.
    ///
    /// ```no_run
    /// # async fn f(client: atlasent::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let head = client.audit_head().await?;
    /// std::fs::write("head.json", serde_json::to_vec(&head)?)?;
    /// # Ok(()) }
    /// ```
    pub async fn audit_head(&self) -> Result<SignedHead, Error> {
        let transport = &self.shared.transport;
        let call = transport.get("/v1/audit/head");
        let (head, _) = transport.fetch::<SignedHead>(&call).await?;
        Ok(head)
    }

    /// Writes a copy of the server's store to `out`, and returns its size in bytes:
    /// `POST /v1/store/backup`. Only `atlasent serve` with a store in a file has this call.
    ///
    /// Each part of the copy must arrive within the [timeout](super::ClientBuilder::timeout). After
    /// an error, `out` holds an incomplete copy: discard it.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer, the answer broke off, or `out`
    /// failed to write.
    pub async fn store_backup(&self, out: &mut (impl Write + Send)) -> Result<u64, Error> {
        let transport = &self.shared.transport;
        let call = transport.post("/v1/store/backup", &serde_json::json!({}))?;
        let call = call.accept("application/octet-stream");
        let (mut response, metadata, secrets) = transport.open(&call).await?;
        let expected = response.content_length();
        let limit = transport.limits.timeout;
        let copied = async {
            let mut received = 0;
            loop {
                let chunk = timeout(limit, response.chunk()).await.map_err(|_| {
                    let text = format!("the server sent nothing for {limit:?}");
                    Failure::new(Code::Timeout, text)
                })?;
                let chunk = chunk.map_err(|error| *failure::from_transport(error).failure)?;
                let Some(chunk) = chunk else { break };
                received += chunk.len() as u64;
                out.write_all(&chunk).map_err(|error| {
                    let text = "the backup cannot be written";
                    Failure::new(Code::Network, text).with_source(error)
                })?;
            }
            if expected != Some(received) {
                let text = "the length of the backup differs from the length that the server named";
                return Err(Failure::new(Code::BadResponse, text));
            }
            Ok(received)
        };
        let copied = copied.await;
        copied.map_err(|failure| scrub_failure(failure, &metadata.request_id, &secrets).into())
    }

    /// Streams all events, from the filter's page to the last one. Each page is fetched when its
    /// first event is needed.
    ///
    /// The stream ends with the first error. Two mistakes of a server are errors: a repeated
    /// cursor, which would make the stream endless, and more than 100 empty pages in a row.
    ///
    /// ```no_run
    /// use atlasent::{Client, client::EventFilter};
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn f(client: Client) -> Result<(), atlasent::Error> {
    /// let denied = EventFilter::default().types(["evaluate.deny"]).limit(500);
    /// let mut events = std::pin::pin!(client.audit_event_stream(denied));
    /// while let Some(event) = events.try_next().await? {
    ///     println!("{:?}", event.envelope.actor_id);
    /// }
    /// # Ok(()) }
    /// ```
    pub fn audit_event_stream(
        &self,
        filter: EventFilter,
    ) -> impl Stream<Item = Result<Event, Error>> + Send + use<> {
        pages::item_stream(self, filter)
    }

    /// Fetches a signed export of the audit trail: `POST /v1-audit/exports`. The page settings of
    /// the filter are ignored.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer, or the export is larger than the
    /// [limit](super::ClientBuilder::export_limit).
    pub async fn audit_export(&self, filter: &EventFilter) -> Result<AuditExport, Error> {
        #[derive(Deserialize)]
        struct Wire {
            export_id: String,
            chain_head_hash: String,
            #[serde(rename = "events")]
            _events: Vec<IgnoredAny>,
        }
        let transport = &self.shared.transport;
        let call = transport.post("/v1-audit/exports", filter)?;
        let call = call.answer_limit(self.shared.export_limit);
        let answer = transport.fetch_response(&call).await?;
        // The bundle is kept byte for byte: any change would invalidate its signature.
        let Object(export) = answer.read_unchanged::<Object<Wire>>()?;
        let scrub = |text: &str| answer.secrets.scrub(text).into_owned();
        Ok(AuditExport {
            export_id: scrub(&export.export_id),
            chain_head_hash: scrub(&export.chain_head_hash),
            bundle: answer.body,
            rate_limit: answer.metadata.rate_limit,
        })
    }
}

impl PagedFilter for EventFilter {
    type Item = Event;
    const ITEMS: &'static str = "events";

    async fn fetch(&self, client: &Client) -> Result<(Vec<Event>, Option<String>), Error> {
        let page = client.audit_events(self).await?;
        Ok((page.events, page.next_cursor))
    }

    fn starting_at(self, cursor: String) -> Self {
        self.cursor(cursor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_only_what_is_set() {
        assert!(EventFilter::default().query().is_empty());
        assert!(EventFilter::default().types([""; 0]).query().is_empty());
        let filter = EventFilter::default()
            .types(["a", "b"])
            .since("s")
            .limit(7)
            .cursor("c");
        let expected = [
            ("types", "a,b"),
            ("from", "s"),
            ("limit", "7"),
            ("cursor", "c"),
        ];
        assert_eq!(
            filter.query(),
            expected.map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn a_second_call_replaces_what_the_first_one_set() {
        let filter = EventFilter::default()
            .types(["a", "b"])
            .actor_id("a")
            .since("a")
            .until("a")
            .limit(1)
            .cursor("a")
            .types(["c"])
            .actor_id("b")
            .since("b")
            .until("b")
            .limit(2)
            .cursor("b");
        let values: Vec<_> = filter.query().into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["c", "b", "b", "b", "2", "b"]);
        assert!(filter.types([""; 0]).types.is_none());
    }

    #[test]
    fn an_export_is_asked_for_without_pages() {
        let filter = EventFilter::default()
            .actor_id("a")
            .until("u")
            .limit(7)
            .cursor("c");
        assert_eq!(
            serde_json::to_string(&filter).unwrap(),
            r#"{"actor_id":"a","to":"u"}"#
        );
    }
}
