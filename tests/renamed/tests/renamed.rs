//! `crate = path` is enough for every expansion, wherever `atlasent` is.

use futures_executor::block_on;
use guard::testing::MockAuthority;
use guard::{Error, NamedAction};

/// Every kind of body and of action under one path.
macro_rules! through {
    ($module:ident: $($path:tt)+) => {
        mod $module {
            use std::pin::Pin;

            use guard::testing::MockAuthority;
            use guard::{Action, Error, Permit, protect};

            #[derive(Action)]
            #[action("transfer", crate = $($path)+)]
            pub(crate) struct Transfer<T> {
                #[action(resource)]
                account: T,
                amount: u64,
            }

            #[derive(Action)]
            #[action("flush")]
            #[action(crate = $($path)+)]
            pub(crate) struct Flush;

            #[protect(
                crate = $($path)+,
                action = "deploy",
                agent = "bot",
                context = { commit },
                resource = commit,
                authority = mock,
                request = |r| r.explain(true),
            )]
            pub(crate) async fn asynchronous(mock: &MockAuthority, commit: &str) -> Result<usize, Error> {
                Ok(commit.len())
            }

            #[protect(action = Transfer { account, amount: 5 }, agent = "bot", authority = mock, crate = $($path)+)]
            pub(crate) fn synchronous(
                mock: &MockAuthority,
                account: u8,
                permit: Permit<Transfer<u8>>,
            ) -> Result<u64, Error> {
                Ok(permit.amount + u64::from(permit.account))
            }

            #[protect(action = Flush, agent = "bot", authority = mock, crate = $($path)+)]
            pub(crate) fn boxed(
                mock: &MockAuthority,
            ) -> Pin<Box<dyn Future<Output = Result<u8, Error>> + '_>> {
                Box::pin(async move { Ok(7) })
            }
        }
    };
}

through!(by_its_name: guard);
through!(by_its_name_from_the_root: ::guard);
through!(by_another_crate: atlasent_tests_renamed::inner::atlasent);
through!(by_a_module_of_this_crate: crate::facade::atlasent);
through!(by_a_module_beside: super::facade::atlasent);

mod facade {
    pub(crate) use atlasent_tests_renamed::inner::atlasent;
}

macro_rules! check {
    ($($module:ident)*) => {$(
        let yes = &MockAuthority::new().allow("deploy").allow("transfer").allow("flush");
        let no = &MockAuthority::new();
        let refused = |error: Option<Error>| matches!(error, Some(Error::Denied(_)));
        assert_eq!(block_on($module::asynchronous(yes, "4f2a")).unwrap(), 4);
        assert!(refused(block_on($module::asynchronous(no, "4f2a")).err()));
        assert_eq!($module::synchronous(yes, 2).unwrap(), 7);
        assert!(refused($module::synchronous(no, 2).err()));
        assert_eq!(block_on($module::boxed(yes)).unwrap(), 7);
        assert!(refused(block_on($module::boxed(no)).err()));
        assert_eq!($module::Transfer::<u8>::NAME, "transfer");
        assert_eq!($module::Flush::NAME, "flush");
    )*};
}

#[test]
fn an_expansion_finds_the_crate_by_every_path() {
    check!(
        by_its_name by_its_name_from_the_root by_another_crate by_a_module_of_this_crate by_a_module_beside
    );
}
