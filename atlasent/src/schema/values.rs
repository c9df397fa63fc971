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
    BoolType, DatetimeType, DecimalType, DurationType, EntityType, IpaddrType, LongType,
    PolicyValue, RecordType, SetType, StringType,
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
    BoolType; LongType; StringType; DecimalType; IpaddrType; DatetimeType; DurationType; EntityType; SetType<T>, T;
}

fit!([BoolType]: bool, Value);
fit!([LongType, DecimalType]: i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, Number, Value);
fit!([DecimalType]: f32, f64);
fit!([StringType, DecimalType, IpaddrType, DatetimeType, DurationType, EntityType]: str, String);
fit!([StringType]: char, Path, PathBuf);
fit!([StringType, IpaddrType]: IpAddr, Ipv4Addr, Ipv6Addr);
fit!([StringType, IpaddrType, DatetimeType, DurationType, EntityType]: Value);

macro_rules! nonzero {
    ($($integer:ty),+) => {
        $(
            impl PolicyValue<LongType> for NonZero<$integer> {}
            impl PolicyValue<DecimalType> for NonZero<$integer> {}
        )+
    };
}

nonzero!(
    i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize
);

impl<V: Serialize + ?Sized> PolicyValue<RecordType> for V {}

impl<T> PolicyValue<SetType<T>> for Value {}
impl<T, V: PolicyValue<T>> PolicyValue<SetType<T>> for [V] {}
impl<T, V: PolicyValue<T>, const N: usize> PolicyValue<SetType<T>> for [V; N] {}
impl<T, V: PolicyValue<T>> PolicyValue<SetType<T>> for Vec<V> {}
impl<T, V: PolicyValue<T>> PolicyValue<SetType<T>> for VecDeque<V> {}
impl<T, V: PolicyValue<T>> PolicyValue<SetType<T>> for BTreeSet<V> {}
impl<T, V: PolicyValue<T>, S> PolicyValue<SetType<T>> for HashSet<V, S> {}
