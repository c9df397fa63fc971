//! An expansion takes no name of the caller's for its own: not where that is a constant, a static
//! or a unit struct, which a binding of the same name would be compared with; nor where it is a
//! function, a module or a macro.
#![deny(warnings)]
#![allow(
    non_upper_case_globals,
    non_camel_case_types,
    non_snake_case,
    dead_code,
    hidden_glob_reexports,
    unused_imports,
    unused_macros
)]

use atlasent::testing::MockAuthority;
use atlasent::{Action as _, NamedAction as _};
use futures_executor::block_on;

/// Defines each name once in every way in which a pattern, a path or a call could find it.
macro_rules! items {
    ($($name:ident)*) => {
        mod constants {
            $(pub(crate) const $name: ::core::primitive::u8 = 7;)*
        }
        mod statics {
            $(pub(crate) static $name: ::core::primitive::u8 = 7;)*
        }
        mod structs {
            $(pub(crate) struct $name;)*
        }
        mod functions {
            $(pub(crate) fn $name() {})*
        }
        mod modules {
            $(pub(crate) mod $name {})*
        }
        mod macros {
            $(macro_rules! $name { () => { compile_error!("stolen") }; } pub(crate) use $name;)*
        }
    };
}

// What an expansion holds, what earlier ones held, and what the next one might.
items! {
    agent authority action body claims context default_authority draft error execution failed field finish future given
    held hold literal literal_request name new no_options obtain obtain_blocking obtained options permit question receive refuse
    request required resource result ret returns run run_blocking running scope terms typed
    typed_request value
    __action __agent __atlasent __atlasent_ __authority __body __claims __context __error __execution __obtained
    __options __permit __private_0_2_0 __required __result __ret __self _0
    alloc atlasent core std option primitive str
    Action Box Context Cow DerivedAction DerivedContext Draft LiteralAction Err Error Fields FnOnce From Future Into NamedAction None Ok Option
    Permit Result Send Serialize Some String Sync Vec
}

macro_rules! under {
    ($($names:ident)*) => {
        mod under {$(
            pub(crate) mod $names {
                #[allow(unused)]
                use crate::$names::*;

                #[derive(::atlasent::Action)]
                #[action("transfer")]
                pub(crate) struct Transfer<T> {
                    #[action(resource)]
                    pub(crate) account: T,
                    pub(crate) amount: ::core::primitive::u64,
                }

                #[::atlasent::protect(
                    action = "deploy",
                    agent = "bot",
                    context = { commit, length: commit.len() },
                    resource = commit,
                    authority = mock,
                    request = |r| r.environment("production"),
                )]
                pub(crate) async fn asynchronous(
                    mock: &::atlasent::testing::MockAuthority,
                    commit: &::core::primitive::str,
                    mine: ::atlasent::Permit,
                ) -> ::core::result::Result<::std::string::String, ::atlasent::Error> {
                    if commit.is_empty() {
                        return ::core::result::Result::Ok(::std::string::String::new());
                    }
                    ::core::result::Result::Ok(::std::string::ToString::to_string(mine.agent()))
                }

                #[::atlasent::protect(action = "deploy", agent = "bot", authority = mock)]
                pub(crate) fn synchronous(
                    mock: &::atlasent::testing::MockAuthority,
                ) -> ::core::result::Result<::core::primitive::u8, ::atlasent::Error> {
                    ::core::result::Result::Ok(7)
                }

                #[::atlasent::protect(action = Transfer { account, amount: 5 }, agent = "bot", authority = mock)]
                pub(crate) fn boxed(
                    mock: &::atlasent::testing::MockAuthority,
                    account: ::core::primitive::u64,
                    mine: ::atlasent::Permit<Transfer<::core::primitive::u64>>,
                ) -> ::core::pin::Pin<
                    ::std::boxed::Box<
                        dyn ::core::future::Future<
                            Output = ::core::result::Result<::core::primitive::u64, ::atlasent::Error>,
                        > + '_,
                    >,
                > {
                    ::std::boxed::Box::pin(async move { ::core::result::Result::Ok(mine.account + mine.amount) })
                }
            }
        )*}

        fn check(yes: &MockAuthority, no: &MockAuthority) {$({
            use under::$names as case;
            assert_eq!(block_on(case::asynchronous(yes, "4f2a")).unwrap(), "bot");
            assert!(block_on(case::asynchronous(no, "4f2a")).is_err());
            assert_eq!(case::synchronous(yes).unwrap(), 7);
            assert!(case::synchronous(no).is_err());
            assert_eq!(block_on(case::boxed(yes, 2)).unwrap(), 7);
            assert!(block_on(case::boxed(no, 2)).is_err());
            assert_eq!(case::Transfer::<u8>::NAME, "transfer");
            let transfer = case::Transfer { account: 7_u8, amount: 5 };
            assert_eq!(transfer.resource().as_deref(), Some("7"));
            assert_eq!(transfer.context().unwrap().canonical_json(), r#"{"account":7,"amount":5}"#);
        })*}
    };
}

under!(constants statics structs functions modules macros);

#[test]
fn an_expansion_takes_no_name_of_the_caller() {
    check(
        &MockAuthority::new().allow("deploy").allow("transfer"),
        &MockAuthority::new(),
    );
}
