//! Hands a permit on to the protected function that a guard runs.
//!
//! A guard in front of a server obtains a permit for a call, and the server's function may be
//! protected by itself. Both ask the same question, so the guard hands its permit on:
//!
//! ```text
//! guard: permit for (agent, action, resource, context) ──► hand_on(permit, future)
//!                                                            │ while the future is polled
//! #[protect]: the same request, of the same authority? ──────┴──► takes the permit, once
//!             any difference, or taken already ─────────────────► asks on its own
//! ```
//!
//! A future moves between threads, so a thread-local holds the permit only while the future is
//! polled. A spawned task does not see it and asks on its own.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::{PermitWithAnswers, require_unchanged};
use crate::authority::IssuerId;
use crate::wire::{EvaluateRequest, RequestOptions};
use crate::{Action, Error};

thread_local! {
    static HANDED: RefCell<Option<Box<HandedPermit>>> = const { RefCell::new(None) };
}

/// A permit that waits to be taken, with the request that it was granted for.
struct HandedPermit {
    request: EvaluateRequest,
    granted_by: IssuerId,
    answers: PermitWithAnswers<()>,
}

/// Runs a future in which one protected call may take `answers` instead of asking for a permit.
///
/// The first call that asks the authority which granted the permit, with the same agent, action,
/// resource, context, actors and optional fields, takes it. Every other call asks on its own, and
/// so does each later one. The permit is dropped with the future if no call takes it. A permit of
/// an authority without an [issuer](crate::Authority::issuer) is never taken.
///
/// Start the [execution](crate::Permit::execution) of the permit before it is handed on to send the
/// receipt: the first execution of a permit sends it.
///
/// ```
/// use atlasent::authority::hand_on;
/// use atlasent::testing::MockAuthority;
/// use atlasent::{AnyAction, AuthorityExt, Error, protect};
///
/// #[protect(action = "deploy", agent = "bot", authority = authority)]
/// async fn deploy(authority: &MockAuthority) -> Result<(), Error> {
///     Ok(())
/// }
///
/// # futures_executor::block_on(async {
/// let authority = MockAuthority::new().allow("deploy");
/// let answers = authority.gate("bot", AnyAction::new("deploy")?).await?;
/// hand_on(answers, deploy(&authority)).await?;
/// assert_eq!(authority.calls().len(), 2, "one evaluation and one verification");
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
pub fn hand_on<A: Action, F: Future>(
    answers: PermitWithAnswers<A>,
    future: F,
) -> impl Future<Output = F::Output> {
    HandedOn {
        permit: HandedPermit::new(answers),
        future,
    }
}

/// Returns the permit that was handed on for this request, as a permit for `action`, which made the
/// request. Returns the action if there is none.
pub(super) fn take<A: Action>(
    request: &EvaluateRequest,
    asked: impl FnOnce() -> Option<IssuerId>,
    action: A,
) -> Result<Result<PermitWithAnswers<A>, Error>, A> {
    let fits = |handed: &mut Box<HandedPermit>| {
        asked() == Some(handed.granted_by)
            && handed.request == *request
            && handed.answers.permit.is_active()
    };
    let taken = HANDED.try_with(|handed| handed.borrow_mut().take_if(fits));
    let Ok(Some(handed)) = taken else {
        return Err(action);
    };
    let PermitWithAnswers {
        permit,
        evaluation,
        verification,
        options,
        actors,
    } = handed.answers;
    // What the policies decided on is what runs, as after a request of its own.
    if let Err(error) = require_unchanged(request, &evaluation, &action) {
        return Ok(Err(error));
    }
    Ok(Ok(PermitWithAnswers {
        permit: permit.with_action(action),
        evaluation,
        verification,
        options,
        actors,
    }))
}

impl HandedPermit {
    /// Returns `None` for a permit that cannot be handed on.
    fn new<A: Action>(answers: PermitWithAnswers<A>) -> Option<Box<Self>> {
        let PermitWithAnswers {
            permit,
            evaluation,
            verification,
            options,
            actors,
        } = answers;
        let agent = permit.agent().clone();
        let mut request = EvaluateRequest::new(agent, permit.action()).ok()?;
        request.actors.clone_from(&actors);
        if let Some(options) = &options {
            request = request.with_options(RequestOptions::clone(options));
        }
        Some(Box::new(Self {
            request,
            granted_by: permit.granted_by()?,
            answers: PermitWithAnswers {
                permit: permit.with_action(()),
                evaluation,
                verification,
                options,
                actors,
            },
        }))
    }
}

fn replace(permit: Option<Box<HandedPermit>>) -> Option<Box<HandedPermit>> {
    // `try_with` fails in destructors of a thread that ends, where no future is polled any more.
    HANDED
        .try_with(|handed| handed.replace(permit))
        .ok()
        .flatten()
}

/// Puts a permit within reach until it is dropped, also during a panic. The permit that is not
/// taken then goes back to its future.
struct WithinReach<'a> {
    permit: &'a mut Option<Box<HandedPermit>>,
    outer: Option<Box<HandedPermit>>,
}

impl<'a> WithinReach<'a> {
    fn new(permit: &'a mut Option<Box<HandedPermit>>) -> Self {
        let outer = replace(permit.take());
        Self { permit, outer }
    }
}

impl Drop for WithinReach<'_> {
    fn drop(&mut self) {
        *self.permit = replace(self.outer.take());
    }
}

pin_project! {
    struct HandedOn<F> {
        permit: Option<Box<HandedPermit>>,
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for HandedOn<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let _within_reach = WithinReach::new(this.permit);
        this.future.poll(context)
    }
}

#[cfg(test)]
mod tests {
    use futures_executor::block_on;

    use super::*;
    use crate::testing::MockAuthority;
    use crate::{AnyAction, Authority, AuthorityExt};

    fn action(resource: &str) -> AnyAction {
        let action = AnyAction::new("deploy").unwrap().with_resource(resource);
        action.with_field("commit", "4f2a").unwrap()
    }

    fn authority() -> MockAuthority {
        MockAuthority::new().allow("deploy").allow("other")
    }

    /// Returns how many calls the authority got while a permit for `action("a")` was within reach.
    fn calls_of(authority: &MockAuthority, inner: impl Future<Output = ()>) -> usize {
        let answers = block_on(authority.gate("bot", action("a"))).unwrap();
        let before = authority.calls().len();
        block_on(hand_on(answers, inner));
        authority.calls().len() - before
    }

    #[test]
    fn the_same_request_takes_the_permit_once() {
        let authority = authority();
        let ask = async || {
            let permit = authority.protect("bot", action("a")).await.unwrap();
            assert_eq!(permit.resource().as_deref(), Some("a"));
            assert_eq!(permit.granted_by(), authority.issuer());
        };
        assert_eq!(calls_of(&authority, ask()), 0);
        assert_eq!(
            calls_of(&authority, async { (ask().await, ask().await).0 }),
            2
        );
    }

    #[test]
    fn any_difference_asks_on_its_own() {
        let authority = authority();
        let another = MockAuthority::new().deny("deploy", "not here");
        for (agent, other) in [
            ("bot-2", action("a")),
            ("bot", action("b")),
            ("bot", action("a").with_field("commit", "4f2b").unwrap()),
            ("bot", action("a").with_field("more", &1).unwrap()),
            ("bot", AnyAction::new("deploy").unwrap()),
            ("bot", AnyAction::new("other").unwrap().with_resource("a")),
        ] {
            let asked = async { drop(authority.protect(agent, other).await.unwrap()) };
            assert_eq!(calls_of(&authority, asked), 2);
        }
        let asked = async {
            let ask = authority.ask("bot", action("a"));
            let ask = ask.options(|options| options.environment("production"));
            drop(ask.protect().await.unwrap());
        };
        assert_eq!(calls_of(&authority, asked), 2, "other options");
        let asked = async { assert!(another.protect("bot", action("a")).await.is_err()) };
        assert_eq!(calls_of(&authority, asked), 0, "another authority");
    }

    #[test]
    fn a_permit_of_other_actors_is_not_taken() {
        let authority = authority();
        let mut answers = block_on(authority.gate("bot", action("a"))).unwrap();
        answers.actors = vec![crate::Agent::new("helper").unwrap()];
        let before = authority.calls().len();
        drop(block_on(hand_on(answers, authority.protect("bot", action("a")))).unwrap());
        assert_eq!(authority.calls().len(), before + 2);
    }

    #[test]
    fn options_that_are_the_same_are_no_difference() {
        let authority = authority();
        let ask = || {
            let ask = authority.ask("bot", action("a"));
            ask.options(|options| options.environment("production"))
        };
        let answers = block_on(ask().gate()).unwrap();
        let before = authority.calls().len();
        drop(block_on(hand_on(answers, ask().protect())).unwrap());
        assert_eq!(authority.calls().len(), before);
    }

    #[test]
    fn nothing_is_within_reach_outside_of_the_future() {
        let authority = authority();
        let answers = block_on(authority.gate("bot", action("a"))).unwrap();
        let never_polled = hand_on(answers, async {});
        let before = authority.calls().len();
        drop(block_on(authority.protect("bot", action("a"))).unwrap());
        assert_eq!(authority.calls().len(), before + 2);
        drop(never_polled);
        let answers = block_on(authority.gate("bot", action("a"))).unwrap();
        let panics = std::panic::AssertUnwindSafe(|| {
            block_on(hand_on(answers, async { panic!("scripted") }))
        });
        assert!(std::panic::catch_unwind(panics).is_err());
        let before = authority.calls().len();
        drop(block_on(authority.protect("bot", action("a"))).unwrap());
        assert_eq!(authority.calls().len(), before + 2);
    }

    #[test]
    fn a_permit_of_an_authority_without_an_issuer_is_not_handed_on() {
        use crate::wire::{Evaluation, PermitToken, Verification, VerifyRequest};
        use std::sync::atomic::{AtomicUsize, Ordering};

        #[derive(Default)]
        struct Anyone(AtomicUsize);
        impl Authority for Anyone {
            async fn evaluate(&self, _: &EvaluateRequest) -> Result<Evaluation, Error> {
                self.0.fetch_add(1, Ordering::SeqCst);
                Ok(Evaluation::allow(PermitToken::new("permit_1").unwrap()))
            }

            async fn verify(&self, _: &VerifyRequest) -> Result<Verification, Error> {
                Ok(Verification::valid())
            }
        }
        let authority = Anyone::default();
        let answers = block_on(authority.gate("bot", action("a"))).unwrap();
        drop(block_on(hand_on(answers, authority.protect("bot", action("a")))).unwrap());
        assert_eq!(authority.0.load(Ordering::SeqCst), 2);
    }
}
