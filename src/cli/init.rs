//! `init`: a scenario to begin with.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::console::Console;
use super::files::{Disk, Files as _};
use super::{Exit, Failure};

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// What the scenario is about
    wing: Starter,

    /// Where to write it, or - to print it; by default scenarios/my-WING.toml
    file: Option<PathBuf>,
}

/// What there is a starter for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
enum Starter {
    /// Placement rings: load skew and remap fraction
    Rings,
    /// Distributed locks under pauses
    Locks,
    /// Message queues whose workers die
    Queues,
    /// A ring, a queue and a lock joined
    Pipeline,
}

impl Starter {
    /// Its text, and where it goes by default.
    const fn text_and_file(self) -> (&'static str, &'static str) {
        match self {
            Self::Rings => (include_str!("starters/rings.toml"), "scenarios/my-rings.toml"),
            Self::Locks => (include_str!("starters/locks.toml"), "scenarios/my-locks.toml"),
            Self::Queues => (include_str!("starters/queues.toml"), "scenarios/my-queues.toml"),
            Self::Pipeline => {
                (include_str!("starters/pipeline.toml"), "scenarios/my-pipeline.toml")
            }
        }
    }
}

pub(super) fn init(args: &InitArgs, console: &mut Console) -> Result<Exit, Failure> {
    let (text, file) = args.wing.text_and_file();
    let file = args.file.clone().unwrap_or_else(|| file.into());
    if file == Path::new("-") {
        console.print(text)?;
        return Ok(Exit::Done);
    }
    let shown = file.display();
    let cannot = |error: &io::Error| Failure::io(&format!("cannot write {shown}"), error);
    if Disk.kind(&file).map_err(|error| cannot(&error))?.is_some() {
        return Err(Failure::Usage(format!("{shown} is there already: choose another name")));
    }
    let missing: Vec<&Path> = file
        .ancestors()
        .skip(1)
        .take_while(|folder| !folder.as_os_str().is_empty() && !folder.exists())
        .collect();
    for folder in missing.into_iter().rev() {
        Disk.create_folder(folder).map_err(|error| cannot(&error))?;
    }
    Disk.write_new(&file, text.as_bytes()).map_err(|error| {
        // What a full disk took of it is of no use.
        let _ = Disk.remove(&file);
        cannot(&error)
    })?;
    console.note(&format!("wrote {shown}; now: stormglass run {shown}\n"));
    Ok(Exit::Done)
}
