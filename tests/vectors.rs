//! Replays the answers of other people's implementations through the catalogue's own variants.
//!
//! The folder is `tests/vectors`, or the one that `STORMGLASS_VECTORS` names; it is walked, and a
//! file belongs to the set that its name before the first dot says. A set that is missing or
//! unknown, or that has no row, is red. `cargo test --test vectors -- jump` replays those sets
//! whose names contain `jump`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use stormglass::choice::Choice;
use stormglass::config::{Config, Problems, Value};
use stormglass::rings::hash::splitmix64;
use stormglass::rings::{self, HashKind, Hasher, Member, MemberId, Membership, Placement};

/// The sets, and who replays each.
const SETS: &[(&str, Replay)] = &[
    ("jump", Replay::Rows(jump)),
    ("jumpback", Replay::Rows(jumpback)),
    ("fliphash", Replay::Rows(fliphash)),
    ("power_crate", Replay::Rows(power_crate)),
    ("supsi_jump", Replay::Rows(supsi_jump)),
    ("supsi_jumpback", Replay::Rows(supsi_jumpback)),
    ("supsi_flip", Replay::Rows(supsi_flip)),
    ("supsi_power", Replay::Rows(supsi_power)),
    ("supsi_binomial", Replay::Rows(supsi_binomial)),
    ("supsi_anchor", Replay::Rows(supsi_anchor)),
    ("supsi_dx", Replay::Rows(supsi_dx)),
    ("supsi_memento", Replay::Rows(supsi_memento)),
    ("anchor_cpp", Replay::Rows(anchor_cpp)),
    ("jumpback_anchor", Replay::Rows(jumpback_anchor)),
    // A list-sorting scheme that nobody deploys: no variant of the catalogue.
    ("hrw_skeleton_npm", Replay::Skipped("no variant of the catalogue")),
    ("locks-matrix", Replay::Skipped("replayed by `cargo test --test matrices`")),
    ("queues-acceptance", Replay::Skipped("replayed by `cargo test --test matrices`")),
    ("metastable-reference", Replay::Skipped("replayed by `cargo test --test matrices`")),
    ("queueing", Replay::Skipped("replayed by `cargo test --test theory`")),
    ("kafka_murmur2", Replay::Skipped("no variant of the catalogue yet")),
    ("kafka_assignors", Replay::Skipped("no variant of the catalogue yet")),
];

enum Replay {
    /// Each row of the file is an answer.
    Rows(fn(&Table, &mut Score)),
    /// It is not replayed here, and why.
    Skipped(&'static str),
}

/// Rows that were checked, and what was wrong with the first few that were wrong.
#[derive(Default)]
struct Score {
    checked: u64,
    wrong: u64,
    examples: Vec<String>,
}

impl Score {
    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, row: &str, found: T, expected: T) {
        self.checked += 1;
        if found != expected {
            self.wrong += 1;
            if self.examples.len() < 3 {
                self.examples.push(format!("{row}: found {found:?}, expected {expected:?}"));
            }
        }
    }
}

/// A CSV file.
struct Table {
    path: PathBuf,
    columns: Vec<String>,
    rows: Vec<csv::StringRecord>,
}

impl Table {
    fn read(path: &Path) -> Self {
        let mut reader = csv::Reader::from_path(path).expect("a readable file");
        let columns = reader.headers().expect("a header").iter().map(str::to_owned).collect();
        let rows = reader.records().map(|row| row.expect("a row")).collect();
        Self { path: path.to_owned(), columns, rows }
    }

    /// The rows as the cells of `columns`.
    fn cells<'a, const N: usize>(
        &'a self,
        columns: [&str; N],
    ) -> impl Iterator<Item = [&'a str; N]> + 'a {
        let indices = columns.map(|column| {
            let found = self.columns.iter().position(|name| name == column);
            found.unwrap_or_else(|| panic!("{}: no column {column}", self.path.display()))
        });
        self.rows.iter().map(move |row| indices.map(|index| &row[index]))
    }
}

fn main() -> ExitCode {
    let folder = std::env::var_os("STORMGLASS_VECTORS")
        .map_or_else(|| PathBuf::from("tests/vectors"), PathBuf::from);
    let wanted = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    let is_wanted = |set: &str| wanted.as_ref().is_none_or(|wanted| set.contains(wanted.as_str()));

    let mut files = BTreeMap::<String, Vec<PathBuf>>::new();
    walk(&folder, &mut files);
    let (mut passed, mut failed) = (0, 0);
    for (set, replay) in SETS.iter().filter(|(set, _)| is_wanted(set)) {
        let paths = files.get(*set).map(Vec::as_slice).unwrap_or_default();
        let rows = match replay {
            Replay::Skipped(why) => {
                println!("{set}: skipped, {why}");
                continue;
            }
            Replay::Rows(rows) => rows,
        };
        let mut score = Score::default();
        for path in paths {
            rows(&Table::read(path), &mut score);
        }
        let Score { checked, wrong, examples } = score;
        println!("{set}: {checked} rows checked, {wrong} wrong");
        examples.iter().for_each(|example| println!("    {example}"));
        if paths.is_empty() {
            println!("    no file of this set in {}", folder.display());
        }
        *(if checked == 0 || 0 < wrong { &mut failed } else { &mut passed }) += 1;
    }
    for set in files.keys().filter(|set| is_wanted(set)) {
        let is_known = SETS.iter().any(|(name, _)| name == set);
        if !is_known && !INPUTS.contains(&set.as_str()) {
            println!("{set}: unknown set");
            failed += 1;
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Files that belong to a set of another name.
const INPUTS: &[&str] = &["ketama_input", "crush_maps"];

fn walk(folder: &Path, files: &mut BTreeMap<String, Vec<PathBuf>>) {
    let entries = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let name = name.unwrap_or_default();
        let (set, rest) = name.split_once('.').unwrap_or((&name, ""));
        if path.is_dir() {
            walk(&path, files);
        } else if rest != "md" {
            files.entry(set.to_owned()).or_default().push(path);
        }
    }
}

/// The choice that `ring`, as a scenario writes it, names.
fn choice(ring: &str) -> Choice {
    let mut problems = Problems::default();
    let value = Value::parse(&format!("ring = {ring}"), 0, &mut problems);
    let stormglass::config::ValueKind::Table(table) = &value.kind else { panic!("{ring}") };
    let choice = table.get("ring").and_then(|value| Choice::read(value, &mut problems));
    choice.unwrap_or_else(|| panic!("{ring}: {problems:?}"))
}

/// The placement that `ring` names.
fn build(ring: &str, members: &Membership, hash: HashKind, seed: u64) -> Box<dyn Placement> {
    rings::build(&choice(ring), members, Hasher::new(hash, seed))
        .unwrap_or_else(|error| panic!("{ring}: {error}"))
}

/// The id of the member that owns the key with these bytes.
fn owner(placement: &dyn Placement, key: &[u8]) -> u32 {
    placement.locate(placement.key(key)).0
}

fn number<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error:?}"))
}

/// Bucket functions are asked with bare numbers; a row is key, last bucket, bucket.
fn buckets<'a>(ring: &str, rows: impl Iterator<Item = (&'a str, u64, &'a str)>, score: &mut Score) {
    let buckets = rings::buckets(&choice(ring), Hasher::new(HashKind::Identity, 0));
    let buckets = buckets.unwrap_or_else(|error| panic!("{ring}: {error}"));
    for (key, last, bucket) in rows {
        let found = buckets.bucket(buckets.key(key.as_bytes()), last);
        score.equal(&format!("{key} in 0..={last}"), found, number(bucket));
    }
}

fn jump(table: &Table, score: &mut Score) {
    let rows = table.cells(["key_u64", "buckets", "bucket"]);
    buckets(
        "\"jump\"",
        rows.map(|[key, count, bucket]| (key, number::<u64>(count) - 1, bucket)),
        score,
    );
}

fn power_crate(table: &Table, score: &mut Score) {
    let rows = table.cells(["key_u64", "buckets", "bucket"]);
    let ring = "{ power = { dialect = \"pcg32\" } }";
    buckets(ring, rows.map(|[key, count, bucket]| (key, number::<u64>(count) - 1, bucket)), score);
}

fn jumpback(table: &Table, score: &mut Score) {
    for (column, generator) in
        [("jumpback_splitmix64", "splitmix64"), ("jumpback_xorshift_l7r9", "xorshift")]
    {
        let rows = table.cells(["hash_u64", "buckets", column]);
        let ring = format!("{{ jump_back = {{ generator = \"{generator}\" }} }}");
        buckets(
            &ring,
            rows.map(|[key, count, bucket]| (key, number::<u64>(count) - 1, bucket)),
            score,
        );
    }
}

fn fliphash(table: &Table, score: &mut Score) {
    for (column, dialect) in
        [("fliphash_64", "datadog"), ("fliphash_xxh3_64_of_8_le_bytes", "datadog_xxh3")]
    {
        let rows = table.cells(["key_u64", "range_end_inclusive", column]);
        let ring = format!("{{ flip = {{ dialect = \"{dialect}\" }} }}");
        buckets(&ring, rows.map(|[key, last, bucket]| (key, number(last), bucket)), score);
    }
}

/// A history of joins and leaves with look-ups in between: `init`, `remove`, `add`, `get`.
/// `ring` writes the choice for a capacity, `key` the bytes of key number i.
fn trace(
    table: &Table,
    score: &mut Score,
    hash: HashKind,
    ring: impl Fn(&str) -> String,
    key: impl Fn(u64) -> String,
) {
    let mut members = Membership::default();
    let mut placement = None;
    // The member behind each bucket of the recording.
    let mut behind = BTreeMap::<u32, MemberId>::new();
    for [trace, op, arg1, arg2, result] in table.cells(["trace", "op", "arg1", "arg2", "result"]) {
        if op == "init" {
            members = Membership::uniform(number(arg1));
            behind = members.iter().map(|(id, _)| (id.0, id)).collect();
            placement = Some(build(&ring(arg2), &members, hash.clone(), 0));
            continue;
        }
        let placement = placement.as_mut().expect("a trace begins with init");
        match op {
            "remove" => {
                let id = behind.remove(&number(arg1)).expect("a live bucket");
                members.remove(id);
                let done = placement.remove(id);
                score.equal(trace, (done, members.len()), (Ok(()), number(result)));
            }
            "add" => {
                let member = Member::named(format!("late-{}", members.id_bound()));
                let id = members.add(member.clone());
                behind.insert(number(arg1), id);
                let done = placement.add(id, &member);
                score.equal(trace, (done, members.len()), (Ok(()), number(result)));
            }
            "get" => {
                let first: u64 = number(arg1);
                let buckets: Vec<u32> = result.split(' ').map(number).collect();
                assert_eq!(buckets.len(), number::<usize>(arg2), "{trace}: a broken row");
                for (index, bucket) in (first..).zip(buckets) {
                    let row = format!("{trace}, {} nodes, key {index}", members.len());
                    let found = owner(&**placement, key(index).as_bytes());
                    score.equal(&row, Some(&MemberId(found)), behind.get(&bucket));
                }
            }
            _ => panic!("{trace}: unknown op {op}"),
        }
    }
}

fn supsi(table: &Table, score: &mut Score, ring: &str) {
    let write = |capacity: &str| ring.replace("CAPACITY", capacity);
    trace(table, score, HashKind::Xxh32, write, |index| format!("key-{index}"));
}

fn supsi_jump(table: &Table, score: &mut Score) {
    supsi(table, score, "\"jump\"");
}

fn supsi_jumpback(table: &Table, score: &mut Score) {
    supsi(table, score, "\"jump_back\"");
}

fn supsi_flip(table: &Table, score: &mut Score) {
    supsi(table, score, "{ flip = { dialect = \"supsi\" } }");
}

fn supsi_power(table: &Table, score: &mut Score) {
    supsi(table, score, "{ power = { dialect = \"supsi\" } }");
}

fn supsi_binomial(table: &Table, score: &mut Score) {
    supsi(table, score, "\"binomial\"");
}

fn supsi_anchor(table: &Table, score: &mut Score) {
    for form in ["full", "compact"] {
        let params = "capacity = { buckets = CAPACITY }, hashes = \"supsi\"";
        supsi(table, score, &format!("{{ anchor = {{ {params}, form = \"{form}\" }} }}"));
    }
}

fn supsi_dx(table: &Table, score: &mut Score) {
    supsi(table, score, "{ dx = { capacity = { buckets = CAPACITY }, draws = \"java\" } }");
}

fn supsi_memento(table: &Table, score: &mut Score) {
    supsi(table, score, "\"memento\"");
}

fn anchor_cpp(table: &Table, score: &mut Score) {
    for form in ["full", "compact"] {
        let ring = |capacity: &str| {
            let capacity = format!("capacity = {{ buckets = {capacity} }}");
            format!("{{ anchor = {{ {capacity}, hashes = \"crc32c\", form = \"{form}\" }} }}")
        };
        // The recording's keys are pairs of words.
        let key = |index| format!("{}:{}", splitmix64(2 * index), splitmix64(2 * index + 1));
        trace(table, score, HashKind::Identity, ring, key);
    }
}

fn jumpback_anchor(table: &Table, score: &mut Score) {
    let key = |index| splitmix64(index).to_string();
    trace(table, score, HashKind::Identity, |_| "\"jump_back_anchor\"".to_owned(), key);
}
