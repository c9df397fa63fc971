//! The id under which a client sent a request.

/// The `X-Request-ID` that a request was sent under. An answer says nothing of it, so two answers
/// that say the same are equal, however they were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentRequestId(pub(crate) Option<String>);

impl PartialEq for SentRequestId {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
