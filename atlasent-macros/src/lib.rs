//! The macros of the `atlasent` crate, which re-exports them. Depend on `atlasent`, not on this
//! crate: the expansions call into `atlasent`, and only its version with the same number fits.
//!
//! Each macro is a pipeline: parse what was written, reject what cannot work, expand the rest.
//! After an error, what comes out is the error and a stub that lets everything around it compile. A
//! body that was to be protected never comes out unprotected.

#![cfg_attr(docsrs, feature(doc_cfg))]

mod action;
mod errors;
mod name;
mod protect;
mod runtime;
mod suggest;

use proc_macro::TokenStream;

/// A call of the function first asks an authority whether this agent may do this action. The body
/// runs after an allow whose permit was verified, and so consumed; otherwise the call returns the
/// refusal as its `Err`.
///
/// # Arguments
///
/// | argument | value | |
/// |---|---|---|
/// | `action` | a string literal, or an expression whose type implements `Action` | required |
/// | `agent` | an expression for a string or an `Agent`; it is borrowed | required |
/// | `context` | `{ name, name: value, "key": value }`, or an expression that serializes as an object | with a literal action |
/// | `resource` | an expression that implements `Display` | with a literal action |
/// | `authority` | an expression that implements `Authority`; it is borrowed | else the process default |
/// | `request` | a closure that sets optional fields, such as `\|r\| r.environment("production")` | |
/// | `scope` | an ATI scope that has to be granted before the authority is asked, such as `"tool:github:search"` | with `claims`; feature `ati` |
/// | `claims` | an expression for the verified `ati_client::Claims` that have to grant it; it is borrowed. They are the agent's own: claims whose `sub` is not `agent` grant nothing | with `scope` |
/// | `crate` | the path of the `atlasent` crate, such as `my_facade::atlasent` | else `::atlasent` |
///
/// The expressions may use the function's parameters, `self`, `?` and, in an `async fn`, `.await`.
/// They are evaluated before the body, in this order: `agent`, `authority`, `context`, `resource`,
/// `request`, `scope`, `claims`, and last a typed action, which may move its parts out of the
/// parameters. A lock that an expression takes is released before the next one is evaluated. A lock
/// around the authority, as in `authority = SHARED.lock().unwrap().as_ref().unwrap()`, is held
/// until the authority has answered, and released before the body runs.
///
/// The braces of `context` hold fields. A block that computes the context stands in parentheses:
/// `context = ({ … })`.
///
/// A typed action speaks for itself, so `context` and `resource` do not go with it:
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
///     Ok(format!("{}: {}", permit.patient_id, permit.change_reason))
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
/// A parameter whose type is called `Permit` receives the permit, and leaves the signature: callers
/// cannot pass one in. Under another name, such as a type alias, mark the parameter with
/// `#[permit]`. Without such a parameter the permit is held until the body has ended.
///
/// The permit is passed by value. A parameter that is a `&Permit` or an `Option<Permit>` is an
/// error, unless another one receives the permit. Mark a parameter that callers pass with
/// `#[permit(skip)]`, and likewise one of a type of your own that is called `Permit` too.
///
/// A trait declares its method as callers see it, without the permit; the implementation adds the
/// parameter:
///
/// ```
/// use atlasent::{Error, Permit, protect, testing::MockAuthority};
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
///         Ok(format!("{commit} by {}", permit.agent()))
///     }
/// }
/// # let cluster = Cluster { authority: MockAuthority::new().allow("deploy") };
/// # assert_eq!(cluster.deploy("4f2a").unwrap(), "4f2a by deploy-bot");
/// ```
///
/// # The function
///
/// It returns a `Result<T, E>` with `E: From<atlasent::Error>`. It may be an `async fn`, or an
/// `fn`, which then blocks until the answer is there; a free function or a method; generic,
/// `unsafe`, in a trait or in its implementation. `const fn` and `extern` functions cannot be
/// protected.
///
/// An `fn` that returns a future (`impl Future`, `Pin<Box<dyn Future>>`, `BoxFuture`, or an alias)
/// is protected inside of that future, so its body has to be one `async` block, boxed or not. Items
/// before the block move into it, behind the permit; `use` declarations without other attributes
/// stay:
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
/// # Other attributes
///
/// - `#[async_trait]`: write `#[protect]` on the methods inside. `self` and the parameters mean
///   what they mean in the method.
/// - `#[tracing::instrument]`: above `#[protect]` or below it. Above, it also sees the permit's
///   parameter, which can be skipped: `skip(permit)`. Below, that parameter is gone.
/// - `#[tokio::main]` and `#[tokio::test]`: above or below.
/// - `#[track_caller]`: not on a sync function, whose body runs in a closure, where
///   `Location::caller()` is not the caller's. On the declaration in a trait it has no effect on a
///   protected implementation, and on an `async fn` it has none anyway.
///
/// # Where the crate is
///
/// The expansion calls into `::atlasent`. Where that is not the crate's name, because Cargo.toml
/// renames it or because another crate re-exports it, say where it is:
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
/// The expansion binds no variable. The one name that it introduces is that of an import, which
/// occurs nowhere in the function and its attribute. So no constant, module or local of the
/// caller's can stand in its way.
///
/// # Errors
///
/// A wrong argument or a function that cannot be protected is a compile error where it was written:
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

/// `#[action("name")]` above the struct gives the action its name: 1 to 256 characters, and the
/// same for all values of the type. `#[action("name", crate = path)]` also says where the
/// `atlasent` crate is, as in [`macro@protect`].
///
/// # Fields
///
/// Every field goes into the context under its own name, and has to implement `Serialize`.
/// Attributes change that:
///
/// | attribute | effect |
/// |---|---|
/// | `#[action(resource)]` | the field is what the action is done to, as its `Display` prints it; at most one field. It stays in the context. |
/// | `#[action(skip)]` | the field is not in the context |
/// | `#[action(rename = "key")]` | the field's key in the context |
///
/// They combine: `#[action(resource, skip)]` is a resource that is not in the context. Raw
/// identifiers lose their `r#`. Serde's own attributes on the struct do not count here, because the
/// struct is not serialized as a whole.
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
/// It has named fields, or none. A tuple struct has no keys for its fields, and an enum would be
/// several actions: those are compile errors, and so are lifetimes, because an action owns its
/// values. Type parameters are fine: the implementation then asks that the fields serialize, and
/// that the struct is `Send`, `Sync` and `'static`.
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
    action::derive(item.into()).into()
}

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
