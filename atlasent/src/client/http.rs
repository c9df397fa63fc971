//! The connections of a client: one pool for each tokio runtime in which the client is used.
//!
//! A task of the runtime that opened a connection drives it. Used from another runtime, the
//! connection would hang while the first runtime is blocked, and break when the first runtime ends.
//! For example:
//!
//! ```text
//! runtime A: client.evaluate()           no pool for A: builds pool 1; its connection is driven by a task of A
//! runtime A: client.evaluate()           finds pool 1, reuses the connection
//! runtime A: blocking::protect(&client)  polls in the driver's runtime, D, while A's thread is blocked.
//!                                        Pool 1 would wait for A's task forever; builds pool 2 for D
//! runtime A ends                         pool 1 stays in the list, unused
//! runtimes C1, …, C7 use the client      the list has 8 pools already with C6; with C7, pool 1 is dropped
//! ```

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::retry::never;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::runtime::{Handle, Id};

use super::endpoint::Endpoint;
use crate::Error;
use crate::error::ConfigError;

/// The maximum number of pools. The next runtime drops the oldest pool.
const MAX_POOLS: usize = 8;
/// The time after which an idle connection is closed. Many servers and load balancers close theirs
/// after a minute.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// The time after which a silent HTTP/2 connection with open requests is pinged, and the time that
/// the server has to answer the ping. Without pings, a retry could use a dead connection.
const PING_INTERVAL: Duration = Duration::from_secs(4);

/// The HTTP clients that send requests.
pub(super) enum Http {
    /// A client with the caller's settings and its own pool.
    Custom(reqwest::Client),
    /// A client with default settings for each runtime.
    Pooled(Pools),
}

/// One client, and so one pool of connections, for each runtime; the oldest first.
pub(super) struct Pools {
    tls: Arc<ClientConfig>,
    is_local: bool,
    pools: RwLock<Vec<(Id, reqwest::Client)>>,
}

impl Http {
    /// Builds a client with the caller's settings. Settings that could send a secret to another
    /// server, or log it, are overridden.
    pub(super) fn custom(
        settings: reqwest::ClientBuilder,
        endpoint: &Endpoint,
    ) -> Result<Self, Error> {
        let settings = settings.retry(never()).connection_verbose(false);
        build(settings, endpoint.is_local()).map(Self::Custom)
    }

    /// Creates an empty list of pools.
    pub(super) fn pooled(endpoint: &Endpoint) -> Result<Self, Error> {
        Ok(Self::Pooled(Pools {
            tls: tls(endpoint)?.into(),
            is_local: endpoint.is_local(),
            pools: RwLock::default(),
        }))
    }

    /// Returns the client of the current runtime.
    pub(super) fn client(&self) -> Result<reqwest::Client, Error> {
        let runtime = Handle::try_current().map_err(|_| {
            Error::config(
                "the client needs a tokio runtime for its connections: call it from one, \
                 or use `atlasent::blocking`, which brings its own",
            )
        })?;
        match self {
            Self::Custom(client) => Ok(client.clone()),
            Self::Pooled(pools) => pools.client(runtime.id()),
        }
    }
}

impl Pools {
    /// Returns the client of a runtime, and builds it at the first call.
    fn client(&self, runtime: Id) -> Result<reqwest::Client, Error> {
        let find = |pools: &[(Id, reqwest::Client)]| {
            let found = pools.iter().find(|(id, _)| *id == runtime);
            found.map(|(_, client)| client.clone())
        };
        let known = self.pools.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = find(&known) {
            return Ok(client);
        }
        drop(known);
        let mut pools = self.pools.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = find(&pools) {
            return Ok(client);
        }
        let client = self.build()?;
        if pools.len() >= MAX_POOLS {
            pools.remove(0);
        }
        pools.push((runtime, client.clone()));
        Ok(client)
    }

    fn build(&self) -> Result<reqwest::Client, Error> {
        let settings = reqwest::Client::builder()
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_INTERVAL)
            .tls_backend_preconfigured(ClientConfig::clone(&self.tls));
        build(settings, self.is_local)
    }
}

/// Builds a client that follows no redirect, and uses no proxy if the server is on this machine.
fn build(settings: reqwest::ClientBuilder, is_local: bool) -> Result<reqwest::Client, Error> {
    let mut settings = settings.redirect(Policy::none());
    if is_local {
        settings = settings.no_proxy();
    }
    settings.build().map_err(|error| {
        ConfigError::new(
            "the HTTP client of `atlasent::Client` cannot be built: check its settings",
        )
        .with_source(error.without_url())
        .into()
    })
}

/// Returns a TLS configuration with the system's certificates, and HTTP/2 if the server offers it.
/// For plain HTTP it trusts no certificate, so that machines without certificates can use plain
/// HTTP.
fn tls(endpoint: &Endpoint) -> Result<ClientConfig, Error> {
    let refuse = |error| {
        ConfigError::new(
            "TLS cannot be set up with this system's CA certificates: install them (`ca-certificates`)",
        )
        .with_source(error)
    };
    let builder = ClientConfig::builder_with_provider(ring::default_provider().into())
        .with_safe_default_protocol_versions()
        .map_err(refuse)?;
    let verified = if endpoint.is_https() {
        builder.with_platform_verifier().map_err(refuse)?
    } else {
        builder.with_root_certificates(RootCertStore::empty())
    };
    let mut config = verified.with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl fmt::Debug for Http {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Custom(_) => "Custom",
            Self::Pooled(_) => "Pooled",
        })
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Builder;

    use super::*;

    fn http() -> Http {
        let endpoint = Endpoint::new("http://localhost").unwrap();
        Http::pooled(&endpoint).unwrap()
    }

    fn pools(http: &Http) -> usize {
        match http {
            Http::Pooled(pools) => pools.pools.read().unwrap().len(),
            Http::Custom(_) => 0,
        }
    }

    #[test]
    fn each_runtime_has_one_pool_and_the_oldest_goes() {
        let http = http();
        let runtimes: Vec<_> = (0..=MAX_POOLS)
            .map(|_| Builder::new_current_thread().build().unwrap())
            .collect();
        for (before, runtime) in runtimes.iter().enumerate() {
            runtime.block_on(async {
                assert!(http.client().is_ok());
                assert!(http.client().is_ok());
            });
            assert_eq!(pools(&http), MAX_POOLS.min(before + 1));
        }
    }

    #[test]
    fn without_a_runtime_there_is_an_error_and_no_panic() {
        let error = http().client().unwrap_err();
        assert!(matches!(&error, Error::Config(why) if why.message().contains("tokio runtime")));
    }
}
