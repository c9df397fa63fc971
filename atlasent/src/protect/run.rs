//! A body under its permit: what it takes, how it runs, and how what it returns carries a refusal.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::authority::PermitWithAnswers;
use crate::permit::Execution;
use crate::{Action, Error, Permit};

/// What a body needs to run: the value that it takes, the value that is held until it ends, and its
/// execution. Or the refusal.
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
    /// Passes the permit to a parameter of the body. The bound is where the parameter's type is
    /// written.
    pub fn receive<P: PermitParameter<A>>(self) -> Obtained<P> {
        Obtained(self.0.map(|permitted| PermittedBody {
            argument: P::receive(permitted.argument),
            held: (),
            execution: permitted.execution,
        }))
    }

    /// Holds the permit until a body that takes none is over.
    pub fn hold(self) -> Obtained<(), Permit<A>> {
        Obtained(self.0.map(|permitted| PermittedBody {
            argument: (),
            held: permitted.argument,
            execution: permitted.execution,
        }))
    }
}

/// The type of the parameter that receives the permit of a call for `A`. It is `Permit<A>`, under a
/// name that can say what to do.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not the permit of this call, which is an `atlasent::Permit<{A}>`",
    label = "`#[protect]` passes an `atlasent::Permit<{A}>` here",
    note = "a type of yours that is called `Permit` too stays a parameter, which callers pass, if you write `#[permit(skip)]` \
            before it"
)]
pub trait PermitParameter<A>: Sized {
    /// The permit itself.
    fn receive(permit: Permit<A>) -> Self;
}

impl<A> PermitParameter<A> for Permit<A> {
    fn receive(permit: Self) -> Self {
        permit
    }
}

/// Runs an async body to its end, or to the point where it is dropped; or refuses.
///
/// An `async fn` would keep the body's future twice, as its argument and as the future that it
/// awaits. Functions that call each other would double it at every level.
pub fn run<P, H, R, F: Future<Output = R>>(
    obtained: Obtained<P, H>,
    returns: Returns<R>,
    body: impl FnOnce(P) -> F,
) -> impl Future<Output = R> {
    Running::new(obtained, returns, body)
}

pin_project! {
    /// A call that was permitted, or refused, on its way.
    #[project = RunningProjection]
    #[project_replace = RunningReplaced]
    enum Running<F, R, H> {
        // Dropped in this order.
        Body {
            #[pin]
            body: F,
            failed: fn(&R) -> bool,
            execution: Option<Execution>,
            held: H,
        },
        Refused { error: Error, refuse: fn(Error) -> R },
        // The outcome was returned.
        Done,
    }
}

impl<F, R, H> Running<F, R, H> {
    fn new<P>(obtained: Obtained<P, H>, returns: Returns<R>, body: impl FnOnce(P) -> F) -> Self {
        match obtained.0 {
            Ok(permitted) => Self::Body {
                body: body(permitted.argument),
                failed: returns.failed,
                execution: Some(permitted.execution),
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
                // On the stack, so that a panic of the body is the end of its execution.
                let kept = execution.take();
                let result = body.poll(context);
                *execution = kept;
                Some(ready!(result))
            }
            RunningProjection::Refused { .. } | RunningProjection::Done => None,
        };
        // Drops the body, before its execution is over.
        match (self.project_replace(Running::Done), result) {
            (
                RunningReplaced::Body {
                    failed, execution, ..
                },
                Some(result),
            ) => {
                let failed = failed(&result);
                let _ = execution.map(|execution| execution.finish(failed));
                Poll::Ready(result)
            }
            (RunningReplaced::Refused { error, refuse }, _) => Poll::Ready(refuse(error)),
            // Polled again after its end, which no caller may do.
            _ => Poll::Pending,
        }
    }
}

/// Runs a sync body; or refuses.
pub fn run_blocking<P, H, R>(
    obtained: Obtained<P, H>,
    returns: Returns<R>,
    body: impl FnOnce(P) -> R,
) -> R {
    match obtained.0 {
        Ok(permitted) => {
            let result = body(permitted.argument);
            let _ = permitted.execution.finish((returns.failed)(&result));
            result
        }
        Err(error) => (returns.refuse)(error),
    }
}

pin_project! {
    /// A permit that is asked for, and then the body that gets it: one after the other, in the same
    /// memory.
    #[project = ObtainThenRunProjection]
    #[must_use = "nothing is asked before this is awaited"]
    pub(crate) enum ObtainThenRun<O, B, F, R> {
        Asking {
            #[pin]
            gate: O,
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
    pub(crate) fn new(gate: O, body: B) -> Self {
        Self::Asking {
            gate,
            body: Some(body),
            returns: returns(),
        }
    }
}

impl<O, A, B, F, R> Future for ObtainThenRun<O, B, F, R>
where
    O: Future<Output = Result<PermitWithAnswers<A>, Error>>,
    A: Action,
    B: FnOnce(Permit<A>) -> F,
    F: Future<Output = R>,
{
    type Output = R;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        loop {
            let running = match self.as_mut().project() {
                ObtainThenRunProjection::Running { running } => return running.poll(context),
                ObtainThenRunProjection::Asking {
                    gate,
                    body,
                    returns,
                } => {
                    let gate = ready!(gate.poll(context));
                    let Some(body) = body.take() else {
                        // `body` was called and panicked: there is nothing left to run.
                        return Poll::Pending;
                    };
                    Running::new(gate.map(|gate| gate.permit).into(), *returns, body)
                }
            };
            self.set(Self::Running { running });
        }
    }
}

/// How a return type carries a refusal and reports a failure.
#[derive(Debug)]
pub struct Returns<R> {
    refuse: fn(Error) -> R,
    failed: fn(&R) -> bool,
}

impl<R> Clone for Returns<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for Returns<R> {}

/// The [`Returns`] of a type that can carry a refusal.
#[must_use]
pub fn returns<R: Fallible>() -> Returns<R> {
    Returns {
        refuse: R::from_refusal,
        failed: R::has_failed,
    }
}

/// What a protected function returns: a `Result` that can carry a refusal.
#[diagnostic::on_unimplemented(
    message = "a `#[protect]` function must return a `Result`, not `{Self}`",
    label = "this return type cannot carry a refusal",
    note = "return `Result<T, E>` with an error type that implements `From<atlasent::Error>`",
    note = "a function that returns a future is protected inside of it, where its body is one `async move` block, boxed or not"
)]
pub trait Fallible {
    /// The value that says that the body did not run.
    fn from_refusal(error: Error) -> Self;
    /// Whether the body reported a failure.
    fn has_failed(&self) -> bool;
}

impl<T, E: Refusable> Fallible for Result<T, E> {
    fn from_refusal(error: Error) -> Self {
        Err(E::from_refusal(error))
    }

    fn has_failed(&self) -> bool {
        self.is_err()
    }
}

/// The error of a protected function. It is `From<Error>` under a name that can say what to do.
#[diagnostic::on_unimplemented(
    message = "a refusal cannot be returned as `{Self}`",
    label = "this function's error does not implement `From<atlasent::Error>`",
    note = "implement it; with thiserror, give the error a variant such as `Refused(#[from] atlasent::Error)`",
    note = "where the error is a type parameter, bound it by `From<atlasent::Error>`"
)]
pub trait Refusable {
    /// The error that says that the body did not run.
    fn from_refusal(error: Error) -> Self;
}

#[diagnostic::do_not_recommend]
impl<E: From<Error>> Refusable for E {
    fn from_refusal(error: Error) -> Self {
        error.into()
    }
}
