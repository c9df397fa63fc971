//! Permits by their public ids: what the server has on record of them, and how they are taken back.

use futures_util::stream::Stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Client;
use super::pages::{self, Paged};
use super::transport::{Answer, Call};
use crate::Error;
use crate::error::{Code, Failure};
use crate::json::object::{Object, ObjectAndOthers};
use crate::json::unique;
use crate::text::redact::excerpt;
use crate::wire::{OtherFields, PermitInfo, PermitStatus, RateLimit};

/// Which permits are asked for. Without any of these, all.
///
/// Each method narrows the list further. A second call of the same method replaces the first.
///
/// ```
/// use atlasent::wire::PermitStatus;
/// use atlasent::client::PermitFilter;
///
/// let filter = PermitFilter::default()
///     .status(PermitStatus::Issued)
///     .actor_id("deploy-bot")
///     .since("2026-11-01T00:00:00Z")
///     .limit(200);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct PermitFilter {
    status: Option<PermitStatus>,
    actor_id: Option<String>,
    action_type: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<u32>,
    cursor: Option<String>,
}

impl PermitFilter {
    /// Only permits that stand here. A second call replaces the first.
    pub fn status(mut self, status: PermitStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Only permits of this agent. A second call replaces the first.
    pub fn actor_id(mut self, agent: impl Into<String>) -> Self {
        self.actor_id = Some(agent.into());
        self
    }

    /// Only permits for this action. A second call replaces the first.
    pub fn action_type(mut self, action: impl Into<String>) -> Self {
        self.action_type = Some(action.into());
        self
    }

    /// Only permits that were granted at or after this time (ISO 8601). A second call replaces the
    /// first.
    pub fn since(mut self, time: impl Into<String>) -> Self {
        self.from = Some(time.into());
        self
    }

    /// Only permits that were granted at or before this time (ISO 8601). A second call replaces the
    /// first.
    pub fn until(mut self, time: impl Into<String>) -> Self {
        self.to = Some(time.into());
        self
    }

    /// How many permits a page holds: 50 by default, and 500 at the most. A second call replaces
    /// the first.
    pub fn limit(mut self, permits: u32) -> Self {
        self.limit = Some(permits);
        self
    }

    /// The page that [`PermitPage::next_cursor`] points to. A second call replaces the first.
    pub fn cursor(mut self, cursor: impl Into<String>) -> Self {
        self.cursor = Some(cursor.into());
        self
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let status = self
            .status
            .as_ref()
            .map(|status| status.as_str().to_owned());
        let limit = self.limit.map(|limit| limit.to_string());
        [
            ("status", &status),
            ("actor_id", &self.actor_id),
            ("action_type", &self.action_type),
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

/// One page of permits, the newest first.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PermitPage {
    /// The permits.
    pub permits: Vec<PermitInfo>,
    /// How many permits there are on all pages.
    pub total: u64,
    /// Where the next page starts; none on the last one.
    pub next_cursor: Option<String>,
    /// How much of the rate limit is left.
    pub rate_limit: Option<RateLimit>,
}

/// What the server said of a permit when it was asked to look at it. Looking consumes nothing, so
/// it opens nothing either.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PermitInspection {
    /// Whether the permit was good at that moment.
    pub valid: bool,
    /// Why it was not.
    pub reason: Option<String>,
    /// When the server looked (ISO 8601).
    pub verified_at: String,
    /// What the server's verdict rests on, as JSON: `permit_id`, `status`, `actor_id` and others of
    /// the permit's fields.
    pub evidence: OtherFields,
    /// The permit.
    pub permit: PermitInfo,
}

impl Client {
    /// Looks a permit up by its public id: `GET /v1/permits/{id}`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `id` cannot be an id. [`Error::Failed`] when there was no usable
    /// answer: one with [status](Failure::status) 404 when the server does not know the permit.
    ///
    /// ```no_run
    /// use atlasent::wire::PermitStatus;
    /// use atlasent::Client;
    ///
    /// # async fn f(client: Client, id: &str) -> Result<(), atlasent::Error> {
    /// let permit = client.get_permit(id).await?;
    /// if permit.status == PermitStatus::Revoked {
    ///     println!("taken back by {:?}: {:?}", permit.revoked_by, permit.revoke_reason);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn get_permit(&self, id: &str) -> Result<PermitInfo, Error> {
        let call = self.shared.transport.get(&path(id, "")?, &[])?;
        self.fetch_permit(id, &call).await.map(|(permit, _)| permit)
    }

    /// One page of permits, the newest first: `GET /v1/permits`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when there was no usable answer.
    pub async fn list_permits(&self, filter: &PermitFilter) -> Result<PermitPage, Error> {
        #[derive(Deserialize)]
        struct Wire {
            permits: Vec<PermitInfo>,
            total: u64,
            next_cursor: Option<String>,
        }
        let transport = &self.shared.transport;
        let call = transport.get("/v1/permits", &filter.query())?;
        let (Object(page), about) = transport.fetch::<Object<Wire>>(&call).await?;
        Ok(PermitPage {
            permits: page.permits,
            total: page.total,
            // Servers say "no more" in either way.
            next_cursor: page.next_cursor.filter(|cursor| !cursor.is_empty()),
            rate_limit: about.rate_limit,
        })
    }

    /// All permits from the page that the filter starts at to the last one, fetched as they are
    /// taken.
    ///
    /// The stream ends with the first error. A cursor that comes back is one, since the server
    /// leads in a circle, and so are more than 100 pages in a row without a permit.
    pub fn permit_stream(
        &self,
        filter: PermitFilter,
    ) -> impl Stream<Item = Result<PermitInfo, Error>> + Send + use<> {
        pages::items(self, filter)
    }

    /// Asks the server whether a permit is good, and leaves it as it is:
    /// `POST /v1/permits/{id}/verify`.
    ///
    /// It uses nothing up, so it opens nothing: the answer may be out of date as soon as it is
    /// there. The verification that consumes, and leads to a [`Permit`](crate::Permit), is
    /// [`verify`](Self::verify) with the permit's token.
    ///
    /// # Errors
    ///
    /// As [`get_permit`](Self::get_permit). A permit that is not good is an answer. A verdict that
    /// contradicts the permit's status is an error.
    pub async fn inspect_permit(&self, id: &str) -> Result<PermitInspection, Error> {
        #[derive(Deserialize)]
        struct Wire {
            valid: bool,
            verification_type: Option<String>,
            reason: Option<String>,
            verified_at: String,
            #[serde(deserialize_with = "unique::object_of_answer")]
            evidence: Map<String, Value>,
        }
        let transport = &self.shared.transport;
        let call = transport.post(&path(id, "/verify")?, &json!({}))?;
        let mut said = transport.fetch_answer(&call).await?;
        let answer = said.read::<ObjectAndOthers<Wire>>()?;
        // What is not of the verdict is of the permit, whose errors may repeat what they found.
        let permit = serde_json::from_value(Value::Object(answer.other))
            .map_err(|_| bad_answer("the permit in the answer cannot be read", &said))?;
        let (wire, permit) = (answer.known, permit_asked_for(id, permit, &said)?);
        let says = |name, expected: &str| {
            let said = wire.evidence.get(name).filter(|said| !said.is_null());
            said.is_none_or(|said| said.as_str() == Some(expected))
        };
        let agrees = says("permit_id", id)
            && says("status", permit.status.as_str())
            && (!wire.valid || permit.status.is_open())
            && wire.verification_type.is_none_or(|kind| kind == "permit");
        if !agrees {
            return Err(bad_answer("the answer contradicts itself", &said));
        }
        Ok(PermitInspection {
            valid: wire.valid,
            reason: wire.reason,
            verified_at: wire.verified_at,
            evidence: OtherFields::new(wire.evidence),
            permit,
        })
    }

    /// Takes a permit back before it is used, by its public id: `POST /v1/permits/{id}/revoke`. A
    /// permit that is taken back already stays so, and is no error.
    ///
    /// # Errors
    ///
    /// As [`get_permit`](Self::get_permit), and [`Error::Failed`] with [status](Failure::status)
    /// 409 when the permit is used up, 410 when it has expired. An answer that does not say
    /// `revoked` is an error: the permit may still be good.
    pub async fn revoke_permit_by_id(
        &self,
        id: &str,
        reason: Option<&str>,
    ) -> Result<PermitInfo, Error> {
        let body = match reason {
            Some(reason) => json!({ "reason": reason }),
            None => json!({}),
        };
        let call = self.shared.transport.post(&path(id, "/revoke")?, &body)?;
        let (permit, answer) = self.fetch_permit(id, &call).await?;
        if permit.status != PermitStatus::Revoked {
            let text = format!("the permit is not revoked, but {}", permit.status);
            return Err(bad_answer(text, &answer));
        }
        Ok(permit)
    }

    async fn fetch_permit(&self, id: &str, call: &Call) -> Result<(PermitInfo, Answer), Error> {
        let mut answer = self.shared.transport.fetch_answer(call).await?;
        let permit = permit_asked_for(id, answer.read()?, &answer)?;
        Ok((permit, answer))
    }
}

/// The permit, unless it is another one.
fn permit_asked_for(
    id: &str,
    mut permit: PermitInfo,
    answer: &Answer,
) -> Result<PermitInfo, Error> {
    if permit.id != id {
        return Err(bad_answer("the answer is about another permit", answer));
    }
    permit.rate_limit = answer.about.rate_limit;
    Ok(permit)
}

fn bad_answer(text: impl Into<String>, answer: &Answer) -> Error {
    answer.fail(Failure::new(Code::BadResponse, text))
}

impl Paged for PermitFilter {
    type Item = PermitInfo;
    const ITEMS: &'static str = "permits";

    async fn fetch(&self, client: &Client) -> Result<(Vec<PermitInfo>, Option<String>), Error> {
        let page = client.list_permits(self).await?;
        Ok((page.permits, page.next_cursor))
    }

    fn starting_at(self, cursor: String) -> Self {
        self.cursor(cursor)
    }
}

/// The path of a permit. Its id is checked, since another text could be another path, or a secret
/// that would be logged.
fn path(id: &str, operation: &str) -> Result<String, Error> {
    let is_good = (1..=256).contains(&id.len())
        && (id.bytes()).all(|byte| byte.is_ascii_alphanumeric() || b"_-.:~".contains(&byte))
        && !id.trim_matches('.').is_empty();
    if is_good {
        return Ok(format!("/v1/permits/{id}{operation}"));
    }
    Err(Error::invalid(format!(
        "`{}` is not the id of a permit, which has at most 256 letters, digits and `_-.:~`",
        excerpt(id)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_only_what_is_set() {
        assert!(PermitFilter::default().query().is_empty());
        let filter = PermitFilter::default()
            .status(PermitStatus::Issued)
            .status(PermitStatus::Revoked)
            .actor_id("a")
            .action_type("b")
            .since("s")
            .until("u")
            .limit(7)
            .cursor("c");
        let said = [
            ("status", "revoked"),
            ("actor_id", "a"),
            ("action_type", "b"),
            ("from", "s"),
            ("to", "u"),
            ("limit", "7"),
            ("cursor", "c"),
        ];
        assert_eq!(
            filter.query(),
            said.map(|(name, value)| (name, value.to_owned()))
        );
    }

    #[test]
    fn an_id_never_leads_to_another_path() {
        assert_eq!(path("pt_1", "/verify").unwrap(), "/v1/permits/pt_1/verify");
        for id in [
            "",
            ".",
            "..",
            "a/b",
            "a?b",
            "a#b",
            "a%2fb",
            "a b",
            "a\nb",
            "ü",
            &"x".repeat(257),
        ] {
            assert!(matches!(path(id, ""), Err(Error::Invalid(_))), "{id:?}");
        }
    }
}
