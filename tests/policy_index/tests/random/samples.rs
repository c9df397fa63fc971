//! Values with their code, their types and their JSON.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;
use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::schema::Kind;

/// A value.
pub(crate) struct Sample {
    pub(crate) ty: &'static str,
    pub(crate) code: &'static str,
    pub(crate) json: Value,
    /// The kinds that the type fits.
    types: Vec<Kind>,
    /// The kinds that this very value fits. A text that is no date fits `datetime` by its type
    /// only, and one character fits an entity by its value only.
    values: Vec<Kind>,
}

impl Sample {
    /// Whether the type and the value fit, or neither. `None` where only one of them does, since the
    /// compiler does not see values.
    pub(crate) fn fits(&self, kind: &Kind) -> Option<bool> {
        let fits = self.types.contains(kind);
        (fits == self.values.contains(kind)).then_some(fits)
    }
}

const TEXTS: [Kind; 7] = [
    Kind::String,
    Kind::Decimal,
    Kind::Ipaddr,
    Kind::Datetime,
    Kind::Duration,
    Kind::Team,
    Kind::Colour,
];

/// A sample whose JSON is that of the value that the code has.
macro_rules! sample {
    ($ty:ty, $value:expr, $types:expr, $values:expr) => {{
        let value: $ty = $value;
        Sample {
            ty: stringify!($ty),
            code: stringify!($value),
            json: serde_json::to_value(&value).unwrap(),
            types: $types.to_vec(),
            values: $values.to_vec(),
        }
    }};
    // The value fits what the type fits.
    ($ty:ty, $value:expr, $types:expr) => {
        sample!($ty, $value, $types, $types)
    };
    // A text: its type fits all texts.
    (text $ty:ty, $value:expr, $kind:expr) => {
        sample!($ty, $value, TEXTS, [Kind::String, Kind::Team, $kind])
    };
}

/// Returns the samples.
#[allow(clippy::unnecessary_to_owned, reason = "the code is that of the sites")]
pub(crate) fn samples() -> Vec<Sample> {
    use Kind::{
        Bool, Colour, Datetime, Decimal, Duration as Span, Ipaddr, Long, String as Text, Team,
    };
    let set = |kind: Kind| Kind::Set(Box::new(kind));
    let integer = [Long, Decimal];
    vec![
        sample!(bool, true, [Bool]),
        sample!(u8, 5, integer),
        sample!(i64, -7, integer),
        sample!(usize, 12, integer),
        sample!(NonZero<u32>, NonZero::<u32>::MIN, integer),
        sample!(f64, 3.5, [Decimal]),
        sample!(f32, 0.25, [Decimal]),
        sample!(char, 'x', [Text], [Text, Team]),
        sample!(text &'static str, "blue", Team),
        sample!(text String, "4f2a".to_owned(), Team),
        sample!(text &'static str, "red", Colour),
        sample!(text Box<str>, Box::from("dark blue"), Colour),
        sample!(text &'static str, "19.99", Decimal),
        sample!(text String, String::from("-0.5"), Decimal),
        sample!(text &'static str, "10.0.0.0/8", Ipaddr),
        sample!(text String, "::1".to_owned(), Ipaddr),
        sample!(text &'static str, "2026-01-31T12:00:00Z", Datetime),
        sample!(text String, "2026-01-31".to_owned(), Datetime),
        sample!(text &'static str, "1h30m", Span),
        sample!(text Box<str>, Box::from("-5s"), Span),
        sample!(
            IpAddr,
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            [Text, Ipaddr],
            [Text, Ipaddr, Team]
        ),
        sample!(
            Ipv6Addr,
            Ipv6Addr::LOCALHOST,
            [Text, Ipaddr],
            [Text, Ipaddr, Team]
        ),
        sample!(Duration, Duration::from_secs(5), []),
        sample!(std::time::SystemTime, UNIX_EPOCH, []),
        sample!((u8, bool), (5, true), []),
        sample!(Vec<u8>, vec![1, 2], [set(Long), set(Decimal)]),
        sample!([bool; 2], [true, false], [set(Bool)]),
        sample!(
            BTreeSet<char>,
            BTreeSet::from(['a', 'b']),
            [set(Text)],
            [set(Text), set(Team)]
        ),
        sample!(
            Vec<Vec<i32>>,
            vec![vec![1], vec![2, 3]],
            [set(set(Long)), set(set(Decimal))]
        ),
        // Nothing is known about the type of a JSON value.
        Sample {
            ty: "serde_json::Value",
            code: "json!([{\"ip\": [\"::1\"]}])",
            json: json!([{"ip": ["::1"]}]),
            types: Vec::new(),
            values: Vec::new(),
        },
    ]
}
