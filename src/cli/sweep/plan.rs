//! The plan of a sweep: which runs there are, each named by what it is made from.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value as Json, json};

use crate::experiments::Run;
use crate::record::SEMANTICS_VERSION;
use crate::scenario::{Alterations, DataHash, Scenario, sha256};

use super::io;
use crate::cli::files::TOOL;
use crate::cli::{Failure, programs, repeat};

/// The file of a sweep's folder that says what is to be run.
const FILE: &str = "plan.json";

/// What is to be run, in the order of the scenario.
#[derive(Debug)]
pub(super) struct Plan {
    /// Where the scenario was read.
    pub path: PathBuf,
    /// What makes a plan: all of the file but where the scenario was read.
    identity: Json,
    cells: Vec<Named>,
}

/// A run and its name.
#[derive(Debug)]
struct Named {
    cell: String,
    // What messages call it.
    run: String,
}

impl Plan {
    /// The plan to carry out `runs` of `scenario`, which was read at `path`.
    pub(super) fn of(scenario: &Scenario, path: &Path, runs: &[Run]) -> Self {
        let data = scenario.data.iter();
        let data: Map<String, Json> =
            data.map(|DataHash { path, sha256 }| (path.clone(), json!(sha256))).collect();
        let alterations = &scenario.alterations;
        let identity = json!({
            "tool": TOOL,
            "semantics": SEMANTICS_VERSION,
            "scenario": {
                "name": scenario.name,
                "file": scenario.file,
                "sha256": scenario.sha256,
                "data": data,
            },
            "set": alterations.sets,
            "param": alterations.params,
            "seeds": alterations.seeds.map(|seeds| seeds.to_string()),
            "command": repeat::command("sweep", scenario),
        });
        let cells = runs.iter().map(|run| Named { cell: cell(run, &identity), run: run.name() });
        Self { path: path.to_owned(), cells: cells.collect(), identity }
    }

    /// Makes `folder` this plan's, or finds that it is.
    ///
    /// # Errors
    /// Where it holds another plan, or files that are no sweep's, or cannot be written.
    pub(super) fn take(&self, folder: &Path) -> Result<(), Failure> {
        match fs::metadata(folder) {
            Ok(about) if !about.is_dir() => {
                let folder = folder.display();
                let message = format!("{folder} is a file, expected a folder for the sweep");
                return Err(Failure::Usage(message));
            }
            _ => io("create", folder, fs::create_dir_all(folder))?,
        }
        if let Some(there) = Self::read_from(folder)? {
            if there.identity == self.identity {
                return Ok(());
            }
            return Err(Failure::Usage(format!(
                "{} holds another sweep: {}\nhelp: choose another folder, or ask for the same",
                folder.display(),
                there.differs_from(self)
            )));
        }
        let is_ours = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with(".stormglass-");
        for entry in io("read", folder, fs::read_dir(folder))? {
            let name = io("read", folder, entry)?.file_name();
            // Another shard may have begun at the same moment.
            if name != FILE && !is_ours(&name) && name != super::segments::FOLDER {
                return Err(Failure::Usage(format!(
                    "{} has files in it that are no sweep of stormglass: choose another folder",
                    folder.display()
                )));
            }
        }
        let file = folder.join(FILE);
        let unfinished = folder.join(format!(".stormglass-{}-{FILE}", std::process::id()));
        let written = fs::File::create(&unfinished).and_then(|mut written| {
            written.write_all(self.to_text().as_bytes())?;
            written.sync_all()
        });
        let placed = written.and_then(|()| fs::rename(&unfinished, &file));
        if placed.is_err() {
            let _ = fs::remove_file(&unfinished);
        }
        io("write", &file, placed)
    }

    /// The plan in `folder`; `None` where there is none.
    pub(super) fn read_from(folder: &Path) -> Result<Option<Self>, Failure> {
        let file = folder.join(FILE);
        let text = match fs::read_to_string(&file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            text => io("read", &file, text)?,
        };
        let plan = serde_json::from_str(&text).ok().and_then(|json| Self::from_json(&json));
        plan.map(Some)
            .ok_or_else(|| Failure::Usage(format!("{} is no plan of stormglass", file.display())))
    }

    fn to_text(&self) -> String {
        let cells = self.cells.iter().map(|named| json!([named.cell, named.run]));
        let mut file = self.identity.clone();
        file["path"] = json!(self.path.display().to_string());
        // One run a line: ten thousand of them must still be fit to be read and searched.
        let lines: Vec<String> = cells.map(|cell| format!("    {cell}")).collect();
        let head = format!("{file:#}");
        let head = head.trim_end_matches(['}', '\n']);
        format!("{head},\n  \"runs\": [\n{}\n  ]\n}}\n", lines.join(",\n"))
    }

    fn from_json(file: &Json) -> Option<Self> {
        let mut identity = file.clone();
        let fields = identity.as_object_mut()?;
        let runs = fields.remove("runs")?;
        let path = PathBuf::from(fields.remove("path")?.as_str()?);
        let named = |item: &Json| {
            let [cell, run] = item.as_array()?.as_slice() else { return None };
            Some(Named { cell: cell.as_str()?.to_owned(), run: run.as_str()?.to_owned() })
        };
        let cells = runs.as_array()?.iter().map(named).collect::<Option<_>>()?;
        (identity["tool"] == TOOL).then_some(Self { path, identity, cells })
    }

    /// In what way it is not `other`, for a message.
    fn differs_from(&self, other: &Self) -> String {
        let fields = ["semantics", "scenario", "set", "param", "seeds"];
        let different: Vec<&str> = fields
            .into_iter()
            .filter(|&field| self.identity[field] != other.identity[field])
            .collect();
        format!("`{}` (another {})", self.command(), different.join(", "))
    }

    /// What the scenario is altered by.
    pub(super) fn alterations(&self) -> Option<Alterations> {
        let texts = |name: &str| -> Option<Vec<String>> {
            let texts = self.identity[name].as_array()?.iter();
            texts.map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let seeds = match &self.identity["seeds"] {
            Json::Null => None,
            seeds => Some(seeds.as_str()?.parse().ok()?),
        };
        // Whoever has the records starts no program any more.
        let launcher = Some(programs::launcher(Path::new("")));
        Some(Alterations {
            sets: texts("set")?,
            params: texts("param")?,
            seeds,
            launcher,
            lent: Vec::new(),
        })
    }

    /// The command that makes it.
    pub(super) fn command(&self) -> &str {
        self.identity["command"].as_str().unwrap_or("stormglass sweep")
    }

    /// Whether `other` is the same, wherever its scenario was read.
    pub(super) fn is_same_as(&self, other: &Self) -> bool {
        self.identity == other.identity
    }

    /// What the scenario is called.
    pub(super) fn scenario_name(&self) -> &str {
        self.identity["scenario"]["name"].as_str().unwrap_or("sweep")
    }

    /// How many runs there are.
    pub(super) fn run_count(&self) -> usize {
        self.cells.len()
    }

    /// The name of run number `number`.
    pub(super) fn cell(&self, number: usize) -> &str {
        &self.cells[number].cell
    }

    /// The name of `run`.
    pub(super) fn cell_of(&self, run: &Run) -> String {
        cell(run, &self.identity)
    }

    /// What messages call run number `number`.
    pub(super) fn run_name(&self, number: usize) -> &str {
        &self.cells[number].run
    }

    /// The numbers of all runs in the order of their names: as good as shuffled, so that heavy
    /// variants are spread over the shards, and the same for everybody.
    pub(super) fn in_order_of_names(&self) -> impl Iterator<Item = usize> {
        let mut numbers: Vec<usize> = (0..self.cells.len()).collect();
        numbers.sort_unstable_by_key(|&number| &self.cells[number].cell);
        numbers.into_iter()
    }
}

/// The name of `run`: a hash over everything that decides its record. So equal runs have equal
/// names in whichever plan they stand, however it is split.
fn cell(run: &Run, identity: &Json) -> String {
    let content = json!({
        "semantics": identity["semantics"],
        "scenario": identity["scenario"]["sha256"],
        "data": identity["scenario"]["data"],
        "set": identity["set"],
        "experiment": run.experiment.subject().name(),
        "variant": run.label,
        "point": run.point,
        "seed": run.seed.0,
    });
    sha256(content.to_string().as_bytes())
}
