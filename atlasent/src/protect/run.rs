//! The execution of a protected body: the argument that it takes, the future that runs it, and the
//! return types that can carry a refusal.
//!
//! The expansion of `#[protect]` reads, for a body that takes its permit:
//!
//! ```text
//! run(obtain(request).await.receive(), returns(), |permit| async move { body })
//!     │                     │          │          └ runs only if the permit was obtained
//!     │                     │          └ how the return type carries a refusal
//!     │                     └ passes the permit to the body; `hold` keeps it beside the body instead
//!     └ Obtained: the permitted body's argument, or the refusal
//! ```

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::permit::Execution;
use crate::wire::ResultHash;
use crate::{Action, Error, Permit};

/// The result of asking for a permit: the argument of the body, a value that is held until the body
/// ends, and the execution; or the refusal.
#[derive(Debug)]
pub struct Obtained<P, H = ()>(Result<PermittedBody<P, H>, Error>);

#[derive(Debug)]
struct PermittedBody<P, H> {
    argument: P,
    held: H,
    execution: Execution,
}

impl<A: Action> From<Result<Permit<A>, Error>> for Obtained<Permit<A>> {
    fn from(permit: Result<Permit<A>, Error>) -> Self {
        Self(permit.map(|permit| PermittedBody {
            execution: permit.execution(),
            argument: permit,
            held: (),
        }))
    }
}

impl<A> Obtained<Permit<A>> {
    /// Passes the permit to a parameter of the body. The bound makes the compiler point at the type
    /// of that parameter.
    pub fn receive<P: PermitParameter<A>>(self) -> Obtained<P> {
        Obtained(self.0.map(|permitted| PermittedBody {
            argument: P::receive(permitted.argument),
            held: (),
            execution: permitted.execution,
        }))
    }

    /// Holds the permit until the end of a body that has no permit parameter.
    pub fn hold(self) -> Obtained<(), Permit<A>> {
        Obtained(self.0.map(|permitted| PermittedBody {
            argument: (),
            held: permitted.argument,
            execution: permitted.execution,
        }))
    }
}

/// The type of the parameter that receives the permit for `A`: `Permit<A>` only. It is a trait so
/// that the compiler's error can say what to do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the permit of this call, which is an `atlasent::Permit<{A}>`",
    label = "`#[protect]` passes an `atlasent::Permit<{A}>` here",
    note = "to keep a parameter of another type named `Permit`, which callers pass, write `#[permit(skip)]` \
            before it"
)]
pub trait PermitParameter<A>: Sized {
    /// Returns the permit.
    fn receive(permit: Permit<A>) -> Self;
}

impl<A> PermitParameter<A> for Permit<A> {
    fn receive(permit: Self) -> Self {
        permit
    }
}

/// Returns a future that runs an async body, or returns the refusal.
///
/// It is not an `async fn`, which would hold the body's future twice: as an argument and as the
/// future that it awaits. Nested calls would double the size at every level.
pub fn run<P, H, R, F: Future<Output = R>>(
    obtained: Obtained<P, H>,
    returns: Returns<R>,
    body: impl FnOnce(P) -> F,
) -> impl Future<Output = R> {
    Running::new(obtained, returns, body)
}

pin_project! {
    /// The future of a protected call, permitted or refused.
    ///
    /// When the body is done or dropped, its fields drop in their order: the body first, so that
    /// what it holds is released before the execution's closing event; then the execution; then the
    /// permit.
    #[project = RunningProjection]
    #[project_replace = RunningReplaced]
    enum Running<F, R, H> {
        Body {
            #[pin]
            body: F,
            end: EndOfBody<R>,
            execution: Option<Execution>,
            held: H,
        },
        Refused { error: Error, refuse: fn(Error) -> R },
        // The result was returned.
        Done,
    }
}

impl<F, R, H> Running<F, R, H> {
    fn new<P>(obtained: Obtained<P, H>, returns: Returns<R>, body: impl FnOnce(P) -> F) -> Self {
        match obtained.0 {
            Ok(permitted) => Self::Body {
                body: body(permitted.argument),
                end: returns.end,
                execution: Some(permitted.execution.suspended()),
                held: permitted.held,
            },
            Err(error) => Self::Refused {
                error,
                refuse: returns.refuse,
            },
        }
    }
}

impl<R, F: Future<Output = R>, H> Future for Running<F, R, H> {
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        let result = match self.as_mut().project() {
            RunningProjection::Body {
                body, execution, ..
            } => {
                // While the body is polled, its execution is on the stack. A panic unwinds the
                // stack and drops the execution there, which emits the closing event with `failed`.
                // Between polls, the panic of another future may drop this one: that cancels it.
                let on_stack = execution.take().map(Execution::resumed);
                match body.poll(context) {
                    Poll::Pending => {
                        *execution = on_stack.map(Execution::suspended);
                        return Poll::Pending;
                    }
                    Poll::Ready(result) => {
                        *execution = on_stack;
                        Some(result)
                    }
                }
            }
            RunningProjection::Refused { .. } | RunningProjection::Done => None,
        };
        // `project_replace` drops the body in place and returns the other fields, so the body is
        // gone before `finish` emits the closing event.
        match (self.project_replace(Running::Done), result) {
            (RunningReplaced::Body { end, execution, .. }, Some(result)) => {
                if let Some(execution) = execution {
                    end.finish(execution, &result);
                }
                Poll::Ready(result)
            }
            (RunningReplaced::Refused { error, refuse }, _) => Poll::Ready(refuse(error)),
            // Polled again after completion, which the contract of `Future` forbids.
            _ => Poll::Pending,
        }
    }
}

/// Runs a body that is not async, or returns the refusal.
pub fn run_blocking<P, H, R>(
    obtained: Obtained<P, H>,
    returns: Returns<R>,
    body: impl FnOnce(P) -> R,
) -> R {
    match obtained.0 {
        Ok(permitted) => {
            let result = body(permitted.argument);
            returns.end.finish(permitted.execution, &result);
            result
        }
        Err(error) => (returns.refuse)(error),
    }
}

pin_project! {
    /// A future that obtains a permit and then runs the body with it. The two stages share memory.
    #[project = ObtainThenRunProjection]
    #[must_use = "the permit is asked for when this is awaited"]
    pub(crate) enum ObtainThenRun<O, B, F, R> {
        Obtaining {
            #[pin]
            obtain: O,
            body: Option<B>,
            returns: Returns<R>,
        },
        Running {
            #[pin]
            running: Running<F, R, ()>,
        },
    }
}

impl<O, B, F, R: Fallible> ObtainThenRun<O, B, F, R> {
    pub(crate) fn new(obtain: O, body: B) -> Self {
        Self::Obtaining {
            obtain,
            body: Some(body),
            returns: returns(),
        }
    }
}

impl<O, A, B, F, R> Future for ObtainThenRun<O, B, F, R>
where
    O: Future<Output = Result<Permit<A>, Error>>,
    A: Action,
    B: FnOnce(Permit<A>) -> F,
    F: Future<Output = R>,
{
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        loop {
            let running = match self.as_mut().project() {
                ObtainThenRunProjection::Running { running } => return running.poll(context),
                ObtainThenRunProjection::Obtaining {
                    obtain,
                    body,
                    returns,
                } => {
                    let permit = ready!(obtain.poll(context));
                    let Some(body) = body.take() else {
                        // An earlier poll called `body`, which panicked.
                        return Poll::Pending;
                    };
                    Running::new(permit.into(), *returns, body)
                }
            };
            self.set(Self::Running { running });
        }
    }
}

/// How a return type carries a refusal, and what a returned value tells about the body.
#[derive(Debug)]
pub struct Returns<R> {
    refuse: fn(Error) -> R,
    end: EndOfBody<R>,
}

/// What a returned value tells about the body.
#[derive(Debug)]
struct EndOfBody<R> {
    failed: fn(&R) -> bool,
    /// The hash for the receipt, of a body that did not fail.
    hash: Option<fn(&R) -> Option<ResultHash>>,
}

impl<R> Returns<R> {
    /// Puts the hash of the returned value into the receipt.
    #[must_use]
    pub fn receipt(mut self, hash: fn(&R) -> Option<ResultHash>) -> Self {
        self.end.hash = Some(hash);
        self
    }
}

impl<R> EndOfBody<R> {
    /// Ends the execution of a body that returned.
    fn finish(self, mut execution: Execution, result: &R) {
        if let Some(hash) = self.hash {
            // A panic of the user's closure leaves the hash out. The body has run, so its result
            // is returned all the same.
            if let Ok(Some(hash)) = catch_unwind(AssertUnwindSafe(|| hash(result))) {
                execution = execution.with_result_hash(hash);
            }
        }
        let _ = execution.finish((self.failed)(result));
    }
}

impl<R> Clone for EndOfBody<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for EndOfBody<R> {}

impl<R> Clone for Returns<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Returns<R> {}

/// Returns the [`Returns`] of a type that can carry a refusal.
#[must_use]
pub fn returns<R: Fallible>() -> Returns<R> {
    Returns {
        refuse: R::from_refusal,
        end: EndOfBody {
            failed: R::has_failed,
            hash: None,
        },
    }
}

/// The return type of a protected function: a `Result` that can carry a refusal.
#[diagnostic::on_unimplemented(
    message = "a `#[protect]` function must return a `Result`, not `{Self}`",
    label = "this return type cannot carry a refusal",
    note = "return `Result<T, E>` with an error type that implements `From<atlasent::Error>`",
    note = "for a function that returns a future, make its body one `async move` block, boxed or not"
)]
pub trait Fallible {
    /// Makes the return value of a call whose body did not run.
    fn from_refusal(error: Error) -> Self;
    /// The type of the value of a body that did not fail.
    type Value;
    /// Returns the value, of a body that did not fail.
    fn value(&self) -> Option<&Self::Value>;
    /// Returns whether the body failed.
    fn has_failed(&self) -> bool {
        self.value().is_none()
    }
}

impl<T, E: Refusable> Fallible for Result<T, E> {
    fn from_refusal(error: Error) -> Self {
        Err(E::from_refusal(error))
    }

    type Value = T;

    fn value(&self) -> Option<&T> {
        self.as_ref().ok()
    }
}

/// The error type of a protected function: every type that implements `From<Error>`. It is a trait
/// so that the compiler's error can say what to do.
#[diagnostic::on_unimplemented(
    message = "a refusal cannot be returned as `{Self}`",
    label = "this function's error does not implement `From<atlasent::Error>`",
    note = "implement it; with thiserror, give the error a variant such as `Refused(#[from] atlasent::Error)`",
    note = "where the error is a type parameter, bound it by `From<atlasent::Error>`"
)]
pub trait Refusable {
    /// Makes the error of a call whose body did not run.
    fn from_refusal(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> Refusable for E {
    fn from_refusal(error: Error) -> Self {
        error.into()
    }
}
