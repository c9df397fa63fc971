//! Writing new files without overwriting existing ones.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

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
