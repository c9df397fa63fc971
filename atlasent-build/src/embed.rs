//! Writes the policies for `atlasent::include_policies!`: copies of the texts that were checked,
//! and an expression that includes them.
//!
//! ```text
//! (
//!     "0f3a…",                                                            digest of the set
//!     "5e0c…",                                                            digest of the schema
//!     &[
//!         ("deploy.cedar", ::core::include_str!("/…/out/policies/deploy.cedar")),
//!     ],
//! )
//! ```

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;

use atlasent_authority::Policies;

/// Copies the texts into a folder in `out`, and returns the expression. The error is a message.
pub(crate) fn write(
    policies: &Policies,
    texts: &[(String, String)],
    out: &Path,
) -> Result<String, String> {
    let folder = out.join("policies");
    let unwritable =
        |path: &Path, error: io::Error| format!("{} cannot be written: {error}", path.display());
    fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, error))?;
    let digest = policies.digest();
    let schema_digest = policies.schema_digest().unwrap_or_default();
    let mut expression = format!("(\n    {digest:?},\n    {schema_digest:?},\n    &[\n");
    for (name, text) in texts {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| unwritable(&path, error))?;
        let path = path.to_str().ok_or_else(|| {
            format!(
                "{} is not UTF-8, so the compiler cannot include it: build in another folder",
                path.display()
            )
        })?;
        let _ = writeln!(
            expression,
            "        ({name:?}, ::core::include_str!({path:?})),"
        );
    }
    expression.push_str("    ],\n)\n");
    Ok(expression)
}
