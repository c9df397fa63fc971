//! Files for their owner alone, which are whole as soon as they have their name.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

/// What a file that is there already means to somebody who writes one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Publish {
    /// It is replaced.
    Over,
    /// It stays, and nothing is written.
    Unless,
}

/// Writes a file beside its place, and moves it there when it is durable.
///
/// # Errors
///
/// When it cannot be written; then its place is as it was. [`io::ErrorKind::AlreadyExists`] when it stays by
/// [`Publish::Unless`].
pub(crate) fn publish(
    path: &Path,
    how: Publish,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let draft = path.with_added_extension(format!("{}.new", uuid::Uuid::new_v4()));
    let written = (|| {
        let mut file = private(OpenOptions::new().write(true).create_new(true)).open(&draft)?;
        give_to_owner_of(path, &draft);
        write(&mut file)?;
        file.sync_all()?;
        match how {
            Publish::Over => fs::rename(&draft, path),
            // A link, other than a new name, is refused where there is a file already.
            Publish::Unless => fs::hard_link(&draft, path),
        }
    })();
    // After a rename it is not there any more.
    let _ = fs::remove_file(&draft);
    written?;
    // The name in the folder has to last, too.
    match path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Gives a new file to whoever has the one that it replaces, else the folder: root makes keys for a server that is not root.
pub(crate) fn give_to_owner_of(place: &Path, file: &Path) {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, chown};
        let folder = place
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let owner = fs::metadata(place).or_else(|_| fs::metadata(folder.unwrap_or(Path::new("."))));
        // Who may not give files away has made one of their own.
        if let Ok(owner) = owner {
            let _ = chown(file, Some(owner.uid()), Some(owner.gid()));
        }
    }
}

/// Nobody else may read what these options make.
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}
