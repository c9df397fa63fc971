//! The types of a Cedar schema, and which Rust types are written as them.
//!
//! In a package whose build script calls `atlasent_build::policies`, the values of a context have
//! to fit the types that the schema declares:
//!
//! | the schema declares | Rust types that fit |
//! |---|---|
//! | `Bool` | `bool` |
//! | `Long` | the integers, `NonZero<…>` |
//! | `String` | `String`, `str`, `char`, `Path`, IP addresses |
//! | `decimal` | [`Decimal`], the integers, `f32`, `f64`, strings such as `"19.99"` |
//! | `ipaddr` | [`IpRange`], the IP addresses of `std::net`, strings such as `"10.0.0.0/8"` |
//! | `datetime`, `duration` | [`Datetime`], [`TimeSpan`], strings such as `"2026-01-31T12:00:00Z"` and `"1h30m"` |
//! | `Set<T>` | `Vec`, slices, arrays and the sets of `std`, of what fits `T` |
//! | an entity | strings: the entity's id |
//! | a record | structs with [`#[derive(PolicyRecord)]`](crate::PolicyRecord), whose fields are checked |
//!
//! References, `Box`, `Rc`, `Arc` and `Cow` of these fit, too, and `Option` of these where the
//! schema says that the attribute is optional. The values themselves, such as the range of a `u64`
//! or the text of a `datetime`, are checked by the authority. An entity's id that is a literal has
//! to be one of the declared ids, if the entity type is an `enum`.
//!
//! The compiler does not know the type of a [`serde_json::Value`], so it fits nothing.
//! [`unchecked_policy`] passes it, or any other value, without a check.
//!
//! A type of your own fits where it says so:
//!
//! ```
//! use atlasent::schema::{self, PolicyValue};
//!
//! #[derive(serde::Serialize)]
//! struct Replicas(u32); // serializes as an integer
//!
//! impl PolicyValue<schema::LongType> for Replicas {}
//! ```

#[doc(hidden)]
pub mod generated;
mod literal;
mod optional;
mod values;

use std::marker::PhantomData;

use serde::Serialize;

pub use literal::{Datetime, Decimal, IpRange, TimeSpan};
#[doc(hidden)]
pub use optional::OptionalValue;

/// A value that serializes to what a schema declares as `T`, which is one of the types of this
/// module.
///
/// The macros compare. An implementation for a type that serializes to something else compiles, and
/// the authority denies the request.
pub trait PolicyValue<T: ?Sized> {}

/// `Bool`: true or false.
#[derive(Debug)]
pub enum BoolType {}

/// `Long`: an integer of 64 bits with sign.
#[derive(Debug)]
pub enum LongType {}

/// `String`: a text.
#[derive(Debug)]
pub enum StringType {}

/// `decimal`: a number with at most four digits after the point.
#[derive(Debug)]
pub enum DecimalType {}

/// `ipaddr`: an IP address or a range of addresses.
#[derive(Debug)]
pub enum IpaddrType {}

/// `datetime`: an instant.
#[derive(Debug)]
pub enum DatetimeType {}

/// `duration`: a length of time.
#[derive(Debug)]
pub enum DurationType {}

/// A record: a JSON object. `SHAPE` is a number for the keys and their types.
///
/// `#[derive(PolicyRecord)]` implements [`PolicyValue`] for the records of the policies.
#[derive(Debug)]
pub enum RecordType<const SHAPE: u64> {}

/// An entity of any type, written as its id.
#[derive(Debug)]
pub enum EntityType {}

/// `Set<T>`: a JSON array.
#[derive(Debug)]
pub struct SetType<T>(PhantomData<T>);

/// Passes a value of a context without checking its type: it fits every declared type.
///
/// `grep -rn unchecked_policy` lists all values and sites that are not checked.
///
/// ```
/// use atlasent::schema::unchecked_policy;
/// use atlasent::{Error, protect, testing::MockAuthority};
/// use serde_json::Value;
///
/// #[protect(
///     action = "site.visit",
///     agent = "bot",
///     authority = authority,
///     context = { client: unchecked_policy(client) },
/// )]
/// fn visit(authority: &MockAuthority, client: &Value) -> Result<(), Error> {
///     Ok(())
/// }
/// # visit(&MockAuthority::new().allow("site.visit"), &serde_json::json!({"ip": "::1"})).unwrap();
/// ```
///
/// In a derived action, the attribute `#[action(unchecked_policy)]` of a field does the same.
pub const fn unchecked_policy<V: Serialize>(value: V) -> UncheckedPolicy<V> {
    UncheckedPolicy(value)
}

/// A value that is not checked against the policies; from [`unchecked_policy`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct UncheckedPolicy<V>(V);
