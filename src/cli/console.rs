//! Where words go: results to standard output, everything else to standard error.

use std::io::{self, IsTerminal as _, Write as _};

use anstream::AutoStream;

use super::Failure;

/// Standard output and standard error. Nothing here panics: a reader that has seen enough and
/// closes the pipe is no failure, and a full disk behind standard output is told.
#[derive(Debug, Default)]
pub(super) struct Console {
    quiet: bool,
    // Whether nobody reads standard output any more.
    closed: bool,
}

impl Console {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, closed: false }
    }

    /// Writes results.
    pub(super) fn print(&mut self, text: &str) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let mut out = AutoStream::auto(io::stdout()).lock();
        self.written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Writes data as they are: nothing that a terminal would read as a command is taken out.
    pub(super) fn print_bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        if self.closed {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        self.written(out.write_all(bytes).and_then(|()| out.flush()))
    }

    fn written(&mut self, outcome: io::Result<()>) -> Result<(), Failure> {
        match outcome {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            Err(error) => Err(Failure::io("cannot write to standard output", &error)),
        }
    }

    /// Whether nobody reads standard output any more.
    pub(super) const fn is_closed(&self) -> bool {
        self.closed
    }

    /// Tells what goes on, unless quiet is wished for.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            tell(text);
        }
    }

    /// Whether somebody watches standard error and wants to.
    pub(super) fn is_watched(&self) -> bool {
        !self.quiet && io::stderr().is_terminal()
    }
}

/// Writes to standard error, in vain where there is none.
pub(super) fn tell(text: &str) {
    let mut err = AutoStream::auto(io::stderr()).lock();
    let _ = err.write_all(text.as_bytes());
    let _ = err.flush();
}
