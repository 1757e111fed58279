//! Programs that play a ring: started, asked and given up as operating systems want it.
//!
//! Three threads a program: one writes to it, so that one that does not read cannot hold us up;
//! one reads what it answers; one keeps its last words on standard error, which say why it died.

use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use crate::config::{DataFile, Launcher, Library, Program, Programs, printable};
use crate::kernel::time::SimDuration;

/// The longest line of an answer.
const ANSWER_BYTES_MAX: u64 = 1 << 16;
/// Answers that wait to be taken; a program that says more waits.
const WAITING_MAX: usize = 4096;

/// Starts programs in a folder.
#[derive(Debug)]
pub(super) struct Processes {
    folder: PathBuf,
}

/// The leave to start programs in `folder`.
pub(super) fn launcher(folder: &Path) -> Launcher {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    Launcher(Arc::new(Processes { folder: folder.to_owned() }))
}

/// A library without files, for what is chosen on the command line.
#[derive(Debug)]
pub(super) struct NoFiles;

impl Library for NoFiles {
    fn open(&mut self, _: &str) -> Result<DataFile, String> {
        Err("no data files can be read here".into())
    }

    fn launcher(&self) -> Option<Launcher> {
        // Who writes a command on the command line may well have it started.
        Some(launcher(Path::new(".")))
    }
}

impl Programs for Processes {
    fn start(&self, command: &[String], patience: SimDuration) -> Result<Box<dyn Program>, String> {
        let shown = printable(&command.join(" "));
        let cannot =
            |why: &dyn std::fmt::Display| format!("the program `{shown}` cannot be started: {why}");
        let (name, arguments) = command.split_first().ok_or_else(|| cannot(&"no command"))?;
        // A path is relative to the folder, on every system; a bare name is looked up.
        let name = if name.contains('/') { self.folder.join(name) } else { name.into() };
        let name = if name.components().count() < 2 {
            name
        } else {
            std::path::absolute(&name).map_err(|error| cannot(&error))?
        };
        let mut child = Command::new(name)
            .args(arguments)
            .current_dir(&self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| cannot(&error))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            unreachable!("all three were piped")
        };
        let (questions, to_write) = mpsc::channel();
        let (read, answers) = mpsc::sync_channel(WAITING_MAX);
        let last_words = Arc::new(Mutex::new(String::new()));
        let words = Arc::clone(&last_words);
        thread::spawn(move || write(stdin, &to_write));
        thread::spawn(move || read_lines(stdout, &read));
        let (listening, silenced) = mpsc::channel();
        thread::spawn(move || listen(stderr, &words, listening));
        Ok(Box::new(Process {
            shown,
            patience: Duration::from_nanos(patience.as_ns()),
            child,
            questions: Some(questions),
            answers,
            last_words,
            silenced,
        }))
    }
}

fn write(mut stdin: ChildStdin, questions: &Receiver<Vec<u8>>) {
    for question in questions {
        // Why it failed is told by who waits for the answer.
        if stdin.write_all(&question).and_then(|()| stdin.flush()).is_err() {
            return;
        }
    }
}

fn read_lines(stdout: impl Read, answers: &SyncSender<Vec<u8>>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        match (&mut stdout).take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(length) if 0 < length && answers.send(line).is_ok() => (),
            _ => return,
        }
    }
}

/// `_listening` is dropped when there is no more to hear.
fn listen(stderr: impl Read, last_words: &Mutex<String>, _listening: Sender<()>) {
    let mut stderr = BufReader::new(stderr);
    loop {
        let mut line = Vec::new();
        match (&mut stderr).take(ANSWER_BYTES_MAX).read_until(b'\n', &mut line) {
            Ok(length) if 0 < length => (),
            _ => return,
        }
        let line = String::from_utf8_lossy(&line).trim().to_owned();
        if !line.is_empty() {
            *last_words.lock().unwrap_or_else(PoisonError::into_inner) = line;
        }
    }
}

/// A program that runs.
#[derive(Debug)]
struct Process {
    shown: String,
    patience: Duration,
    child: Child,
    questions: Option<Sender<Vec<u8>>>,
    answers: Receiver<Vec<u8>>,
    last_words: Arc<Mutex<String>>,
    silenced: Receiver<()>,
}

impl Program for Process {
    fn ask(&mut self, text: &str, count: usize, answers: &mut Vec<String>) -> Result<(), String> {
        answers.clear();
        let is_sent =
            self.questions.as_ref().is_some_and(|questions| questions.send(text.into()).is_ok());
        if !is_sent {
            return Err(self.dead(0, count));
        }
        while answers.len() < count {
            let line = match self.answers.recv_timeout(self.patience) {
                Ok(line) => line,
                Err(RecvTimeoutError::Disconnected) => return Err(self.dead(answers.len(), count)),
                Err(RecvTimeoutError::Timeout) => {
                    let (given, patience) = (answers.len(), self.patience);
                    return Err(self.told(&format!(
                        "said nothing for {patience:?} after {given} of {count} answers"
                    )));
                }
            };
            let is_whole = line.ends_with(b"\n");
            match String::from_utf8(line) {
                Ok(line) if line.starts_with("error ") => {
                    let why = printable(line[6..].trim_end());
                    return Err(self.told(&format!("gave up: {why}")));
                }
                Ok(line) if is_whole => {
                    answers.push(line.trim_end_matches(['\n', '\r']).to_owned());
                }
                Ok(_) => {
                    return Err(self.told("ended in the middle of an answer, or never ends one"));
                }
                Err(_) => return Err(self.told("answered what is not UTF-8")),
            }
        }
        Ok(())
    }
}

impl Process {
    fn told(&self, what: &str) -> String {
        format!("the program `{}` {what}", self.shown)
    }

    /// What is known of its death.
    fn dead(&mut self, given: usize, count: usize) -> String {
        self.questions = None;
        // It closed its output; give it a moment to end by itself, so that it can say how.
        for _ in 0..100 {
            if !matches!(self.child.try_wait(), Ok(None)) {
                break;
            }
            thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let status = self.child.wait().map_or("for no known reason".to_owned(), |s| s.to_string());
        // A child of its own may hold its standard error open for ever.
        let _ = self.silenced.recv_timeout(Duration::from_secs(1));
        let words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let words = if words.is_empty() {
            String::new()
        } else {
            format!("; its last words: {}", printable(&words))
        };
        self.told(&format!("ended ({status}) after {given} of {count} answers{words}"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.questions = None;
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
