//! `schema`, `completions` and `man`: what is generated from the program itself.

use std::path::PathBuf;

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::scenario;

use super::console::Console;
use super::files::{Disk, Files as _};
use super::words::pretty;
use super::{Cli, Exit, Failure};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write a page for each verb to this folder, which must exist
    folder: Option<PathBuf>,
}

pub(super) fn schema(console: &mut Console) -> Result<Exit, Failure> {
    console.print(&pretty(&scenario::schema()))?;
    Ok(Exit::Done)
}

pub(super) fn completions(args: &CompletionsArgs, console: &mut Console) -> Result<Exit, Failure> {
    // Into memory first: clap_complete panics where it cannot write.
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "stormglass", &mut text);
    console.print(&String::from_utf8_lossy(&text))?;
    Ok(Exit::Done)
}

pub(super) fn man(args: &ManArgs, console: &mut Console) -> Result<Exit, Failure> {
    let mut command = Cli::command();
    command.build();
    let Some(folder) = &args.folder else {
        console.print(&String::from_utf8_lossy(&page(&command)))?;
        return Ok(Exit::Done);
    };
    for verb in command.get_subcommands().chain([&command]) {
        let name = verb.get_display_name().unwrap_or_else(|| verb.get_name());
        let path = folder.join(format!("{name}.1"));
        let written = Disk.kind(&path).and_then(|kind| match kind {
            // An earlier page is replaced, whatever was written to it by hand.
            Some(_) => Disk.remove(&path),
            None => Ok(()),
        });
        written
            .and_then(|()| Disk.write_new(&path, &page(verb)))
            .map_err(|error| Failure::io(&format!("cannot write {}", path.display()), &error))?;
    }
    Ok(Exit::Done)
}

fn page(command: &clap::Command) -> Vec<u8> {
    let mut text = Vec::new();
    Man::new(command.clone()).render(&mut text).expect("writing to memory does not fail");
    text
}
