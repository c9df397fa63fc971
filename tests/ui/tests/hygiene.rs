//! Nothing of the caller's scope can shadow what the expansion means: neither items, nor a missing
//! prelude, nor traits whose methods are called like ours, nor locals.
#![deny(warnings)]

mod support;

use atlasent::testing::MockAuthority;
use atlasent::{Error, Permit, protect};
use futures_executor::block_on;
use support::{asked, refused};

/// Every name that an expansion could mean is missing or means something else.
#[no_implicit_prelude]
mod shadowed {
    use ::atlasent::testing::MockAuthority;
    use ::atlasent::{Action, Error, Permit, protect};

    type Result<T> = ::core::result::Result<T, Error>;

    #[derive(Action)]
    #[action("transfer")]
    pub struct Transfer {
        #[action(resource)]
        pub amount: u64,
    }

    #[protect(action = "deploy", agent = "bot", context = { commit }, resource = commit, authority = authority)]
    pub async fn deploy(authority: &MockAuthority, commit: &::core::primitive::str) -> Result<u8> {
        Result::Ok(::core::primitive::str::len(commit) as u8)
    }

    #[protect(action = "deploy", agent = "bot", authority = authority, request = |r| r.explain(true))]
    pub fn deploy_sync(authority: &MockAuthority, permit: Permit) -> Result<u8> {
        let _moved = permit;
        Result::Ok(7)
    }

    #[protect(action = Transfer { amount }, agent = "bot", authority = authority)]
    pub fn transfer<'a>(
        authority: &'a MockAuthority,
        amount: u64,
        permit: Permit<Transfer>,
    ) -> ::std::pin::Pin<::std::boxed::Box<dyn ::core::future::Future<Output = Result<u64>> + 'a>>
    {
        ::std::boxed::Box::pin(async move { Result::Ok(permit.amount) })
    }

    #[allow(non_camel_case_types)]
    #[allow(unused)]
    mod shadows {
        pub struct Ok;
        pub struct Err;
        pub struct Some;
        pub struct None;
        pub struct Option;
        pub struct Box;
        pub struct String;
        pub struct Vec;
        pub struct LiteralAction;
        pub struct str;
        pub struct atlasent;
        pub trait Future {}
        pub trait Send {}
        pub trait Sync {}
        pub trait Sized {}
        pub trait Serialize {}
        pub trait Into {}
        pub trait From {}
        pub trait FnOnce {}
        pub trait Deref {}
        pub trait Drop {}
        pub mod std {}
        pub mod core {}
        pub mod alloc {}
        pub mod serde {}
        pub fn obtain() {}
        pub fn refuse() {}
        pub fn run() {}
        pub fn agent() {}
        pub fn authority() {}
    }
    #[allow(unused)]
    use shadows::*;
    #[allow(unused)]
    use shadows::{atlasent, core, std};

    /// A trait that would take over a method call that is not ours alone.
    #[allow(unused)]
    pub trait Thief: ::core::marker::Sized {
        fn insert(
            self,
            _: impl ::core::any::Any,
            _: &dyn ::core::any::Any,
        ) -> ::core::result::Result<(), Error> {
            ::std::panic!("stolen")
        }
        fn field(self, _: &'static ::core::primitive::str, _: &impl ::core::marker::Sized) -> Self {
            ::std::panic!("stolen")
        }
        fn context<T>(self, _: &T) -> Self {
            ::std::panic!("stolen")
        }
        fn resource<T>(self, _: &T) -> Self {
            ::std::panic!("stolen")
        }
        fn finish(self) -> Self {
            ::std::panic!("stolen")
        }
        fn to_string(&self) -> ::std::string::String {
            ::std::panic!("stolen")
        }
    }

    impl<T> Thief for T {}
}

/// The locals and parameters of a user may have the names of ours.
#[protect(
    action = "deploy",
    agent = __agent,
    context = { __permit, __execution, __action, error, obtained },
    resource = __authority,
    authority = authority,
    request = |__options| __options.environment(__error)
)]
async fn locals(
    authority: &MockAuthority,
    __agent: &str,
    __permit: u8,
    __execution: u8,
    __action: u8,
    __authority: u8,
    __error: &'static str,
    __ret: u8,
    __self: u8,
    (error, obtained): (u8, u8),
    permit: Permit,
) -> Result<u8, Error> {
    assert_eq!(permit.agent().as_str(), __agent);
    let __obtained =
        __permit + __execution + __action + __authority + __ret + __self + error + obtained;
    let _ = __error;
    Ok(__obtained)
}

#[protect(action = "deploy", agent = agent, context = { action, permit, execution, options }, authority = authority)]
fn locals_sync(
    authority: &MockAuthority,
    agent: &str,
    action: u8,
    permit: u8,
    execution: u8,
    options: u8,
    #[permit] body: Permit,
) -> Result<u8, Error> {
    assert_eq!(body.agent().as_str(), agent);
    Ok(action + permit + execution + options)
}

#[test]
fn nothing_in_scope_shadows_what_an_expansion_means() {
    let yes = &MockAuthority::new().allow("deploy").allow("transfer");
    let no = &MockAuthority::new();

    assert_eq!(block_on(shadowed::deploy(yes, "4f2a")).unwrap(), 4);
    assert_eq!(asked(yes)["context"]["commit"], "4f2a");
    assert!(refused(block_on(shadowed::deploy(no, "4f2a"))));
    assert_eq!(shadowed::deploy_sync(yes).unwrap(), 7);
    assert!(refused(shadowed::deploy_sync(no)));
    assert_eq!(block_on(shadowed::transfer(yes, 5)).unwrap(), 5);
    assert_eq!(asked(yes)["resource_id"], "5");
    assert!(refused(block_on(shadowed::transfer(no, 5))));

    let sum = block_on(locals(yes, "jane", 1, 2, 3, 4, "e", 5, 6, (7, 8))).unwrap();
    assert_eq!(sum, 36);
    assert_eq!(asked(yes)["environment"], "e");
    assert_eq!(asked(yes)["context"]["__execution"], 2);
    assert_eq!(locals_sync(yes, "jane", 1, 2, 3, 4).unwrap(), 10);
    assert!(refused(locals_sync(no, "jane", 1, 2, 3, 4)));
}
