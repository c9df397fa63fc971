//! Methods inside `#[async_trait]`, which rewrites them before `#[protect]` sees them.
#![deny(warnings)]

mod support;

use std::sync::Arc;

use async_trait::async_trait;
use atlasent::authority::DynAuthority;
use atlasent::testing::MockAuthority;
use atlasent::{Action, Error, Permit, protect};
use futures_executor::block_on;
use serde::Serialize;
use serde_json::json;
use support::{asked, refused};

#[derive(Action)]
#[action("transfer")]
struct Transfer {
    amount: u64,
}

#[async_trait]
trait Bank: Send + Sync {
    fn authority(&self) -> &Arc<dyn DynAuthority>;

    async fn plain(&self, amount: u64) -> Result<u64, Error>;
    async fn with_permit(&self, amount: u64) -> Result<u64, Error>;
    async fn with_patterns(&self, pair: (u64, u64), name: &str) -> Result<String, Error>;
    async fn with_paths(&self, amount: u64) -> Result<u64, Error>;
    async fn mutable(&mut self, amount: u64) -> Result<&mut u64, Error>;
    async fn consuming(self: Box<Self>, list: Vec<u8>) -> Result<Vec<u8>, Error>;
    async fn no_self(authority: &MockAuthority) -> Result<(), Error>
    where
        Self: Sized;
    async fn generic<T: Into<u64> + Serialize + Send + Sync>(
        &self,
        amount: T,
    ) -> Result<u64, Error>
    where
        Self: Sized;

    #[protect(action = "transfer", agent = "bank", context = { amount }, authority = self.authority())]
    async fn provided(&self, amount: u64, permit: Permit) -> Result<u64, Error> {
        assert_eq!(permit.agent().as_str(), "bank");
        Ok(amount)
    }
}

mod names {
    pub(super) const TRANSFER: &str = "transfer";

    pub(super) fn bot(branch: &str) -> String {
        format!("{branch}/bot")
    }
}

struct Branch {
    authority: Arc<dyn DynAuthority>,
    name: String,
    total: u64,
}

#[async_trait]
impl Bank for Branch {
    fn authority(&self) -> &Arc<dyn DynAuthority> {
        &self.authority
    }

    #[protect(action = "transfer", agent = self.name, context = { amount }, authority = self.authority)]
    async fn plain(&self, amount: u64) -> Result<u64, Error> {
        Ok(amount + self.total)
    }

    #[protect(action = Transfer { amount }, agent = self.name, authority = self.authority)]
    async fn with_permit(&self, amount: u64, permit: Permit<Transfer>) -> Result<u64, Error> {
        Ok(permit.amount)
    }

    #[protect(
        action = "transfer",
        agent = format!("{}/{name}", self.name),
        context = { from, to: to + 1 },
        resource = name,
        authority = self.authority(),
        request = |r| r.environment(self.name.as_str())
    )]
    async fn with_patterns(
        &self,
        (from, mut to): (u64, u64),
        name: &str,
        mut permit: Permit,
    ) -> Result<String, Error> {
        to += from;
        let spent = std::mem::replace(
            &mut permit,
            atlasent::testing::permit(atlasent::AnyAction::new("other")?)?,
        );
        Ok(format!("{name} {to} {}", spent.record().action))
    }

    #[protect(
        action = self::names::TRANSFER,
        agent = self::names::bot(&self.name),
        context = { amount, path: format!("{} of {}", self::names::bot("any"), self.name) },
        authority = self.authority
    )]
    async fn with_paths(&self, amount: u64) -> Result<u64, Error> {
        Ok(amount + self.total)
    }

    #[protect(action = "transfer", agent = self.name, context = { amount, total: self.total }, authority = self.authority)]
    async fn mutable(&mut self, amount: u64, _: Permit) -> Result<&mut u64, Error> {
        self.total += amount;
        Ok(&mut self.total)
    }

    #[protect(action = "close", agent = self.name, context = { list: &list }, authority = self.authority)]
    async fn consuming(self: Box<Self>, mut list: Vec<u8>) -> Result<Vec<u8>, Error> {
        list.push(1);
        Ok(list)
    }

    #[protect(action = "transfer", agent = "bank", authority = authority)]
    async fn no_self(authority: &MockAuthority, permit: Permit) -> Result<(), Error> {
        drop(permit);
        Ok(())
    }

    #[protect(action = "transfer", agent = "bank", context = { amount }, authority = self.authority)]
    async fn generic<T: Into<u64> + Serialize + Send + Sync>(
        &self,
        #[cfg(all())] amount: T,
        #[cfg(any())] gone: Gone,
    ) -> Result<u64, Error> {
        Ok(amount.into())
    }
}

fn branch(authority: &Arc<MockAuthority>) -> Branch {
    Branch {
        authority: authority.clone(),
        name: "b1".into(),
        total: 10,
    }
}

#[test]
fn methods_inside_async_trait_are_protected() {
    let yes = &Arc::new(MockAuthority::new().allow("transfer"));
    let no = &Arc::new(MockAuthority::new());
    let mut open = branch(yes);
    let mut closed = branch(no);

    assert_eq!(block_on(open.plain(1)).unwrap(), 11);
    assert!(refused(block_on(closed.plain(1))));
    assert_eq!(block_on(open.with_permit(2)).unwrap(), 2);
    assert_eq!(asked(yes)["context"], json!({"amount": 2}));

    assert_eq!(
        block_on(open.with_patterns((3, 4), "x")).unwrap(),
        "x 7 transfer"
    );
    let question = asked(yes);
    assert_eq!(question["context"], json!({"from": 3, "to": 5}));
    assert_eq!(
        (&question["actor_id"], &question["resource_id"]),
        (&json!("b1/x"), &json!("x"))
    );
    assert_eq!(question["environment"], "b1");
    assert!(refused(block_on(closed.with_patterns((3, 4), "x"))));

    assert_eq!(block_on(open.with_paths(8)).unwrap(), 18);
    let question = asked(yes);
    assert_eq!(question["actor_id"], "b1/bot");
    assert_eq!(
        question["context"],
        json!({"amount": 8, "path": "any/bot of b1"})
    );
    assert!(refused(block_on(closed.with_paths(8))));

    *block_on(open.mutable(5)).unwrap() += 100;
    assert_eq!(open.total, 115);
    assert!(refused(block_on(closed.mutable(5))));
    assert_eq!(closed.total, 10);

    assert_eq!(block_on(open.provided(6)).unwrap(), 6);
    assert!(refused(block_on(closed.provided(6))));
    assert_eq!(block_on(open.generic(7_u8)).unwrap(), 7);
    block_on(Branch::no_self(yes)).unwrap();
    assert!(refused(block_on(Branch::no_self(no))));
    assert!(refused(block_on(Box::new(closed).consuming(vec![0]))));
}
