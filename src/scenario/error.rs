//! Why a scenario could not be read.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::config::Problem;
use crate::scenario::source::Sources;

/// Why a scenario could not be read.
#[derive(Debug)]
pub enum ScenarioError {
    /// The operating system would not hand over the file.
    Io {
        /// The scenario's file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file as a whole is nothing that could be a scenario: too large, or not text.
    Unreadable {
        /// The scenario's file.
        path: PathBuf,
        /// What is wrong with it: the end of a sentence that begins with the path.
        why: String,
    },
    /// Mistakes in what it says: at least one.
    Wrong {
        /// The texts that the places name.
        sources: Sources,
        /// The mistakes, in the order of their places.
        problems: Vec<Problem>,
    },
}

/// A line a mistake: `file:line:column: what was found and expected`.
impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { path, error } => write!(f, "{}: {error}", path.display()),
            Self::Unreadable { path, why } => write!(f, "{} {why}", path.display()),
            Self::Wrong { sources, problems } => {
                for (index, problem) in problems.iter().enumerate() {
                    let newline = if index == 0 { "" } else { "\n" };
                    let name = sources.of(problem.place).map_or("", |source| &source.name);
                    let (line, column) = sources.line_and_column(problem.place);
                    write!(f, "{newline}{name}:{line}:{column}: {}", problem.message)?;
                    if let Some(help) = &problem.help {
                        write!(f, " ({help})")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for ScenarioError {}
