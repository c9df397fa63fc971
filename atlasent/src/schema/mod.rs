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
//! | a record | every type that implements `Serialize`; its fields are unchecked |
//!
//! References, `Box`, `Rc`, `Arc` and `Cow` of these fit, too, and `Option` of these where the
//! schema says that the attribute is optional. [`serde_json::Value`] fits everything. The values
//! themselves, such as the range of a `u64` or the text of a `datetime`, are checked by the
//! authority.
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

/// A record: a JSON object.
#[derive(Debug)]
pub enum RecordType {}

/// An entity of any type, written as its id.
#[derive(Debug)]
pub enum EntityType {}

/// `Set<T>`: a JSON array.
#[derive(Debug)]
pub struct SetType<T>(PhantomData<T>);
