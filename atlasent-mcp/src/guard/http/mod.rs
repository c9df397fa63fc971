//! Streamable HTTP: the endpoint in front of the guard, and the server behind it.

mod authentication;
mod cors;
mod endpoint;
mod headers;
mod outbox;
mod rejection;
mod reply;
mod request;
mod scopes;
mod sessions;
mod slots;
mod sse;
mod upstream;

pub use authentication::{Authentication, ProtectedResource, is_issuer};
pub use cors::is_origin;
pub use endpoint::{Endpoint, EndpointSettings, Stop};
pub(crate) use headers::{FIRST_WITHOUT_SESSIONS, META_VERSION};
pub use upstream::{HttpUpstream, UpstreamError};
