//! Which types of `std` and `serde_json` fit which types of a schema.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Number;

use super::{
    BoolType, DatetimeType, DecimalType, DurationType, EntityType, IpaddrType, LongType,
    PolicyValue, SetType, StringType, UncheckedPolicy,
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

impl<T: ?Sized, V: PolicyValue<T> + ?Sized> PolicyValue<T> for &V {}
impl<T: ?Sized, V: PolicyValue<T> + ?Sized> PolicyValue<T> for &mut V {}
impl<T: ?Sized, V: PolicyValue<T> + ?Sized> PolicyValue<T> for Box<V> {}
impl<T: ?Sized, V: PolicyValue<T> + ?Sized> PolicyValue<T> for Rc<V> {}
impl<T: ?Sized, V: PolicyValue<T> + ?Sized> PolicyValue<T> for Arc<V> {}
impl<T: ?Sized, V: PolicyValue<T> + ToOwned + ?Sized> PolicyValue<T> for Cow<'_, V> {}
impl<T: ?Sized, V> PolicyValue<T> for UncheckedPolicy<V> {}

fit!([BoolType]: bool);
fit!([LongType, DecimalType]: i8, i16, i32, i64, i128, isize, u8, u16, u32, u64, u128, usize, Number);
fit!([DecimalType]: f32, f64);
fit!([StringType, DecimalType, IpaddrType, DatetimeType, DurationType, EntityType]: str, String);
fit!([StringType]: char, Path, PathBuf);
fit!([StringType, IpaddrType]: IpAddr, Ipv4Addr, Ipv6Addr);

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

impl<T, V: PolicyValue<T>> PolicyValue<SetType<T>> for [V] {}
impl<T, V: PolicyValue<T>, const N: usize> PolicyValue<SetType<T>> for [V; N] {}
impl<T, V: PolicyValue<T>> PolicyValue<SetType<T>> for Vec<V> {}
impl<T, V: PolicyValue<T>> PolicyValue<SetType<T>> for VecDeque<V> {}
impl<T, V: PolicyValue<T>> PolicyValue<SetType<T>> for BTreeSet<V> {}
impl<T, V: PolicyValue<T>, S> PolicyValue<SetType<T>> for HashSet<V, S> {}
