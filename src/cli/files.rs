//! Result folders: written as a whole, or not at all.
//!
//! New files are first written beside the old ones under names of their own and synced; so a full
//! disk shows itself while the earlier result still stands untouched. Only then are they moved into
//! place. While that goes on there is no manifest, so that what is half old and half new can never
//! pass for a result; another file says that the folder is ours, and the next run takes it over.

use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value as Json, json};

use crate::report::render::Artefact;

/// The file that makes a folder a result.
pub const MANIFEST: &str = "manifest.json";
/// What stands in its place while files are being moved: it lists all that may then be there.
const MOVING: &str = ".manifest.json.moving";
/// What the name of a file begins with that is not in its place yet.
const UNFINISHED: &str = ".stormglass-";
/// What a manifest must say of itself.
pub(super) const TOOL: &str = "stormglass";

/// What can be done to files. Nothing here follows a symbolic link at the end of a path.
pub trait Files {
    /// What is at `path`; `None` where there is nothing.
    ///
    /// # Errors
    /// Where the operating system will not say.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>>;
    /// The names in a folder, in no order.
    ///
    /// # Errors
    /// Where the folder cannot be read.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;
    /// All bytes of a file.
    ///
    /// # Errors
    /// Where it cannot be read.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;
    /// Makes a folder in an existing one.
    ///
    /// # Errors
    /// Where it is there already, or cannot be made.
    fn create_folder(&self, path: &Path) -> io::Result<()>;
    /// Writes a file that must not be there yet, and waits until the disk has it.
    ///
    /// # Errors
    /// Where it is there already, or cannot be written: a part of it may then be left behind.
    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;
    /// Moves a file onto another name in one step.
    ///
    /// # Errors
    /// Where it cannot be moved.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// Where it is not there, or cannot be removed.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty folder.
    ///
    /// # Errors
    /// Where it is not there, not empty, or cannot be removed.
    fn remove_folder(&self, path: &Path) -> io::Result<()>;
    /// Keeps other processes of this program out of an existing folder for as long as the hold
    /// lives; `None` where one of them is at it.
    ///
    /// # Errors
    /// Where the folder cannot be opened.
    fn hold(&self, folder: &Path) -> io::Result<Option<Hold>>;
    /// Waits until the disk has what the folder holds.
    ///
    /// # Errors
    /// Where it cannot.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// A folder that is ours alone. Held by a lock on the folder itself, which ends with the process
/// however that ends, and leaves no file behind.
#[derive(Debug)]
pub struct Hold {
    _folder: Option<std::fs::File>,
}

/// What is at a path.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// A folder.
    Folder,
    /// A file.
    File,
    /// A symbolic link, wherever it leads.
    Link,
    /// A device, a socket or the like.
    Other,
}

/// Why a result was not written.
#[derive(Debug)]
pub enum PublishError {
    /// The folder is not one that results may go to.
    Refused {
        /// The folder, or what is in it.
        path: PathBuf,
        /// What is wrong with it: the end of a sentence that begins with the path.
        why: &'static str,
    },
    /// Another process is writing to the folder.
    Busy {
        /// The folder.
        path: PathBuf,
    },
    /// The operating system would not do it.
    Io {
        /// What was being worked on.
        path: PathBuf,
        /// What was to be done with it.
        action: &'static str,
        /// Why not.
        error: io::Error,
    },
}

/// Makes `folder` hold exactly `artefacts` and the manifest, in place of an earlier result.
///
/// # Errors
/// Where the folder is not ours, or something could not be written. What was begun is cleared
/// away, and unless files were already being moved the earlier result is untouched.
pub fn publish(
    files: &dyn Files,
    folder: &Path,
    artefacts: &[Artefact],
    manifest: &[u8],
) -> Result<(), PublishError> {
    let mut work = Work {
        files,
        folder,
        made: Vec::new(),
        staged: Vec::new(),
        placed: Vec::new(),
        replaces: false,
    };
    let outcome = work.publish(artefacts, manifest);
    match &outcome {
        Ok(()) => (),
        // What lies there is the other's.
        Err(PublishError::Busy { .. }) => work.remove_made(),
        Err(PublishError::Refused { .. } | PublishError::Io { .. }) => work.clear_away(),
    }
    outcome
}

/// Keeps other processes out of `folder`, where it exists, for as long as the hold lives.
///
/// # Errors
/// Where another process is at it already.
pub fn hold(files: &dyn Files, folder: &Path) -> Result<Option<Hold>, PublishError> {
    if io("look at", folder, files.kind(folder))? != Some(Kind::Folder) {
        return Ok(None);
    }
    match io("open", folder, files.hold(folder))? {
        Some(hold) => Ok(Some(hold)),
        None => Err(PublishError::Busy { path: folder.to_owned() }),
    }
}

/// Makes `path` a file of these `bytes`, in one step; folders on the way are made.
///
/// # Errors
/// Where something else than a file is in its place, or it could not be written. Then what was
/// there still stands, and nothing else is left.
pub fn put(files: &dyn Files, path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
    let refused = |why| Err(PublishError::Refused { path: path.to_owned(), why });
    match io("look at", path, files.kind(path))? {
        None | Some(Kind::File) => (),
        Some(Kind::Folder) => return refused("is a folder, expected a file"),
        Some(Kind::Link) => return refused("is a symbolic link, expected a file"),
        Some(Kind::Other) => return refused("is a device or the like, expected a file"),
    }
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut work = Work {
        files,
        folder: &folder,
        made: Vec::new(),
        staged: Vec::new(),
        placed: Vec::new(),
        replaces: true,
    };
    let outcome = work.put(path, bytes);
    if outcome.is_err() {
        for (unfinished, _) in &work.staged {
            let _ = files.remove(unfinished);
        }
        work.remove_made();
    }
    outcome
}

struct Work<'a> {
    files: &'a dyn Files,
    folder: &'a Path,
    // Folders that were made, outermost first.
    made: Vec<PathBuf>,
    // Files that were written and are not in their place yet: where they are and where they belong.
    staged: Vec<(PathBuf, PathBuf)>,
    // Files that have found their place.
    placed: Vec<PathBuf>,
    // Whether files of an earlier result stand in the folder.
    replaces: bool,
}

impl Work<'_> {
    fn put(&mut self, path: &Path, bytes: &[u8]) -> Result<(), PublishError> {
        self.create_folders(self.folder)?;
        self.stage(path.to_owned(), bytes)?;
        self.place_last()?;
        let folder = if self.folder.as_os_str().is_empty() { Path::new(".") } else { self.folder };
        io("sync", folder, self.files.sync_folder(folder))
    }

    fn publish(&mut self, artefacts: &[Artefact], manifest: &[u8]) -> Result<(), PublishError> {
        self.refuse_unless_folder(self.folder)?;
        self.create_folders(self.folder)?;
        let _hold = hold(self.files, self.folder)?;
        let earlier = self.take_over()?;
        self.replaces = !earlier.is_empty();
        let mut folders = BTreeSet::new();
        for artefact in artefacts {
            let place = self.folder.join(&artefact.path);
            let parent = place.parent().unwrap_or(self.folder).to_owned();
            if folders.insert(parent.clone()) {
                self.refuse_unless_folder(&parent)?;
                self.create_folders(&parent)?;
                self.clear_unfinished(&parent)?;
            }
            self.stage(place, &artefact.bytes)?;
        }
        folders.insert(self.folder.to_owned());
        self.stage(self.folder.join(MANIFEST), manifest)?;
        let all = earlier.iter().chain(artefacts.iter().map(|artefact| &artefact.path));
        self.stage(self.folder.join(MOVING), &moving(all))?;
        // The last one staged is the first to find its place.
        self.place_last()?;
        self.remove_if_there(&self.folder.join(MANIFEST))?;
        self.sync(&folders)?;
        self.staged.reverse();
        while 1 < self.staged.len() {
            self.place_last()?;
        }
        for name in &earlier {
            if !artefacts.iter().any(|artefact| artefact.path == *name) {
                self.remove_if_there(&self.folder.join(name))?;
            }
        }
        self.sync(&folders)?;
        // The manifest: from here on there is a result.
        self.place_last()?;
        self.sync(&folders)?;
        self.remove_if_there(&self.folder.join(MOVING))
    }

    /// Finds out whether the folder is ours, or is none yet; and which files may stand in it.
    fn take_over(&self) -> Result<BTreeSet<String>, PublishError> {
        let mut earlier = BTreeSet::new();
        self.clear_unfinished(self.folder)?;
        let mut is_ours = false;
        for name in [MANIFEST, MOVING] {
            let path = self.folder.join(name);
            if io("look at", &path, self.files.kind(&path))? == Some(Kind::File) {
                let text = io("read", &path, self.files.read(&path))?;
                let why = "is not a manifest of stormglass: choose another folder";
                let listed = listed_files(&text).ok_or(PublishError::Refused { path, why })?;
                earlier.extend(listed);
                is_ours = true;
            }
        }
        if is_ours {
            earlier.insert(MANIFEST.into());
            return Ok(earlier);
        }
        // Folders may stand here, of scenarios that lie deeper: `results/locks/` for
        // `results/locks/gc-pause/`. A file of somebody else's may not.
        for name in io("read", self.folder, self.files.list(self.folder))? {
            let path = self.folder.join(name);
            if io("look at", &path, self.files.kind(&path))? != Some(Kind::Folder) {
                let path = self.folder.to_owned();
                let why = "has files in it that are no result of stormglass: choose another folder";
                return Err(PublishError::Refused { path, why });
            }
        }
        Ok(earlier)
    }

    fn refuse_unless_folder(&self, path: &Path) -> Result<(), PublishError> {
        let why = match io("look at", path, self.files.kind(path))? {
            None | Some(Kind::Folder) => return Ok(()),
            Some(Kind::File) => "is a file, expected a folder for the results",
            Some(Kind::Link) => "is a symbolic link, expected a folder for the results",
            Some(Kind::Other) => "is a device or the like, expected a folder for the results",
        };
        Err(PublishError::Refused { path: path.to_owned(), why })
    }

    fn create_folders(&mut self, path: &Path) -> Result<(), PublishError> {
        let mut missing = Vec::new();
        for folder in path.ancestors().filter(|folder| !folder.as_os_str().is_empty()) {
            match io("look at", folder, self.files.kind(folder))? {
                // A link on the way is the user's own affair.
                Some(Kind::Folder | Kind::Link) => break,
                Some(Kind::File | Kind::Other) => {
                    let why = "is a file, expected a folder for the results";
                    return Err(PublishError::Refused { path: folder.to_owned(), why });
                }
                None => missing.push(folder),
            }
        }
        for folder in missing.into_iter().rev() {
            io("create", folder, self.files.create_folder(folder))?;
            self.made.push(folder.to_owned());
        }
        Ok(())
    }

    fn clear_unfinished(&self, folder: &Path) -> Result<(), PublishError> {
        for name in io("read", folder, self.files.list(folder))? {
            if name.starts_with(UNFINISHED) {
                self.remove_if_there(&folder.join(name))?;
            }
        }
        Ok(())
    }

    fn stage(&mut self, place: PathBuf, bytes: &[u8]) -> Result<(), PublishError> {
        let name = place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unfinished = place.with_file_name(format!("{UNFINISHED}{}-{name}", std::process::id()));
        // Noted first: a write that fails may leave a part of the file.
        self.staged.push((unfinished.clone(), place.clone()));
        io("write", &place, self.files.write_new(&unfinished, bytes))
    }

    fn place_last(&mut self) -> Result<(), PublishError> {
        if let Some((from, to)) = self.staged.last() {
            io("rename", to, self.files.rename(from, to))?;
            self.placed.push(to.clone());
            self.staged.pop();
        }
        Ok(())
    }

    fn remove_if_there(&self, path: &Path) -> Result<(), PublishError> {
        match io("look at", path, self.files.kind(path))? {
            Some(Kind::File | Kind::Link) => io("remove", path, self.files.remove(path)),
            Some(Kind::Folder | Kind::Other) | None => Ok(()),
        }
    }

    fn sync(&self, folders: &BTreeSet<PathBuf>) -> Result<(), PublishError> {
        folders.iter().try_for_each(|folder| io("sync", folder, self.files.sync_folder(folder)))
    }

    /// After a failure: removes what has not found its place; and where nothing stood before,
    /// everything. That this may fail too changes nothing that could be told.
    fn clear_away(&self) {
        let moving = self.folder.join(MOVING);
        let mut unwanted: Vec<&Path> = self.staged.iter().map(|(from, _)| from.as_path()).collect();
        match self.files.kind(&self.folder.join(MANIFEST)) {
            // The earlier result still stands, or the new one does already.
            Ok(Some(_)) => unwanted.push(&moving),
            Ok(None) if !self.replaces => {
                unwanted.extend(self.placed.iter().rev().map(PathBuf::as_path));
            }
            Ok(None) | Err(_) => (),
        }
        for path in unwanted {
            let _ = self.files.remove(path);
        }
        self.remove_made();
    }

    /// Removes the folders that were made, so far as nothing is in them.
    fn remove_made(&self) {
        for folder in self.made.iter().rev() {
            let _ = self.files.remove_folder(folder);
        }
    }
}

/// What says that a folder is ours while files are being moved in it.
fn moving<'a>(files: impl Iterator<Item = &'a String>) -> Vec<u8> {
    let files: serde_json::Map<String, Json> =
        files.map(|name| (name.clone(), json!(""))).collect();
    json!({ "tool": TOOL, "files": files }).to_string().into_bytes()
}

fn io<T>(action: &'static str, path: &Path, result: io::Result<T>) -> Result<T, PublishError> {
    result.map_err(|error| PublishError::Io { path: path.to_owned(), action, error })
}

/// The files that the manifest `text` lists; `None` where it is no manifest of ours. Names that
/// this program would not have given are passed over: whoever wrote them may have meant harm.
fn listed_files(text: &[u8]) -> Option<Vec<String>> {
    let manifest: Json = serde_json::from_slice(text).ok()?;
    if manifest["tool"] != TOOL {
        return None;
    }
    let is_ours = |name: &&String| {
        let is_part = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        name.split('/').count() <= 2 && name.split('/').all(is_part)
    };
    let files = manifest["files"].as_object()?;
    Some(files.keys().filter(is_ours).cloned().collect())
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused { path, why } => write!(f, "{} {why}", path.display()),
            Self::Busy { path } => {
                let path = path.display();
                write!(f, "another process is writing to {path}: try again, or give another --out")
            }
            Self::Io { path, action, error } => {
                write!(f, "cannot {action} {}: {error}", path.display())
            }
        }
    }
}

impl std::error::Error for PublishError {}

/// The files of this machine.
#[derive(Clone, Copy, Debug)]
pub struct Disk;

impl Files for Disk {
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        match std::fs::symlink_metadata(path) {
            Ok(about) if about.is_symlink() => Ok(Some(Kind::Link)),
            Ok(about) if about.is_dir() => Ok(Some(Kind::Folder)),
            Ok(about) if about.is_file() => Ok(Some(Kind::File)),
            Ok(_) => Ok(Some(Kind::Other)),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(None),
                _ => Err(error),
            },
        }
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        std::fs::read_dir(folder)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn create_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::create_dir(path)
    }

    fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = std::fs::File::create_new(path)?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_dir(path)
    }

    fn hold(&self, folder: &Path) -> io::Result<Option<Hold>> {
        // Elsewhere a folder cannot be opened.
        if !cfg!(unix) {
            return Ok(Some(Hold { _folder: None }));
        }
        let opened = std::fs::File::open(folder)?;
        match opened.try_lock() {
            Ok(()) => Ok(Some(Hold { _folder: Some(opened) })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            // Some file systems of networks know no locks: then it is as before there were any.
            Err(std::fs::TryLockError::Error(_)) => Ok(Some(Hold { _folder: None })),
        }
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        // Elsewhere a folder cannot be opened, and need not be.
        if cfg!(unix) { std::fs::File::open(path)?.sync_all() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::collections::BTreeMap;

    use super::*;

    /// Files in memory, of which operation number `fails_at` fails; `for_good` all after it too. A
    /// write that fails leaves half of the file, as a full disk does.
    #[derive(Default)]
    struct Memory {
        files: RefCell<BTreeMap<PathBuf, Vec<u8>>>,
        folders: RefCell<BTreeSet<PathBuf>>,
        done: Cell<usize>,
        fails_at: Cell<Option<usize>>,
        for_good: Cell<bool>,
        is_busy: Cell<bool>,
    }

    impl Memory {
        fn new() -> Self {
            let memory = Self::default();
            memory.folders.borrow_mut().insert("/".into());
            memory
        }

        fn step(&self) -> io::Result<()> {
            let step = self.done.get();
            self.done.set(step + 1);
            match self.fails_at.get() {
                Some(at) if step == at || (self.for_good.get() && at < step) => {
                    Err(io::ErrorKind::StorageFull.into())
                }
                _ => Ok(()),
            }
        }

        fn snapshot(&self) -> BTreeMap<String, Vec<u8>> {
            let files = self.files.borrow();
            files.iter().map(|(path, bytes)| (path.display().to_string(), bytes.clone())).collect()
        }
    }

    impl Files for Memory {
        fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
            self.step()?;
            let is_file = self.files.borrow().contains_key(path);
            let is_folder = self.folders.borrow().contains(path);
            Ok(if is_file { Some(Kind::File) } else { is_folder.then_some(Kind::Folder) })
        }

        fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
            self.step()?;
            let (files, folders) = (self.files.borrow(), self.folders.borrow());
            let all = files.keys().chain(folders.iter());
            let inside = all.filter(|path| path.parent() == Some(folder));
            Ok(inside.map(|path| path.file_name().unwrap().to_string_lossy().into()).collect())
        }

        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            self.step()?;
            self.files.borrow().get(path).cloned().ok_or(io::ErrorKind::NotFound.into())
        }

        fn create_folder(&self, path: &Path) -> io::Result<()> {
            self.step()?;
            assert!(self.folders.borrow().contains(path.parent().unwrap()));
            assert!(self.folders.borrow_mut().insert(path.to_owned()));
            Ok(())
        }

        fn write_new(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
            assert!(self.folders.borrow().contains(path.parent().unwrap()));
            let outcome = self.step();
            let end = if outcome.is_ok() { bytes.len() } else { bytes.len() / 2 };
            let before = self.files.borrow_mut().insert(path.to_owned(), bytes[..end].to_vec());
            assert_eq!(before, None, "{} was there already", path.display());
            outcome
        }

        fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
            self.step()?;
            let bytes = self.files.borrow_mut().remove(from).ok_or(io::ErrorKind::NotFound)?;
            self.files.borrow_mut().insert(to.to_owned(), bytes);
            Ok(())
        }

        fn remove(&self, path: &Path) -> io::Result<()> {
            self.step()?;
            let removed = self.files.borrow_mut().remove(path);
            removed.map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
        }

        fn remove_folder(&self, path: &Path) -> io::Result<()> {
            if !self.list(path)?.is_empty() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            self.step()?;
            self.folders.borrow_mut().remove(path);
            Ok(())
        }

        fn hold(&self, folder: &Path) -> io::Result<Option<Hold>> {
            self.step()?;
            assert!(self.folders.borrow().contains(folder));
            Ok((!self.is_busy.get()).then_some(Hold { _folder: None }))
        }

        fn sync_folder(&self, path: &Path) -> io::Result<()> {
            self.step()?;
            assert!(self.folders.borrow().contains(path));
            Ok(())
        }
    }

    fn artefacts(content: &str, names: &[&str]) -> Vec<Artefact> {
        let bytes = content.as_bytes().to_vec();
        names.iter().map(|&name| Artefact { path: name.into(), bytes: bytes.clone() }).collect()
    }

    fn manifest(artefacts: &[Artefact]) -> Vec<u8> {
        moving(artefacts.iter().map(|artefact| &artefact.path))
    }

    /// What the folder holds when `artefacts` stand in it.
    fn complete(artefacts: &[Artefact]) -> BTreeMap<String, Vec<u8>> {
        let mut all: BTreeMap<_, _> = artefacts
            .iter()
            .map(|artefact| (format!("/results/a/{}", artefact.path), artefact.bytes.clone()))
            .collect();
        all.insert("/results/a/manifest.json".into(), manifest(artefacts));
        all
    }

    fn write(memory: &Memory, artefacts: &[Artefact]) -> Result<(), PublishError> {
        publish(memory, Path::new("/results/a"), artefacts, &manifest(artefacts))
    }

    #[test]
    fn a_result_replaces_an_earlier_one_without_a_trace() {
        let memory = Memory::new();
        let old = artefacts("old", &["report.md", "charts/load.svg", "charts/wait.svg"]);
        write(&memory, &old).unwrap();
        assert_eq!(memory.snapshot(), complete(&old));
        let new = artefacts("new", &["report.md", "charts/load.svg", "records.csv"]);
        write(&memory, &new).unwrap();
        assert_eq!(memory.snapshot(), complete(&new));
    }

    /// Every operation fails once. What stands then is the old result, the new one, or none that
    /// says it is one; and a second attempt succeeds.
    #[test]
    fn a_failure_at_any_step_leaves_a_whole_result_or_none() {
        let old = artefacts("old", &["report.md", "charts/load.svg", "charts/wait.svg"]);
        let new = artefacts("newer", &["report.md", "charts/load.svg", "records.csv"]);
        for replaces in [false, true] {
            for for_good in [false, true] {
                let mut fails_at = 0;
                loop {
                    let memory = Memory::new();
                    if replaces {
                        write(&memory, &old).unwrap();
                    }
                    memory.done.set(0);
                    memory.fails_at.set(Some(fails_at));
                    memory.for_good.set(for_good);
                    let outcome = write(&memory, &new);
                    if memory.done.get() <= fails_at {
                        assert!(outcome.is_ok() && 20 < fails_at);
                        break;
                    }
                    assert!(matches!(outcome, Err(PublishError::Io { .. })), "step {fails_at}");
                    let left = memory.snapshot();
                    let has = |name: &str| left.contains_key(&format!("/results/a/{name}"));
                    let case =
                        format!("step {fails_at}, {replaces}, {for_good}: {:?}", left.keys());
                    if !for_good {
                        assert!(!left.keys().any(|name| name.contains(UNFINISHED)), "{case}");
                        let is_old = replaces && left == complete(&old);
                        let is_none = !replaces && left.is_empty();
                        let is_new = left == complete(&new);
                        let is_open = replaces && has(MOVING) && !has(MANIFEST);
                        assert!(is_old || is_none || is_new || is_open, "{case}");
                    }
                    if has(MANIFEST) && !has(MOVING) {
                        let whole: Vec<_> =
                            left.iter().filter(|(name, _)| !name.contains(UNFINISHED)).collect();
                        let is_one = |all: &[Artefact]| whole.iter().copied().eq(&complete(all));
                        assert!(is_one(&old) || is_one(&new), "{case}");
                    }
                    memory.fails_at.set(None);
                    write(&memory, &new).unwrap_or_else(|error| panic!("{case}: {error}"));
                    assert_eq!(memory.snapshot(), complete(&new), "{case}");
                    fails_at += 1;
                }
            }
        }
    }

    #[test]
    fn a_file_is_put_whole_or_not_at_all() {
        let path = Path::new("/kept/locks/pause.json");
        for replaces in [false, true] {
            let mut fails_at = 0;
            loop {
                let memory = Memory::new();
                if replaces {
                    put(&memory, path, b"old").unwrap();
                }
                memory.done.set(0);
                memory.fails_at.set(Some(fails_at));
                let outcome = put(&memory, path, b"newer");
                if memory.done.get() <= fails_at {
                    assert!(outcome.is_ok() && 3 < fails_at);
                    break;
                }
                assert!(outcome.is_err(), "step {fails_at}");
                let left = memory.snapshot();
                let content = left.get("/kept/locks/pause.json").map(Vec::as_slice);
                let is_whole = content == Some(b"newer") || content == replaces.then_some(b"old");
                assert!(is_whole && left.len() == usize::from(content.is_some()), "{left:?}");
                fails_at += 1;
            }
        }
    }

    #[test]
    fn a_folder_that_is_not_ours_is_left_alone() {
        let new = artefacts("new", &["report.md"]);
        for (foreign, text, why) in [
            ("/results/a/thesis.tex", "x", "has files in it"),
            ("/results/a/manifest.json", "{}", "is not a manifest of stormglass"),
            ("/results/a/manifest.json", "no JSON", "is not a manifest of stormglass"),
        ] {
            let memory = Memory::new();
            memory.folders.borrow_mut().extend(["/results".into(), "/results/a".into()]);
            memory.files.borrow_mut().insert(foreign.into(), text.into());
            let before = memory.snapshot();
            let error = write(&memory, &new).unwrap_err();
            assert!(matches!(error, PublishError::Refused { .. }));
            assert!(error.to_string().contains(why), "{error}");
            assert_eq!(memory.snapshot(), before);
        }
    }

    #[test]
    fn what_another_process_is_at_is_left_alone() {
        let memory = Memory::new();
        let old = artefacts("old", &["report.md"]);
        write(&memory, &old).unwrap();
        // Half-way through, as the other one may be.
        memory.files.borrow_mut().insert("/results/a/.stormglass-1-report.md".into(), Vec::new());
        memory.files.borrow_mut().insert(format!("/results/a/{MOVING}").into(), Vec::new());
        let before = memory.snapshot();
        memory.is_busy.set(true);
        let error = write(&memory, &artefacts("new", &["report.md"])).unwrap_err();
        assert!(matches!(error, PublishError::Busy { .. }), "{error}");
        assert_eq!(memory.snapshot(), before);
    }

    #[test]
    fn results_of_deeper_scenarios_are_no_obstacle_and_stay() {
        let memory = Memory::new();
        memory.folders.borrow_mut().extend(["/results".into(), "/results/a".into()]);
        memory.folders.borrow_mut().insert("/results/a/deep".into());
        memory.files.borrow_mut().insert("/results/a/deep/manifest.json".into(), "{}".into());
        write(&memory, &artefacts("new", &["report.md"])).unwrap();
        assert!(memory.snapshot().contains_key("/results/a/deep/manifest.json"));
    }

    #[test]
    fn names_in_a_manifest_reach_no_file_outside_the_folder() {
        let listed = |name: &str| {
            let text = json!({ "tool": TOOL, "files": { name: "" } }).to_string();
            listed_files(text.as_bytes()).unwrap()
        };
        for name in ["../x", "/etc/passwd", "charts/../../x", ".ssh", "a/b/c", "a\\b", ""] {
            assert!(listed(name).is_empty(), "{name}");
        }
        assert_eq!(listed("charts/load-skew.svg"), ["charts/load-skew.svg"]);
    }
}
