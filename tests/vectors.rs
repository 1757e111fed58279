//! Replays the answers of other people's implementations through the catalogue's own variants.
//!
//! The folder is `tests/vectors`, or the one that `STORMGLASS_VECTORS` names; it is walked, and a
//! file belongs to the set that its name before the first dot says. A set that is missing or
//! unknown, or that has no row, is red. `cargo test --test vectors -- jump` replays those sets
//! whose names contain `jump`.

#![expect(clippy::print_stdout, reason = "its report is what this target is for")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::Value as Json;
use stormglass::choice::Choice;
use stormglass::config::{Config, Problems, Value};
use stormglass::queues::{Assignor, Subscriber, murmur2, partition_of};
use stormglass::rings::hash::{fnv1a, splitmix64};
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
    ("supsi_ring_hrw", Replay::Rows(supsi_ring_hrw)),
    ("hrw_go", Replay::Rows(hrw_go)),
    ("hrw_clandestined", Replay::Rows(hrw_clandestined)),
    ("hrw_sha256_topk", Replay::Rows(hrw_sha256_topk)),
    ("hrw_weighted", Replay::Rows(hrw_weighted)),
    ("mpch_go", Replay::Rows(mpch_go)),
    ("maglev_go", Replay::Rows(maglev_go)),
    ("maglev_katran", Replay::Rows(maglev_katran)),
    ("ketama", Replay::Rows(ketama)),
    ("redis_slot", Replay::Rows(redis_slot)),
    ("bounded_buraksezer", Replay::Rows(bounded_buraksezer)),
    ("cassandra_token", Replay::Rows(cassandra_token)),
    ("cassandra_replicas", Replay::File(cassandra_replicas)),
    ("crush", Replay::Rows(crush)),
    ("crush_ln", Replay::Rows(crush_ln)),
    // A list-sorting scheme that nobody deploys: no variant of the catalogue.
    ("hrw_skeleton_npm", Replay::Skipped("no variant of the catalogue")),
    ("locks-matrix", Replay::Skipped("replayed by `cargo test --test matrices`")),
    ("queues-acceptance", Replay::Skipped("replayed by `cargo test --test matrices`")),
    ("metastable-reference", Replay::Skipped("replayed by `cargo test --test matrices`")),
    ("queueing", Replay::Skipped("replayed by `cargo test --test theory`")),
    ("kafka_murmur2", Replay::Rows(kafka_murmur2)),
    ("kafka_assignors", Replay::Rows(kafka_assignors)),
];

enum Replay {
    /// Each row of the file is an answer.
    Rows(fn(&Table, &mut Score)),
    /// The file has answers in its own form.
    File(fn(&Path, &mut Score)),
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
        let mut score = Score::default();
        match replay {
            Replay::Skipped(why) => {
                println!("{set}: skipped, {why}");
                continue;
            }
            Replay::Rows(replay) => {
                for path in paths {
                    replay(&Table::read(path), &mut score);
                }
            }
            Replay::File(replay) => {
                for path in paths {
                    replay(path, &mut score);
                }
            }
        }
        let Score { checked, wrong, examples } = score;
        println!("{set}: {checked} rows checked, {wrong} wrong");
        for example in examples {
            println!("    {example}");
        }
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

/// Members `prefix0`, `prefix1` and so on; their ids are those numbers.
fn cluster(prefix: &str, count: u32) -> Membership {
    Membership::of((0..count).map(|index| Member::named(format!("{prefix}{index}"))))
}

/// Rows that name a cluster by some text, a key, and the name of its owner.
fn owners<'a>(
    rows: impl Iterator<Item = (String, &'a str, &'a str)>,
    build: impl Fn(&str) -> (Membership, Box<dyn Placement>),
    score: &mut Score,
) {
    let mut clusters = BTreeMap::new();
    for (config, key, expected) in rows {
        let (members, placement) = clusters.entry(config.clone()).or_insert_with(|| build(&config));
        let owner = placement.locate(placement.key(key.as_bytes()));
        let found = members.get(owner).map(|member| member.name.as_str());
        score.equal(&format!("{config}, {key}"), found, Some(expected));
    }
}

fn supsi_ring_hrw(table: &Table, score: &mut Score) {
    let rows = table.cells(["nodes", "vnodes", "key", "ring_node"]);
    let rows = rows.map(|[nodes, vnodes, key, node]| (format!("{nodes} {vnodes}"), key, node));
    let ring = |config: &str| {
        let (nodes, vnodes) = config.split_once(' ').expect("two numbers");
        let members = cluster("node_", number(nodes));
        let ring = format!("{{ ring = {{ virtual_nodes = {vnodes} }} }}");
        let placement = build(&ring, &members, HashKind::Xxh32, 0);
        (members, placement)
    };
    owners(rows, ring, score);
    let rows = table.cells(["nodes", "key", "rendezvous_node"]);
    let rows = rows.map(|[nodes, key, node]| (nodes.to_owned(), key, node));
    owners(rows, rendezvous("node_", "key_node", HashKind::Xxh32), score);
}

fn rendezvous(
    prefix: &'static str,
    kind: &'static str,
    hash: HashKind,
) -> impl Fn(&str) -> (Membership, Box<dyn Placement>) {
    move |nodes| {
        let members = cluster(prefix, number(nodes));
        let ring = format!("{{ rendezvous = {{ score = \"{kind}\" }} }}");
        let placement = build(&ring, &members, hash.clone(), 0);
        (members, placement)
    }
}

fn hrw_go(table: &Table, score: &mut Score) {
    let rows = table.cells(["nodes", "key", "node"]);
    let rows = rows.map(|[nodes, key, node]| (nodes.to_owned(), key, node));
    owners(rows, rendezvous("node-", "xorshift", HashKind::Fnv1a), score);
}

fn hrw_clandestined(table: &Table, score: &mut Score) {
    let rows = table.cells(["nodes", "seed", "key", "winner"]);
    let rows = rows.map(|[nodes, seed, key, node]| (format!("{nodes} {seed}"), key, node));
    let ring = |config: &str| {
        let (nodes, seed) = config.split_once(' ').expect("two numbers");
        let members = cluster("node-", number(nodes));
        let ring = "{ rendezvous = { score = \"node_dash_key\" } }";
        let placement = build(ring, &members, HashKind::Murmur3X86, number(seed));
        (members, placement)
    };
    owners(rows, ring, score);
}

/// Rows that give an order of members, by their names or numbers.
fn ranking(
    row: &str,
    placement: &dyn Placement,
    key: &[u8],
    expected: &str,
    name: impl Fn(MemberId) -> String,
    score: &mut Score,
) {
    let mut found = Vec::new();
    let wanted = expected.split(' ').count();
    let done = placement.replicas(placement.key(key), wanted, &mut found);
    let found: Vec<String> = found.into_iter().map(name).collect();
    score.equal(row, (done, found.join(" ")), (Ok(()), expected.to_owned()));
}

fn hrw_sha256_topk(table: &Table, score: &mut Score) {
    for [nodes, key, expected] in table.cells(["nodes", "key", "ordered_top_k"]) {
        let members = cluster("node-", number(nodes));
        let ring = "{ rendezvous = { score = \"key_node\" } }";
        let placement = build(ring, &members, HashKind::Sha256, 0);
        let name = |id| members.get(id).expect("a member").name.clone();
        ranking(key, &*placement, key.as_bytes(), expected, name, score);
    }
}

fn hrw_weighted(table: &Table, score: &mut Score) {
    for [config, key, expected] in table.cells(["config", "key_u64", "order"]) {
        let mut members = cluster("node-", config.split(' ').count() as u32);
        for (index, weight) in (0..).zip(config.split(' ')) {
            members.reweight(MemberId(index), number(weight));
        }
        let ring = "{ weighted_rendezvous = { score = \"key_node\" } }";
        let placement = build(ring, &members, HashKind::Xxh3, 0);
        let key = number::<u64>(key).to_le_bytes();
        ranking(config, &*placement, &key, expected, |id| id.0.to_string(), score);
    }
}

fn mpch_go(table: &Table, score: &mut Score) {
    let rows = table.cells(["nodes", "probes", "key", "node"]);
    let rows = rows.map(|[nodes, probes, key, node]| (format!("{nodes} {probes}"), key, node));
    let ring = |config: &str| {
        let (nodes, probes) = config.split_once(' ').expect("two numbers");
        let names = 1..=number::<u32>(nodes);
        let members = Membership::of(names.map(|i| Member::named(format!("shard-{i}"))));
        let ring = format!("{{ multi_probe = {{ probes = {probes}, probing = \"double\" }} }}");
        let placement = build(&ring, &members, HashKind::Sip24, 0);
        (members, placement)
    };
    owners(rows, ring, score);
}

/// A table that a placement looks up by the hash of a key modulo its size.
fn whole_table(placement: &dyn Placement, size: u32) -> Vec<u32> {
    (0..size)
        .map(|entry| {
            let hash = entry.into();
            placement.locate(rings::Key { hash, bytes: &[] }).0
        })
        .collect()
}

fn check_table(row: &str, value: &str, entries: &[u32], nodes: usize, score: &mut Score) {
    let list = |text: &str| text.split(' ').map(number).collect::<Vec<u32>>();
    match row {
        "counts" => {
            let mut counts = vec![0; nodes];
            for &entry in entries {
                counts[entry as usize] += 1;
            }
            score.equal(row, counts, list(value));
        }
        "fnv1a64_of_table_u16le" => {
            let bytes: Vec<u8> =
                entries.iter().flat_map(|&entry| (entry as u16).to_le_bytes()).collect();
            score.equal(row, format!("{:016x}", fnv1a(&bytes)), value.to_owned());
        }
        _ => {
            let expected = list(value);
            score.equal(row, &entries[..expected.len()], &expected[..]);
        }
    }
}

fn maglev_go(table: &Table, score: &mut Score) {
    let mut members = Membership::default();
    let (mut size, mut dead) = (0, Vec::new());
    for [row, a, b, c] in table.cells(["row", "a", "b", "c"]) {
        match row {
            "config" => {
                members = Membership::default();
                size = number(b);
                dead = c.split_whitespace().map(number).collect();
            }
            "perm" => drop(members.add(Member::named(a))),
            _ => {
                let ring =
                    format!("{{ maglev = {{ table_size = {size}, permutation = \"go\" }} }}");
                let mut placement = build(&ring, &members, HashKind::Sip24, 0);
                for &id in &dead {
                    placement.remove(MemberId(id)).expect("any backend may die");
                }
                check_table(row, a, &whole_table(&*placement, size), members.len(), score);
            }
        }
    }
}

fn maglev_katran(table: &Table, score: &mut Score) {
    let mut members = Membership::default();
    let (mut size, mut turns) = (0, "");
    for [row, a, b, c] in table.cells(["row", "a", "b", "c"]) {
        match row {
            "config" => {
                members = Membership::default();
                size = number(c);
                turns = if a == "v1" { "first_round" } else { "weighted" };
            }
            "endpoint" => {
                let weight = number(c.split(';').next().expect("a weight"));
                members.add(Member { weight, ..Member::named(b) });
            }
            _ => {
                let params = format!("table_size = {size}, turns = \"{turns}\"");
                let ring = format!("{{ maglev = {{ {params}, permutation = \"katran\" }} }}");
                let placement = build(&ring, &members, HashKind::Identity, 0);
                check_table(row, a, &whole_table(&*placement, size), members.len(), score);
            }
        }
    }
}

fn ketama(table: &Table, score: &mut Score) {
    // `ketama.ANY.csv` is about the servers and keys of `ketama_input.ANY.json`.
    let name = table.path.file_name().expect("a name").to_string_lossy();
    let input = name.replace("ketama.", "ketama_input.").replace(".csv", ".json");
    let input = fs::read(table.path.with_file_name(input)).expect("the input of the recording");
    let input: Json = serde_json::from_slice(&input).expect("JSON");
    let keys: Vec<&str> = input["keys"]
        .as_array()
        .expect("keys")
        .iter()
        .map(|key| key.as_str().expect("a key"))
        .collect();
    for [scheme, config, owners] in table.cells(["scheme", "config", "server_index_per_key"]) {
        let servers = input["servers"][config].as_array().expect("servers");
        let members = Membership::of(servers.iter().map(|server| {
            let name = format!("{}:{}", server["host"].as_str().expect("a host"), server["port"]);
            Member { weight: server["weight"].as_f64().expect("a weight"), ..Member::named(name) }
        }));
        let (ring, hash) = match scheme {
            // Its distribution without ketama: the hash modulo the number of servers.
            "libmemcached_modulo_md5" => ("\"modulo\"", HashKind::Md5Short),
            "libketama" => ("\"ketama\"", HashKind::Md5),
            "libmemcached_ketama" => ("{ ketama = { dialect = \"libmemcached\" } }", HashKind::Md5),
            "libmemcached_ketama_weighted" | "spymemcached_libm" => {
                ("{ ketama = { dialect = \"libmemcached_weighted\" } }", HashKind::Md5)
            }
            "spymemcached_spy" => ("{ ketama = { dialect = \"spymemcached\" } }", HashKind::Md5),
            "uhashring_ketama" => ("{ ketama = { dialect = \"uhashring\" } }", HashKind::Md5),
            "npm_hashring" => ("{ ketama = { dialect = \"npm\" } }", HashKind::Md5),
            _ => panic!("unknown scheme {scheme}"),
        };
        let placement = build(ring, &members, hash, 0);
        for (key, expected) in keys.iter().zip(owners.split(' ')) {
            let row = format!("{scheme}, {config}, {key}");
            score.equal(&row, owner(&*placement, key.as_bytes()), number(expected));
        }
    }
}

fn redis_slot(table: &Table, score: &mut Score) {
    // One slot a member, so that the owner tells the slot.
    let placement = build("\"slots\"", &Membership::uniform(16_384), HashKind::Xxh3, 0);
    for [key, slot] in table.cells(["key", "slot"]) {
        score.equal(key, owner(&*placement, key.as_bytes()), number(slot));
    }
}

fn bounded_buraksezer(table: &Table, score: &mut Score) {
    let mut members = Membership::default();
    let mut placement = None;
    let mut partitions = 0;
    let name = |members: &Membership, id| {
        let member = members.get(id).expect("a member");
        member.name.trim_start_matches("node").trim_end_matches(".example").to_owned()
    };
    for [config, op, arg, cap, owners] in
        table.cells(["config", "op", "arg", "avg_load_cap", "owners"])
    {
        match op {
            "init" => {
                let value = |name: &str| {
                    let mut fields = arg.split(' ').filter_map(|field| field.split_once('='));
                    fields.find(|(key, _)| *key == name).expect("a field").1
                };
                let nodes = 0..number::<u32>(value("nodes"));
                let named = |index| Member::named(format!("node{index}.example"));
                members = Membership::of(nodes.map(named));
                partitions = number(value("partitions"));
                let (vnodes, load) = (value("vnodes"), value("load"));
                let params =
                    format!("partitions = {partitions}, virtual_nodes = {vnodes}, load = {load}");
                let ring = format!("{{ bounded_load = {{ {params} }} }}");
                placement = Some(build(&ring, &members, HashKind::Fnv1a, 0));
            }
            "remove" => {
                let id = members.find(arg).expect("a member");
                members.remove(id);
                placement.as_mut().expect("init").remove(id).expect("any may leave");
            }
            "add" => {
                let id = members.add(Member::named(arg));
                let member = members.get(id).expect("it has just joined");
                placement.as_mut().expect("init").add(id, member).expect("any may join");
            }
            "locate" => {
                let placement = placement.as_ref().expect("init");
                let found = name(&members, placement.locate(placement.key(arg.as_bytes())));
                score.equal(&format!("{config}, {arg}"), found.as_str(), owners);
                continue;
            }
            _ => panic!("unknown op {op}"),
        }
        let found = whole_table(&**placement.as_ref().expect("init"), partitions);
        let names: Vec<String> = found.iter().map(|&id| name(&members, MemberId(id))).collect();
        score.equal(&format!("{config}, {op}"), names.join(" ").as_str(), owners);
        let bound: usize = number(cap);
        let fullest = members.iter().map(|(id, _)| found.iter().filter(|&&o| o == id.0).count());
        score.equal(&format!("{config}, {op}, bound"), fullest.max() <= Some(bound), true);
    }
}

fn cassandra_token(table: &Table, score: &mut Score) {
    let placement = build("\"racks\"", &Membership::uniform(1), HashKind::Xxh3, 0);
    let plain = Hasher::new(HashKind::Murmur3X64, 0);
    for [key, token, standard] in
        table.cells(["key_hex", "murmur3_token_i64", "standard_murmur3_x64_128_low_i64"])
    {
        let digits = key.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("hex"));
        let bytes: Vec<u8> =
            digits.map(|pair| u8::from_str_radix(pair, 16).expect("hex")).collect();
        score.equal(key, placement.hash(&bytes) as i64, number(token));
        score.equal(key, plain.of(&bytes) as i64, number(standard));
    }
}

fn cassandra_replicas(path: &Path, score: &mut Score) {
    let json: Json = serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON");
    let text = |value: &Json| value.as_str().expect("text").to_owned();
    for config in json["configs"].as_array().expect("configs") {
        let mut tokens = BTreeMap::<String, Vec<String>>::new();
        for token in config["ring"].as_array().expect("a ring") {
            tokens.entry(text(&token[1])).or_default().push(token[0].to_string());
        }
        let hosts = config["hosts"].as_array().expect("hosts");
        let members = Membership::of(hosts.iter().map(|host| Member {
            zone: format!("{}/{}", text(&host["dc"]), text(&host["rack"])),
            ..Member::named(text(&host["name"]))
        }));
        let initial: Vec<String> = tokens
            .iter()
            .map(|(node, tokens)| {
                format!("{{ node = \"{node}\", tokens = [{}] }}", tokens.join(", "))
            })
            .collect();
        let options = config["options"].as_object().expect("options");
        let strategy = if text(&config["strategy"]) == "Simple" {
            "\"simple\"".to_owned()
        } else {
            let copies: Vec<String> = options
                .iter()
                .map(|(zone, count)| format!("{{ zone = \"{zone}\", count = {} }}", text(count)))
                .collect();
            format!("{{ network = {{ copies = [{}] }} }}", copies.join(", "))
        };
        let initial = initial.join(", ");
        let params = format!("strategy = {strategy}, initial_tokens = [{initial}]");
        let placement =
            build(&format!("{{ racks = {{ {params} }} }}"), &members, HashKind::Xxh3, 0);
        for query in config["queries"].as_array().expect("queries") {
            let key = text(&query[0]);
            let row = format!("{}, {key}", config["name"]);
            score.equal(&row, Some(placement.hash(key.as_bytes()) as i64), query[1].as_i64());
            let names: Vec<String> = query[2].as_array().expect("names").iter().map(text).collect();
            let name = |id| members.get(id).expect("a member").name.clone();
            ranking(&row, &*placement, key.as_bytes(), &names.join(" "), name, score);
            let first = members.find(&names[0]).expect("a member").0;
            if text(&config["strategy"]) == "Simple" {
                score.equal(&row, owner(&*placement, key.as_bytes()), first);
            }
        }
    }
}

fn crush(table: &Table, score: &mut Score) {
    let maps = table.path.with_file_name("crush_maps.json");
    let maps: Json = serde_json::from_slice(&fs::read(maps).expect("the maps")).expect("JSON");
    let mut clusters = BTreeMap::new();
    for [map, rule, count, reweights, x, osds] in
        table.cells(["map", "rule", "num_rep", "osd_reweights", "x", "osds"])
    {
        let config = format!("{map}, rule {rule}, {reweights}");
        let placement = clusters.entry(config.clone()).or_insert_with(|| {
            let text = maps[map].as_str().expect("a map");
            let devices = text.lines().filter_map(|line| line.strip_prefix("device "));
            let names = devices.filter_map(|device| device.split(' ').nth(1));
            let members = Membership::of(names.map(Member::named));
            let reweights: Vec<String> = reweights
                .split_whitespace()
                .map(|pair| {
                    let (osd, weight) = pair.split_once('=').expect("osd=weight");
                    format!("{{ node = \"osd.{osd}\", weight = {weight} }}")
                })
                .collect();
            let reweights = reweights.join(", ");
            let map = format!("map = \"\"\"{text}\"\"\", rule = {rule}");
            let ring = format!("{{ straw2 = {{ {map}, reweights = [{reweights}] }} }}");
            build(&ring, &members, HashKind::Identity, 0)
        });
        let mut found = Vec::new();
        let done = placement.replicas(placement.key(x.as_bytes()), number(count), &mut found);
        // A place that `indep` leaves empty is this number in the recording, and left out here.
        let expected: Vec<MemberId> = osds
            .split_whitespace()
            .map(number)
            .filter(|osd| *osd != 2_147_483_647)
            .map(MemberId)
            .collect();
        score.equal(&format!("{config}, {x}"), (done, found), (Ok(()), expected));
    }
}

fn crush_ln(table: &Table, score: &mut Score) {
    for [value, expected] in table.cells(["u16", "crush_ln"]) {
        score.equal(value, rings::crush::crush_ln(number(value)), number(expected));
    }
}

fn kafka_murmur2(table: &Table, score: &mut Score) {
    let moduli: Vec<(&str, u32)> = table
        .columns
        .iter()
        .filter_map(|column| Some((column.as_str(), column.strip_prefix("partition_mod_")?)))
        .map(|(column, count)| (column, count.parse().expect("a count of partitions")))
        .collect();
    for [key, hash] in table.cells(["key_hex", "murmur2_signed32"]) {
        let bytes = hex(key);
        score.equal(key, murmur2(&bytes), hash.parse().expect("a signed number"));
    }
    for (column, count) in moduli {
        for [key, partition] in table.cells(["key_hex", column]) {
            let expected: u32 = partition.parse().expect("a partition");
            score.equal(&format!("{key} of {count}"), partition_of(&hex(key), count), expected);
        }
    }
}

/// Each row is what one member of a group gets: `t0-1 t1-0` of topics `t0:3 t1:2` for members
/// `C0=t0|t1 C1=t0`.
fn kafka_assignors(table: &Table, score: &mut Score) {
    let columns = ["case", "assignor", "topics", "subscriptions", "member", "partitions"];
    for [case, name, topics, subscriptions, member, partitions] in table.cells(columns) {
        let assignor = match name {
            "range" => Assignor::Range,
            "roundrobin" => Assignor::RoundRobin,
            "sticky" => Assignor::Sticky,
            other => panic!("{case}: an unknown assignor {other}"),
        };
        let mut counts = BTreeMap::new();
        for topic in topics.split_whitespace() {
            let (topic, count) = topic.split_once(':').expect("a topic and its partitions");
            counts.insert(topic, count.parse::<u32>().expect("a count of partitions"));
        }
        let names: Vec<&str> = counts.keys().copied().collect();
        let mut members = BTreeMap::new();
        for subscription in subscriptions.split_whitespace() {
            let (member, read) = subscription.split_once('=').expect("a member and its topics");
            let place = |topic| names.iter().position(|name| *name == topic);
            let topics = read.split('|').filter_map(place).collect();
            members.insert(member, Subscriber { topics, ..Subscriber::default() });
        }
        let counts: Vec<u32> = counts.into_values().collect();
        let subscribers: Vec<Subscriber> = members.values().cloned().collect();
        let assigned = assignor.assign(&counts, &subscribers);
        let place = members.keys().position(|name| *name == member).expect("a member of the group");
        let mut found = assigned[place].clone();
        found.sort_unstable();
        let found: Vec<String> =
            found.into_iter().map(|(topic, number)| format!("{}-{number}", names[topic])).collect();
        score.equal(&format!("{case} {name} {member}"), found.join(" "), partitions.to_owned());
    }
}

fn hex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}
