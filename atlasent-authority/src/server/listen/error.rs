//! The error of a server that cannot listen or serve.

use std::io;
use std::net::SocketAddr;

/// Why a server cannot listen or serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The address is not available.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("`{path}` cannot be used for TLS: {why}")]
    Tls {
        /// The file.
        path: String,
        /// What is wrong, without any text of the file.
        why: String,
    },
    /// The socket failed.
    #[error("the socket failed: {0}")]
    Io(#[from] io::Error),
}
