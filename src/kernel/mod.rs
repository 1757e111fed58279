//! The ground floor: time, randomness, the queue of pending events and the one loop.
//!
//! The kernel knows no node and no network. It would simulate a car wash as well. Read
//! [`sim`] for the loop, [`event_queue`] for the order of events, [`rng`] for the draws.

mod chacha;
pub(crate) mod decimal;
pub mod event_queue;
pub mod fingerprint;
pub mod heap_queue;
pub mod rng;
pub mod sim;
pub mod time;
pub mod wheel_queue;
mod ziggurat;
