//! Tests permits that are used late, and actions that change after the decision.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::Duration;

use atlasent::error::PermitOutcome;
use atlasent::testing::{MockAuthority, Reply};
use atlasent::wire::{
    EvaluateRequest, Evaluation, PermitStatus, PermitToken, Verification, VerifyRequest,
};
use atlasent::{
    Action, AnyAction, Authority, AuthorityExt, Context, Error, Guarded, Permit, protect,
};
use atlasent_authority::{LocalAuthority, Policies};
use atlasent_tests::Ran;
use atlasent_tests::cases::{ACTION, AGENT};
use futures_executor::block_on;

#[derive(Action)]
#[action("deploy.production")]
struct Deploy;

fn real(ttl: Duration) -> LocalAuthority {
    let policies = Policies::parse("permit (principal, action, resource);").unwrap();
    block_on(LocalAuthority::builder(policies).permit_ttl(ttl).build()).unwrap()
}

fn expired(result: Result<(), Error>) {
    let error = result.unwrap_err();
    let denied = error.denied().unwrap();
    assert_eq!(
        denied.permit_outcome(),
        Some(PermitOutcome::Expired),
        "{denied}"
    );
    assert_eq!((denied.action(), denied.agent().as_str()), (ACTION, AGENT));
}

#[test]
fn a_permit_that_waited_too_long_opens_nothing() {
    let authority = real(Duration::from_millis(300));
    let permit = || block_on(authority.protect(AGENT, Deploy)).unwrap();
    let ran = Ran::new();
    let guarded = Guarded::granted_by(&authority, &ran).unwrap();
    let late: Vec<Permit<Deploy>> = std::iter::repeat_with(permit).take(4).collect();
    guarded.with(permit(), |ran| ran.hit()).unwrap();
    assert_eq!(ran.count(), 1, "used at once, it opens");

    sleep(Duration::from_millis(400));
    let mut late = late.into_iter();
    assert!(late.as_slice().iter().all(|permit| !permit.is_active()));
    let mut next = || late.next().unwrap();
    expired(guarded.with(next(), |ran| ran.hit()));
    expired(block_on(guarded.with_async(next(), async |ran| ran.hit())));
    expired(guarded.open(next()).map(|ran| ran.hit()));
    let last = next();
    expired(last.require_active());
    expired(block_on(last.recheck(&authority)));
    assert_eq!(ran.count(), 1);
}

#[test]
fn an_expiry_that_cannot_be_read_is_over_and_none_is_never() {
    for (expires_at, timestamp, active) in [
        (None, None, true),
        (
            Some("2026-01-01T01:00:00Z"),
            Some("2026-01-01T00:00:00Z"),
            true,
        ),
        (
            Some("2026-01-01T00:00:00Z"),
            Some("2026-01-01T00:00:00Z"),
            false,
        ),
        (Some("2026-01-01T00:00:00Z"), None, false),
        (Some("in an hour"), Some("2026-01-01T00:00:00Z"), false),
    ] {
        let mut allow = Evaluation::allow(PermitToken::new("permit_1").unwrap());
        allow.expires_at = expires_at.map(str::to_owned);
        let mut valid = Verification::valid();
        valid.timestamp = timestamp.map(str::to_owned);
        let mock = MockAuthority::new()
            .on_evaluate(ACTION, Reply::Answer(allow))
            .on_verify(ACTION, Reply::Answer(valid));
        let permit = block_on(mock.protect(AGENT, Deploy)).unwrap();
        assert_eq!(permit.is_active(), active, "{expires_at:?} {timestamp:?}");
        let opened = Guarded::granted_by(&mock, ()).unwrap().open(permit).is_ok();
        assert_eq!(opened, active, "{expires_at:?} {timestamp:?}");
    }
}

#[test]
fn a_permit_that_was_revoked_after_its_use_is_found_out() {
    let authority = real(Duration::from_secs(60));
    let permit = block_on(authority.protect(AGENT, Deploy)).unwrap();
    let id = permit.id().parse().unwrap();
    block_on(permit.recheck(&authority)).unwrap();
    block_on(permit.recheck(&authority)).unwrap();

    let revoked = block_on(authority.revoke_permit(id, "the commit is broken")).unwrap();
    let revoked = revoked.unwrap();
    assert!(revoked.consumed_at.is_some(), "it was used already");
    assert_eq!(revoked.status, PermitStatus::Revoked);
    assert!(permit.is_active(), "only the authority knows");
    let error = block_on(permit.recheck(&authority)).unwrap_err();
    let denied = error.denied().unwrap();
    assert_eq!(denied.permit_outcome(), Some(PermitOutcome::Revoked));
    assert!(block_on(authority.trail()).unwrap().verify().is_intact());
}

#[test]
fn a_recheck_by_any_other_answer_or_authority_is_refused() {
    let good = |reply| {
        MockAuthority::new()
            .allow(ACTION)
            .on_permit_status(ACTION, reply)
    };
    for (status, stands) in [
        (PermitStatus::Consumed, true),
        (PermitStatus::Verified, true),
        (PermitStatus::Issued, false),
        (PermitStatus::Expired, false),
        (PermitStatus::Revoked, false),
        (PermitStatus::Unknown("CONSUMED".to_owned()), false),
        (PermitStatus::Unknown(String::new()), false),
    ] {
        let mock = good(Reply::Answer(status.clone()));
        let permit = block_on(mock.protect(AGENT, Deploy)).unwrap();
        let result = block_on(permit.recheck(&mock));
        assert_eq!(result.is_ok(), stands, "{status:?}: {result:?}");
    }
    let failing = good(Reply::Fail(atlasent::error::Code::Timeout));
    let permit = block_on(failing.protect(AGENT, Deploy)).unwrap();
    assert!(block_on(permit.recheck(&failing)).is_err());
    let another = MockAuthority::new().allow(ACTION);
    assert!(block_on(permit.recheck(&another)).is_err());
    assert!(block_on(permit.recheck(&real(Duration::from_secs(60)))).is_err());
}

#[test]
fn an_authority_that_cannot_look_a_permit_up_refuses() {
    struct Forgetful(MockAuthority);
    impl Authority for Forgetful {
        async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
            self.0.evaluate(request).await
        }

        async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
            self.0.verify(request).await
        }

        fn issuer(&self) -> Option<atlasent::authority::IssuerId> {
            self.0.issuer()
        }
    }
    let authority = Forgetful(MockAuthority::new().allow(ACTION));
    let permit = block_on(authority.protect(AGENT, Deploy)).unwrap();
    let error = block_on(permit.recheck(&authority)).unwrap_err();
    assert!(matches!(error, Error::Config(_)), "{error}");
}

/// An action with values that can change concurrently.
struct Transfer {
    amount: Arc<AtomicU64>,
    changes: Changes,
}

#[derive(Clone, Copy, PartialEq)]
enum Changes {
    Name,
    Resource,
    Context,
}

impl Transfer {
    fn text(&self, part: Changes) -> String {
        let amount = self.amount.load(Ordering::SeqCst);
        format!("{}", if part == self.changes { amount } else { 5 })
    }
}

impl Action for Transfer {
    fn name(&self) -> &str {
        let changed = self.changes == Changes::Name && self.amount.load(Ordering::SeqCst) != 5;
        if changed { "drop.everything" } else { ACTION }
    }

    fn resource(&self) -> Option<std::borrow::Cow<'_, str>> {
        Some(self.text(Changes::Resource).into())
    }

    fn context(&self) -> Result<Context, Error> {
        let mut context = Context::new();
        context.insert("amount", &self.text(Changes::Context))?;
        Ok(context)
    }
}

/// An authority that changes the amount before one of its answers.
struct Slow {
    real: LocalAuthority,
    amount: Arc<AtomicU64>,
    while_verifying: bool,
}

impl Authority for Slow {
    async fn evaluate(&self, request: &EvaluateRequest) -> Result<Evaluation, Error> {
        let answer = self.real.evaluate(request).await;
        if !self.while_verifying {
            self.amount.store(1_000_000, Ordering::SeqCst);
        }
        answer
    }

    async fn verify(&self, request: &VerifyRequest) -> Result<Verification, Error> {
        let answer = self.real.verify(request).await;
        self.amount.store(1_000_000, Ordering::SeqCst);
        answer
    }
}

#[test]
fn an_action_that_changed_after_it_was_decided_on_does_not_run() {
    for changes in [Changes::Name, Changes::Resource, Changes::Context] {
        for while_verifying in [false, true] {
            let amount = Arc::new(AtomicU64::new(5));
            let authority = Slow {
                real: real(Duration::from_secs(60)),
                amount: Arc::clone(&amount),
                while_verifying,
            };
            #[protect(action = action, agent = "deploy-bot", authority = authority)]
            async fn transfer(authority: &Slow, action: Transfer, ran: &Ran) -> Result<(), Error> {
                ran.hit();
                Ok(())
            }
            let ran = Ran::new();
            let error = block_on(transfer(&authority, Transfer { amount, changes }, &ran));
            let error = error.unwrap_err();
            assert_eq!(
                error.denied().unwrap().code(),
                Some("ACTION_CHANGED"),
                "{error}"
            );
            assert_eq!(ran.count(), 0);
        }
    }
    let stays =
        block_on(real(Duration::from_secs(60)).protect(AGENT, AnyAction::new(ACTION).unwrap()));
    assert!(stays.is_ok());
}
