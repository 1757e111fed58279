//! The texts that a scenario is read from: its file, the arguments that alter it, its data files.
//!
//! Every [`Place`] names one of them by number, so that a mistake in any is shown in the same way.
//! All reading of files happens here, and all of it is bounded: a scenario may come from anybody.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::config::{Bytes, DataFile, Launcher, Library, Place, printable};

/// The most that a scenario file may hold.
pub const SCENARIO_BYTES_MAX: Bytes = Bytes(4 << 20);
/// The most that all data files of a scenario may hold together.
pub const DATA_BYTES_MAX: Bytes = Bytes(256 << 20);

/// One text.
#[derive(Clone, Debug)]
pub struct Source {
    /// What messages call it: a path, or `--set`.
    pub name: String,
    /// What it holds.
    pub text: Arc<str>,
}

/// All texts of one scenario, in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    all: Vec<Source>,
}

impl Sources {
    /// Adds a text and says its number.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<Arc<str>>) -> u16 {
        let number =
            u16::try_from(self.all.len()).expect("a scenario has fewer than 65536 sources");
        self.all.push(Source { name: name.into(), text: text.into() });
        number
    }

    /// The text that `place` is in.
    pub fn of(&self, place: Place) -> Option<&Source> {
        self.all.get(usize::from(place.source))
    }

    /// Line and column of the first byte of `place`, both counted from 1, the column in characters.
    pub fn line_and_column(&self, place: Place) -> (usize, usize) {
        let text = self.of(place).map_or("", |source| &source.text);
        let before = before(text, place.start as usize);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (1 + before.matches('\n').count(), 1 + before[line_start..].chars().count())
    }
}

/// `text` up to `byte`, or up to the character that `byte` is in.
fn before(text: &str, byte: usize) -> &str {
    let mut end = byte.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Reads a text file of at most `limit`. Its path is not in the error.
///
/// # Errors
/// Where it cannot be read, is no regular file, is too large or is not UTF-8.
pub fn read_text(path: &Path, limit: Bytes) -> Result<String, ReadError> {
    let file = File::open(path).map_err(ReadError::Io)?;
    let about = file.metadata().map_err(ReadError::Io)?;
    if !about.is_file() {
        let what = if about.is_dir() { "a folder" } else { "not a regular file" };
        return Err(ReadError::Content(format!("is {what}, expected a text file")));
    }
    let too_large =
        |found: String| ReadError::Content(format!("has {found}, expected at most {limit}"));
    if limit.0 < about.len() {
        return Err(too_large(format!("{} bytes", about.len())));
    }
    let mut bytes = Vec::new();
    file.take(limit.0 + 1).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    if limit.0 < bytes.len() as u64 {
        return Err(too_large("more".into()));
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        let line = 1 + String::from_utf8_lossy(&error.as_bytes()[..valid]).matches('\n').count();
        ReadError::Content(format!("is not UTF-8: see line {line}, byte {valid}"))
    })
}

/// Why a text could not be read.
#[derive(Debug)]
pub enum ReadError {
    /// The operating system refused.
    Io(io::Error),
    /// It is not what it should be: the end of a sentence that begins with its path.
    Content(String),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(error) => write!(f, "cannot be read: {error}"),
            Self::Content(what) => f.write_str(what),
        }
    }
}

/// A data file that was read, as results name it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct DataHash {
    /// Its path as the scenario writes it.
    pub path: String,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

/// The sources of a scenario while it is read, and the folder that its data files are relative to.
#[derive(Clone, Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    launcher: Option<Launcher>,
    state: Rc<RefCell<ShelfState>>,
}

#[derive(Debug, Default)]
struct ShelfState {
    sources: Sources,
    opened: Vec<Result<DataFile, (String, String)>>,
    bytes: u64,
}

impl Shelf {
    pub(super) fn new(folder: PathBuf, launcher: Option<Launcher>) -> Self {
        Self { folder, launcher, state: Rc::default() }
    }

    pub(super) fn add(&self, name: &str, text: &str) -> u16 {
        self.state.borrow_mut().sources.add(name, text)
    }

    /// Puts the file at `path` among the data files, under `name`.
    pub(super) fn lend(&self, name: &str, path: &Path) -> Result<(), ReadError> {
        let mut state = self.state.borrow_mut();
        let text: Arc<str> = read_text(path, Bytes(DATA_BYTES_MAX.0 - state.bytes))?.into();
        state.bytes += text.len() as u64;
        let source = state.sources.add(path.display().to_string(), text.clone());
        state.opened.push(Ok(DataFile { path: name.to_owned(), source, text }));
        Ok(())
    }

    pub(super) fn sources(&self) -> Sources {
        self.state.borrow().sources.clone()
    }

    /// The data files that were opened, by path.
    pub(super) fn data_hashes(&self) -> Vec<DataHash> {
        let state = self.state.borrow();
        let mut hashes: Vec<DataHash> = state
            .opened
            .iter()
            .flatten()
            .map(|file| DataHash { path: file.path.clone(), sha256: sha256(file.text.as_bytes()) })
            .collect();
        hashes.sort();
        hashes
    }
}

impl Library for Shelf {
    fn open(&mut self, path: &str) -> Result<DataFile, String> {
        let mut state = self.state.borrow_mut();
        // A sweep reads the same setup many times: what was opened, or could not be, is kept.
        for known in &state.opened {
            match known {
                Ok(file) if file.path == path => return Ok(file.clone()),
                Err((wanted, why)) if wanted == path => return Err(why.clone()),
                _ => (),
            }
        }
        let read = read_data(&self.folder, path, Bytes(DATA_BYTES_MAX.0 - state.bytes));
        let entry = match read {
            Ok(text) => {
                let name = self.folder.join(path).display().to_string();
                state.bytes += text.len() as u64;
                let text: Arc<str> = text.into();
                let source = state.sources.add(name, text.clone());
                Ok(DataFile { path: path.to_owned(), source, text })
            }
            Err(why) => Err((path.to_owned(), why)),
        };
        state.opened.push(entry.clone());
        entry.map_err(|(_, why)| why)
    }

    fn launcher(&self) -> Option<Launcher> {
        self.launcher.clone()
    }
}

fn read_data(folder: &Path, path: &str, limit: Bytes) -> Result<String, String> {
    let shown = printable(path);
    let is_relative = Path::new(path).components().all(|part| {
        matches!(part, Component::Normal(_) | Component::ParentDir | Component::CurDir)
    });
    if path.is_empty() || !is_relative {
        return Err(format!(
            "found the path \"{shown}\", expected one that is relative to the scenario's folder"
        ));
    }
    read_text(&folder.join(path), limit).map_err(|error| format!("the file \"{shown}\" {error}"))
}

/// SHA-256 of `bytes`, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let mut hex = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_and_columns_in_characters() {
        let mut sources = Sources::default();
        let source = sources.add("x.toml", "é = 1\nµµ = 2\n");
        let at = |start| sources.line_and_column(Place { source, start, end: start });
        assert_eq!(
            [at(0), at(2), at(7), at(11), at(999)],
            [(1, 1), (1, 2), (2, 1), (2, 3), (3, 1)]
        );
    }

    #[test]
    fn data_files_are_read_once_and_become_sources() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("w.csv"), "key,weight\na,1\n").unwrap();
        let mut shelf = Shelf::new(folder.path().to_owned(), None);
        shelf.add("scenario.toml", "");
        let file = shelf.open("w.csv").unwrap();
        assert_eq!(file.source, 1);
        std::fs::remove_file(folder.path().join("w.csv")).unwrap();
        assert_eq!(shelf.open("w.csv"), Ok(file));
        let hashes = shelf.data_hashes();
        assert_eq!(hashes.len(), 1);
        assert_eq!(hashes[0].sha256, sha256(b"key,weight\na,1\n"));
    }

    #[test]
    fn paths_that_leave_for_the_root_and_things_that_are_no_files_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut shelf = Shelf::new(folder.path().to_owned(), None);
        for (path, part) in [
            ("/etc/hostname", "relative to the scenario's folder"),
            ("", "relative to the scenario's folder"),
            (".", "is a folder"),
            ("none.csv", "cannot be read"),
        ] {
            let why = shelf.open(path).unwrap_err();
            assert!(why.contains(part), "{path}: {why}");
        }
    }

    #[test]
    fn a_file_may_have_as_many_bytes_as_the_limit_and_not_one_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "12345").unwrap();
        assert_eq!(read_text(&path, Bytes(5)).unwrap(), "12345");
        let error = read_text(&path, Bytes(4)).unwrap_err().to_string();
        assert_eq!(error, "has 5 bytes, expected at most 4B");
        std::fs::write(&path, b"ab\n\xff").unwrap();
        let error = read_text(&path, Bytes(5)).unwrap_err().to_string();
        assert_eq!(error, "is not UTF-8: see line 2, byte 3");
    }
}
