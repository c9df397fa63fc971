//! Which types of `std` and `serde_json` fit which types of a schema.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Number, Value};

use super::{
    Bool, Datetime, Decimal, Duration, Entity, Ipaddr, Long, PolicyValue, Record, Set, String,
};

/// Types that fit each of some declared types.
macro_rules! fit {
    ($declared:tt: $($value:ty),+) => {
        $(fit!(@one $declared $value);)+
    };
    (@one [$($declared:ty),+] $value:ty) => {
        $(impl PolicyValue<$declared> for $value {})+
    };
}

/// Pointers to what fits, for each declared type. One implementation for all declared types would
/// overlap with that of records.
macro_rules! pointers {
    ($($declared:ty $(, $element:ident)?;)+) => {
        $(
            impl<$($element,)? V: PolicyValue<$declared> + ?Sized> PolicyValue<$declared> for &V {}
            impl<$($element,)? V: PolicyValue<$declared> + ?Sized> PolicyValue<$declared> for &mut V {}
            impl<$($element,)? V: PolicyValue<$declared> + ?Sized> PolicyValue<$declared> for Box<V> {}
            impl<$($element,)? V: PolicyValue<$declared> + ?Sized> PolicyValue<$declared> for Rc<V> {}
            impl<$($element,)? V: PolicyValue<$declared> + ?Sized> PolicyValue<$declared> for Arc<V> {}
            impl<$($element,)? V> PolicyValue<$declared> for Cow<'_, V>
            where
                V: PolicyValue<$declared> + ToOwned + ?Sized,
            {
            }
        )+
    };
}

pointers! {
    Bool; Long; String; Decimal; Ipaddr; Datetime; Duration; Entity; Set<T>, T;
}

fit!([Bool]: bool, Value);
fit!([Long, Decimal]: i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, Number, Value);
fit!([Decimal]: f32, f64);
fit!([String, Decimal, Ipaddr, Datetime, Duration, Entity]: str, std::string::String);
fit!([String]: char, Path, PathBuf);
fit!([String, Ipaddr]: IpAddr, Ipv4Addr, Ipv6Addr);
fit!([String, Ipaddr, Datetime, Duration, Entity]: Value);

macro_rules! nonzero {
    ($($integer:ty),+) => {
        $(
            impl PolicyValue<Long> for NonZero<$integer> {}
            impl PolicyValue<Decimal> for NonZero<$integer> {}
        )+
    };
}

nonzero!(
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize
);

impl<V: Serialize + ?Sized> PolicyValue<Record> for V {}

impl<T> PolicyValue<Set<T>> for Value {}
impl<T, V: PolicyValue<T>> PolicyValue<Set<T>> for [V] {}
impl<T, V: PolicyValue<T>, const N: usize> PolicyValue<Set<T>> for [V; N] {}
impl<T, V: PolicyValue<T>> PolicyValue<Set<T>> for Vec<V> {}
impl<T, V: PolicyValue<T>> PolicyValue<Set<T>> for VecDeque<V> {}
impl<T, V: PolicyValue<T>> PolicyValue<Set<T>> for BTreeSet<V> {}
impl<T, V: PolicyValue<T>, S> PolicyValue<Set<T>> for HashSet<V, S> {}
