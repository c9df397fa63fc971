//! Calls about escalations: decisions that wait for people (contract, part D, "Approvals").

use futures_util::stream::Stream;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Client;
use super::message::ApiRequest;
use super::pages::{self, PagedFilter};
use super::path::item_path;
use super::retry::Repetition;
use super::transport::LIST_LIMIT;
use crate::Error;
use crate::error::{Code, Failure};
use crate::json::object::Object;
use crate::wire::{
    CastVote, CreateEscalation, EscalateRequest, Escalation, EscalationFilter, EscalationPage,
    EscalationStatus, EscalationStep, Vote,
};

impl Client {
    /// Opens an escalation: `POST /v1/hitl`. A hold or an escalation of `atlasent serve` opens one
    /// by itself, and names it in [`Denied::escalation_id`](crate::Denied::escalation_id).
    ///
    /// The call is repeated only if the server did not receive it: a repeated one would open a
    /// second escalation.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer. The escalation may be open
    /// nevertheless: [`escalations`](Self::escalations) lists it then.
    ///
    /// ```no_run
    /// use atlasent::wire::CreateEscalation;
    /// use atlasent::Client;
    ///
    /// # async fn f(client: Client) -> Result<(), atlasent::Error> {
    /// let mut request = CreateEscalation::new("deploy-bot", "the change window is closed");
    /// request.assigned_to_role = Some("release-manager".to_owned());
    /// let escalation = client.create_escalation(&request).await?;
    /// println!("{} waits for a release manager", escalation.id);
    /// # Ok(()) }
    /// ```
    pub async fn create_escalation(&self, request: &CreateEscalation) -> Result<Escalation, Error> {
        let call = self.shared.transport.post("/v1/hitl", request)?;
        let call = call.repeated(Repetition::OnlyUnsent);
        self.fetch_escalation(&call, |escalation| escalation.agent_id == request.agent_id)
            .await
    }

    /// Fetches a page of escalations, the newest first: `GET /v1/hitl`.
    ///
    /// # Errors
    ///
    /// [`Error::Failed`] when the server gave no usable answer.
    pub async fn escalations(&self, filter: &EscalationFilter) -> Result<EscalationPage, Error> {
        let transport = &self.shared.transport;
        let call = transport
            .get("/v1/hitl")
            .with_query(&filter.query())
            .answer_limit(LIST_LIMIT);
        let (mut page, metadata) = transport.fetch::<EscalationPage>(&call).await?;
        page.rate_limit = metadata.rate_limit;
        Ok(page)
    }

    /// Streams all escalations, from the filter's page to the last one. Each page is fetched when
    /// its first escalation is needed.
    ///
    /// The stream ends with the first error. Two mistakes of a server are errors: a repeated
    /// cursor, which would make the stream endless, and more than 100 empty pages in a row.
    pub fn escalation_stream(
        &self,
        filter: EscalationFilter,
    ) -> impl Stream<Item = Result<Escalation, Error>> + Send + use<> {
        pages::item_stream(self, filter)
    }

    /// Fetches an escalation: `GET /v1/hitl/{id}`. To wait for its end, call [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// [`Error::Invalid`] when `id` is not a valid id. [`Error::Failed`] when the server gave no
    /// usable answer; with [status](Failure::status) 404 when it does not know the escalation.
    pub async fn escalation(&self, id: &str) -> Result<Escalation, Error> {
        let call = self.shared.transport.get(&path(id, "")?);
        self.fetch_escalation(&call, |escalation| escalation.id == id)
            .await
    }

    /// Fetches the votes on an escalation: `GET /v1/hitl/{id}/approvals`.
    ///
    /// # Errors
    ///
    /// As [`escalation`](Self::escalation).
    pub async fn escalation_votes(&self, id: &str) -> Result<Vec<Vote>, Error> {
        #[derive(Deserialize)]
        struct Wire {
            approvals: Vec<Vote>,
        }
        let transport = &self.shared.transport;
        let call = transport
            .get(&path(id, "/approvals")?)
            .answer_limit(LIST_LIMIT);
        let (Object(wire), _) = transport.fetch::<Object<Wire>>(&call).await?;
        Ok(wire.approvals)
    }

    /// Fetches the steps by which an escalation was passed on: `GET /v1/hitl/{id}/chain`.
    ///
    /// # Errors
    ///
    /// As [`escalation`](Self::escalation).
    pub async fn escalation_chain(&self, id: &str) -> Result<Vec<EscalationStep>, Error> {
        #[derive(Deserialize)]
        struct Wire {
            chain: Vec<EscalationStep>,
        }
        let transport = &self.shared.transport;
        let call = transport.get(&path(id, "/chain")?).answer_limit(LIST_LIMIT);
        let (Object(wire), _) = transport.fetch::<Object<Wire>>(&call).await?;
        Ok(wire.chain)
    }

    /// Approves an escalation: `POST /v1/hitl/{id}/approve`. The returned escalation may still wait
    /// for further approvers.
    ///
    /// # Errors
    ///
    /// As [`escalation`](Self::escalation). With status 403 the key may not approve it; with 409 it
    /// has ended, or its key's owner has voted. After an answer that got lost, the vote may count.
    pub async fn approve(&self, id: &str, note: Option<&str>) -> Result<Escalation, Error> {
        self.approve_with(id, &CastVote::new(note.map(str::to_owned)))
            .await
    }

    /// Approves an escalation as [`approve`](Self::approve) does, for more than the one call where
    /// the vote says so ([`CastVote::for_any_context`]).
    ///
    /// # Errors
    ///
    /// As [`approve`](Self::approve).
    pub async fn approve_with(&self, id: &str, vote: &CastVote) -> Result<Escalation, Error> {
        self.change_escalation(id, "/approve", vote, Repetition::ByContract)
            .await
    }

    /// Rejects an escalation: `POST /v1/hitl/{id}/reject`.
    ///
    /// # Errors
    ///
    /// As [`approve`](Self::approve).
    pub async fn reject(&self, id: &str, note: Option<&str>) -> Result<Escalation, Error> {
        let vote = CastVote::new(note.map(str::to_owned));
        self.change_escalation(id, "/reject", &vote, Repetition::ByContract)
            .await
    }

    /// Passes an escalation on to other approvers: `POST /v1/hitl/{id}/escalate`.
    ///
    /// The call is repeated only if the server did not receive it: a repeated one would pass the
    /// escalation on twice.
    ///
    /// # Errors
    ///
    /// As [`escalation`](Self::escalation).
    pub async fn escalate(&self, id: &str, request: &EscalateRequest) -> Result<Escalation, Error> {
        self.change_escalation(id, "/escalate", request, Repetition::OnlyUnsent)
            .await
    }

    /// Ends an escalation as timed out: `POST /v1/hitl/{id}/timeout`. The action stays refused.
    ///
    /// # Errors
    ///
    /// As [`escalation`](Self::escalation). An answer with another status than `timed_out` is an
    /// error: the escalation may still be open.
    pub async fn time_out_escalation(&self, id: &str) -> Result<Escalation, Error> {
        let escalation = self
            .change_escalation(id, "/timeout", &json!({}), Repetition::ByContract)
            .await?;
        match escalation.status {
            EscalationStatus::TimedOut => Ok(escalation),
            status => {
                let text = format!("the escalation is not timed out, but {status}");
                Err(Failure::new(Code::BadResponse, text).into())
            }
        }
    }

    async fn change_escalation(
        &self,
        id: &str,
        operation: &str,
        body: &impl Serialize,
        repetition: Repetition,
    ) -> Result<Escalation, Error> {
        let call = self.shared.transport.post(&path(id, operation)?, body)?;
        let call = call.repeated(repetition);
        self.fetch_escalation(&call, |escalation| escalation.id == id)
            .await
    }

    /// Sends a call, and returns the escalation in the answer if it is the requested one.
    async fn fetch_escalation(
        &self,
        call: &ApiRequest,
        is_requested: impl Fn(&Escalation) -> bool + Send,
    ) -> Result<Escalation, Error> {
        let mut answer = self.shared.transport.fetch_response(call).await?;
        let mut escalation = answer.read::<Escalation>()?;
        if !is_requested(&escalation) {
            let text = "the answer is about another escalation";
            return Err(answer.fail(Failure::new(Code::BadResponse, text)));
        }
        escalation.rate_limit = answer.metadata.rate_limit;
        Ok(escalation)
    }
}

impl PagedFilter for EscalationFilter {
    type Item = Escalation;
    const ITEMS: &'static str = "escalations";

    async fn fetch(&self, client: &Client) -> Result<(Vec<Escalation>, Option<String>), Error> {
        let page = client.escalations(self).await?;
        Ok((page.escalations, page.next_cursor))
    }

    fn starting_at(self, cursor: String) -> Self {
        self.cursor(cursor)
    }
}

/// Returns the path of an operation on an escalation.
pub(super) fn path(id: &str, operation: &str) -> Result<String, Error> {
    item_path("/v1/hitl", id, operation, "an escalation")
}
