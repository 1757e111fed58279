//! `report`: a result is drawn again, without running anything.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value as Json, json};

use crate::experiments::WINGS;
use crate::record::brief::Brief;
use crate::record::summary::{self, Summary};
use crate::record::{Metric, Record, SEMANTICS_VERSION, Subject};
use crate::report::compose::{self, Occasion};
use crate::report::render;
use crate::report::{Report, Section, stored};
use crate::scenario::sha256;

use super::console::Console;
use super::exports::ExportArgs;
use super::files::{self, Disk, Files as _, MANIFEST, TOOL};
use super::study;
use super::{Exit, Failure, Format};

#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The folder of a result
    folder: PathBuf,

    /// Write the report here; by default in its place
    #[arg(long, short, value_name = "FOLDER")]
    out: Option<PathBuf>,

    #[command(flatten)]
    exports: ExportArgs,
}

/// A result as its folder has it.
#[derive(Debug)]
pub(super) struct Stored {
    manifest: Json,
    pub(super) records: Vec<Record>,
    pub(super) summaries: Vec<Summary>,
    pub(super) report: Report,
}

pub(super) fn report(
    args: &ReportArgs,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    let folder = args.out.as_ref().unwrap_or(&args.folder);
    // Before the work, and again when it is written.
    let hold = files::hold(&Disk, folder)?;
    let mut result = Stored::load(&args.folder)?;
    let Stored { report, records, summaries, .. } = &result;
    let artefacts = render::files(report, records, summaries)
        .map_err(|error| Failure::Bug(error.to_string()))?;
    let files = artefacts.iter().map(|file| (file.path.clone(), json!(sha256(&file.bytes))));
    result.manifest["files"] = Json::Object(files.collect::<Map<String, Json>>());
    let manifest = format!("{:#}\n", result.manifest).into_bytes();
    drop(hold);
    files::publish(&Disk, folder, &artefacts, &manifest)?;
    args.exports.write(&result.report, &result.records, &result.summaries, console)?;
    if !args.exports.take_stdout() {
        console.print(&match format {
            Format::Human => {
                let words = study::in_words(&result.report);
                format!("{words}\nreport: {}\n", folder.join("report.html").display())
            }
            Format::Json => study::in_json(&result.report, &result.records),
        })?;
    }
    Ok(Exit::Done)
}

impl Stored {
    /// Reads the result in `folder`, and refuses one that was altered or is of another semantics.
    pub(super) fn load(folder: &Path) -> Result<Self, Failure> {
        let shown = folder.display();
        let manifest: Json = serde_json::from_str(&text(&folder.join(MANIFEST), folder)?)
            .ok()
            .filter(|manifest: &Json| manifest["tool"] == TOOL)
            .ok_or_else(|| Failure::Usage(format!("{shown} is no result of stormglass")))?;
        let semantics = &manifest["semantics"];
        if *semantics != SEMANTICS_VERSION {
            return Err(Failure::Usage(format!(
                "{shown} has semantics {semantics}, and this version of stormglass \
                 {SEMANTICS_VERSION}: run the scenario again"
            )));
        }
        let part = |name: &str| {
            let path = folder.join(name);
            let text = text(&path, folder)?;
            if manifest["files"][name] != sha256(text.as_bytes()) {
                let path = path.display();
                return Err(Failure::Usage(format!("{path} is not what the manifest says it is")));
            }
            Ok((path, text))
        };
        let wrong =
            |path: PathBuf, why: String| Failure::Usage(format!("{} {why}", path.display()));
        let (path, lines) = part("records.jsonl")?;
        let records = stored::records(&lines, &metric_of).map_err(|why| wrong(path, why))?;
        let (path, json) = part("report.json")?;
        let mut report = stored::report(&json, &any_metric).map_err(|why| wrong(path, why))?;
        let summaries = summary::of(&records);
        report.sections = sections(&report, &records, &summaries);
        Ok(Self { manifest, records, summaries, report })
    }
}

/// What the records say, as `run` or `compare` had it.
fn sections(report: &Report, records: &[Record], summaries: &[Summary]) -> Vec<Section> {
    let briefs: Vec<Brief> = WINGS.iter().map(|wing| wing.brief).collect();
    let occasion = Occasion {
        title: report.title.clone(),
        question: report.question.clone(),
        briefs: &briefs,
        verdicts: Vec::new(),
        notes: Vec::new(),
        provenance: report.provenance.clone(),
    };
    let drawn = compose::compose(occasion, records, summaries).sections;
    let compared = report.provenance.references.iter().flat_map(|(subject, label)| {
        let brief = briefs.iter().find(|brief| brief.subject.name() == subject);
        brief.map_or(Vec::new(), |brief| study::compared(brief, label, records, summaries))
    });
    compared.chain(drawn).collect()
}

fn text(path: &Path, folder: &Path) -> Result<String, Failure> {
    let bytes = Disk.read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => {
            Failure::Usage(format!(
                "{} is no whole result of stormglass: it has no {}",
                folder.display(),
                path.file_name().unwrap_or_default().to_string_lossy()
            ))
        }
        _ => Failure::io(&format!("cannot read {}", path.display()), &error),
    })?;
    String::from_utf8(bytes).map_err(|_| Failure::Usage(format!("{} is not UTF-8", path.display())))
}

/// The metric of a subject by its name.
pub(super) fn metric_of(subject: Subject, name: &str) -> Option<&'static Metric> {
    let wing = WINGS.iter().find(|wing| wing.subject == subject)?;
    wing.metrics.iter().copied().find(|metric| metric.name == name)
}

fn any_metric(name: &str) -> Option<&'static Metric> {
    WINGS.iter().find_map(|wing| metric_of(wing.subject, name))
}
