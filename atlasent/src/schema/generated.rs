//! What the text that `include_actions!` includes consists of. Not an API.

#![allow(
    clippy::must_use_candidate,
    reason = "only the macros of this file call the function"
)]

pub use serde;

use crate::Error;
use crate::text::redact::excerpt;

/// The error for an id that an entity type does not list.
pub fn unknown_id(entity: &str, id: &str, known: &[&str]) -> Error {
    Error::invalid(format!(
        "the entity type `{entity}` has no id `{}`: use one of {}",
        excerpt(id),
        known.join(", ")
    ))
}

/// Defines the id of an entity.
#[doc(hidden)]
#[macro_export]
macro_rules! __policy_entity {
    ($(#[$doc:meta])* pub struct $name:ident = $entity:literal;) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(::std::string::String);

        impl $name {
            /// The name of the entity type in the schema.
            pub const ENTITY_TYPE: &'static ::core::primitive::str = $entity;

            /// Creates the id of an entity.
            pub fn new(id: impl ::core::convert::Into<::std::string::String>) -> Self {
                Self(::core::convert::Into::into(id))
            }

            /// Returns the id.
            pub fn as_str(&self) -> &::core::primitive::str {
                &self.0
            }
        }

        impl ::core::convert::From<&::core::primitive::str> for $name {
            fn from(id: &::core::primitive::str) -> Self {
                Self::new(id)
            }
        }

        impl ::core::convert::From<::std::string::String> for $name {
            fn from(id: ::std::string::String) -> Self {
                Self(id)
            }
        }

        $crate::__policy_entity_traits!($name);
    };
}

/// Defines the ids of an entity type that lists them.
#[doc(hidden)]
#[macro_export]
macro_rules! __policy_enum {
    (
        $(#[$doc:meta])* pub enum $name:ident = $entity:literal {
            $($(#[$id_doc:meta])* $variant:ident = $id:literal,)*
        }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $($(#[$id_doc])* $variant,)*
        }

        impl $name {
            /// The name of the entity type in the schema.
            pub const ENTITY_TYPE: &'static ::core::primitive::str = $entity;

            /// Every id that the schema lists.
            pub const IDS: &'static [Self] = &[$(Self::$variant),*];

            /// Returns the id.
            pub const fn as_str(&self) -> &'static ::core::primitive::str {
                match self {
                    $(Self::$variant => $id,)*
                }
            }
        }

        impl ::core::str::FromStr for $name {
            type Err = $crate::Error;

            fn from_str(id: &::core::primitive::str) -> ::core::result::Result<Self, $crate::Error> {
                match id {
                    $($id => ::core::result::Result::Ok(Self::$variant),)*
                    _ => ::core::result::Result::Err(
                        $crate::schema::generated::unknown_id($entity, id, &[$($id),*])
                    ),
                }
            }
        }

        $crate::__policy_entity_traits!($name);
    };
}

/// Implements what every id has.
#[doc(hidden)]
#[macro_export]
macro_rules! __policy_entity_traits {
    ($name:ident) => {
        impl ::core::fmt::Display for $name {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl $crate::schema::generated::serde::Serialize for $name {
            fn serialize<S: $crate::schema::generated::serde::Serializer>(
                &self,
                serializer: S,
            ) -> ::core::result::Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl $crate::schema::PolicyValue<$crate::schema::EntityType> for $name {}
    };
}
