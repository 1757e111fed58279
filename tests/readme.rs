//! Runs every command that the README and the tutorials print, and holds what it prints against
//! what they say it prints.
//!
//! A fenced block of the kind `console` holds commands (`$ ...`) and under each its output, which
//! must be the same to the letter; a command alone must only succeed. A comment `# exit 1` behind a
//! command says how it ends. `cargo run --release --` stands for the built program; `cargo test`
//! is left to `.ci/run`. All commands of a file run one after the other in one fresh folder that
//! holds a copy of `scenarios/`.
//!
//! A fenced block of the kind `yaml` is a workflow to be copied: its `run:` steps are run too, in
//! their place and order, but those that install something.
//!
//! `UPDATE_README=1` writes the output as it is into the pages.

#![expect(clippy::print_stdout, reason = "a test without a harness tells what it checked")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs, io};

fn main() -> ExitCode {
    let update = env::var_os("UPDATE_README").is_some();
    let (mut passed, mut failed) = (0, 0);
    for page in pages() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        copy(Path::new("scenarios"), &folder.path().join("scenarios"))
            .expect("scenarios are there");
        let text = fs::read_to_string(&page).expect("a page that was listed can be read");
        let mut written = String::new();
        let mut lines = text.lines().peekable();
        while let Some(line) = lines.next() {
            let _ = writeln!(written, "{line}");
            if line.trim() == "```yaml" {
                while let Some(line) = lines.next_if(|next| next.trim() != "```") {
                    let _ = writeln!(written, "{line}");
                    let step = line.trim_start().trim_start_matches("- ");
                    let Some(command) = step.strip_prefix("run: ") else { continue };
                    let Some(told) = run(command, folder.path()) else { continue };
                    if told.exit == 0 {
                        passed += 1;
                        println!("ok      {}: step {command}", page.display());
                    } else {
                        failed += 1;
                        println!("FAILED  {}: step {command}", page.display());
                        println!("exit {}\n{}{}", told.exit, told.out, told.err);
                    }
                }
                continue;
            }
            if line.trim() != "```console" {
                continue;
            }
            while let Some(line) = lines.next() {
                let _ = writeln!(written, "{line}");
                if line.trim() == "```" {
                    break;
                }
                let Some(command) = line.strip_prefix("$ ") else { continue };
                let mut expected = String::new();
                while let Some(next) =
                    lines.next_if(|next| !next.starts_with("$ ") && next.trim() != "```")
                {
                    let _ = writeln!(expected, "{next}");
                }
                let Some(told) = run(command, folder.path()) else {
                    written.push_str(&expected);
                    continue;
                };
                let is_right = told.exit == told.exit_expected
                    && (expected.is_empty() || expected == told.out || update);
                if is_right {
                    passed += 1;
                    println!("ok      {}: {command}", page.display());
                } else {
                    failed += 1;
                    println!("FAILED  {}: {command}", page.display());
                    println!("exit {}, expected {}", told.exit, told.exit_expected);
                    println!(
                        "--- expected\n{expected}--- found\n{}--- errors\n{}",
                        told.out, told.err
                    );
                }
                written.push_str(if expected.is_empty() { "" } else { &told.out });
            }
        }
        if update && written != text {
            fs::write(&page, written).expect("a page can be written");
        }
    }
    println!("\n{passed} passed, {failed} failed");
    ExitCode::from(u8::from(failed != 0 || passed == 0))
}

/// What a command printed and how it ended.
struct Told {
    out: String,
    err: String,
    exit: i32,
    exit_expected: i32,
}

/// Runs a command line as a reader would, in `folder`; `None` where that is left to others.
fn run(line: &str, folder: &Path) -> Option<Told> {
    let (line, exit_expected) = match line.split_once("# exit ") {
        Some((line, exit)) => (line.trim(), exit.trim().parse().expect("an exit is a number")),
        None => (line.trim(), 0),
    };
    if line.starts_with("cargo test")
        || line.starts_with("cargo install")
        || line.starts_with("git clone")
        || line.starts_with("cd ")
    {
        return None;
    }
    let program = env!("CARGO_BIN_EXE_stormglass");
    let line = line.replace("cargo run --release -- ", &format!("{program} "));
    let line = match line.strip_prefix("stormglass ") {
        Some(arguments) => format!("{program} {arguments}"),
        None => line,
    };
    let output = Command::new("sh")
        .args(["-c", &line])
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .output()
        .expect("a shell can be run");
    Some(Told {
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
        exit: output.status.code().unwrap_or(-1),
        exit_expected,
    })
}

/// The README, then the pages under `docs/`, by name.
fn pages() -> Vec<PathBuf> {
    let mut pages = vec![PathBuf::from("README.md")];
    let mut found: Vec<PathBuf> = fs::read_dir("docs")
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry of a readable folder can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    found.sort();
    pages.extend(found);
    pages
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
