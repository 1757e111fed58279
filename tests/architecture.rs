//! The floors of the house: arrows run downwards only, every variant file has its row, and only
//! the top floor touches the outside. A breach is named with its file and line.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The rooms by floor, and what each may use of its own floor.
const ROOMS: &[(&str, u8, &[&str])] = &[
    ("kernel", 0, &[]),
    ("config", 0, &["kernel"]),
    ("choice", 0, &["config"]),
    ("record", 1, &[]),
    ("model", 1, &["record"]),
    ("rings", 2, &[]),
    ("locks", 2, &[]),
    ("queues", 2, &[]),
    ("experiments", 3, &[]),
    ("scenario", 4, &[]),
    ("report", 4, &[]),
    ("cli", 5, &[]),
];

/// The rooms that may know less than their floor would let them, and all that they may know.
const NARROWED: &[(&str, &[&str])] =
    &[("report", &["record", "config", "kernel"]), ("kernel", &[]), ("config", &["kernel"])];

/// What leads outside, and may stand in `cli` alone; `scenario/source.rs` is the one door for files.
const OUTSIDE: &[&str] =
    &["std::fs", "std::env", "std::io", "std::process", "std::net", "println!", "print!", "eprint"];

#[derive(Debug)]
struct Line {
    file: PathBuf,
    number: usize,
    text: String,
}

impl Line {
    fn named(&self, what: &str) -> String {
        format!("{}:{}: {what}: {}", self.file.display(), self.number, self.text.trim())
    }
}

fn sources() -> BTreeMap<String, Vec<Line>> {
    let mut rooms: BTreeMap<String, Vec<Line>> = BTreeMap::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut folders = vec![root.join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let file = path.strip_prefix(root).unwrap().to_owned();
                let room = file.iter().nth(1).unwrap().to_string_lossy();
                let room = room.trim_end_matches(".rs").to_owned();
                rooms
                    .entry(room)
                    .or_default()
                    .extend(lines(&file, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    rooms
}

/// The lines of code of a file: without comments, and without its tests, which may do more.
fn lines(file: &Path, text: &str) -> Vec<Line> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    code.lines()
        .enumerate()
        .filter(|(_, line)| !is_comment(line))
        .map(|(index, line)| Line {
            file: file.to_owned(),
            number: index + 1,
            text: line.split(" // ").next().unwrap().to_owned(),
        })
        .collect()
}

fn floor(room: &str) -> Option<u8> {
    ROOMS.iter().find(|(name, ..)| *name == room).map(|(_, floor, _)| *floor)
}

/// The rooms that a line uses: `crate::x::...`, and each `x` of `crate::{x, y}`.
fn used(text: &str) -> Vec<&str> {
    let names = text.split("crate::").skip(1).flat_map(|rest| match rest.strip_prefix('{') {
        Some(list) => list
            .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
            .map(|path| path.split(':').next().unwrap_or(""))
            .collect(),
        None => vec![rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap()],
    });
    names.filter(|name| floor(name).is_some()).collect()
}

fn breaches(rooms: &BTreeMap<String, Vec<Line>>) -> Vec<String> {
    let mut breaches = Vec::new();
    for (room, lines) in rooms {
        if ["lib", "main"].contains(&room.as_str()) {
            continue;
        }
        let Some((_, mine, beside)) = ROOMS.iter().find(|(name, ..)| name == room) else {
            breaches
                .push(format!("src/{room}: has no floor: give it one in tests/architecture.rs"));
            continue;
        };
        let narrowed = NARROWED.iter().find(|(name, _)| name == room).map(|(_, known)| *known);
        for line in lines {
            for used in used(&line.text) {
                let is_fine = used == room
                    || match narrowed {
                        Some(known) => known.contains(&used),
                        None => floor(used) < Some(*mine) || beside.contains(&used),
                    };
                if !is_fine {
                    breaches.push(line.named(&format!("{room} must not use {used}")));
                }
            }
        }
    }
    breaches
}

/// Whether `word` stands in `text`, and not as the end of a longer one, as in `Blueprint`.
fn stands_in(word: &str, text: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '_')
    })
}

fn leaks(rooms: &BTreeMap<String, Vec<Line>>) -> Vec<String> {
    let mut leaks = Vec::new();
    for (room, lines) in rooms {
        if ["cli", "main"].contains(&room.as_str()) {
            continue;
        }
        for line in lines {
            let is_door = line.file.ends_with("scenario/source.rs")
                && ["std::fs", "std::io"].iter().any(|door| line.text.contains(door));
            // An error that was made elsewhere may be handed on.
            let is_error =
                line.file.ends_with("scenario/error.rs") && line.text.contains("std::io");
            if !is_door && !is_error && OUTSIDE.iter().any(|word| stands_in(word, &line.text)) {
                leaks.push(line.named("only cli touches the outside"));
            }
        }
    }
    leaks
}

/// Each file of a wing that says of itself what variant it is.
fn variants_without_a_row(rooms: &BTreeMap<String, Vec<Line>>) -> Vec<String> {
    let mut missing = Vec::new();
    for wing in ["rings", "locks", "queues"] {
        let lines = rooms.get(wing).map_or(&[][..], Vec::as_slice);
        let catalogue: String = lines
            .iter()
            .filter(|line| line.file.ends_with("mod.rs"))
            .skip_while(|line| !line.text.contains("const CATALOGUE"))
            .take_while(|line| line.text != "];" || line.text.contains("CATALOGUE"))
            .map(|line| line.text.as_str())
            .collect();
        for line in lines.iter().filter(|line| line.text.contains("const ABOUT: About = About")) {
            let file = line.file.file_stem().unwrap().to_string_lossy();
            let path = format!("{file}::");
            if file != "mod" && !catalogue.contains(&path) {
                missing.push(line.named(&format!("src/{wing}/mod.rs: no row for {file}")));
            }
        }
    }
    missing
}

#[test]
fn arrows_run_downwards_only() {
    let breaches = breaches(&sources());
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

#[test]
fn only_the_top_floor_touches_the_outside() {
    let leaks = leaks(&sources());
    assert!(leaks.is_empty(), "\n{}\n", leaks.join("\n"));
}

#[test]
fn every_variant_file_has_its_row_in_the_catalogue() {
    let rooms = sources();
    let missing = variants_without_a_row(&rooms);
    assert!(missing.is_empty(), "\n{}\n", missing.join("\n"));
    let about =
        rooms["rings"].iter().filter(|line| line.text.contains("const ABOUT: About = About"));
    assert!(2 <= about.count(), "the test no longer finds what it looks for");
}

/// The test itself would be worth nothing if it could not see.
#[test]
fn a_breach_is_seen_and_named_with_its_line() {
    let room = |name: &str, text: &str| {
        (name.to_owned(), lines(Path::new(&format!("src/{name}/x.rs")), text))
    };
    let rooms = BTreeMap::from([
        room("kernel", "// use crate::cli;\nuse crate::model::node;\n"),
        room("rings", "use crate::{config, locks::lease};\n"),
        room("report", "use crate::record::Record;\nfn f() { crate::scenario::load(); }\n"),
        room("locks", "use crate::model::node;\nfn f() { println!(\"{}\", std::env::args()) }\n"),
        room("attic", ""),
    ]);
    assert_eq!(
        breaches(&rooms),
        [
            "src/attic: has no floor: give it one in tests/architecture.rs",
            "src/kernel/x.rs:2: kernel must not use model: use crate::model::node;",
            "src/report/x.rs:2: report must not use scenario: fn f() { crate::scenario::load(); }",
            "src/rings/x.rs:1: rings must not use locks: use crate::{config, locks::lease};",
        ]
    );
    assert_eq!(leaks(&rooms).len(), 1);
    let rooms = BTreeMap::from([(
        "locks".to_owned(),
        [
            ("mod", "pub const CATALOGUE: &[Entry] = &[\n    Entry::of::<lease::Lease>(),\n];\n"),
            ("lease", "    const ABOUT: About = About {\n"),
            ("redlock", "    const ABOUT: About = About {\n"),
        ]
        .into_iter()
        .flat_map(|(file, text)| lines(Path::new(&format!("src/locks/{file}.rs")), text))
        .collect(),
    )]);
    let missing = variants_without_a_row(&rooms);
    assert_eq!(missing.len(), 1);
    assert!(missing[0].contains("src/locks/mod.rs: no row for redlock"), "{missing:?}");
}
