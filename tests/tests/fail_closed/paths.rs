//! Lists the ways to ask for a permit. Each way counts exactly if its body runs.

use std::pin::Pin;

use async_trait::async_trait;
use atlasent::authority::Authorization;
use atlasent::{
    Action, AnyAction, Authority, AuthorityExt, Error, Permit, blocking, boundary, protect,
};
use atlasent_tests::Ran;
use atlasent_tests::cases::{ACTION, AGENT};

pub(crate) type Boxed<'a> = Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>>;
pub(crate) type AsyncPath<P> = for<'a> fn(&'a P, &'a Ran) -> Boxed<'a>;
pub(crate) type SyncPath<P> = fn(&P, &Ran) -> Result<(), Error>;

pub(crate) fn async_paths<P: Authority>() -> Vec<(&'static str, AsyncPath<P>)> {
    vec![
        ("async fn", |p, ran| Box::pin(annotated(p, ran))),
        ("async fn, typed", |p, ran| {
            Box::pin(annotated_typed(p, "prod-1".into(), ran))
        }),
        ("async method", |p, ran| {
            Box::pin(async move { Deployer(p).deploy(ran).await })
        }),
        ("async_trait method", |p, ran| {
            Box::pin(async move { Deployer(p).roll_out(ran).await })
        }),
        ("async method of a boundary", |p, ran| {
            Box::pin(async move { Bounded(p).deploy(ran).await })
        }),
        ("fn that returns a future", boxed),
        ("protect", |p, ran| {
            Box::pin(async move {
                let permit = p.protect(AGENT, action()).await?;
                open(&permit, ran);
                Ok(())
            })
        }),
        ("protect as a function", |p, ran| {
            Box::pin(async move {
                let permit = protect(p, AGENT, action()).await?;
                open(&permit, ran);
                Ok(())
            })
        }),
        ("with_permit", |p, ran| {
            Box::pin(p.with_permit(AGENT, action(), async |permit| {
                open(&permit, ran);
                Ok(())
            }))
        }),
        ("gate", |p, ran| {
            Box::pin(async move {
                let gate = p.gate(AGENT, action()).await?;
                open(&gate.permit, ran);
                Ok(())
            })
        }),
        ("authorize", |p, ran| {
            Box::pin(async move { count(&p.authorize(AGENT, action()).await?, ran) })
        }),
    ]
}

pub(crate) fn sync_paths<P: Authority>() -> Vec<(&'static str, SyncPath<P>)> {
    vec![
        ("fn", annotated_sync),
        ("fn, typed", |p, ran| {
            annotated_sync_typed(p, "prod-1".into(), ran)
        }),
        ("method", |p, ran| Deployer(p).deploy_sync(ran)),
        ("method of a boundary", |p, ran| Bounded(p).deploy_sync(ran)),
        ("front of a boundary", |p, ran| {
            Bounded(p).deploy_by_front(ran)
        }),
        ("blocking::protect", |p, ran| {
            open(&blocking::protect(p, AGENT, action())?, ran);
            Ok(())
        }),
        ("blocking::with_permit", |p, ran| {
            blocking::with_permit(p, AGENT, action(), |permit| {
                open(&permit, ran);
                Ok(())
            })
        }),
        ("blocking::gate", |p, ran| {
            open(&blocking::gate(p, AGENT, action())?.permit, ran);
            Ok(())
        }),
        ("blocking::authorize", |p, ran| {
            count(&blocking::authorize(p, AGENT, action())?, ran)
        }),
    ]
}

pub(crate) fn action() -> AnyAction {
    AnyAction::new(ACTION).unwrap()
}

#[derive(Action)]
#[action("deploy.production")]
struct Deploy {
    #[action(resource)]
    cluster: String,
}

/// The body of callers that obtain the permit first.
fn open(permit: &Permit, ran: &Ran) {
    assert_eq!(permit.action().name(), ACTION);
    assert_eq!(permit.agent().as_str(), AGENT);
    ran.hit();
}

/// The body of callers that read the outcome as data.
fn count(authorization: &Authorization, ran: &Ran) -> Result<(), Error> {
    assert_eq!(
        authorization.permitted(),
        authorization.record().is_some(),
        "a record, and no refusal, belongs to what is permitted"
    );
    if authorization.permitted() {
        ran.hit();
    }
    match authorization.denied() {
        Some(denied) => Err(denied.clone().into()),
        None => Ok(()),
    }
}

#[protect(action = "deploy.production", agent = "deploy-bot", authority = authority)]
async fn annotated<P: Authority>(authority: &P, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

#[protect(action = Deploy { cluster }, agent = "deploy-bot", authority = authority)]
async fn annotated_typed<P: Authority>(
    authority: &P,
    cluster: String,
    ran: &Ran,
    permit: Permit<Deploy>,
) -> Result<(), Error> {
    assert_eq!(permit.cluster, "prod-1");
    ran.hit();
    Ok(())
}

#[protect(action = "deploy.production", agent = "deploy-bot", authority = authority)]
fn boxed<'a, P: Authority>(
    authority: &'a P,
    ran: &'a Ran,
) -> Pin<Box<dyn Future<Output = Result<(), Error>> + Send + 'a>> {
    Box::pin(async move {
        ran.hit();
        Ok(())
    })
}

#[protect(action = "deploy.production", agent = "deploy-bot", authority = authority)]
fn annotated_sync<P: Authority>(authority: &P, ran: &Ran) -> Result<(), Error> {
    ran.hit();
    Ok(())
}

#[protect(action = Deploy { cluster }, agent = "deploy-bot", authority = authority)]
fn annotated_sync_typed<P: Authority>(
    authority: &P,
    cluster: String,
    ran: &Ran,
    permit: Permit<Deploy>,
) -> Result<(), Error> {
    assert_eq!(permit.cluster, "prod-1");
    ran.hit();
    Ok(())
}

struct Deployer<'a, P>(&'a P);

impl<P: Authority> Deployer<'_, P> {
    #[protect(action = "deploy.production", agent = "deploy-bot", authority = self.0)]
    async fn deploy(&self, ran: &Ran) -> Result<(), Error> {
        ran.hit();
        Ok(())
    }

    #[protect(action = "deploy.production", agent = "deploy-bot", authority = self.0)]
    fn deploy_sync(&self, ran: &Ran) -> Result<(), Error> {
        ran.hit();
        Ok(())
    }
}

#[async_trait]
trait RollOut {
    async fn roll_out(&self, ran: &Ran) -> Result<(), Error>;
}

#[async_trait]
impl<P: Authority> RollOut for Deployer<'_, P> {
    #[protect(action = "deploy.production", agent = "deploy-bot", authority = self.0)]
    async fn roll_out(&self, ran: &Ran) -> Result<(), Error> {
        ran.hit();
        Ok(())
    }
}

struct Bounded<'a, P>(&'a P);

#[boundary(authority = self.0, agent = "deploy-bot")]
impl<P: Authority> Bounded<'_, P> {
    #[protect(action = "deploy.production")]
    pub(crate) async fn deploy(&self, ran: &Ran) -> Result<(), Error> {
        ran.hit();
        Ok(())
    }

    #[protect(action = "deploy.production")]
    pub(crate) fn deploy_sync(&self, ran: &Ran) -> Result<(), Error> {
        ran.hit();
        Ok(())
    }
}

#[boundary(front = Front, authority = self.authority(), agent = "deploy-bot")]
trait Backend {
    type Authority: Authority;

    #[open("names the authority that decides")]
    fn authority(&self) -> &Self::Authority;

    fn execute(&self, ran: &Ran, permit: Permit<Deploy>) -> Result<(), Error>;

    #[protect(action = Deploy { cluster: "prod-1".into() })]
    fn deploy_by_front(&self, ran: &Ran, permit: Permit<Deploy>) -> Result<(), Error> {
        self.execute(ran, permit)
    }
}

#[boundary]
impl<P: Authority> Backend for Bounded<'_, P> {
    type Authority = P;

    #[open("names the authority that decides")]
    fn authority(&self) -> &P {
        self.0
    }

    fn execute(&self, ran: &Ran, permit: Permit<Deploy>) -> Result<(), Error> {
        assert_eq!(permit.cluster, "prod-1");
        ran.hit();
        Ok(())
    }
}
