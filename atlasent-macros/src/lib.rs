//! The macros of the `atlasent` crate, which re-exports them. Depend on `atlasent`, not on this
//! crate: the expansions call a hidden module of the `atlasent` with the same version.
//!
//! Each macro parses the user's code, validates it, and expands it. After an error, it expands to
//! the error and a stub, so that the code around it compiles. It never expands to an unprotected
//! body.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod action;
mod action_name;
mod boundary;
mod errors;
mod policy_index;
mod protect;
mod record;
mod runtime;
mod site;
mod suggest;

use proc_macro::TokenStream;

/// Obtains a permit before the body of a function runs. Each call asks an authority whether the
/// agent may do the action, and verifies the permit of an allow, which consumes it. After any other
/// answer, the body does not run, and the call returns the refusal as its `Err`.
///
#[doc = include_str!("protect/protect.md")]
#[proc_macro_attribute]
pub fn protect(arguments: TokenStream, item: TokenStream) -> TokenStream {
    protect::expand(arguments.into(), item.into()).into()
}

/// Requires that each method of an `impl` or a `trait` is protected, or says why it is not. Any
/// other method is a compile error.
///
/// ```
/// use atlasent::{Error, boundary, protect, testing::MockAuthority};
///
/// struct Bank {
///     authority: MockAuthority,
/// }
///
/// #[boundary(authority = self.authority, agent = "teller")]
/// impl Bank {
///     #[protect(action = "wire.transfer", context = { amount })]
///     pub fn transfer(&self, amount: u64) -> Result<u64, Error> {
///         Ok(amount)
///     }
///
///     #[open("the name of the bank is public")]
///     pub fn name(&self) -> &'static str {
///         "Bank"
///     }
/// }
///
/// let bank = Bank { authority: MockAuthority::new().allow("wire.transfer") };
/// assert_eq!(bank.transfer(5)?, 5);
/// # Ok::<(), Error>(())
/// ```
///
/// # Methods
///
/// | the method | is |
/// |---|---|
/// | has [`#[protect(…)]`](macro@protect) | protected: the attribute obtains the permit |
/// | takes a `Permit<A>` by value, where `A` is one action, in a parameter without `#[cfg]` | protected: its callers pass the permit |
/// | has `#[open("reason")]` | open; the reason is required |
///
/// The boundary is every method of a trait, every method of a trait's implementation, and every
/// method of another `impl` that is `pub`, `pub(crate)` or `pub(in path)`. Constants and types
/// pass. A macro inside the block is an error, because it could expand to a method.
///
/// ```compile_fail
/// # use atlasent::boundary;
/// # struct Bank;
/// #[boundary]
/// impl Bank {
///     pub fn refund(&self) {} // neither protected nor open
/// }
/// ```
///
/// # Arguments
///
/// | argument | value |
/// |---|---|
/// | `authority`, `agent`, `request`, `scope`, `wait` | the default of that argument of each `#[protect]` inside |
/// | `claims` | the default of that argument of each `#[protect]` inside that has a scope |
/// | `all` | no value: private methods belong to the boundary, too |
/// | `front` | on a trait: the name of the trait to which the protected methods move |
/// | `crate` | the path of the `atlasent` crate, as in [`macro@protect`] |
///
/// A `#[protect]` that sets an argument itself does not take the default. Each method evaluates the
/// defaults that it takes.
///
/// # Traits
///
/// An implementation of a trait can override each default method of the trait, and drop its
/// protection. So a boundary moves the protected methods to the trait that `front` names. That
/// trait is implemented for every type that implements the first one, and a second implementation
/// does not compile. The methods that stay are open or take a permit:
///
/// ```
/// use atlasent::{Action, Error, Permit, boundary, protect, testing::MockAuthority};
///
/// #[derive(Action)]
/// #[action("wire.transfer")]
/// struct Transfer {
///     amount: u64,
/// }
///
/// #[boundary(front = Bank, authority = self.authority(), agent = "teller")]
/// trait BankBackend {
///     #[open("names the authority that decides")]
///     fn authority(&self) -> &MockAuthority;
///
///     /// Implementations write this method. It cannot be called without a permit.
///     fn execute(&self, permit: Permit<Transfer>) -> Result<u64, Error>;
///
///     /// Callers call this method.
///     #[protect(action = Transfer { amount })]
///     fn transfer(&self, amount: u64, permit: Permit<Transfer>) -> Result<u64, Error> {
///         self.execute(permit)
///     }
/// }
///
/// struct Branch(MockAuthority);
///
/// impl BankBackend for Branch {
///     fn authority(&self) -> &MockAuthority {
///         &self.0
///     }
///
///     fn execute(&self, permit: Permit<Transfer>) -> Result<u64, Error> {
///         Ok(permit.into_action().amount)
///     }
/// }
///
/// // `transfer` is a method of the trait `Bank`.
/// assert_eq!(Branch(MockAuthority::new().allow("wire.transfer")).transfer(5)?, 5);
/// # Ok::<(), Error>(())
/// ```
///
/// # Other attributes
///
/// `#[async_trait]` may be above `#[boundary]` or below it. An attribute macro that adds methods
/// has to be above it: those below expand later. A `#[protect]` inside `#[cfg_attr]` does not
/// count.
#[proc_macro_attribute]
pub fn boundary(arguments: TokenStream, item: TokenStream) -> TokenStream {
    boundary::expand(arguments.into(), item.into()).into()
}

/// Implements `Action` and `NamedAction` for a struct: its fields are the context that policies
/// read.
///
/// `#[action("name")]` above the struct names the action, with 1 to 256 characters;
/// `#[action(names::DEPLOY)]` takes the name from a `&str` constant.
/// `#[action("name", crate = path)]` also sets the path of the `atlasent` crate, as in
/// [`macro@protect`]. In a package whose build script calls `atlasent_build::policies`, the name,
/// the keys and the types of the fields are checked as those of [`macro@protect`] are;
/// `#[action("name", unchecked_policy)]` skips the check.
///
/// # Fields
///
/// Every field is in the context under its own name, and has to implement `Serialize`. Attributes
/// change that:
///
/// | attribute | effect |
/// |---|---|
/// | `#[action(resource)]` | the field is the action's resource, as its `Display` prints it; at most one field. It stays in the context. |
/// | `#[action(skip)]` | the field is not in the context |
/// | `#[action(rename = "key")]` | the field's key in the context |
/// | `#[action(unchecked_policy)]` | the type of the field is not checked against the policies |
///
/// They combine: `#[action(resource, skip)]` is a resource that is not in the context. The key of a
/// raw identifier is without `r#`. Serde's attributes on the struct have no effect, because each
/// field is serialized alone.
///
/// ```
/// use atlasent::{Action, NamedAction};
///
/// #[derive(Action)]
/// #[action("wire.transfer")]
/// struct Transfer {
///     #[action(resource, skip)]
///     account: u64,
///     amount: u32,
///     #[action(rename = "kind")]
///     r#type: &'static str,
/// }
///
/// let transfer = Transfer { account: 7, amount: 250, r#type: "sepa" };
/// assert_eq!(Transfer::NAME, "wire.transfer");
/// assert_eq!(transfer.resource().as_deref(), Some("7"));
/// assert_eq!(transfer.context()?.canonical_json(), r#"{"amount":250,"kind":"sepa"}"#);
/// # Ok::<(), atlasent::Error>(())
/// ```
///
/// # The struct
///
/// It has named fields, or no fields. These are compile errors: a tuple struct, whose fields have
/// no keys; an enum, which would be several actions; and lifetimes, because an action owns its
/// values. With type parameters, the implementation requires that the fields serialize, and that
/// the struct is `Send`, `Sync` and `'static`.
///
/// ```
/// # use atlasent::Action;
/// #[derive(Action)]
/// #[action("queue.publish")]
/// struct Publish<T> {
///     #[action(resource)]
///     queue: String,
///     message: T,
/// }
///
/// let publish = Publish { queue: "orders".into(), message: [1, 2] };
/// assert_eq!(publish.context()?.canonical_json(), r#"{"message":[1,2],"queue":"orders"}"#);
/// # Ok::<(), atlasent::Error>(())
/// ```
#[proc_macro_derive(Action, attributes(action))]
pub fn derive_action(item: TokenStream) -> TokenStream {
    action::expand(item.into()).into()
}

/// Checks that the fields of a struct are the keys of a record in the package's policies, so that
/// the struct fits where an action has that record in its context.
///
/// `#[record("action", "key")]` above the struct names the record: an action, and the key of its
/// context. More names lead to a record inside of a record, and several attributes name several
/// records. A set stands for its elements. In a package whose build script calls
/// `atlasent_build::policies`, an undeclared key, a missing one and a value of another type are
/// compile errors at the field. In any other package, the derive does nothing.
///
/// ```
/// use atlasent::{Error, PolicyRecord, protect, testing::MockAuthority};
/// use serde::Serialize;
///
/// #[derive(Serialize, PolicyRecord)]
/// #[record("site.visit", "client")]
/// struct Client {
///     ip: std::net::IpAddr,
///     #[serde(rename = "agent")]
///     user_agent: Option<String>,
/// }
///
/// #[protect(action = "site.visit", agent = "bot", authority = authority, context = { client })]
/// fn visit(authority: &MockAuthority, client: Client) -> Result<(), Error> {
///     Ok(())
/// }
/// ```
///
/// The keys are those that `#[derive(Serialize)]` writes: `rename`, `rename_all`, `skip` and
/// `skip_serializing_if` of `#[serde(…)]` are read, and attributes that hide keys or types, such as
/// `flatten`, are errors. The derive does not see an implementation of `Serialize` by hand, which
/// may write other keys.
///
/// `#[record("action", "key", crate = path)]` sets the path of the `atlasent` crate, as in
/// [`macro@protect`].
#[proc_macro_derive(PolicyRecord, attributes(record))]
pub fn derive_policy_record(item: TokenStream) -> TokenStream {
    record::expand(item.into()).into()
}

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
