//! Segments: files that are only ever appended to, a row for each finished run.
//!
//! A row is a checksum, a space, and a JSON object with the run's name and its record. A process
//! that is killed leaves at most one torn row, its last: a reader passes it over, and over every
//! row whose checksum is wrong, and the run is made again.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::record::Record;
use crate::scenario::sha256;

use super::{Shard, io};
use crate::cli::Failure;

/// The folder of the segments, in the sweep's.
pub(super) const FOLDER: &str = "segments";
/// After so many rows a segment waits until the disk has them.
const ROWS_UNSYNCED_MAX: u32 = 256;
/// More attempts at one shard than this are a loop gone wrong.
const ATTEMPTS_MAX: u32 = 100_000;

/// A segment that is being written.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: std::path::PathBuf,
    unsynced: u32,
}

impl Segment {
    /// Begins a new segment of `shard` in the sweep's `folder`.
    pub(super) fn begin(folder: &Path, shard: Shard) -> Result<Self, Failure> {
        let folder = folder.join(FOLDER);
        io("create", &folder, fs::create_dir_all(&folder))?;
        for attempt in 1..ATTEMPTS_MAX {
            let name = format!("{}-of-{}.{attempt}.jsonl", shard.index, shard.count);
            let path = folder.join(name);
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => (),
                file => {
                    let file = io("create", &path, file)?;
                    return Ok(Self { file, path, unsynced: 0 });
                }
            }
        }
        Err(Failure::Io(format!("{} has too many segments of shard {shard}", folder.display())))
    }

    /// Appends what the run called `cell` left.
    pub(super) fn append(&mut self, cell: String, record: &Record) -> Result<(), Failure> {
        let row = json!({ "cell": cell, "record": record.to_json() }).to_string();
        let line = format!("{} {row}\n", checksum(&row));
        // One write a row: what another process kills is torn at most at its end.
        io("write", &self.path, self.file.write_all(line.as_bytes()))?;
        self.unsynced += 1;
        if ROWS_UNSYNCED_MAX <= self.unsynced { self.finish() } else { Ok(()) }
    }

    /// Waits until the disk has all rows.
    pub(super) fn finish(&mut self) -> Result<(), Failure> {
        self.unsynced = 0;
        io("write", &self.path, self.file.sync_data())
    }
}

/// What the segments of a sweep hold.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The rows, segment by segment in the order of their names.
    pub rows: Vec<Row>,
    /// What was passed over, in words; torn last rows are not told.
    pub damages: Vec<String>,
    /// The largest number of shards that anybody split the plan into.
    pub shard_count: u32,
}

/// What a run left.
#[derive(Debug)]
pub(super) struct Row {
    /// The run's name.
    pub cell: String,
    /// Its record.
    pub record: Json,
}

/// Reads all segments of the sweep in `folder`.
pub(super) fn read(folder: &Path) -> Result<Found, Failure> {
    let folder = folder.join(FOLDER);
    let mut found = Found { shard_count: 1, ..Found::default() };
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        entries => io("read", &folder, entries)?,
    };
    let mut segments = BTreeMap::new();
    for entry in entries {
        let name = io("read", &folder, entry)?.file_name().to_string_lossy().into_owned();
        if let Some(shard_count) = shard_count(&name) {
            segments.insert(name, shard_count);
        }
    }
    for (name, shard_count) in segments {
        let path = folder.join(&name);
        let bytes = io("read", &path, fs::read(&path))?;
        found.shard_count = found.shard_count.max(shard_count);
        let mut lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        // After the last line break comes nothing, or a row that was never finished.
        lines.pop();
        for (index, line) in lines.into_iter().enumerate() {
            match row(line) {
                Some(row) => found.rows.push(row),
                None => {
                    found.damages.push(format!("{}:{}: damaged row", path.display(), index + 1));
                }
            }
        }
    }
    Ok(found)
}

/// How many shards the plan had where a segment is called `name`.
fn shard_count(name: &str) -> Option<u32> {
    let (shard, attempt) = name.strip_suffix(".jsonl")?.split_once('.')?;
    let (index, count) = shard.split_once("-of-")?;
    let (_, _): (u32, u32) = (index.parse().ok()?, attempt.parse().ok()?);
    count.parse().ok()
}

fn row(line: &[u8]) -> Option<Row> {
    let (sum, row) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    if sum != checksum(row) {
        return None;
    }
    let mut row: Json = serde_json::from_str(row).ok()?;
    let record = row["record"].take();
    Some(Row { cell: row["cell"].as_str()?.to_owned(), record })
}

fn checksum(row: &str) -> String {
    sha256(row.as_bytes())[..16].to_owned()
}
