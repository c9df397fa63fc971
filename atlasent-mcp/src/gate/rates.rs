//! Counts calls for the rates of the callers' tokens.

#[cfg(feature = "ati")]
mod counted {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::time::SystemTime;

    use ati_client::{Claims, Error, RateLimiter, RateStore};

    use crate::refusal::Refusal;

    /// The most rate windows that are counted by default: one for each subject and pattern.
    const DEFAULT_WINDOWS: usize = 10_000;

    /// A limiter of any store.
    pub(crate) trait Rates: Send + Sync {
        /// Counts one call of a scope, or refuses it because a rate is used up.
        fn count<'a>(&'a self, claims: &'a Claims, scope: Option<&'a str>) -> Counting<'a>;
    }

    type Counting<'a> = Pin<Box<dyn Future<Output = Result<(), Refusal>> + Send + 'a>>;

    /// Returns a limiter that counts in this process.
    pub(in crate::gate) fn in_this_process() -> Arc<dyn Rates> {
        Arc::new(RateLimiter::new(DEFAULT_WINDOWS))
    }

    impl<S: RateStore> Rates for RateLimiter<S> {
        fn count<'a>(&'a self, claims: &'a Claims, scope: Option<&'a str>) -> Counting<'a> {
            Box::pin(async move {
                let scopes: Vec<&str> = scope.into_iter().collect();
                let counted = self.check_all(claims, &scopes, SystemTime::now()).await;
                counted.map_err(|error| refusal(&error))
            })
        }
    }

    fn refusal(error: &Error) -> Refusal {
        match error {
            Error::RateExceeded { retry_after, .. } => {
                Refusal::deny("RATE_EXCEEDED", error.to_string()).with_retry_after(*retry_after)
            }
            Error::BadRate { .. } | Error::BadScope { .. } => {
                Refusal::deny("BAD_TOKEN", error.to_string())
            }
            _ => {
                tracing::error!(target: "atlasent_mcp", %error, "a call could not be counted");
                Refusal::unavailable(
                    "NOT_COUNTED",
                    "the call could not be counted: try again later",
                )
            }
        }
    }
}

#[cfg(feature = "ati")]
pub(crate) use counted::Rates;
#[cfg(feature = "ati")]
pub(super) use counted::in_this_process;
