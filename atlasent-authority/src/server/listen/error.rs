//! Why a server does not serve.

use std::io;
use std::net::SocketAddr;

/// Why a server does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The certificate or its key will not do.
    #[error("`{path}` will not do for TLS: {why}")]
    Tls {
        /// The file.
        path: String,
        /// What is wrong. Nothing of what is in it.
        why: String,
    },
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
}
