//! Computes the cells of the acceptance matrices and holds them against other people's answers.
//!
//! The folder is `tests/vectors`, or the one that `STORMGLASS_VECTORS` names; it is walked, and a
//! file belongs to the set that its name before the first dot says. A cell that disagrees and
//! stands in `docs/matrix-notes.md`, by its id, is contested; any other is red.
//! `cargo test --test matrices -- V3/F1` computes the cells whose ids contain `V3/F1`, and shows
//! what came of each.

#![expect(clippy::print_stdout, reason = "its report is what this target is for")]

mod locks;
mod queues;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What came of the cells of a matrix.
#[derive(Debug, Default)]
pub(crate) struct Score {
    agreeing: u32,
    contested: u32,
    disagreeing: u32,
    skipped: u32,
    notes: String,
}

impl Score {
    /// Notes whether what was found for a column of a cell agrees with what was expected.
    fn note(&mut self, id: &str, column: &str, found: &str, expected: &str, agrees: bool) {
        if agrees {
            self.agreeing += 1;
        } else if self.notes.contains(&format!("`{id}`")) {
            self.contested += 1;
        } else {
            self.disagreeing += 1;
            println!("{id} {column}: found {found}, expected {expected}");
        }
    }

    /// Notes a row that no variant answers yet.
    fn skip(&mut self, id: &str, why: &str) {
        self.skipped += 1;
        println!("{id}: skipped, {why}");
    }
}

fn main() -> ExitCode {
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let wanted = wanted.unwrap_or_default();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::var_os("STORMGLASS_VECTORS")
        .map_or_else(|| here.join("tests/vectors"), PathBuf::from);
    let notes = fs::read_to_string(here.join("docs/matrix-notes.md")).unwrap_or_default();
    let mut score = Score { notes, ..Score::default() };
    let files = find(&folder, "locks-matrix");
    for file in &files {
        let text = fs::read_to_string(file).unwrap_or_default();
        locks::replay(&text, &wanted, &mut score);
    }
    let queue_files = find(&folder, "queues-acceptance");
    for file in &queue_files {
        let text = fs::read_to_string(file).unwrap_or_default();
        queues::replay(&text, &wanted, &mut score);
    }
    let Score { agreeing, contested, disagreeing, skipped, .. } = score;
    let mut failed = disagreeing;
    if files.is_empty() || queue_files.is_empty() || agreeing + contested + disagreeing == 0 {
        println!("no row of a matrix was found in {}", folder.display());
        failed += 1;
    }
    println!("{agreeing} agreeing, {contested} contested, {disagreeing} disagreeing");
    println!("{skipped} rows skipped");
    println!("{agreeing} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The files of a set in a folder and those below it, in order.
fn find(folder: &Path, set: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()).collect())
        .unwrap_or_default();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            found.extend(find(&path, set));
            continue;
        }
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_table = path.extension().is_some_and(|extension| extension == "csv");
        if is_table && name.split('.').next() == Some(set) {
            found.push(path);
        }
    }
    found
}
