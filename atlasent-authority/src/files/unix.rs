//! An open folder, in which names are looked up without following links.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::Path;

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, linkat, mkdirat, openat, renameat, statat, unlinkat,
};
use rustix::io::Errno;

use super::not_a_file;

/// How folders are opened.
const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);
/// The bit of a mode that lets everyone write.
const WRITABLE_BY_ALL: u32 = 0o002;
/// The bit of a folder's mode that lets only a file's owner replace the file.
const STICKY: u32 = 0o1000;

/// An open folder. It stays the same folder when its path is given to another one.
pub(super) struct Folder(File);

impl Folder {
    /// Opens a folder. The last component of its path must not be a link, since the owner of its
    /// parent chooses where a link leads.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Self::opened(rustix::fs::open(path, FOLDER, Mode::empty()), path)
    }

    /// Opens a folder in this one, after creating it with a mode if it is missing. A new folder of
    /// root's gets the owner of this one.
    pub(super) fn open_or_create_folder(&self, name: &OsStr, mode: u16) -> io::Result<Self> {
        let is_new = match mkdirat(&self.0, name, Mode::from_raw_mode(mode.into())) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let opened = openat(&self.0, name, FOLDER, Mode::empty());
        let folder = Self::opened(opened, Path::new(name))?;
        // The owner of this folder may have put another folder of root's in the new one's place,
        // which must not be given away with what is in it.
        if is_new && is_empty(&folder.0)? {
            self.give_to_owner(&folder.0, (name, name))?;
        }
        Ok(folder)
    }

    fn opened(folder: Result<OwnedFd, Errno>, path: &Path) -> io::Result<Self> {
        let folder = match folder {
            Ok(folder) => File::from(folder),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                return Err(io::Error::new(
                    ErrorKind::NotADirectory,
                    format!(
                        "`{}` is a link or not a folder: name the folder itself",
                        path.display()
                    ),
                ));
            }
            Err(error) => return Err(error.into()),
        };
        let mode = folder.metadata()?.mode();
        if mode & WRITABLE_BY_ALL != 0 && mode & STICKY == 0 {
            return Err(io::Error::new(
                ErrorKind::PermissionDenied,
                format!(
                    "everyone can replace the files of `{0}`: run `chmod o-w {0}`",
                    path.display()
                ),
            ));
        }
        Ok(Self(folder))
    }

    /// Creates a file that only its owner may read. The owner is that of the file `replaced`, or
    /// else that of the folder: root makes keys for a server that does not run as root.
    pub(super) fn create_new(&self, name: &OsStr, replaced: &OsStr) -> io::Result<File> {
        self.create_with(Mode::RUSR | Mode::WUSR, name, replaced)
    }

    /// Creates a file that everyone may read, as far as the umask allows. The owner is that of the
    /// folder if root creates it.
    pub(super) fn create_new_readable(&self, name: &OsStr) -> io::Result<File> {
        self.create_with(Mode::from_raw_mode(0o644), name, name)
    }

    fn create_with(&self, mode: Mode, name: &OsStr, replaced: &OsStr) -> io::Result<File> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = File::from(openat(&self.0, name, flags, mode)?);
        self.give_to_owner(&file, (name, replaced))?;
        Ok(file)
    }

    /// Gives a new file or folder to the owner of the file that it replaces, or else to the owner of
    /// this folder.
    fn give_to_owner(&self, created: &File, (name, replaced): (&OsStr, &OsStr)) -> io::Result<()> {
        let (user, group) = self.owner_for(name, replaced)?;
        // Only root may give a file away. A file that another user creates stays that user's.
        if is_of_root(created)? && user != 0 {
            fchown(created, Some(user), Some(group))?;
        }
        Ok(())
    }

    fn owner_for(&self, created: &OsStr, replaced: &OsStr) -> io::Result<(u32, u32)> {
        match statat(&self.0, replaced, AtFlags::SYMLINK_NOFOLLOW) {
            // A file with a second name may be another user's, so its owner proves nothing.
            Ok(stat)
                if created != replaced
                    && FileType::from_raw_mode(stat.st_mode).is_file()
                    && stat.st_nlink == 1 =>
            {
                Ok((stat.st_uid, stat.st_gid))
            }
            _ => {
                let folder = self.0.metadata()?;
                Ok((folder.uid(), folder.gid()))
            }
        }
    }

    /// Opens a file for reading and writing.
    pub(super) fn open(&self, name: &OsStr) -> io::Result<File> {
        self.open_with(name, OFlags::RDWR)
    }

    /// Opens a file for reading.
    pub(super) fn open_to_read(&self, name: &OsStr) -> io::Result<File> {
        self.open_with(name, OFlags::RDONLY)
    }

    fn open_with(&self, name: &OsStr, access: OFlags) -> io::Result<File> {
        // Without `NONBLOCK`, opening a pipe waits for its other end.
        let flags = access | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(&self.0, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::LOOP) => {
                return Err(io::Error::new(
                    ErrorKind::InvalidInput,
                    format!("`{}` is a link: remove it", name.display()),
                ));
            }
            Err(error) => return Err(error.into()),
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(not_a_file());
        }
        if metadata.nlink() > 1 {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                format!(
                    "`{}` has a second name (a hard link): copy it to a file of its own",
                    name.display()
                ),
            ));
        }
        Ok(file)
    }

    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }

    pub(super) fn link(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(linkat(&self.0, from, &self.0, to, AtFlags::empty())?)
    }

    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, AtFlags::empty())?)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.0.sync_all()
    }
}

/// Returns whether a folder has no entries.
fn is_empty(folder: &File) -> io::Result<bool> {
    for entry in Dir::read_from(folder)? {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether root created this file.
fn is_of_root(created: &File) -> io::Result<bool> {
    Ok(created.metadata()?.uid() == 0)
}

/// Opens a file for reading. Follows links, and never waits for a pipe's other end.
pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    if !fs::metadata(path)?.is_file() {
        return Err(not_a_file());
    }
    let mut options = OpenOptions::new();
    options.read(true);
    // The flag's value differs between systems.
    options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options.open(path)
}
