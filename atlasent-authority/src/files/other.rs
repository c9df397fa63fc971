//! Folders on systems without the modes and owners of Unix.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::not_a_file;

/// A folder, by its path.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Ok(Self(path.to_owned()))
    }

    pub(super) fn create_new(&self, name: &OsStr, _replaced: &OsStr) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        options.open(self.0.join(name))
    }

    pub(super) fn create_new_readable(&self, name: &OsStr) -> io::Result<File> {
        self.create_new(name, name)
    }

    pub(super) fn open_or_create_folder(&self, name: &OsStr, _mode: u16) -> io::Result<Self> {
        let path = self.0.join(name);
        match fs::create_dir(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            created => created?,
        }
        match fs::symlink_metadata(&path)?.is_dir() {
            true => Ok(Self(path)),
            false => Err(ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn open(&self, name: &OsStr) -> io::Result<File> {
        let path = self.own(name)?;
        OpenOptions::new().read(true).write(true).open(path)
    }

    pub(super) fn open_to_read(&self, name: &OsStr) -> io::Result<File> {
        File::open(self.own(name)?)
    }

    fn own(&self, name: &OsStr) -> io::Result<PathBuf> {
        let path = self.0.join(name);
        match fs::symlink_metadata(&path)?.is_file() {
            true => Ok(path),
            false => Err(not_a_file()),
        }
    }

    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        fs::rename(self.0.join(from), self.0.join(to))
    }

    pub(super) fn link(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        fs::hard_link(self.0.join(from), self.0.join(to))
    }

    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }

    /// Does nothing: a folder cannot be opened as a file here.
    pub(super) fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn open_to_read(path: &Path) -> io::Result<File> {
    File::open(path)
}
