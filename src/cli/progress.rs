//! How far a plan is: shown on a terminal, and only where the work takes a while.

use std::time::Duration;
#[expect(clippy::disallowed_types, reason = "how long the user waits decides no result")]
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Work that is done sooner is shown no bar.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that shows itself after a while.
#[derive(Debug)]
pub(super) struct Progress {
    bar: ProgressBar,
    is_watched: bool,
    #[expect(clippy::disallowed_types, reason = "as above")]
    since: Instant,
}

impl Progress {
    #[expect(clippy::disallowed_types, reason = "as above")]
    pub(super) fn new(run_count: usize, is_watched: bool) -> Self {
        let bar =
            ProgressBar::with_draw_target(Some(run_count as u64), ProgressDrawTarget::hidden());
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} runs, {eta} left  {msg}");
        bar.set_style(style.expect("the template is right"));
        Self { bar, is_watched, since: Instant::now() }
    }

    /// A run is finished.
    pub(super) fn step(&self, name: String) {
        if self.is_watched && self.bar.is_hidden() && PATIENCE < self.since.elapsed() {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_message(name);
        self.bar.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
