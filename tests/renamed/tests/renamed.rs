//! With `crate = path`, every expansion finds `atlasent`.

use futures_executor::block_on;
use guard::testing::MockAuthority;
use guard::{Error, NamedAction};

/// Defines every kind of body and of action, with one path of the crate.
macro_rules! define_with_path {
    ($module:ident: $($path:tt)+) => {
        mod $module {
            use std::pin::Pin;

            use guard::testing::MockAuthority;
            use guard::{Action, Error, Permit, boundary, protect};

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

            pub(crate) struct Bank<'a>(pub(crate) &'a MockAuthority);

            #[boundary(authority = self.0, agent = "bot", crate = $($path)+)]
            impl Bank<'_> {
                #[protect(action = "deploy")]
                pub(crate) fn deploy(&self) -> Result<u8, Error> {
                    Ok(3)
                }

                pub(crate) fn execute(&self, permit: Permit<Flush>) -> &'static str {
                    drop(permit);
                    "flushed"
                }
            }
        }
    };
}

define_with_path!(by_its_name: guard);
define_with_path!(by_its_name_from_the_root: ::guard);
define_with_path!(by_another_crate: atlasent_tests_renamed::inner::atlasent);
define_with_path!(by_a_module_of_this_crate: crate::facade::atlasent);
define_with_path!(by_a_module_beside: super::facade::atlasent);

mod facade {
    pub(crate) use atlasent_tests_renamed::inner::atlasent;
}

macro_rules! assert_protected {
    ($($module:ident)*) => {$(
        let allowing = &MockAuthority::new().allow("deploy").allow("transfer").allow("flush");
        let denying = &MockAuthority::new();
        let refused = |error: Option<Error>| matches!(error, Some(Error::Denied(_)));
        assert_eq!(block_on($module::asynchronous(allowing, "4f2a")).unwrap(), 4);
        assert!(refused(block_on($module::asynchronous(denying, "4f2a")).err()));
        assert_eq!($module::synchronous(allowing, 2).unwrap(), 7);
        assert!(refused($module::synchronous(denying, 2).err()));
        assert_eq!(block_on($module::boxed(allowing)).unwrap(), 7);
        assert!(refused(block_on($module::boxed(denying)).err()));
        assert_eq!($module::Bank(allowing).deploy().unwrap(), 3);
        assert!(refused($module::Bank(denying).deploy().err()));
        let permit = guard::blocking::protect(allowing, "bot", $module::Flush).unwrap();
        assert_eq!($module::Bank(denying).execute(permit), "flushed");
        assert_eq!($module::Transfer::<u8>::NAME, "transfer");
        assert_eq!($module::Flush::NAME, "flush");
    )*};
}

#[test]
fn an_expansion_finds_the_crate_by_every_path() {
    assert_protected!(
        by_its_name by_its_name_from_the_root by_another_crate by_a_module_of_this_crate by_a_module_beside
    );
}
