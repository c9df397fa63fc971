//! The request and the answer of one call.

use std::time::Duration;

use reqwest::{Method, Url};
use serde::de::DeserializeOwned;

use super::credential::Credential;
use super::failure;
use super::retry::Repetition;
use super::secrets::Secrets;
use crate::Error;
use crate::error::{Code, Failure};
use crate::wire::{PermitToken, RateLimit};

/// A request to one of the contract's endpoints.
pub(super) struct ApiRequest {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) body: Option<Vec<u8>>,
    pub(super) accept: &'static str,
    /// Whether the policies decide about the call, so that their schema matters.
    pub(super) decides: bool,
    /// A permit token in the body, in a member whose name may not mark it as a token.
    pub(super) permit: Option<PermitToken>,
    /// Whether the body may hold secrets that have to be looked for.
    pub(super) is_searched: bool,
    /// The maximum size of the answer in bytes.
    pub(super) answer_limit: usize,
    /// Whether and how the call is repeated after a failure.
    pub(super) repetition: Repetition,
}

impl ApiRequest {
    pub(super) fn accept(self, accept: &'static str) -> Self {
        Self { accept, ..self }
    }

    /// Adds a query to the URL.
    pub(super) fn with_query<V: AsRef<str>>(mut self, query: &[(&'static str, V)]) -> Self {
        if !query.is_empty() {
            self.url.query_pairs_mut().extend_pairs(query);
        }
        self
    }

    /// Marks a call that the policies decide about.
    pub(super) fn deciding(self) -> Self {
        let decides = true;
        Self { decides, ..self }
    }

    pub(super) fn with_permit(self, permit: &PermitToken) -> Self {
        let permit = Some(permit.clone());
        Self { permit, ..self }
    }

    /// Marks a call whose body holds no other secret than the permit.
    pub(super) fn without_other_secrets(self) -> Self {
        let is_searched = false;
        Self {
            is_searched,
            ..self
        }
    }

    /// Sets the maximum size of the answer.
    pub(super) fn answer_limit(self, bytes: usize) -> Self {
        Self {
            answer_limit: bytes,
            ..self
        }
    }

    pub(super) fn repeated(self, repetition: Repetition) -> Self {
        Self { repetition, ..self }
    }

    /// Returns the secrets that the request sends. They must not occur in an error, an answer or a
    /// log line.
    pub(super) fn secrets(&self, credential: &Credential) -> Secrets {
        let mut secrets = Secrets::new(credential);
        if let Some(permit) = &self.permit {
            secrets.add_permit(permit);
        }
        let body = self.body.as_deref().filter(|_| self.is_searched);
        let body = body.map(str::from_utf8);
        if let Some(Ok(body)) = body {
            secrets.add_request(body);
        }
        secrets
    }
}

/// A success, with its whole body.
pub(super) struct ApiResponse {
    pub(super) body: Vec<u8>,
    pub(super) metadata: ResponseMetadata,
    pub(super) secrets: Secrets,
}

impl ApiResponse {
    /// Reads the body as JSON, without the secrets of the call that it repeats.
    pub(super) fn read<T: DeserializeOwned>(&mut self) -> Result<T, Error> {
        let Ok(text) = str::from_utf8(&self.body) else {
            return Err(self.fail(not_utf8()));
        };
        let text = self.secrets.scrub_answer(text);
        serde_json::from_str(&text).map_err(|error| self.fail(failure::from_json(&error)))
    }

    /// Reads members of the body as they were received, without removing secrets.
    pub(super) fn read_unchanged<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let read = str::from_utf8(&self.body).map_err(|_| not_utf8());
        read.and_then(|text| serde_json::from_str(text).map_err(|error| failure::from_json(&error)))
            .map_err(|failure| self.fail(failure))
    }

    /// Returns the error of a call whose answer is not usable.
    pub(super) fn fail(&self, failure: Failure) -> Error {
        scrub_failure(failure, &self.metadata.request_id, &self.secrets).into()
    }
}

/// The data of an answer outside its body.
#[derive(Debug)]
pub(super) struct ResponseMetadata {
    pub(super) request_id: String,
    pub(super) rate_limit: Option<RateLimit>,
    pub(super) retry_after: Option<Duration>,
    /// Whether the answer is to a retry. An earlier attempt may have reached the server.
    pub(super) retried: bool,
}

/// Removes the secrets of the call from a failure, and adds the id of its request.
pub(super) fn scrub_failure(failure: Failure, request_id: &str, secrets: &Secrets) -> Failure {
    failure
        .scrub(
            |text| secrets.scrub(text).into_owned(),
            |text| secrets.occur_in(text),
        )
        .with_request_id(request_id)
}

fn not_utf8() -> Failure {
    Failure::new(Code::BadResponse, "the answer is not UTF-8")
}
