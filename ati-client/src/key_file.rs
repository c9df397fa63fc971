//! Key files: one PEM file, or a directory of them.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use zeroize::Zeroizing;

use crate::Error;
use crate::escape::excerpt;

/// How much of a key file is read. A key on P-256 has a few hundred bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Reads the file at `path`, and the key in it.
pub(crate) fn read<K>(
    path: &Path,
    parse: impl FnOnce(&[u8]) -> Result<K, Error>,
) -> Result<K, Error> {
    // With room for any key, so that none of it is left behind where a smaller buffer was.
    let mut pem = Zeroizing::new(Vec::with_capacity(8 * 1024));
    File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut pem))
        .map_err(|error| unreadable(path, &error))?;
    if pem.len() as u64 > MAX_FILE_BYTES {
        return Err(Error::BadKey {
            reason: "its file is longer than 64 KiB",
        });
    }
    parse(&pem)
}

/// The keys in the files of a directory, by their names in descending order.
///
/// `parse` gets the name without `.pem`, which is the key's id, and the PEM text.
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
    // Names with a dot are the file system's own business, such as Kubernetes's `..data`.
    names.retain(|name| !name.as_encoded_bytes().starts_with(b"."));
    if names.is_empty() {
        return Err(Error::BadKey {
            reason: "there is no `.pem` file in the directory",
        });
    }
    names.sort_unstable_by(|one, other| other.cmp(one));
    names
        .iter()
        .map(|name| {
            let path = directory.join(name);
            let key = name.to_str().ok_or(Error::NotText).and_then(|name| {
                let id = name.strip_suffix(".pem").ok_or(Error::BadKey {
                    reason: "its name does not end in `.pem`; move the file elsewhere if it is no key",
                })?;
                // Opening a pipe would wait for its other end.
                if !path.is_file() {
                    return Err(Error::BadKey {
                        reason: "it is no file, or one that this process may not see",
                    });
                }
                read(&path, |pem| parse(id, pem))
            });
            key.map_err(|cause| match cause {
                // This one names the file by itself.
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
