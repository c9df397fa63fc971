//! `atlasent policy prove` and `atlasent policy compare`: what is proved holds, every
//! counterexample is real, and nothing that a solver does wrong counts as a proof.

mod changes;
mod claims;
mod solvers;
mod support;
