//! A station: a node's servers, and the bounded queue in front of them.

use std::collections::VecDeque;

use crate::config;
use crate::kernel::time::SimDuration;

use super::dist::Dist;

config! {
    /// A node's servers and the bounded queue in front of them. Each message takes a server for a
    /// service time before the node sees it.
    pub struct StationConfig {
        /// How many messages are worked on at the same time.
        pub servers: u32 = 1 => 1..=1_000_000,
        /// How long a server works on one message.
        pub service: Dist = Dist::constant(SimDuration::ZERO),
        /// How many messages may wait for a server; the next is turned away.
        pub queue: u32 = 1_000_000 => 0..=1_000_000_000,
    }
}

/// The state of a station: what waits, and how many servers are busy.
#[derive(Clone, Debug)]
pub(super) struct Station<T> {
    servers: u32,
    busy: u32,
    capacity: usize,
    waiting: VecDeque<T>,
}

/// What becomes of an arrival.
#[derive(Debug, PartialEq)]
pub(super) enum Admission<T> {
    /// A server begins at once.
    Serve(T),
    /// It waits.
    Queued,
    /// There is no room.
    Full(T),
}

impl<T> Station<T> {
    pub(super) fn new(config: &StationConfig) -> Self {
        Self {
            servers: config.servers,
            busy: 0,
            capacity: config.queue as usize,
            waiting: VecDeque::new(),
        }
    }

    pub(super) fn arrive(&mut self, job: T) -> Admission<T> {
        if self.busy < self.servers {
            self.busy += 1;
            Admission::Serve(job)
        } else if self.waiting.len() < self.capacity {
            self.waiting.push_back(job);
            Admission::Queued
        } else {
            Admission::Full(job)
        }
    }

    /// A server is free again; the job that it takes next, if one waits.
    pub(super) fn complete(&mut self) -> Option<T> {
        assert!(0 < self.busy, "a server that is done was busy");
        let next = self.waiting.pop_front();
        if next.is_none() {
            self.busy -= 1;
        }
        next
    }

    /// The process died: all jobs are gone.
    pub(super) fn clear(&mut self) {
        self.busy = 0;
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_queue_is_bounded_and_first_in_first_out() {
        let config =
            StationConfig { servers: 1, service: Dist::constant(SimDuration::ZERO), queue: 2 };
        let mut station = Station::new(&config);
        assert_eq!(station.arrive(1), Admission::Serve(1));
        assert_eq!(station.arrive(2), Admission::Queued);
        assert_eq!(station.arrive(3), Admission::Queued);
        assert_eq!(station.arrive(4), Admission::Full(4));
        assert_eq!(station.complete(), Some(2));
        assert_eq!(station.complete(), Some(3));
        assert_eq!(station.complete(), None);
    }
}
