//! Programs that a scenario names: somebody else's ring, in any language.
//!
//! What reads a scenario may no more start a program than open a file. So whoever loads the
//! scenario lends a [`Launcher`], as it lends a [`Library`](super::Library); where none is lent, a
//! scenario that names a program is refused.

use std::fmt;
use std::sync::Arc;

use crate::kernel::time::SimDuration;

/// Starts programs.
pub trait Programs: fmt::Debug + Send + Sync {
    /// Starts `command`, which has one word at least. It is given up when it says nothing for
    /// `patience` of real time while an answer is due.
    ///
    /// # Errors
    /// Why it cannot be started: one line, lower case, no full stop, the command in it.
    fn start(&self, command: &[String], patience: SimDuration) -> Result<Box<dyn Program>, String>;
}

/// A program that was started. It ends when this is dropped.
pub trait Program: fmt::Debug + Send {
    /// Says `text` and puts `count` lines of answer into `answers`, which is emptied before. A line
    /// that begins with `error ` gives up, whichever it is.
    ///
    /// # Errors
    /// That it died, is too slow or gave up: one line, lower case, no full stop, the command in it.
    /// It cannot be asked again then.
    fn ask(&mut self, text: &str, count: usize, answers: &mut Vec<String>) -> Result<(), String>;
}

/// The leave to start programs, and the means.
#[derive(Clone)]
pub struct Launcher(pub Arc<dyn Programs>);

impl fmt::Debug for Launcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Two are equal where they are the same one.
impl PartialEq for Launcher {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Launcher {}
