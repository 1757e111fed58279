//! How a result is made again: the command that does it, and the manifest that says what it needs.
//!
//! Both hold what decides results and nothing else: no folders, no number of jobs, no clock. So
//! equal results are equal to the last byte, wherever they were made.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use crate::record::{Ending, Record, SEMANTICS_VERSION};
use crate::report::Provenance;
use crate::report::render::Artefact;
use crate::scenario::{Cell, DataHash, Scenario, sha256};

use super::files::TOOL;

/// The version of this program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The command that does `verb` to the scenario once more.
pub(super) fn command(verb: &str, scenario: &Scenario) -> String {
    let mut command = format!("stormglass {verb} {}", scenario.file);
    if let Some(seeds) = &scenario.alterations.seeds {
        let _ = write!(command, " --seeds {seeds}");
    }
    for (flag, values) in
        [("--set", &scenario.alterations.sets), ("--param", &scenario.alterations.params)]
    {
        for value in values {
            let _ = write!(command, " {flag} {}", quoted(value));
        }
    }
    let starts_programs = |cell: &Cell| {
        cell.experiment
            .variants()
            .iter()
            .any(|choice| choice.launcher.is_some() && choice.name == "external")
    };
    if scenario.cells.iter().any(starts_programs) {
        command.push_str(" --allow-programs");
    }
    command
}

/// The command that repeats one seed of the scenario.
pub(super) fn command_for_seed(verb: &str, scenario: &Scenario, seed: u64) -> String {
    let mut scenario = scenario.clone();
    let end = seed.saturating_add(1);
    scenario.alterations.seeds = format!("{seed}..{end}").parse().ok();
    command(verb, &scenario)
}

/// What a report says of its making.
pub(super) fn provenance(verb: &str, scenario: &Scenario) -> Provenance {
    let alterations = &scenario.alterations;
    Provenance {
        command: command(verb, scenario),
        version: VERSION.to_owned(),
        semantics: SEMANTICS_VERSION,
        scenario: scenario.file.clone(),
        scenario_sha256: scenario.sha256.clone(),
        seeds: scenario.seeds.to_string(),
        alterations: alterations.sets.iter().chain(&alterations.params).cloned().collect(),
        references: Vec::new(),
    }
}

/// The file that makes a folder a result.
pub(super) fn manifest(
    command: &str,
    scenario: &Scenario,
    planned: usize,
    records: &[Record],
    artefacts: &[Artefact],
) -> Vec<u8> {
    let incomplete = records.iter().filter(|record| record.ending != Ending::Complete).count();
    let data = scenario.data.iter().map(|DataHash { path, sha256 }| (path.clone(), json!(sha256)));
    let files =
        artefacts.iter().map(|artefact| (artefact.path.clone(), json!(sha256(&artefact.bytes))));
    let manifest = json!({
        "tool": TOOL,
        "version": VERSION,
        "semantics": SEMANTICS_VERSION,
        "command": command,
        "scenario": {
            "name": scenario.name,
            "file": scenario.file,
            "sha256": scenario.sha256,
            "data": data.collect::<Map<String, Json>>(),
        },
        "seeds": { "first": scenario.seeds.first, "count": scenario.seeds.count },
        "set": scenario.alterations.sets,
        "param": scenario.alterations.params,
        "runs": { "planned": planned, "finished": records.len(), "incomplete": incomplete },
        "files": files.collect::<Map<String, Json>>(),
    });
    format!("{manifest:#}\n").into_bytes()
}

/// `text` as one word of a POSIX shell.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-/:=,@%+".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_would_take_them_apart() {
        for (text, word) in [
            ("nodes=5", "nodes=5"),
            ("a={x = 1}", "'a={x = 1}'"),
            ("it's", r"'it'\''s'"),
            ("$(rm -r x)", "'$(rm -r x)'"),
            ("", "''"),
        ] {
            assert_eq!(quoted(text), word);
        }
    }
}
