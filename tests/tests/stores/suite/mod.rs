//! The promises themselves, each for any store.

pub(crate) mod any;
pub(crate) mod calls;
pub(crate) mod chain;
pub(crate) mod changes;
pub(crate) mod permits;
pub(crate) mod reopened;
pub(crate) mod replays;
pub(crate) mod standing;
