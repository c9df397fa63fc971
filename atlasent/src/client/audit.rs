//! The audit trail of the server: its events page by page, and exports of it.

use std::fmt;
use std::io::Write;

use futures_util::stream::Stream;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use tokio::time::timeout;

use super::pages::{self, Paged};
use super::transport::describe;
use super::{Client, failure};
use crate::Error;
use crate::audit::{BundleError, BundleReport, BundleVerifier, Event, SignedHead, TrustedKeys};
use crate::error::{Code, Failure};
use crate::json::object::Object;
use crate::wire::RateLimit;

/// Which events are asked for. Without any of these, all.
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
    // Pages are for listing alone: an export is one piece.
    #[serde(skip)]
    limit: Option<u32>,
    #[serde(skip)]
    cursor: Option<String>,
}

impl EventFilter {
    /// Only events of these types, such as `evaluate.deny`. A second call replaces them, and an
    /// empty list asks for all.
    pub fn types<T: AsRef<str>>(mut self, types: impl IntoIterator<Item = T>) -> Self {
        let types: Vec<_> = types.into_iter().collect();
        let types: Vec<_> = types.iter().map(AsRef::as_ref).collect();
        self.types = Some(types.join(",")).filter(|types| !types.is_empty());
        self
    }

    /// Only events of this agent. A second call replaces the first.
    pub fn actor_id(mut self, agent: impl Into<String>) -> Self {
        self.actor_id = Some(agent.into());
        self
    }

    /// Only events at or after this time (ISO 8601). A second call replaces the first.
    pub fn since(mut self, time: impl Into<String>) -> Self {
        self.from = Some(time.into());
        self
    }

    /// Only events at or before this time (ISO 8601). A second call replaces the first.
    pub fn until(mut self, time: impl Into<String>) -> Self {
        self.to = Some(time.into());
        self
    }

    /// How many events a page holds. A server gives 50 unasked, and 500 at the most. An export has
    /// no pages. A second call replaces the first.
    pub fn limit(mut self, events: u32) -> Self {
        self.limit = Some(events);
        self
    }

    /// The page that [`EventPage::next_cursor`] points to. An export has no pages. A second call
    /// replaces the first.
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

/// One page of the audit trail.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EventPage {
    /// The events.
    pub events: Vec<Event>,
    /// How many events there are on all pages.
    pub total: u64,
    /// Where the next page starts; none on the last one.
    pub next_cursor: Option<String>,
    /// How much of the rate limit is left.
    pub rate_limit: Option<RateLimit>,
}

/// An export of the audit trail, byte for byte as it came, so that its signature can be checked.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditExport {
    /// The export's id.
    pub export_id: String,
    /// The hash of its last event.
    pub chain_head_hash: String,
    /// The bundle. Nothing in it is believed before it is verified.
    pub bundle: Vec<u8>,
    /// How much of the rate limit is left.
    pub rate_limit: Option<RateLimit>,
}

/// Prints how large the bundle is, and nothing of it.
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
    /// Checks the chain of its events, and its signature.
    ///
    /// # Errors
    ///
    /// [`BundleError`] when it is not a bundle. One that does not hold is an answer.
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
    /// One page of the audit trail: `GET /v1-audit/events`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when there was no usable answer.
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
        let call = transport.get("/v1-audit/events", &filter.query())?;
        let (Object(page), about) = transport.fetch::<Object<Wire>>(&call).await?;
        Ok(EventPage {
            events: page.events,
            total: page.total,
            // Servers say "no more" in either way.
            next_cursor: page.next_cursor.filter(|cursor| !cursor.is_empty()),
            rate_limit: about.rate_limit,
        })
    }

    /// The signed head of the audit trail: `GET /v1/audit/head`, which `atlasent serve` answers.
    /// Keep it where the server cannot write, and check later exports against it.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when there was no usable answer.
    ///
    /// ```no_run
    /// # async fn f(client: atlasent::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let head = client.audit_head().await?;
    /// std::fs::write("head.json", serde_json::to_vec(&head)?)?;
    /// # Ok(()) }
    /// ```
    pub async fn audit_head(&self) -> Result<SignedHead, Error> {
        let transport = &self.shared.transport;
        let call = transport.get("/v1/audit/head", &[])?;
        let (head, _) = transport.fetch::<SignedHead>(&call).await?;
        Ok(head)
    }

    /// A copy of the server's whole store, written to `out` as it comes: `POST /v1/store/backup`,
    /// which `atlasent serve` answers for a store in a file. Returns how many bytes there are.
    ///
    /// Each piece has to come within the [timeout](super::ClientBuilder::timeout). What was written
    /// before an error is no store.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when there was no usable answer, it broke off, or `out` does not take it.
    pub async fn store_backup(&self, out: &mut (impl Write + Send)) -> Result<u64, Error> {
        let transport = &self.shared.transport;
        let call = transport.post("/v1/store/backup", &serde_json::json!({}))?;
        let call = call.accept("application/octet-stream");
        let (mut response, about, secrets) = transport.open(&call).await?;
        let expected = response.content_length();
        let limit = transport.limits.timeout;
        let copied = async {
            let mut received = 0;
            loop {
                let chunk = timeout(limit, response.chunk()).await.map_err(|_| {
                    Failure::new(Code::Timeout, format!("nothing came for {limit:?}"))
                })?;
                let chunk = chunk.map_err(|error| *failure::of_transport(error).failure)?;
                let Some(chunk) = chunk else { break };
                received += chunk.len() as u64;
                out.write_all(&chunk).map_err(|error| {
                    let text = "the backup cannot be written";
                    Failure::new(Code::Network, text).with_source(error)
                })?;
            }
            if expected != Some(received) {
                let text = "the backup has another length than the server named";
                return Err(Failure::new(Code::BadResponse, text));
            }
            Ok(received)
        };
        let copied = copied.await;
        copied.map_err(|failure| describe(failure, &about.request_id, &secrets).into())
    }

    /// All events from the page that the filter starts at to the last one, fetched as they are
    /// taken.
    ///
    /// The stream ends with the first error. A cursor that comes back is one, since the server
    /// leads in a circle, and so are more than 100 pages in a row without an event.
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
        pages::items(self, filter)
    }

    /// A signed export of the audit trail: `POST /v1-audit/exports`. A filter's page settings do
    /// not count.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when there was no usable answer, or it is larger than the
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
        let answer = transport
            .fetch_bytes(&call, self.shared.export_limit)
            .await?;
        // The bundle is kept byte for byte, or its signature would not hold.
        let Object(export) = answer.read_unchanged::<Object<Wire>>()?;
        let scrub = |text: &str| answer.secrets.scrub(text).into_owned();
        Ok(AuditExport {
            export_id: scrub(&export.export_id),
            chain_head_hash: scrub(&export.chain_head_hash),
            bundle: answer.body,
            rate_limit: answer.about.rate_limit,
        })
    }
}

impl Paged for EventFilter {
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
        let said = [
            ("types", "a,b"),
            ("from", "s"),
            ("limit", "7"),
            ("cursor", "c"),
        ];
        assert_eq!(
            filter.query(),
            said.map(|(name, value)| (name, value.to_owned()))
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
        let said: Vec<_> = filter.query().into_iter().map(|(_, value)| value).collect();
        assert_eq!(said, ["c", "b", "b", "b", "2", "b"]);
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
