//! Bounded input, new files that overwrite no existing ones, and errors of settings files.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use atlasent::text::toml_error;

/// Reads input to its end. Returns `None` if it is longer than `most` bytes.
pub(crate) fn read_at_most(input: impl Read, most: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    // One byte more shows that the input is too long.
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    input.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(bytes).filter(|bytes| bytes.len() <= most))
}

/// Creates a file and writes its content. Fails if the path exists, also as a symbolic link. A file
/// that could not be written completely is removed.
pub(crate) fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let written = file.write_all(content.as_bytes());
    if written.is_err() {
        // The error of the write is reported, not that of the removal.
        let _ = fs::remove_file(path);
    }
    written
}

/// Explains why a settings file cannot be read, with the line and without its values, which may be
/// secrets.
pub(crate) fn explain_toml(text: &str, error: &toml::de::Error) -> String {
    toml_error(text, error.message(), error.span().map(|span| span.start))
}
