//! Who decides what the server says.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::{Reply, Request};

/// Decides what is answered to each request. A closure does, and so does [`in_order`].
pub trait Script: Send + Sync + 'static {
    /// The answer to this request.
    fn reply(&self, request: &Request) -> Reply;
}

impl<F: Fn(&Request) -> Reply + Send + Sync + 'static> Script for F {
    fn reply(&self, request: &Request) -> Reply {
        self(request)
    }
}

/// These answers, one for each request as they come, and then the answer that nothing is left to say (418).
pub fn in_order(replies: impl IntoIterator<Item = Reply>) -> impl Script {
    let left: Mutex<VecDeque<Reply>> = Mutex::new(replies.into_iter().collect());
    move |_: &Request| {
        let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
        left.pop_front().unwrap_or_else(unscripted)
    }
}

/// The answer to what no script foresaw. No client takes it for a success, or asks again.
#[must_use]
pub fn unscripted() -> Reply {
    Reply::json(418, r#"{"message":"the script has no answer to this"}"#)
}
