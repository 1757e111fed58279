//! The one loop: take out the first event, let the world handle it, until a limit is reached.
//!
//! Everything is generic over the world, so that an event costs a jump and no allocation. A run is
//! a value: nothing outside its arguments decides it, and its [`Run::fingerprint`] proves so.

use crate::kernel::event_queue::EventQueue;
use crate::kernel::fingerprint::Fingerprint;
use crate::kernel::time::SimTime;

/// What is simulated: it owns all state, and events are the only thing that changes it.
pub trait World {
    /// What can happen. Pending events are stored as they are: best kept to 32 bytes.
    type Event;

    /// Lets `event` happen at `queue.now()`, and schedules what follows from it.
    fn handle(&mut self, event: Self::Event, queue: &mut EventQueue<Self::Event>);

    /// Kind and target of an event in one word, for the fingerprint of the run.
    fn digest(event: &Self::Event) -> u64;
}

/// When to stop. All of these count from the call of [`run`], save the two times.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The last instant that is of interest; events beyond it stay pending.
    pub horizon: SimTime,
    /// The last instant that may be simulated, whatever the horizon.
    pub time_max: SimTime,
    /// The most events that may happen.
    pub event_count_max: u64,
    /// The most events that may happen at one instant: a world that reacts to itself without any
    /// delay never gets past it.
    pub same_instant_max: u64,
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RunEnd {
    /// Only events beyond the horizon are left: the run is complete.
    Horizon,
    /// No event is left: the run is complete.
    Drained,
    /// Events within the horizon are left, but [`Limits::event_count_max`] was reached.
    EventCap,
    /// More events were due at this instant than [`Limits::same_instant_max`].
    SameInstantCap,
    /// Events within the horizon are left, but beyond [`Limits::time_max`].
    TimeCap,
}

/// What the loop knows of a run.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Run {
    /// Why it ended.
    pub end: RunEnd,
    /// How many events happened.
    pub event_count: u64,
    /// The hash over the time and digest of all of them, in order.
    pub fingerprint: u64,
    /// Where the clock stands: at the horizon or `time_max` if that ended the run, else at the
    /// last event.
    pub now: SimTime,
}

/// Lets events happen, in order, until a limit is reached or none is left.
///
/// The run may be continued by another call, with other limits.
pub fn run<W: World>(world: &mut W, queue: &mut EventQueue<W::Event>, limits: Limits) -> Run {
    run_traced(world, queue, limits, |_, _| ())
}

/// As [`run`], and shows each event to `trace` before it happens.
pub fn run_traced<W: World>(
    world: &mut W,
    queue: &mut EventQueue<W::Event>,
    limits: Limits,
    mut trace: impl FnMut(SimTime, &W::Event),
) -> Run {
    let last_instant = limits.horizon.min(limits.time_max);
    let mut fingerprint = Fingerprint::new();
    let mut same_instant_count = 0;
    let end = loop {
        if fingerprint.event_count() == limits.event_count_max
            && queue.next_time().is_some_and(|next| next <= last_instant)
        {
            break RunEnd::EventCap;
        }
        if same_instant_count == limits.same_instant_max && queue.next_time() == Some(queue.now()) {
            break RunEnd::SameInstantCap;
        }
        let before = queue.now();
        let Some((now, event)) = queue.pop_until(last_instant) else {
            break match queue.next_time() {
                None => RunEnd::Drained,
                Some(next) if next <= limits.horizon => RunEnd::TimeCap,
                Some(_) => RunEnd::Horizon,
            };
        };
        same_instant_count = if before == now { same_instant_count + 1 } else { 1 };
        fingerprint.add(now, W::digest(&event));
        trace(now, &event);
        world.handle(event, queue);
    };
    if matches!(end, RunEnd::Horizon | RunEnd::TimeCap) {
        queue.advance_to(last_instant.max(queue.now()));
    }
    Run {
        end,
        event_count: fingerprint.event_count(),
        fingerprint: fingerprint.finish(),
        now: queue.now(),
    }
}

/// No horizon, and bounds that only a world gone wild will meet.
impl Default for Limits {
    fn default() -> Self {
        Self {
            horizon: SimTime::END,
            time_max: SimTime::END,
            event_count_max: 100_000_000,
            same_instant_max: 10_000_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::time::SimDuration;

    /// Notes what happens; each event is followed by another after its own length.
    #[derive(Default)]
    struct Metronome {
        heard: Vec<(u64, u64)>,
    }

    impl World for Metronome {
        type Event = u64;

        fn handle(&mut self, period_ns: u64, queue: &mut EventQueue<u64>) {
            self.heard.push((queue.now().as_ns(), period_ns));
            queue.schedule_after(SimDuration::from_ns(period_ns), period_ns);
        }

        fn digest(period_ns: &u64) -> u64 {
            *period_ns
        }
    }

    fn start(periods_ns: &[u64]) -> (Metronome, EventQueue<u64>) {
        let mut queue = EventQueue::new();
        for &period_ns in periods_ns {
            queue.schedule_after(SimDuration::from_ns(period_ns), period_ns);
        }
        (Metronome::default(), queue)
    }

    fn until(horizon_ns: u64) -> Limits {
        Limits { horizon: SimTime::from_ns(horizon_ns), ..Limits::default() }
    }

    #[test]
    fn events_at_the_horizon_happen_and_later_ones_stay() {
        let (mut world, mut queue) = start(&[3, 5]);
        let first = run(&mut world, &mut queue, until(9));
        assert_eq!(world.heard, [(3, 3), (5, 5), (6, 3), (9, 3)]);
        assert_eq!((first.end, first.event_count, first.now.as_ns()), (RunEnd::Horizon, 4, 9));
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn a_run_continued_is_the_run_not_interrupted() {
        let (mut whole, mut queue) = start(&[3, 5, 7_000_000, 1 << 40]);
        run(&mut whole, &mut queue, until(40_000));
        let (mut parts, mut queue) = start(&[3, 5, 7_000_000, 1 << 40]);
        for horizon_ns in (0..=40_000).step_by(100) {
            assert_eq!(run(&mut parts, &mut queue, until(horizon_ns)).now.as_ns(), horizon_ns);
        }
        assert_eq!(parts.heard, whole.heard);
    }

    #[test]
    fn each_limit_ends_a_run_by_its_own_name() {
        let ns = SimTime::from_ns;
        let none = Limits::default();
        for (periods_ns, limits, end, event_count, now_ns) in [
            (&[5][..], Limits { horizon: ns(12), ..none }, RunEnd::Horizon, 2, 12),
            (&[5], Limits { horizon: ns(12), time_max: ns(7), ..none }, RunEnd::TimeCap, 1, 7),
            (&[5], Limits { horizon: ns(8), time_max: ns(7), ..none }, RunEnd::Horizon, 1, 7),
            (&[5], Limits { event_count_max: 3, ..none }, RunEnd::EventCap, 3, 15),
            (&[5], Limits { event_count_max: 0, ..none }, RunEnd::EventCap, 0, 0),
            (&[], Limits { horizon: ns(12), ..none }, RunEnd::Drained, 0, 0),
            (&[], Limits { event_count_max: 0, ..none }, RunEnd::Drained, 0, 0),
            (&[5, 0], Limits { same_instant_max: 4, ..none }, RunEnd::SameInstantCap, 4, 0),
        ] {
            let (mut world, mut queue) = start(periods_ns);
            let run = run(&mut world, &mut queue, limits);
            let left = (run.end, run.event_count, run.now.as_ns());
            assert_eq!(left, (end, event_count, now_ns), "{periods_ns:?} {limits:?}");
        }
    }

    #[test]
    fn as_many_events_as_allowed_are_not_too_many() {
        let (mut world, mut queue) = start(&[1 << 63, 1 << 63]);
        let limits = Limits { event_count_max: 2, same_instant_max: 2, ..Limits::default() };
        let run = run(&mut world, &mut queue, limits);
        assert_eq!((run.end, run.event_count), (RunEnd::Drained, 2));
    }

    #[test]
    fn the_trace_sees_what_the_fingerprint_sees() {
        let (mut world, mut queue) = start(&[3, 5]);
        let mut fingerprint = Fingerprint::new();
        let traced = run_traced(&mut world, &mut queue, until(40), |at, event| {
            fingerprint.add(at, Metronome::digest(event));
        });
        assert_eq!(traced.fingerprint, fingerprint.finish());
        let (mut world, mut queue) = start(&[3, 5]);
        assert_eq!(run(&mut world, &mut queue, until(40)), traced);
        let (mut world, mut queue) = start(&[3, 4]);
        assert_ne!(run(&mut world, &mut queue, until(40)).fingerprint, traced.fingerprint);
    }
}
