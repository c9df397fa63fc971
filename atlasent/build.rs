//! Names the hidden module that the macros' expansions call, after the whole version of this crate.
//!
//! Cargo may build several versions of `atlasent` into one program. An expansion of another
//! version's macros looks for a name that this version does not have, and fails to compile.

#![allow(
    clippy::print_stdout,
    reason = "Cargo reads what a build script prints"
)]

use std::io::{Error, Result};
use std::path::Path;
use std::{env, fs};

fn main() -> Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    let folder = env::var_os("OUT_DIR").ok_or_else(|| Error::other("`OUT_DIR` is not set"))?;
    // `atlasent-macros/src/runtime.rs` makes the same name.
    let version = env!("CARGO_PKG_VERSION").replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    let module = format!(
        "#[doc(hidden)]\npub mod __private_{version} {{\n    pub use crate::private::*;\n}}\n"
    );
    fs::write(Path::new(&folder).join("private.rs"), module)
}
