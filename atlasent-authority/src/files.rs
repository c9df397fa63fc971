//! Writing private files: readable by their owner alone, and complete as soon as they have their
//! name. [`create_below`] alone creates files that others may read.
//!
//! Root runs `atlasent key` in a folder that belongs to the server's user. That user may put a
//! symbolic or a hard link there at any moment. So no file is created, opened for writing or given
//! away through a link: the folder is opened once, each name is looked up in the open folder, and
//! the owner of an open file is changed only if this process created it.

#[cfg(not(unix))]
#[path = "files/other.rs"]
mod folder;
#[cfg(unix)]
#[path = "files/unix.rs"]
mod folder;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::{Component, Path};

use folder::Folder;

/// What happens when the file exists already.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Publish {
    /// Replaces the file.
    Over,
    /// Keeps the file, and writes nothing.
    Unless,
}

/// Creates a folder, and its missing parents, that only the owner can read (mode 0700).
#[cfg(feature = "server")]
pub(crate) fn create_private(folder: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Creates a folder that only the owner can read (mode 0700), and its missing parents. Neither the
/// folder nor its parent is reached through a link.
///
/// # Errors
///
/// When the folder cannot be created, or when it or its parent is a link or writable by everyone.
#[cfg(feature = "server")]
pub(crate) fn create_private_folder(path: &Path) -> io::Result<()> {
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent {
        create_private(parent)?;
    }
    let (parent, name) = place(path)?;
    parent.open_or_create_folder(name, 0o700).map(drop)
}

/// Writes a file beside its place, and moves it there when it is durable.
///
/// A link at the place is replaced, never followed. A new file gets the owner of the file that it
/// replaces, or else the owner of the folder.
///
/// # Errors
///
/// When the file cannot be written, or its folder is a link or writable by everyone; the place is
/// unchanged then. [`io::ErrorKind::AlreadyExists`] when [`Publish::Unless`] keeps an existing
/// file.
pub(crate) fn publish(
    path: &Path,
    how: Publish,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let (folder, name) = place(path)?;
    let temporary = Path::new(name).with_added_extension(format!("{}.new", uuid::Uuid::new_v4()));
    let temporary = temporary.as_os_str();
    let written = (|| {
        let mut file = folder.create_new(temporary, name)?;
        write(&mut file)?;
        file.sync_all()?;
        match how {
            Publish::Over => folder.rename(temporary, name),
            // A link is refused where a file exists already, unlike a rename.
            Publish::Unless => folder.link(temporary, name),
        }
    })();
    // After a rename the temporary file does not exist any more.
    let _ = folder.remove(temporary);
    written?;
    // The name in the folder has to be durable, too.
    folder.sync()
}

/// Writes a file that only its owner may read, and replaces the one at its place.
///
/// The file is written beside its place and moved there when it is durable, so a failure leaves the
/// former one. A link at the place is replaced, never followed. A new file gets the owner of the
/// file that it replaces, or else the owner of the folder.
///
/// ```
/// use std::io::Write;
/// use atlasent_authority::files::replace_file;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("bundle.json");
/// replace_file(&path, |file| file.write_all(b"{}"))?;
/// assert_eq!(std::fs::read(&path)?, b"{}");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// When the file cannot be written, when the place holds something other than a file or a link, or
/// when the folder is a link or writable by everyone.
pub fn replace_file(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    // A rename would replace a device, such as `/dev/null`, for everyone.
    if let Ok(replaced) = std::fs::symlink_metadata(path)
        && !replaced.is_file()
        && !replaced.is_symlink()
    {
        return Err(not_a_file());
    }
    publish(path, Publish::Over, write)
}

/// Creates a file that need not be private, and the missing folders between `base` and it.
///
/// No link below `base` is followed. The new folders and the file can be read by everyone who can
/// read `base`, as far as the umask of the process allows. What root creates gets the owner of the
/// folder that it is in.
///
/// ```
/// use std::io::Write;
/// use atlasent_authority::files::create_below;
///
/// let base = tempfile::tempdir()?;
/// create_below(base.path(), "acme/policies/start.cedar", |file| file.write_all(b"// None yet."))?;
/// assert!(base.path().join("acme/policies/start.cedar").exists());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
///
/// [`io::ErrorKind::AlreadyExists`] when the file exists, which then stays as it is. Other errors
/// when `base` or a folder below it is a link, is missing or is writable by everyone, or when the
/// file cannot be written; it is removed then.
pub fn create_below(
    base: &Path,
    below: impl AsRef<Path>,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let below = below.as_ref();
    let mut names = Vec::new();
    for component in below.components() {
        match component {
            Component::Normal(name) => names.push(name),
            _ => return Err(io::Error::from(ErrorKind::InvalidInput)),
        }
    }
    let (name, folders) = names
        .split_last()
        .ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?;
    let mut folder = Folder::at(base)?;
    for name in folders {
        folder = folder.open_or_create_folder(name, 0o755)?;
    }
    let mut file = folder.create_new_readable(name)?;
    let written = write(&mut file).and_then(|()| file.sync_all());
    if written.is_err() {
        // The error of the write is reported, not that of the removal.
        let _ = folder.remove(name);
    }
    written?;
    folder.sync()
}

/// Opens a file for reading and writing, and creates it if it does not exist.
///
/// # Errors
///
/// When the place holds a link, a file with a second name, or anything but a regular file.
#[cfg_attr(
    not(any(feature = "redb", feature = "server")),
    allow(dead_code, reason = "the store and the log of the server call it")
)]
pub(crate) fn open_or_create(path: &Path) -> io::Result<File> {
    let (folder, name) = place(path)?;
    // Another process may create or remove the file between the two attempts.
    for _ in 0..8 {
        match folder.create_new(name, name) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => return created,
        }
        match folder.open(name) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => return opened,
        }
    }
    Err(io::Error::other(
        "other processes create and remove it all the time",
    ))
}

/// Opens an existing file for reading and writing.
///
/// # Errors
///
/// When no file exists, or the place holds a link or anything but a regular file.
#[cfg(feature = "redb")]
pub(crate) fn open_existing(path: &Path) -> io::Result<File> {
    let (folder, name) = place(path)?;
    folder.open(name)
}

/// Reads a file of at most `limit` bytes that the caller will write again. Links are refused, so
/// that the file cannot be another user's.
///
/// # Errors
///
/// As [`open_or_create`], and when the file is larger.
pub(crate) fn read_own(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let (folder, name) = place(path)?;
    bounded(folder.open_to_read(name)?, limit)
}

/// Reads a file of at most `limit` bytes, and returns the metadata of the file that was read.
/// Follows links, since secrets are mounted as links. Never waits for the writer of a pipe.
///
/// # Errors
///
/// When the place holds no regular file, or a larger one.
pub(crate) fn read(path: &Path, limit: u64) -> io::Result<(Vec<u8>, std::fs::Metadata)> {
    let file = folder::open_to_read(path)?;
    let metadata = file.metadata()?;
    Ok((bounded(file, limit)?, metadata))
}

fn bounded(file: File, limit: u64) -> io::Result<Vec<u8>> {
    if !file.metadata()?.is_file() {
        return Err(not_a_file());
    }
    let mut bytes = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            ErrorKind::FileTooLarge,
            format!("it is larger than {limit} bytes"),
        ));
    }
    Ok(bytes)
}

fn not_a_file() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidInput,
        "it is no regular file: remove it, or name another",
    )
}

/// Returns the open folder of a file, and the file's name in it.
fn place(path: &Path) -> io::Result<(Folder, &OsStr)> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the path has no file name"))?;
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    Ok((Folder::at(folder.unwrap_or(Path::new(".")))?, name))
}
