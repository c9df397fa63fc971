//! Methods with every kind of `self`, and methods of traits.
#![deny(warnings)]

mod support;

use std::pin::Pin;
use std::sync::Arc;

use atlasent::authority::DynAuthority;
use atlasent::testing::MockAuthority;
use atlasent::{Error, Permit, protect};
use futures_executor::block_on;
use support::{asked, refused};

#[derive(Clone)]
struct Account {
    authority: Arc<dyn DynAuthority>,
    owner: String,
    balance: u64,
}

impl Account {
    #[protect(action = "read", agent = self.owner, authority = self.authority)]
    async fn by_reference(&self, permit: Permit) -> Result<&str, Error> {
        assert_eq!(permit.agent().as_str(), self.owner);
        Ok(&self.owner)
    }

    #[protect(action = "pay", agent = self.owner, context = { amount, balance: self.balance }, authority = self.authority)]
    async fn by_mutable_reference(&mut self, amount: u64) -> Result<&mut u64, Error> {
        self.balance -= amount;
        Ok(&mut self.balance)
    }

    #[protect(action = "pay", agent = self.owner, context = { amount }, authority = self.authority)]
    fn sync_borrow(&mut self, amount: u64, permit: Permit) -> Result<&mut u64, Error> {
        assert_eq!(permit.record().action, "pay");
        self.balance -= amount;
        Ok(&mut self.balance)
    }

    #[protect(action = "close", agent = self.owner, authority = self.authority)]
    async fn by_value(mut self) -> Result<u64, Error> {
        self.balance += 1;
        Ok(self.balance)
    }

    #[protect(action = "close", agent = self.owner, authority = self.authority)]
    fn sync_by_value(self, _: Permit) -> Result<String, Error> {
        Ok(self.owner)
    }

    #[protect(action = "read", agent = self.owner, authority = self.authority)]
    async fn by_arc(self: Arc<Self>) -> Result<Arc<Self>, Error> {
        Ok(self)
    }

    #[protect(action = "pay", agent = self.owner, authority = self.authority)]
    fn by_pin(self: Pin<&mut Self>) -> Result<u64, Error> {
        self.get_mut().balance = 0;
        Ok(0)
    }

    #[protect(action = "open", agent = owner, authority = authority)]
    pub async fn no_self(authority: Arc<dyn DynAuthority>, owner: &str) -> Result<Self, Error> {
        Ok(Self {
            authority: authority.clone(),
            owner: owner.into(),
            balance: 9,
        })
    }
}

struct Wrapper<T>(T);

impl<T> Wrapper<T>
where
    T: AsRef<str> + Sync,
{
    const STEP: u64 = 2;

    #[protect(action = "read", agent = self.0.as_ref(), context = { step: Self::STEP }, authority = authority)]
    async fn of_generic_impl<U: Into<u64>>(
        &self,
        authority: &MockAuthority,
        more: U,
    ) -> Result<u64, Error> {
        Ok(Self::STEP + more.into())
    }
}

trait Bank {
    fn authority(&self) -> &MockAuthority;

    async fn required(&self, amount: u64) -> Result<u64, Error>;

    #[protect(action = "transfer", agent = "bank", context = { amount }, authority = self.authority())]
    async fn provided(&mut self, amount: u64, permit: Permit) -> Result<String, Error>
    where
        Self: Sized,
    {
        Ok(format!("{amount} by {}", permit.agent()))
    }

    #[protect(action = "transfer", agent = "bank", authority = self.authority())]
    fn provided_sync(&self) -> Result<&MockAuthority, Error> {
        Ok(self.authority())
    }
}

impl Bank for MockAuthority {
    fn authority(&self) -> &MockAuthority {
        self
    }

    #[protect(action = "transfer", agent = "bank", context = { amount }, authority = self)]
    async fn required(&self, amount: u64) -> Result<u64, Error> {
        Ok(amount)
    }
}

trait Store {
    type Error;

    fn get(&mut self, key: usize) -> Result<&mut u8, Self::Error>;
}

struct Own(Error);

impl From<Error> for Own {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

struct Memory(MockAuthority, [u8; 2]);

impl Store for Memory {
    type Error = Own;

    #[protect(action = "read", agent = "bank", resource = key, authority = self.0)]
    fn get(&mut self, key: usize) -> Result<&mut u8, Self::Error> {
        Ok(&mut self.1[key])
    }
}

fn is_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn methods_with_every_self_are_protected() {
    let mock = Arc::new(
        MockAuthority::new()
            .allow("read")
            .allow("pay")
            .allow("open"),
    );
    let mut account = block_on(is_send(Account::no_self(mock.clone(), "jane"))).unwrap();

    assert_eq!(block_on(is_send(account.by_reference())).unwrap(), "jane");
    assert_eq!(asked(&mock)["actor_id"], "jane");
    *block_on(is_send(account.by_mutable_reference(2))).unwrap() += 10;
    assert_eq!(
        asked(&mock)["context"],
        serde_json::json!({"amount": 2, "balance": 9})
    );
    *account.sync_borrow(7).unwrap() += 100;
    assert_eq!(account.balance, 110);

    let shared = Arc::new(account.clone());
    assert!(Arc::ptr_eq(
        &block_on(is_send(shared.clone().by_arc())).unwrap(),
        &shared
    ));
    assert!(refused(block_on(is_send(account.clone().by_value()))));
    assert!(refused(account.clone().sync_by_value()));
    assert_eq!(Pin::new(&mut account).by_pin().unwrap(), 0);
    assert_eq!(account.balance, 0);

    let yes = &mut MockAuthority::new()
        .allow("close")
        .allow("transfer")
        .allow("read");
    let no = &mut MockAuthority::new();
    assert_eq!(
        block_on(is_send(Wrapper("jane").of_generic_impl(yes, 1_u8))).unwrap(),
        3
    );
    assert!(refused(block_on(Wrapper("jane").of_generic_impl(no, 1_u8))));
    assert_eq!(block_on(is_send(yes.required(4))).unwrap(), 4);
    assert!(refused(block_on(no.required(4))));
    assert_eq!(block_on(is_send(yes.provided(5))).unwrap(), "5 by bank");
    assert!(refused(block_on(no.provided(5))));
    assert!(yes.provided_sync().is_ok());
    assert!(refused(no.provided_sync()));

    let mut memory = Memory(MockAuthority::new().allow("read"), [1, 2]);
    *memory.get(1).ok().unwrap() += 1;
    assert_eq!(memory.1, [1, 3]);
    assert!(refused(
        Memory(MockAuthority::new(), [1, 2])
            .get(1)
            .map_err(|own| own.0)
    ));
}
