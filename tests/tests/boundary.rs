//! `#[boundary]`: each method of an `impl` or a `trait` is protected or open, with the defaults of
//! the boundary.

use std::cell::Cell;

use async_trait::async_trait;
use atlasent::testing::{Call, MockAuthority};
use atlasent::{Action, Error, Permit, boundary, protect};
use futures_executor::block_on;

#[derive(Action)]
#[action("transfer")]
struct Transfer {
    to: String,
    amount: u64,
}

/// The agents that the authority was asked about, in order.
fn agents(authority: &MockAuthority) -> Vec<String> {
    let calls = authority.calls().into_iter();
    calls
        .filter_map(|call| match call {
            Call::Evaluate(request) => {
                let request = serde_json::to_value(request).ok()?;
                Some(request.get("actor_id")?.as_str()?.to_owned())
            }
            _ => None,
        })
        .collect()
}

struct Bank {
    authority: MockAuthority,
    audit: MockAuthority,
    agent: &'static str,
    ran: Cell<u32>,
}

impl Bank {
    fn new(authority: MockAuthority) -> Self {
        Self {
            authority,
            audit: MockAuthority::new().allow("audit"),
            agent: "teller",
            ran: Cell::new(0),
        }
    }
}

#[boundary(authority = self.authority, agent = self.agent)]
impl Bank {
    pub(crate) const CURRENCY: &'static str = "EUR";

    #[protect(action = "pay", context = { amount })]
    pub(crate) fn pay(&self, amount: u64) -> Result<u64, Error> {
        Ok(self.count(amount))
    }

    #[atlasent::protect(action = "pay", agent = "night-shift")]
    pub(crate) async fn pay_at_night(&self, permit: Permit) -> Result<String, Error> {
        self.count(1);
        Ok(permit.agent().to_string())
    }

    #[protect(action = "audit", authority = self.audit)]
    pub(crate) fn audit(&self) -> Result<u64, Error> {
        Ok(self.count(7))
    }

    /// What callers read is no secret.
    #[open("reads a name that everybody knows")]
    #[must_use]
    pub(crate) fn currency(&self) -> &'static str {
        Self::CURRENCY
    }

    pub(crate) fn execute(&self, permit: Permit<Transfer>) -> u64 {
        self.count(permit.into_action().amount)
    }

    fn count(&self, result: u64) -> u64 {
        self.ran.set(self.ran.get() + 1);
        result
    }
}

#[test]
fn a_method_takes_the_defaults_of_its_boundary() {
    let bank = Bank::new(MockAuthority::new().allow("pay"));
    assert_eq!(bank.pay(5).unwrap(), 5);
    assert_eq!(agents(&bank.authority), ["teller"]);
}

#[test]
fn an_argument_of_a_method_wins_over_the_default() {
    let bank = Bank::new(MockAuthority::new().allow("pay"));
    assert_eq!(block_on(bank.pay_at_night()).unwrap(), "night-shift");
    assert_eq!(bank.audit().unwrap(), 7);
    assert_eq!(agents(&bank.authority), ["night-shift"]);
    assert_eq!(agents(&bank.audit), ["teller"]);
}

#[test]
fn a_refused_method_does_not_run() {
    let bank = Bank::new(MockAuthority::new());
    assert!(matches!(bank.pay(5), Err(Error::Denied(_))));
    assert!(matches!(
        block_on(bank.pay_at_night()),
        Err(Error::Denied(_))
    ));
    assert_eq!(bank.ran.get(), 0);
}

#[test]
fn an_open_method_runs_without_an_authority() {
    let bank = Bank::new(MockAuthority::new());
    assert_eq!(bank.currency(), "EUR");
    assert!(bank.authority.calls().is_empty());
}

#[test]
fn a_method_that_takes_a_permit_needs_no_other_protection() {
    let bank = Bank::new(MockAuthority::new().allow("transfer"));
    let transfer = Transfer {
        to: "ada".to_owned(),
        amount: 9,
    };
    let permit = atlasent::blocking::protect(&bank.authority, "teller", transfer).unwrap();
    assert_eq!(bank.execute(permit), 9);
}

/// The side of a vault that implementations write.
#[boundary(front = Vault, authority = self.authority(), agent = "guard")]
trait VaultBackend {
    type Content;

    #[open("names the authority that decides")]
    fn authority(&self) -> &MockAuthority;

    async fn execute(&self, permit: Permit<Transfer>) -> Result<Self::Content, Error>;

    fn seal(&self, permit: Permit<Transfer>) -> Result<u64, Error> {
        Ok(permit.into_action().amount)
    }

    #[protect(action = Transfer { to: to.to_owned(), amount })]
    async fn transfer(
        &self,
        to: &str,
        amount: u64,
        permit: Permit<Transfer>,
    ) -> Result<Self::Content, Error> {
        self.execute(permit).await
    }

    #[protect(action = Transfer { to: String::new(), amount })]
    fn close(&self, amount: u64, permit: Permit<Transfer>) -> Result<u64, Error> {
        self.seal(permit)
    }
}

struct Safe(MockAuthority);

#[boundary]
impl VaultBackend for Safe {
    type Content = String;

    #[open("names the authority that decides")]
    fn authority(&self) -> &MockAuthority {
        &self.0
    }

    async fn execute(&self, permit: Permit<Transfer>) -> Result<String, Error> {
        let Transfer { to, amount } = permit.into_action();
        Ok(format!("{amount} to {to}"))
    }
}

#[test]
fn an_implementation_runs_behind_the_front_of_its_trait() {
    let safe = Safe(MockAuthority::new().allow("transfer"));
    assert_eq!(block_on(safe.transfer("ada", 3)).unwrap(), "3 to ada");
    assert_eq!(safe.close(4).unwrap(), 4);
    assert_eq!(agents(&safe.0), ["guard", "guard"]);
    let closed = Safe(MockAuthority::new());
    assert!(block_on(closed.transfer("ada", 3)).is_err());
    assert!(closed.close(4).is_err());
}

/// A generic trait whose methods become futures in boxes.
#[async_trait]
#[boundary(front = Queue, authority = self.authority(), agent = "publisher")]
trait QueueBackend<T: Send + Sync + 'static = u8>: Sync
where
    T: Clone,
{
    #[open("names the authority that decides")]
    fn authority(&self) -> &MockAuthority;

    #[open("reads")]
    async fn length(&self, of: T) -> usize;

    #[protect(action = "publish")]
    async fn publish(&self, message: T) -> Result<usize, Error> {
        Ok(self.length(message).await)
    }
}

#[boundary(all)]
#[async_trait]
impl QueueBackend<String> for Safe {
    #[open("names the authority that decides")]
    fn authority(&self) -> &MockAuthority {
        &self.0
    }

    #[open("reads")]
    async fn length(&self, of: String) -> usize {
        of.len()
    }
}

#[test]
fn a_boundary_goes_with_async_trait() {
    let safe = Safe(MockAuthority::new().allow("publish"));
    let queue: &dyn QueueBackend<String> = &safe;
    assert_eq!(block_on(queue.publish("four".to_owned())).unwrap(), 4);
    let closed = Safe(MockAuthority::new());
    assert!(block_on(closed.publish("four".to_owned())).is_err());
}

mod elsewhere {
    //! `#[protect]` without an import of its own is an error, and a glob brings it.

    use super::*;

    pub(super) struct Generic<T>(pub(super) T);

    #[boundary(all, authority = authority, agent = "bot", request = |r| r.environment("production"))]
    impl<T: AsRef<str> + Sync> Generic<T> {
        #[protect(action = "read", resource = self.0.as_ref())]
        pub(super) fn read(&self, authority: &MockAuthority) -> Result<usize, Error> {
            Ok(self.length())
        }

        #[open("has no effect")]
        fn length(&self) -> usize {
            self.0.as_ref().len()
        }
    }
}

#[test]
fn every_default_reaches_the_authority() {
    let authority = MockAuthority::new().allow("read");
    assert_eq!(elsewhere::Generic("four").read(&authority).unwrap(), 4);
    let Some(Call::Evaluate(request)) = authority.calls().into_iter().next() else {
        panic!("the authority was not asked");
    };
    let request = serde_json::to_value(request).unwrap();
    assert_eq!(request["environment"], "production");
}
