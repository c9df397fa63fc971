//! The audit trail: filters of its events ([`EventFilter`]), signed exports ([`export`],
//! [`Bundle`]), retention ([`Archived`]) and the newest known head ([`HeadFile`]).

pub(crate) mod approval_events;
pub(crate) mod archive;
pub(crate) mod chain;
pub(crate) mod complete;
#[cfg(feature = "server")]
pub(crate) mod event_types;
pub(crate) mod export;
pub(crate) mod filter;
pub(crate) mod head_file;
pub(crate) mod record;

pub use archive::Archived;
#[cfg(feature = "server")]
pub use event_types::EVENT_TYPES;
pub use export::{Bundle, BundleWriter, export};
pub use filter::EventFilter;
pub use head_file::{HeadFile, HeadFileError};
