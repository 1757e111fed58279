//! Ctrl-C and SIGTERM: a wish to stop that keeps what is finished, and at the second time none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::Exit;

/// Whether somebody wishes that we stop.
#[derive(Debug, Default)]
pub(super) struct Interrupt {
    stop: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens from now on. Where that cannot be, the signals do what they do by default.
    pub(super) fn listen() -> Self {
        let this = Self::default();
        for (signal, exit) in [(SIGINT, Exit::Interrupted), (SIGTERM, Exit::Terminated)] {
            // In this order: the first signal finds the flag not yet set.
            let _ = flag::register_conditional_shutdown(
                signal,
                i32::from(exit.code()),
                this.stop.clone(),
            );
            let _ = flag::register_usize(signal, this.signal.clone(), signal as usize);
            let _ = flag::register(signal, this.stop.clone());
        }
        this
    }

    /// Set once somebody wishes that we stop.
    pub(super) fn flag(&self) -> &AtomicBool {
        &self.stop
    }

    /// The exit that the wish asks for.
    pub(super) fn exit(&self) -> Option<Exit> {
        match self.signal.load(Ordering::SeqCst) {
            0 => None,
            signal if signal == SIGTERM as usize => Some(Exit::Terminated),
            _ => Some(Exit::Interrupted),
        }
    }
}
