//! Model Context Protocol servers whose tools run only with a verified permit.
//!
//! A message of the protocol becomes an [`Operation`], a [`Mapping`] says which action that is, and
//! a [`Gate`] obtains the permit of an [`Authority`](atlasent::Authority) for it, or
//! returns a [`Refusal`] that a model can act on. Everything that is not mapped is refused.
//!
//! ```text
//! message ──► Operation ──► Mapping ──► Gate ──► Clearance ──► the server's own code
//!                                        └─────► Refusal   ──► the agent
//! ```
//!
//! | module | contents |
//! |---|---|
//! | [`operation`] | what a message asks for, read strictly |
//! | [`mapping`] | which action an operation is |
//! | [`gate`] | from an operation to a permit; waiting, progress, receipts |
//! | [`refusal`] | why an operation did not run, for models and programs |
//! | [`starter`] | a starter policy set for the tools of a server |
//! | [`schema`] | arguments checked before anybody is asked; fields that not every caller may set |
//! | `server` | a server of `rmcp` behind a gate (feature `rmcp`, on by default) |
//! | [`tool_gate`] | tool calls as models emit them, without the protocol |
//! | [`hook`] | tool calls of coding agents, decided on in their pre-tool hooks |
//! | `guard` (feature `guard`) | a guard between any client and any server: `atlasent guard` |
//! | `credential` (feature `credential`) | a secret for one host that only a permit puts on a request |

#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "credential")]
pub mod credential;
pub mod gate;
#[cfg(feature = "guard")]
pub mod guard;
pub mod hook;
pub mod mapping;
pub mod operation;
pub mod refusal;
pub mod schema;
#[cfg(feature = "rmcp")]
pub mod server;
pub mod starter;
pub mod tool_gate;

mod caller;
mod tool;

pub use caller::Caller;
pub use gate::{Clearance, Gate};
pub use mapping::{Mapping, MappingError, Rule};
pub use operation::{Operation, OperationError};
pub use refusal::{Refusal, Verdict};
pub use tool::{Tool, ToolError};
pub use tool_gate::ToolGate;

/// The example of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
