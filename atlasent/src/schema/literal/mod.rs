//! Values of Cedar's extension types: checked when they are made, and written as strings.

mod datetime;
mod decimal;
mod ip_range;
mod time_span;

pub use datetime::Datetime;
pub use decimal::Decimal;
pub use ip_range::IpRange;
pub use time_span::TimeSpan;

use crate::Error;
use crate::text::redact::excerpt;

/// The error for a text that is no value of a type. `example` is a text that is one.
fn invalid(text: &str, kind: &str, example: &str) -> Error {
    Error::invalid(format!(
        "`{}` is no `{kind}`: write one such as `{example}`",
        excerpt(text)
    ))
}

/// Implements serialization as the text of a type, reading that text, and the fit with the type of
/// a schema.
macro_rules! written_as_text {
    ($value:ident, $declared:ident) => {
        impl ::serde::Serialize for $value {
            fn serialize<S: ::serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $value {
            fn deserialize<D: ::serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                let text = <String as ::serde::Deserialize>::deserialize(deserializer)?;
                text.parse().map_err(::serde::de::Error::custom)
            }
        }

        impl ::std::fmt::Debug for $value {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                write!(f, concat!(stringify!($value), "({})"), self)
            }
        }

        impl $crate::schema::PolicyValue<$crate::schema::$declared> for $value {}
    };
}

use written_as_text;
