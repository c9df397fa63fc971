//! The target of the lines, a file or standard output, and the last event in it.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;

use super::position::{Position, named};
use crate::files;

/// The number of bytes at a file's end that are read to find its last whole line. An event has less
/// than 3 MiB, so a whole line and a torn one fit.
const TAIL: u64 = 8 * 1024 * 1024;

/// The beginning of each line.
const BEGINNING: &[u8] = b"{\"id\":\"";

/// The target of the lines.
#[derive(Clone, Debug)]
pub(super) enum Target {
    Stdout,
    File(PathBuf),
}

/// Lines of consecutive events.
#[derive(Debug, Default)]
pub(super) struct Lines {
    pub(super) text: Vec<u8>,
    /// The end of each event's line.
    pub(super) ends: Vec<(usize, Position)>,
}

impl Lines {
    /// Joins the lines of events. An event that cannot be read has no line.
    pub(super) fn new(entries: Vec<(Position, Option<Vec<u8>>)>) -> Self {
        let mut lines = Self::default();
        for (position, line) in entries {
            if let Some(line) = line {
                lines.text.extend(line);
                lines.text.push(b'\n');
            }
            lines.ends.push((lines.text.len(), position));
        }
        lines
    }
}

/// A target that is open or closed.
#[derive(Debug)]
pub(super) struct Output {
    target: Target,
    file: Option<File>,
    /// Whether standard output ends in the middle of a line.
    is_torn: bool,
}

impl Output {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            file: None,
            is_torn: false,
        }
    }

    pub(super) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn is_open(&self) -> bool {
        self.file.is_some()
    }

    /// Closes the file. The next write opens the file that has its name at that time.
    pub(super) fn close(&mut self) {
        self.file = None;
    }

    /// Opens the target, and returns the last event of a file. A torn line at the file's end, left
    /// by a crash or a full disk, is cut off.
    pub(super) fn open(&mut self) -> io::Result<Option<Position>> {
        match &self.target {
            Target::Stdout => {
                self.file = Some(stdout()?);
                Ok(None)
            }
            Target::File(path) => {
                let opened = open_file(path).map_err(|error| named(path, &error));
                let (file, last) = opened?;
                let last = match last {
                    Some(last) => Some(last),
                    None => Position::load(&position_file(path))?,
                };
                self.file = Some(file);
                Ok(last)
            }
        }
    }

    /// Writes the lines after the event `after`. Returns the last event whose line is complete, if
    /// any.
    pub(super) fn write(
        &mut self,
        lines: &Lines,
        after: &Position,
    ) -> (Option<Position>, io::Result<()>) {
        let mut done = 0;
        let written = self.write_counted(&lines.text, after, &mut done);
        let whole = (lines.ends.iter()).rfind(|(end, _)| *end <= done);
        if written.is_err() {
            let end = whole.map_or(0, |(end, _)| *end);
            self.give_up(done, end);
        }
        let written = written.map_err(|error| match &self.target {
            Target::Stdout => io::Error::new(error.kind(), format!("standard output: {error}")),
            Target::File(path) => named(path, &error),
        });
        (whole.map(|(_, event)| event.clone()), written)
    }

    fn write_counted(&mut self, text: &[u8], after: &Position, done: &mut usize) -> io::Result<()> {
        if self.file.is_none() {
            self.reopen(after)?;
        }
        let Some(file) = &mut self.file else {
            return Err(ErrorKind::NotConnected.into());
        };
        if let Target::File(_) = self.target {
            file.seek(SeekFrom::End(0))?;
        }
        if self.is_torn {
            file.write_all(b"\n")?;
            self.is_torn = false;
        }
        while let Some(rest) = text.get(*done..).filter(|rest| !rest.is_empty()) {
            match file.write(rest) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => *done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Opens the target to continue after the event `after`. A new file does not name that event,
    /// so the position file names it until the first line is written.
    fn reopen(&mut self, after: &Position) -> io::Result<()> {
        match &self.target {
            Target::Stdout => self.file = Some(stdout()?),
            Target::File(path) => {
                let (file, last) = open_file(path)?;
                if last.is_none() && after.sequence > 0 {
                    after.save(&position_file(path))?;
                }
                self.file = Some(file);
            }
        }
        Ok(())
    }

    /// Closes the target after a failed write, and removes a torn line. Otherwise the line would be
    /// completed in another file if the file is rotated meanwhile.
    fn give_up(&mut self, done: usize, whole: usize) {
        let torn = done.saturating_sub(whole);
        let Some(mut file) = self.file.take() else {
            return;
        };
        match self.target {
            Target::Stdout => self.is_torn |= torn > 0,
            // A torn line that cannot be removed now is removed when the file is opened again.
            Target::File(_) => {
                if let Ok(length) = file.seek(SeekFrom::End(0)) {
                    let _ = file.set_len(length.saturating_sub(torn as u64));
                }
            }
        }
    }
}

/// Standard output without the lock and the buffer of this process: a reader that reads nothing
/// must not block other writers.
fn stdout() -> io::Result<File> {
    #[cfg(unix)]
    let stdout = std::os::fd::AsFd::as_fd(&io::stdout()).try_clone_to_owned()?;
    #[cfg(windows)]
    let stdout = std::os::windows::io::AsHandle::as_handle(&io::stdout()).try_clone_to_owned()?;
    Ok(File::from(stdout))
}

fn open_file(path: &Path) -> io::Result<(File, Option<Position>)> {
    let mut file = files::open_or_create(path)?;
    // On other systems a lock blocks readers as well.
    #[cfg(unix)]
    file.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => io::Error::new(
            ErrorKind::ResourceBusy,
            "another process writes it: give each server a file of its own",
        ),
        std::fs::TryLockError::Error(error) => error,
    })?;
    let last = last_whole_line(&mut file)?;
    Ok((file, last))
}

/// Returns the event of the last whole line. A torn line after it is cut off.
fn last_whole_line(file: &mut File) -> io::Result<Option<Position>> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    Read::by_ref(file).take(TAIL).read_to_end(&mut tail)?;
    let end = tail.iter().rposition(|byte| *byte == b'\n');
    let end = end.map_or(0, |place| place + 1);
    if end == 0 && from > 0 {
        return Err(foreign());
    }
    let (whole, torn) = tail.split_at_checked(end).unwrap_or((&tail, &[]));
    let line = whole
        .rsplit(|byte| *byte == b'\n')
        .find(|line| !line.is_empty());
    let last = line.map(|line| serde_json::from_slice(line).map_err(|_| foreign()));
    let last = last.transpose()?;
    if !torn.is_empty() {
        if !is_torn_line(torn) {
            return Err(foreign());
        }
        file.set_len(from.saturating_add(end as u64))?;
    }
    Ok(last)
}

/// Returns whether the text is the beginning of an event's line. Text from other programs is not
/// cut off.
fn is_torn_line(text: &[u8]) -> bool {
    // After a crash of the machine, some file systems leave zeros in place of the bytes.
    if text.iter().all(|byte| *byte == 0) {
        return true;
    }
    let begins = text.starts_with(BEGINNING) || BEGINNING.starts_with(text);
    let is_event = || serde_json::from_slice::<Position>(text).is_ok();
    let is_whole = || serde_json::from_slice::<IgnoredAny>(text).is_ok();
    begins && (is_event() || !is_whole())
}

fn foreign() -> io::Error {
    io::Error::new(
        ErrorKind::InvalidData,
        "its last line is no event of an audit trail: name another file",
    )
}

/// Returns the path of the position file.
fn position_file(path: &Path) -> PathBuf {
    path.with_added_extension("position")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn at(sequence: u64) -> Position {
        Position {
            sequence,
            hash: format!("h{sequence}"),
        }
    }

    fn line(sequence: u64) -> String {
        format!("{{\"id\":\"e\",\"sequence\":{sequence},\"hash\":\"h{sequence}\"}}\n")
    }

    fn lines(sequences: std::ops::RangeInclusive<u64>) -> Lines {
        let mut lines = Lines::default();
        for sequence in sequences {
            lines.text.extend(line(sequence).into_bytes());
            lines.ends.push((lines.text.len(), at(sequence)));
        }
        lines
    }

    fn output(path: &Path) -> Output {
        Output::new(Target::File(path.to_owned()))
    }

    #[test]
    fn a_torn_line_is_cut_off_and_the_last_whole_one_is_the_position() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let whole = format!("{}{}", line(1), line(2));
        for torn in ["", "{", "{\"id\":\"e\",\"seq", "\0\0\0", line(3).trim_end()] {
            fs::write(&path, format!("{whole}{torn}")).unwrap();
            let mut output = output(&path);
            assert_eq!(output.open().unwrap(), Some(at(2)), "{torn}");
            let (written, result) = output.write(&lines(3..=4), &at(2));
            result.unwrap();
            assert_eq!(written, Some(at(4)));
            let expected = format!("{whole}{}{}", line(3), line(4));
            assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        }
    }

    #[test]
    fn the_file_of_another_program_is_refused_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        for text in [
            "root:x:0:0",
            "root:x:0:0\n",
            "{\"id\":\"x\"}",
            "{\"id\":\"x\"}\n",
            "\n{}\n",
        ] {
            fs::write(&path, text).unwrap();
            let error = output(&path).open().unwrap_err().to_string();
            assert!(
                error.contains("no event") && error.contains("audit.jsonl"),
                "{error}"
            );
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn a_rotated_file_goes_on_where_the_former_ended_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut first = output(&path);
        assert_eq!(first.open().unwrap(), None);
        first.write(&lines(1..=3), &at(0)).1.unwrap();
        fs::rename(&path, folder.path().join("audit.jsonl.1")).unwrap();
        first.close();
        first.write(&Lines::default(), &at(3)).1.unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"");
        drop(first);

        let mut second = output(&path);
        assert_eq!(second.open().unwrap(), Some(at(3)));
        second.write(&lines(4..=5), &at(3)).1.unwrap();
        drop(second);
        assert_eq!(output(&path).open().unwrap(), Some(at(5)));
    }

    #[cfg(unix)]
    #[test]
    fn two_servers_do_not_write_one_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("audit.jsonl");
        let mut first = output(&path);
        first.open().unwrap();
        let error = output(&path).open().unwrap_err().to_string();
        assert!(error.contains("another process writes it"), "{error}");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_failed_write_counts_whole_lines_alone() {
        let (reader, writer) = io::pipe().unwrap();
        let mut output = Output::new(Target::Stdout);
        output.file = Some(File::from(std::os::fd::OwnedFd::from(writer)));
        drop(reader);
        let (written, result) = output.write(&lines(1..=2), &at(0));
        assert!(result.unwrap_err().to_string().contains("standard output"));
        assert!(written.is_none() && !output.is_open() && !output.is_torn);
    }
}
