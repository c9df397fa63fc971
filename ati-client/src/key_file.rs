//! Reads keys from a PEM file, or from a directory of PEM files.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::Error;
use crate::escape::excerpt;

/// The maximum size of a key file. A P-256 key has a few hundred bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Reads the key in the file at `path`.
pub(crate) fn read<K>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<K, Error>,
) -> Result<K, Error> {
    // A buffer that grows would leave an unwiped copy of the key behind.
    let mut pem = Zeroizing::new(Vec::with_capacity(8 * 1024));
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut pem))
        .map_err(|error| unreadable(path, &error))?;
    if pem.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::BadKey {
            reason: "its file is larger than 64 KiB",
        });
    }
    parse(&pem)
}

/// Reads the keys in a directory of PEM files, sorted by file name in descending order.
///
/// `parse` gets the file name without `.pem`, which is the key's id, and the PEM text.
pub(crate) fn read_directory<K>(
    directory: &Path,
    parse: impl Fn(&str, &[u8]) -> Result<K, Error>,
) -> Result<Vec<K>, Error> {
    let mut names = fs::read_dir(directory)
        .and_then(|entries| {
            entries
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect::<io::Result<Vec<_>>>()
        })
        .map_err(|error| unreadable(directory, &error))?;
    // Kubernetes adds entries such as `..data` to a mounted directory.
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    if names.is_empty() {
        return Err(Error::BadKey {
            reason: "the directory has no `.pem` file",
        });
    }
    names.sort_unstable_by(|one, other| other.cmp(one));
    names
        .iter()
        .map(|name| {
            let path = directory.join(name);
            let key = name.to_str().ok_or(Error::NotText).and_then(|name| {
                let id = name.strip_suffix(".pem").ok_or(Error::BadKey {
                    reason: "its name does not end in `.pem`; rename the file, or move it out of the directory",
                })?;
                // Opening a named pipe would block.
                if !path.is_file() {
                    return Err(Error::BadKey {
                        reason: "it is not a regular file, or this process may not read it",
                    });
                }
                read(&path, |pem| parse(id, pem))
            });
            key.map_err(|cause| match cause {
                // `UnreadableKey` already names the file.
                Error::UnreadableKey { .. } => cause,
                cause => Error::KeyFile {
                    path: excerpt(&path.to_string_lossy()),
                    cause: Box::new(cause),
                },
            })
        })
        .collect()
}

fn unreadable(path: &Path, error: &io::Error) -> Error {
    Error::UnreadableKey {
        path: excerpt(&path.to_string_lossy()),
        kind: error.kind(),
    }
}
