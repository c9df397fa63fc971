//! The connections: one pool for each runtime that the client is used in.
//!
//! A connection is driven by a task of the runtime that opened it. Used from another one, it would
//! hang when the first is blocked (a blocking call inside of it is enough), and break when the
//! first has ended.

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

/// How many runtimes may use a client at the same time before the oldest pool is given up.
const POOLS: usize = 8;
/// Below the minute after which many servers and balancers close a quiet connection.
const IDLE: Duration = Duration::from_secs(50);

/// How long an HTTP/2 connection with calls under way may be quiet before it is asked whether it
/// lives, and how long it may take to answer: without it, a retry would go out on a connection that
/// is long lost.
const PING: Duration = Duration::from_secs(4);

/// Where requests go out.
pub(super) enum Http {
    /// One of the caller's settings, with whatever pool they make.
    Given(reqwest::Client),
    /// Ours.
    Pooled(Pools),
}

pub(super) struct Pools {
    tls: Arc<ClientConfig>,
    is_local: bool,
    pools: RwLock<Vec<(Id, reqwest::Client)>>,
}

impl Http {
    /// Builds a client of the caller's settings. Those that could send a secret on, or write it
    /// down, are set last, so the caller's do not count.
    pub(super) fn given(
        settings: reqwest::ClientBuilder,
        endpoint: &Endpoint,
    ) -> Result<Self, Error> {
        let settings = settings.retry(never()).connection_verbose(false);
        build(settings, endpoint.is_local()).map(Self::Given)
    }

    pub(super) fn pooled(endpoint: &Endpoint) -> Result<Self, Error> {
        Ok(Self::Pooled(Pools {
            tls: tls(endpoint)?.into(),
            is_local: endpoint.is_local(),
            pools: RwLock::default(),
        }))
    }

    /// The client of the runtime that this is called in.
    pub(super) fn client(&self) -> Result<reqwest::Client, Error> {
        let runtime = Handle::try_current().map_err(|_| {
            Error::config(
                "the client needs a tokio runtime to connect in: call it from one, \
                 or use `atlasent::blocking`, which brings its own",
            )
        })?;
        match self {
            Self::Given(client) => Ok(client.clone()),
            Self::Pooled(pools) => pools.of(runtime.id()),
        }
    }
}

impl Pools {
    fn of(&self, runtime: Id) -> Result<reqwest::Client, Error> {
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
        if pools.len() >= POOLS {
            pools.remove(0);
        }
        pools.push((runtime, client.clone()));
        Ok(client)
    }

    fn build(&self) -> Result<reqwest::Client, Error> {
        let settings = reqwest::Client::builder()
            .tcp_nodelay(true)
            .pool_idle_timeout(IDLE)
            .http2_keep_alive_interval(PING)
            .http2_keep_alive_timeout(PING)
            .tls_backend_preconfigured(ClientConfig::clone(&self.tls));
        build(settings, self.is_local)
    }
}

/// A client that goes where it is sent and nowhere else: no redirect leads it on, and to this
/// machine no proxy does.
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

/// The system's certificates, and HTTP/2 where the server offers it. Where there is nothing to
/// secure, nobody is trusted: plain HTTP works on machines without certificates, too.
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
            Self::Given(_) => "Given",
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
            Http::Given(_) => 0,
        }
    }

    #[test]
    fn each_runtime_has_one_pool_and_the_oldest_goes() {
        let http = http();
        let runtimes: Vec<_> = (0..=POOLS)
            .map(|_| Builder::new_current_thread().build().unwrap())
            .collect();
        for (before, runtime) in runtimes.iter().enumerate() {
            runtime.block_on(async {
                assert!(http.client().is_ok());
                assert!(http.client().is_ok());
            });
            assert_eq!(pools(&http), POOLS.min(before + 1));
        }
    }

    #[test]
    fn without_a_runtime_there_is_an_error_and_no_panic() {
        let error = http().client().unwrap_err();
        assert!(matches!(&error, Error::Config(why) if why.message().contains("tokio runtime")));
    }
}
