//! Which types fit an optional attribute: what fits a required one, and `Option` of it.

use super::{
    BoolType, DatetimeType, DecimalType, DurationType, EntityType, IpaddrType, LongType,
    PolicyValue, RecordType, SetType, StringType,
};

/// A value that fits an optional attribute. The absent value is `None`, which policies read as an
/// absent key.
pub trait OptionalValue<T: ?Sized> {}

/// One implementation for all declared types would overlap with that of `Option`, since another
/// crate could make its own `Option<…>` fit a type of its own.
macro_rules! optional {
    ($($declared:ty $(, ($($parameter:tt)+))?;)+) => {
        $(
            impl<$($($parameter)+,)? V: PolicyValue<$declared> + ?Sized> OptionalValue<$declared> for V {}
            impl<$($($parameter)+,)? V: PolicyValue<$declared>> OptionalValue<$declared> for Option<V> {}
            impl<$($($parameter)+,)? V: PolicyValue<$declared>> OptionalValue<$declared> for &Option<V> {}
        )+
    };
}

optional! {
    BoolType; LongType; StringType; DecimalType; IpaddrType; DatetimeType; DurationType; EntityType;
    SetType<T>, (T); RecordType<SHAPE>, (const SHAPE: u64);
}
