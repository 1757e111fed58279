//! `baseline`: figures that somebody accepted, kept beside the code.
//!
//! The baseline of `scenarios/a/b.toml` is `DIR/a/b.json`, a figure a line. Where `check` finds
//! others, it leaves them in `DIR/a/b.new.json`; `review` shows and asks, `accept` takes them over.

use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::{Name, nearest, printable};
use crate::record::SEMANTICS_VERSION;
use crate::record::baseline::{self, Allow, Baseline};
use crate::report::kept::Kept;
use crate::scenario::Scenario;

use super::console::{self, Console};
use super::files::{self, Disk, Files as _, Kind};
use super::study::{ConductArgs, Study};
use super::words::{columns, pretty};
use super::{AlterArgs, Exit, Failure, Format, repeat};

#[derive(Debug, Subcommand)]
pub(super) enum BaselineVerb {
    /// Run scenarios and keep their figures
    Save(SaveArgs),
    /// Show which baselines there are
    List(ShelfArgs),
    /// Show what the last check found otherwise
    Diff(NamedArgs),
    /// Show what the last check found otherwise, and ask whether to accept it
    Review(NamedArgs),
    /// Take over what the last check found otherwise
    Accept(NamedArgs),
}

#[derive(Debug, Args)]
pub(super) struct SaveArgs {
    /// The scenarios, TOML files
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,

    #[command(flatten)]
    shelf: ShelfArgs,

    #[command(flatten)]
    alter: AlterArgs,

    #[command(flatten)]
    conduct: ConductArgs,
}

#[derive(Debug, Args)]
pub(super) struct ShelfArgs {
    /// The folder of the baselines
    #[arg(long = "baseline", value_name = "DIR", default_value = "results/baseline")]
    folder: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct NamedArgs {
    /// Their names, as `list` has them; all where none is given
    names: Vec<String>,

    #[command(flatten)]
    shelf: ShelfArgs,
}

pub(super) fn baseline(
    verb: &BaselineVerb,
    format: Format,
    console: &mut Console,
) -> Result<Exit, Failure> {
    match verb {
        BaselineVerb::Save(args) => save(args, console),
        BaselineVerb::List(args) => list(&args.folder, format, console),
        BaselineVerb::Diff(args) => diff(args, console),
        BaselineVerb::Review(args) => review(args, console),
        BaselineVerb::Accept(args) => {
            for name in pending(args)? {
                accept(&args.shelf.folder, &name)?;
                console.print(&format!("accepted {name}\n"))?;
            }
            Ok(Exit::Done)
        }
    }
}

/// What a study found, to be kept.
pub(super) fn of(study: &Study<'_>) -> Baseline {
    Baseline {
        semantics: SEMANTICS_VERSION,
        command: repeat::command("run", study.scenario),
        scenario_sha256: study.scenario.sha256.clone(),
        figures: baseline::figures(study.records(), &study.summaries),
    }
}

/// The baseline of `scenario`.
pub(super) fn load(folder: &Path, scenario: &Scenario) -> Result<Baseline, Failure> {
    let path = kept(folder, &scenario.name);
    if Disk.kind(&path).ok().flatten().is_none() {
        let (shown, file) = (folder.display(), &scenario.file);
        return Err(Failure::Usage(format!(
            "there is no baseline of `{}` in {shown}\n\
             help: `stormglass baseline save {file} --baseline {shown}` makes one",
            scenario.name
        )));
    }
    read(&path)
}

/// Leaves what a check found beside the baseline, for `review`; or takes away what an earlier one
/// left, where there is `nothing` new.
pub(super) fn leave(folder: &Path, name: &str, found: Option<&Baseline>) -> Result<(), Failure> {
    let path = found_file(folder, name);
    match found {
        Some(found) => Ok(files::put(&Disk, &path, found.to_text().as_bytes())?),
        None => match Disk.kind(&path) {
            Ok(Some(Kind::File)) => Disk
                .remove(&path)
                .map_err(|error| Failure::io(&format!("cannot remove {}", path.display()), &error)),
            _ => Ok(()),
        },
    }
}

fn kept(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.json"))
}

fn found_file(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.new.json"))
}

fn read(path: &Path) -> Result<Baseline, Failure> {
    let wrong = |why: String| Failure::Usage(format!("{} {why}", path.display()));
    let bytes = Disk
        .read(path)
        .map_err(|error| Failure::io(&format!("cannot read {}", path.display()), &error))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong("is not UTF-8".to_owned()))?;
    Baseline::parse(&text).map_err(wrong)
}

fn save(args: &SaveArgs, console: &mut Console) -> Result<Exit, Failure> {
    let load = |path: &PathBuf| args.alter.load(path, &[]);
    let scenarios: Vec<Scenario> = args.scenarios.iter().map(load).collect::<Result<_, _>>()?;
    for scenario in &scenarios {
        let study = Study::carry_out("run", scenario, &args.conduct, console)?;
        study.tell_troubles();
        let exit = study.exit();
        if exit != Exit::Done {
            console::tell(&format!(
                "error: {} came to no end, and nothing was saved of it\n",
                scenario.file
            ));
            return Ok(exit);
        }
        let found = of(&study);
        let path = kept(&args.shelf.folder, &scenario.name);
        files::put(&Disk, &path, found.to_text().as_bytes())?;
        leave(&args.shelf.folder, &scenario.name, None)?;
        console.print(&format!(
            "{} figures of {} seeds: {}\n",
            found.figures.len(),
            scenario.seeds.count,
            path.display()
        ))?;
    }
    Ok(Exit::Done)
}

fn list(folder: &Path, format: Format, console: &mut Console) -> Result<Exit, Failure> {
    let mut rows = vec![["baseline", "figures", "seeds", "to review"].map(str::to_owned)];
    let mut objects = Vec::new();
    for name in names(folder)? {
        let found = read(&kept(folder, &name))?;
        let seeds = found.figures.iter().map(|figure| figure.values.len()).max().unwrap_or(0);
        let is_pending = is_file(&found_file(folder, &name));
        objects.push(json!({
            "name": name,
            "command": found.command,
            "semantics": found.semantics,
            "figures": found.figures.len(),
            "seeds": seeds,
            "to_review": is_pending,
        }));
        let pending = if is_pending { "yes" } else { "no" }.to_owned();
        rows.push([name, found.figures.len().to_string(), seeds.to_string(), pending]);
    }
    console.print(&match format {
        Format::Human => columns(&rows),
        Format::Json => pretty(&json!(objects)),
    })?;
    Ok(Exit::Done)
}

fn diff(args: &NamedArgs, console: &mut Console) -> Result<Exit, Failure> {
    for name in pending(args)? {
        console.print(&differences(&args.shelf.folder, &name)?)?;
    }
    Ok(Exit::Done)
}

fn review(args: &NamedArgs, console: &mut Console) -> Result<Exit, Failure> {
    let folder = &args.shelf.folder;
    let is_asked = std::io::stdin().is_terminal();
    for name in pending(args)? {
        console.print(&differences(folder, &name)?)?;
        if !is_asked {
            console.print(&format!("`stormglass baseline accept {name}` takes this over\n"))?;
            continue;
        }
        console.print("accept? [y]es, [n]o: throw it away, [s]kip: decide later > ")?;
        let mut answer = String::new();
        let read = std::io::stdin().lock().read_line(&mut answer);
        read.map_err(|error| Failure::io("cannot read the answer", &error))?;
        match answer.trim().to_lowercase().as_str() {
            "y" | "yes" => {
                accept(folder, &name)?;
                console.print(&format!("accepted {name}\n"))?;
            }
            "n" | "no" => {
                leave(folder, &name, None)?;
                console.print(&format!("threw away what was found of {name}\n"))?;
            }
            _ => console.print(&format!("skipped {name}\n"))?,
        }
    }
    Ok(Exit::Done)
}

fn accept(folder: &Path, name: &str) -> Result<(), Failure> {
    let found = read(&found_file(folder, name))?;
    files::put(&Disk, &kept(folder, name), found.to_text().as_bytes())?;
    leave(folder, name, None)
}

/// Everything that is not to the last bit as it was.
fn differences(folder: &Path, name: &str) -> Result<String, Failure> {
    let (before, now) = (read(&kept(folder, name))?, read(&found_file(folder, name))?);
    let comparison = baseline::compare(&before.figures, &now.figures, |_| &Allow::Exact);
    let told = Kept::of(&comparison, |_| now.command.clone(), |_| 1);
    let mut text = format!("{name}: {}\n", told.sentence);
    for change in &told.changes {
        let _ = writeln!(text, "  {}: {}", printable(&change.figure), change.text);
    }
    Ok(text)
}

/// The baselines that a check found otherwise and that are meant.
fn pending(args: &NamedArgs) -> Result<Vec<String>, Failure> {
    let all = names(&args.shelf.folder)?;
    let known: Vec<&str> = all.iter().map(String::as_str).collect();
    for name in &args.names {
        if !all.contains(name) {
            let help = match nearest(name, &known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`stormglass baseline list` tells which there are".to_owned(),
            };
            let name = printable(name);
            return Err(Failure::Usage(format!("there is no baseline `{name}`\nhelp: {help}")));
        }
    }
    let is_meant = |name: &String| args.names.is_empty() || args.names.contains(name);
    Ok(all
        .into_iter()
        .filter(|name| is_meant(name) && is_file(&found_file(&args.shelf.folder, name)))
        .collect())
}

fn is_file(path: &Path) -> bool {
    matches!(Disk.kind(path), Ok(Some(Kind::File)))
}

/// The names of all baselines in `folder`, sorted.
fn names(folder: &Path) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    let mut folders = vec![(folder.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let list = Disk.list(&folder).map_err(|error| {
            Failure::Usage(format!("cannot read {}: {error}", folder.display()))
        })?;
        for entry in list {
            let path = folder.join(&entry);
            let stem = entry.strip_suffix(".json").unwrap_or(&entry);
            // What we would not have called so is somebody else's.
            if stem.parse::<Name>().is_err() {
                continue;
            }
            match Disk.kind(&path) {
                Ok(Some(Kind::Folder)) => folders.push((path, format!("{prefix}{entry}/"))),
                Ok(Some(Kind::File)) if stem != entry => names.push(format!("{prefix}{stem}")),
                _ => (),
            }
        }
    }
    names.sort();
    Ok(names)
}
