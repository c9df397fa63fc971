//! The `X-Request-ID` under which the client sent a request.

/// The `X-Request-ID` under which the client sent a request. It is not part of the answer, so two
/// ids are always equal when answers are compared.
#[derive(Clone, Debug, Default)]
pub(crate) struct SentRequestId(pub(crate) Option<String>);

impl PartialEq for SentRequestId {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}
