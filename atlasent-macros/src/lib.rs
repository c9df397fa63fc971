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
/// ```
/// use atlasent::{Action, Error, Permit, protect, testing::MockAuthority};
///
/// #[protect(action = "deploy", agent = agent, context = { commit, replicas }, authority = authority)]
/// fn deploy(
///     authority: &MockAuthority,
///     agent: &str,
///     commit: &str,
///     replicas: u32,
///     permit: Permit,
/// ) -> Result<String, Error> {
///     // Runs with a permit only. Using the permit up keeps it from being used twice.
///     let action = permit.into_action();
///     Ok(format!("{commit} on {replicas} replicas: {}", action.name()))
/// }
///
/// let authority = MockAuthority::new().allow("deploy");
/// // Callers do not pass the permit.
/// assert_eq!(deploy(&authority, "deploy-bot", "4f2a", 3)?, "4f2a on 3 replicas: deploy");
///
/// let authority = MockAuthority::new();
/// assert!(matches!(deploy(&authority, "deploy-bot", "4f2a", 3), Err(Error::Denied(_))));
/// # Ok::<(), Error>(())
/// ```
///
/// Without `authority`, the process's default authority decides, which `atlasent::configure` sets.
/// The function may be an `async fn`, which most are.
///
/// # Which `protect`
///
/// All of them obtain a permit in the same way, for code of different shapes:
///
/// | name | is | use it |
/// |---|---|---|
/// | `#[protect]` | this attribute | on a function whose whole body needs the permit |
/// | `protect(&authority, agent, action)` | an `async` function | in the middle of a function |
/// | `authority.protect(agent, action)` | the same, as a method of the trait `AuthorityExt` | where the authority comes first |
/// | `blocking::protect(&authority, agent, action)` | the same for sync code | outside of `async` |
///
/// `use atlasent::protect` imports the attribute and the function.
///
/// # Arguments
///
/// | argument | value | |
/// |---|---|---|
/// | `action` | a string literal, the path of a `&str` constant, or an expression whose type implements `Action` | required |
/// | `agent` | an expression for a string or an `Agent`; it is borrowed | required |
/// | `context` | `{ name, name: value, "key": value }`, or an expression that serializes as an object | with a named action |
/// | `resource` | an expression that implements `Display` | with a named action |
/// | `authority` | an expression that implements `Authority`; it is borrowed | default: the process's authority |
/// | `request` | a closure that sets optional fields, such as `\|r\| r.environment("production")` | |
/// | `receipt` | a closure that returns the text or bytes by which the value of a body that did not fail is hashed, such as `\|release\| release.id.to_string()` | for an authority that takes receipts |
/// | `scope` | an ATI scope that has to be granted before the authority is asked, such as `"tool:github:search"` | with `claims`; feature `ati` |
/// | `claims` | an expression for the verified `ati_client::Claims` of the agent; it is borrowed. They have to grant the scope, and they name the actors of a delegated token, which policies see as `context.actors`. Claims whose `sub` is not `agent` grant nothing | feature `ati` |
/// | `wait` | how long a held call [waits for approvers](#waiting-for-approvers): a literal such as `"10m"` or `"1h30m"` (`ms`, `s`, `m`, `h`, `d`), or an expression of the type `Duration` | default: a held call is refused at once |
/// | `crate` | the path of the `atlasent` crate, such as `my_facade::atlasent` | default: `::atlasent` |
/// | `unchecked_policy` | no value: [skips the check](#policies) against the package's policies | with a named action |
///
/// The expressions may use the function's parameters, `self`, `?` and, in an `async fn`, `.await`.
/// They are evaluated before the body, in this order: `agent`, `authority`, `context`, `resource`,
/// `request`, `scope`, `claims`, `wait`, and last a typed action, which may move values out of the
/// parameters. A lock that an expression takes is released before the next expression is evaluated.
/// A lock around the authority, as in `authority = SHARED.lock().unwrap().as_ref().unwrap()`, is
/// held until the authority has answered, and released before the body runs.
///
/// The braces of `context` hold fields. Put a block that computes the context in parentheses:
/// `context = ({ … })`.
///
/// A path in capitals, such as `names::DEPLOY`, is a constant: a `&str` that names the action, or a
/// value that implements `Action`. It may not depend on a type parameter or on `Self`, because the
/// compiler checks its value in a constant of its own.
///
/// The closure of `receipt` gets a reference to the value in the body's `Ok`, after the body has
/// ended, and captures nothing. The receipt holds the SHA-256 of what it returns, and never the
/// value itself. Where the return type is not written out, as in `impl Trait`, the closure's
/// parameter needs a type.
///
/// A typed action has its own context and resource, so `context` and `resource` are errors with it:
///
/// ```
/// use atlasent::{Action, Error, Permit, protect, testing::MockAuthority};
///
/// #[derive(Action)]
/// #[action("modify_patient_record")]
/// struct ModifyPatientRecord {
///     #[action(resource)]
///     patient_id: String,
///     change_reason: String,
/// }
///
/// #[protect(
///     action = ModifyPatientRecord { patient_id, change_reason },
///     agent = clinician,
///     authority = authority,
/// )]
/// fn modify(
///     authority: &MockAuthority,
///     clinician: &str,
///     patient_id: String,
///     change_reason: String,
///     permit: Permit<ModifyPatientRecord>,
/// ) -> Result<String, Error> {
///     // The values that were decided on, not copies that could have changed since.
///     let ModifyPatientRecord { patient_id, change_reason } = permit.into_action();
///     Ok(format!("{patient_id}: {change_reason}"))
/// }
///
/// let authority = MockAuthority::new().allow("modify_patient_record");
/// let done = modify(&authority, "dr-lee", "p-17".into(), "allergy".into())?;
/// assert_eq!(done, "p-17: allergy");
/// # Ok::<(), Error>(())
/// ```
///
/// # The permit
///
/// A parameter whose type is called `Permit` receives the permit. It is removed from the signature,
/// so callers cannot pass one in. Mark a parameter whose type has another name, such as a type
/// alias, with `#[permit]`. Without such a parameter, the permit is held until the body has ended.
///
/// The permit is passed by value. Use it up with `permit.into_action()`: a body that only reads it
/// makes clippy's `needless_pass_by_value` suggest `&Permit`, which could be used twice.
///
/// A parameter of type `&Permit` or `Option<Permit>` is an error, unless another parameter receives
/// the permit. Mark a parameter that callers pass, or one of another type that is called `Permit`,
/// with `#[permit(skip)]`.
///
/// A trait declares the method without the permit, as callers see it. The implementation adds the
/// parameter:
///
/// ```
/// use atlasent::{Action, Error, Permit, protect, testing::MockAuthority};
///
/// trait Deploy {
///     fn deploy(&self, commit: &str) -> Result<String, Error>;
/// }
///
/// struct Cluster {
///     authority: MockAuthority,
/// }
///
/// impl Deploy for Cluster {
///     #[protect(action = "deploy", agent = "deploy-bot", context = { commit }, authority = self.authority)]
///     fn deploy(&self, commit: &str, permit: Permit) -> Result<String, Error> {
///         let action = permit.into_action();
///         Ok(format!("{} of {commit}", action.name()))
///     }
/// }
/// # let cluster = Cluster { authority: MockAuthority::new().allow("deploy") };
/// # assert_eq!(cluster.deploy("4f2a").unwrap(), "deploy of 4f2a");
/// ```
///
/// # The function
///
/// It returns a `Result<T, E>` with `E: From<atlasent::Error>`. It is an `async fn`, or an `fn`,
/// which blocks until the authority has answered. It may be a free function or a method, generic,
/// `unsafe`, in a trait or in an implementation. `const fn` and `extern` functions cannot be
/// protected.
///
/// An `fn` that returns a future (`impl Future`, `Pin<Box<dyn Future>>`, `BoxFuture`, or an alias)
/// obtains the permit inside the future. Its body has to be one `async` block, boxed or not. Items
/// before the block move into it, behind the permit; `use` declarations stay, unless they have an
/// attribute that could expand to other code:
///
/// ```
/// use atlasent::{Error, protect, testing::MockAuthority};
///
/// # struct Service { authority: MockAuthority }
/// impl Service {
///     #[protect(action = "cache.flush", agent = "janitor", authority = self.authority)]
///     fn flush(&self) -> impl Future<Output = Result<u32, Error>> + Send {
///         async move { Ok(42) }
///     }
/// }
/// # let service = Service { authority: MockAuthority::new().allow("cache.flush") };
/// # assert_eq!(futures_executor::block_on(service.flush()).unwrap(), 42);
/// ```
///
/// # Waiting for approvers
///
/// An authority that holds or escalates a call may open an escalation, which people decide. With
/// `wait`, the call waits for them, for at most this time:
///
/// ```
/// use atlasent::testing::{MockAuthority, ScriptedApproval};
/// use atlasent::{Error, protect};
///
/// #[protect(action = "deploy.production", agent = "deploy-bot", authority = authority, wait = "10m")]
/// async fn deploy(authority: &MockAuthority, commit: &str) -> Result<String, Error> {
///     Ok(format!("deploy of {commit}"))
/// }
///
/// # futures_executor::block_on(async {
/// let approval = ScriptedApproval::approve();
/// let authority = MockAuthority::new().hold_for_approval("deploy.production", "two people", approval);
/// assert_eq!(deploy(&authority, "4f2a").await?, "deploy of 4f2a");
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
///
/// After an approval, the same request is evaluated once more, and the authority decides.
/// Everything else is a refusal, and its `Denied::escalation_id()` names the escalation. A call
/// that is dropped or whose time is over leaves the escalation open: the same call joins it later.
///
/// # Other attributes
///
/// - `#[async_trait]`: write `#[protect]` on the methods inside. `self` and the parameters have
///   their usual meaning in the arguments.
/// - `#[tracing::instrument]`: above `#[protect]` or below it. Above, it records the permit's
///   parameter unless told to `skip(permit)`. Below, it does not see that parameter.
/// - `#[tokio::main]` and `#[tokio::test]`: above or below.
/// - `#[track_caller]`: an error on a sync function, whose body runs in a closure, where
///   `Location::caller()` is not the caller. It has no effect on an `async fn`, nor on the
///   declaration in a trait if the implementation is protected.
///
/// # Dangerous calls
///
/// The body, unlike the arguments, may call the methods that clippy's lint `disallowed_methods`
/// refuses elsewhere. `atlasent boundary clippy` writes a `clippy.toml` with such methods. The lint
/// cannot be lifted where `#![forbid(clippy::disallowed_methods)]` is in force: use `deny`.
///
/// # Policies
///
/// In a package whose build script calls `atlasent_build::policies`, an action that a literal or a
/// constant names is checked against the schema of the policies: the action has to be declared, the
/// context has to have its required keys and no undeclared one, and each value has to have the
/// declared type (`atlasent::schema` lists the Rust types). A `context` that is one expression is
/// unchecked, because only a run knows its keys. `unchecked_policy` skips all of these checks. In a
/// package without that build script, nothing is checked.
///
/// # Where the crate is
///
/// The expansion calls into `::atlasent`. Pass the path in `crate` where the crate has another
/// name, because Cargo.toml renames it or another crate re-exports it:
///
/// ```
/// mod facade {
///     pub use atlasent as guard;
/// }
///
/// use facade::guard::{Action, Error, protect, testing::MockAuthority};
///
/// #[derive(Action)]
/// #[action("cache.flush", crate = crate::facade::guard)]
/// struct Flush;
///
/// #[protect(action = Flush, agent = "janitor", authority = authority, crate = crate::facade::guard)]
/// fn flush(authority: &MockAuthority) -> Result<(), Error> {
///     Ok(())
/// }
/// # fn main() { flush(&MockAuthority::new().allow("cache.flush")).unwrap() }
/// ```
///
/// The expansion binds no variable. It introduces the name of an import, of a constant where a
/// constant names the action, and in a package with policies, of a trait for each context key.
/// These names do not occur in the function and its attribute. So the caller's constants, modules
/// and variables never conflict with it.
///
/// # Errors
///
/// A wrong argument, or a function that cannot be protected, is a compile error at its location:
///
/// ```compile_fail
/// # use atlasent::{Error, protect};
/// #[protect(actoin = "deploy.production", agent = "deploy-bot")] // did you mean `action`?
/// fn deploy() -> Result<(), Error> {
///     Ok(())
/// }
/// ```
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
/// | takes a `Permit<A>` by value, where `A` is one action | protected: its callers pass the permit |
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
