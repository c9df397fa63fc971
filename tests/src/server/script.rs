//! Defines scripts, which decide the answers of the server.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::{Reply, Request};

/// Decides the answer to each request. Closures implement it, and so does the result of
/// [`in_order`].
pub trait Script: Send + Sync + 'static {
    /// Returns the answer to this request.
    fn reply(&self, request: &Request) -> Reply;
}

impl<F: Fn(&Request) -> Reply + Send + Sync + 'static> Script for F {
    fn reply(&self, request: &Request) -> Reply {
        self(request)
    }
}

/// Creates a script with one answer for each request, in order, and 418 afterwards.
pub fn in_order(replies: impl IntoIterator<Item = Reply>) -> impl Script {
    let left: Mutex<VecDeque<Reply>> = Mutex::new(replies.into_iter().collect());
    move |_: &Request| {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        left.pop_front().unwrap_or_else(unscripted)
    }
}

/// Returns the answer to an unexpected request. Clients neither accept nor retry it.
#[must_use]
pub fn unscripted() -> Reply {
    Reply::json(418, r#"{"message":"the script has no answer to this"}"#)
}
