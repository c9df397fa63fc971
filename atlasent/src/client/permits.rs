//! Calls about permits by their public ids: lookup, list, inspection and revocation.

use futures_util::stream::Stream;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Client;
use super::message::{ApiRequest, ApiResponse};
use super::pages::{self, PagedFilter};
use super::path::item_path;
use super::transport::LIST_LIMIT;
use crate::Error;
use crate::error::{Code, Failure};
use crate::json::object::{Object, ObjectAndOthers};
use crate::json::unique;
use crate::wire::{OtherFields, PermitInfo, PermitStatus, RateLimit};

/// Selects permits. The default selects all permits.
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
    /// Selects permits with this status. A second call replaces the first.
    pub fn status(mut self, status: PermitStatus) -> Self {
        self.status = Some(status);
        self
    }

    /// Selects permits of this agent. A second call replaces the first.
    pub fn actor_id(mut self, agent: impl Into<String>) -> Self {
        self.actor_id = Some(agent.into());
        self
    }

    /// Selects permits for this action. A second call replaces the first.
    pub fn action_type(mut self, action: impl Into<String>) -> Self {
        self.action_type = Some(action.into());
        self
    }

    /// Selects permits that were granted at or after this time (ISO 8601). A second call replaces
    /// the first.
    pub fn since(mut self, time: impl Into<String>) -> Self {
        self.from = Some(time.into());
        self
    }

    /// Selects permits that were granted at or before this time (ISO 8601). A second call replaces
    /// the first.
    pub fn until(mut self, time: impl Into<String>) -> Self {
        self.to = Some(time.into());
        self
    }

    /// Sets the number of permits on a page: 50 by default, 500 at most. A page may have fewer,
    /// also before the last one. A second call replaces the first.
    pub fn limit(mut self, permits: u32) -> Self {
        self.limit = Some(permits);
        self
    }

    /// Selects the page at this cursor, taken from [`PermitPage::next_cursor`]. A second call
    /// replaces the first.
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

/// A page of permits, the newest first.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PermitPage {
    /// The permits.
    pub permits: Vec<PermitInfo>,
    /// The number of permits on all pages.
    pub total: u64,
    /// The cursor of the next page. `None` on the last page.
    pub next_cursor: Option<String>,
    /// The rate limit after this call. `None` if the server sent none.
    pub rate_limit: Option<RateLimit>,
}

/// The result of [`Client::inspect_permit`]. Inspecting does not consume the permit, and does not
/// authorize the action.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PermitInspection {
    /// Whether the permit was valid at the time of the inspection.
    pub valid: bool,
    /// The reason why the permit was not valid.
    pub reason: Option<String>,
    /// The time of the inspection (ISO 8601).
    pub verified_at: String,
    /// The fields of the permit that led to the result, as JSON: `permit_id`, `status`, `actor_id`
    /// and others.
    pub evidence: OtherFields,
    /// The permit.
    pub permit: PermitInfo,
}

impl Client {
    /// Fetches the server's record of a permit by its public id: `GET /v1/permits/{id}`.
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `id` is not a valid id. [`Error::Failed`] when the server gave no
    /// usable answer; with [status](Failure::status) 404 when it does not know the permit.
    ///
    /// ```no_run
    /// use atlasent::wire::PermitStatus;
    /// use atlasent::Client;
    ///
    /// # async fn f(client: Client, id: &str) -> Result<(), atlasent::Error> {
    /// let permit = client.get_permit(id).await?;
    /// if permit.status == PermitStatus::Revoked {
    ///     println!("revoked by {:?}: {:?}", permit.revoked_by, permit.revoke_reason);
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn get_permit(&self, id: &str) -> Result<PermitInfo, Error> {
        let call = self.shared.transport.get(&path(id, "")?);
        self.fetch_permit(id, &call).await.map(|(permit, _)| permit)
    }

    /// Fetches a page of permits, the newest first: `GET /v1/permits`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer.
    pub async fn list_permits(&self, filter: &PermitFilter) -> Result<PermitPage, Error> {
        #[derive(Deserialize)]
        struct Wire {
            permits: Vec<PermitInfo>,
            total: u64,
            next_cursor: Option<String>,
        }
        let transport = &self.shared.transport;
        let call = transport
            .get("/v1/permits")
            .with_query(&filter.query())
            .answer_limit(LIST_LIMIT);
        let (Object(page), metadata) = transport.fetch::<Object<Wire>>(&call).await?;
        Ok(PermitPage {
            permits: page.permits,
            total: page.total,
            // On the last page, servers send `null` or an empty cursor.
            next_cursor: page.next_cursor.filter(|cursor| !cursor.is_empty()),
            rate_limit: metadata.rate_limit,
        })
    }

    /// Streams all permits, from the filter's page to the last one. Each page is fetched when its
    /// first permit is needed.
    ///
    /// The stream ends with the first error. Two mistakes of a server are errors: a repeated
    /// cursor, which would make the stream endless, and more than 100 empty pages in a row.
    pub fn permit_stream(
        &self,
        filter: PermitFilter,
    ) -> impl Stream<Item = Result<PermitInfo, Error>> + Send + use<> {
        pages::item_stream(self, filter)
    }

    /// Asks the server whether a permit is valid, without consuming it:
    /// `POST /v1/permits/{id}/verify`.
    ///
    /// The result does not authorize the action, because it may be out of date when it arrives. To
    /// consume a permit, call [`verify`](Self::verify) with its token.
    ///
    /// # Errors
    ///
    /// As [`get_permit`](Self::get_permit), and [`Error::Failed`] when the answer contradicts the
    /// permit's status. An invalid permit is returned as a [`PermitInspection`], not as an error.
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
        let mut response = transport.fetch_response(&call).await?;
        let answer = response.read::<ObjectAndOthers<Wire>>()?;
        // The other fields are those of the permit. The error's text is left out, because it may
        // repeat a secret from the answer.
        let permit = serde_json::from_value(Value::Object(answer.other))
            .map_err(|_| bad_answer("the permit in the answer cannot be read", &response))?;
        let (wire, permit) = (answer.known, requested_permit(id, permit, &response)?);
        let confirms = |name, expected: &str| {
            let value = wire.evidence.get(name).filter(|value| !value.is_null());
            value.is_none_or(|value| value.as_str() == Some(expected))
        };
        let agrees = confirms("permit_id", id)
            && confirms("status", permit.status.as_str())
            && (!wire.valid || permit.status.is_open())
            && wire.verification_type.is_none_or(|kind| kind == "permit");
        if !agrees {
            return Err(bad_answer("the answer contradicts itself", &response));
        }
        Ok(PermitInspection {
            valid: wire.valid,
            reason: wire.reason,
            verified_at: wire.verified_at,
            evidence: OtherFields::new(wire.evidence),
            permit,
        })
    }

    /// Revokes an unused permit by its public id: `POST /v1/permits/{id}/revoke`. Revoking a
    /// revoked permit succeeds and changes nothing.
    ///
    /// # Errors
    ///
    /// As [`get_permit`](Self::get_permit), and [`Error::Failed`] with [status](Failure::status)
    /// 409 when the permit is used up, 410 when it has expired. An answer with another status than
    /// `revoked` is an error: the permit may still be valid.
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

    async fn fetch_permit(
        &self,
        id: &str,
        call: &ApiRequest,
    ) -> Result<(PermitInfo, ApiResponse), Error> {
        let mut answer = self.shared.transport.fetch_response(call).await?;
        let permit = requested_permit(id, answer.read()?, &answer)?;
        Ok((permit, answer))
    }
}

/// Returns the permit, or an error if its id differs from the requested one.
fn requested_permit(
    id: &str,
    mut permit: PermitInfo,
    answer: &ApiResponse,
) -> Result<PermitInfo, Error> {
    if permit.id != id {
        return Err(bad_answer("the answer is about another permit", answer));
    }
    permit.rate_limit = answer.metadata.rate_limit;
    Ok(permit)
}

fn bad_answer(text: impl Into<String>, answer: &ApiResponse) -> Error {
    answer.fail(Failure::new(Code::BadResponse, text))
}

impl PagedFilter for PermitFilter {
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

pub(super) fn path(id: &str, operation: &str) -> Result<String, Error> {
    item_path("/v1/permits", id, operation, "a permit")
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
        let expected = [
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
            expected.map(|(name, value)| (name, value.to_owned()))
        );
    }
}
