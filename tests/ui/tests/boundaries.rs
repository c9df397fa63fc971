//! A boundary under `deny(warnings)` and without `unsafe`, with the attribute by other paths.
#![deny(warnings)]
#![forbid(unsafe_code)]

use std::marker::PhantomData;

use atlasent::testing::MockAuthority;
use atlasent::{Action, Error, Permit, boundary, protect};

pub mod facade {
    pub use atlasent as guard;
}

pub struct Bank {
    authority: MockAuthority,
}

impl Bank {
    fn agent(&self) -> &str {
        "teller"
    }
}

#[boundary(authority = self.authority, agent = self.agent())]
impl Bank {
    #![allow(dead_code)]

    pub const LIMIT: u64 = {
        const fn limit() -> u64 {
            9
        }
        limit()
    };

    #[protect(action = "pay", context = { amount })]
    pub async fn pay(&self, amount: u64) -> Result<u64, Error> {
        Ok(amount.min(Self::LIMIT))
    }

    fn helper(&self) {}
}

/// Without an import of its own, by the path of a facade.
#[facade::guard::boundary(agent = "bot", crate = crate::facade::guard)]
impl Bank {
    #[crate::facade::guard::protect(action = "close", authority = self.authority)]
    pub fn close(self) -> Result<u64, Error> {
        Ok(1)
    }

    /// A macro's name among the methods of the user.
    #[open("reads")]
    pub fn r#type(&self) -> &'static str {
        "bank"
    }
}

/// Of a macro.
macro_rules! bank {
    ($name:ident, $action:literal) => {
        struct $name(MockAuthority);

        #[boundary(authority = self.0)]
        impl $name {
            #[protect(action = $action, agent = "bot")]
            pub(crate) fn pay(&self) -> Result<u8, Error> {
                Ok(1)
            }
        }
    };
}

bank!(Branch, "pay");

#[derive(Action)]
#[action("wire")]
pub struct Wire {
    amount: u64,
}

/// Executes actions of one type.
pub struct Executor<A>(PhantomData<A>);

#[boundary]
impl<A: Action> Executor<A> {
    pub fn amount_of(&self, permit: Permit<A>, read: fn(&A) -> u64) -> u64 {
        read(permit.action())
    }
}

#[boundary]
pub trait Execute {
    type Action;

    fn execute(&self, permit: Permit<Self::Action>) -> Self::Action;

    #[cfg(any())]
    fn execute(&self, permit: Permit<Gone>) -> Self::Action;
}

#[boundary]
impl<A: Action> Execute for Executor<A> {
    type Action = A;

    fn execute(&self, permit: Permit<Self::Action>) -> A {
        permit.into_action()
    }
}

#[test]
fn the_type_of_self_may_fix_the_action_of_a_permit() {
    let executor = Executor(PhantomData);
    let wire = |amount| atlasent::testing::permit(Wire { amount }).unwrap();
    assert_eq!(executor.amount_of(wire(3), |wire| wire.amount), 3);
    assert_eq!(executor.execute(wire(4)).amount, 4);
}

#[test]
fn a_boundary_compiles_without_warnings_by_any_path() {
    let bank = Bank {
        authority: MockAuthority::new().allow("pay"),
    };
    assert_eq!(futures_executor::block_on(bank.pay(12)).unwrap(), 9);
    assert_eq!(bank.r#type(), "bank");
    assert!(bank.close().is_err());
    assert_eq!(Branch(MockAuthority::new().allow("pay")).pay().unwrap(), 1);

    // Inside a function.
    struct Local;

    #[boundary(authority = authority)]
    impl Local {
        #[protect(action = "pay", agent = "bot")]
        pub fn pay(&self, authority: &MockAuthority) -> Result<u8, Error> {
            Ok(2)
        }
    }

    assert_eq!(Local.pay(&MockAuthority::new().allow("pay")).unwrap(), 2);
}
