//! The two clocks of a node: a wall clock, which can step, and a monotonic one, which cannot.
//!
//! A clock is a line through virtual time: it shows `shown` at the instant `since` and runs
//! `rate` as fast as time does. All in whole numbers, so that a clock reads the same everywhere.

use crate::kernel::time::SimTime;

/// What a wall clock shows, in nanoseconds from the instant at which the run began on a right
/// clock. Negative on a clock that is behind.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct WallTime(pub i64);

impl WallTime {
    /// This instant `ns` nanoseconds later; earlier where negative.
    pub const fn plus_ns(self, ns: i64) -> Self {
        Self(self.0.saturating_add(ns))
    }
}

/// How fast a clock runs, in parts per million of time's own speed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ClockRate(pub u32);

impl ClockRate {
    /// As fast as time.
    pub const RIGHT: Self = Self(PPM as u32);
}

/// The clocks of one node: they share one oscillator, and so the rate.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    since: SimTime,
    /// What each showed then.
    wall_shown: i64,
    monotonic_shown: i64,
    rate: ClockRate,
}

impl Clocks {
    /// Two clocks that are right.
    pub const RIGHT: Self =
        Self { since: SimTime::ZERO, wall_shown: 0, monotonic_shown: 0, rate: ClockRate::RIGHT };

    /// What the wall clock shows at `now`.
    pub fn wall(&self, now: SimTime) -> WallTime {
        WallTime(self.read(self.wall_shown, now))
    }

    /// What the monotonic clock shows at `now`. Never negative: it began at zero.
    pub fn monotonic(&self, now: SimTime) -> SimTime {
        SimTime::from_ns(self.read(self.monotonic_shown, now).unsigned_abs())
    }

    /// The first instant at which the monotonic clock shows `shown` or more.
    pub fn when_monotonic(&self, shown: SimTime) -> SimTime {
        let shown = i64::try_from(shown.as_ns()).unwrap_or(i64::MAX);
        let to_run = i128::from(shown) - i128::from(self.monotonic_shown);
        if to_run <= 0 {
            return self.since;
        }
        if self.rate.0 == 0 {
            return SimTime::END;
        }
        let rate = i128::from(self.rate.0);
        let is_right = self.rate == ClockRate::RIGHT;
        let passed = if is_right { to_run } else { (to_run * PPM + rate - 1) / rate };
        SimTime::from_ns(
            self.since.as_ns().saturating_add(u64::try_from(passed).unwrap_or(u64::MAX)),
        )
    }

    /// Sets the wall clock forward by `ns`, or back where negative. The monotonic clock does not
    /// move.
    pub fn step_wall(&mut self, ns: i64) {
        self.wall_shown = self.wall_shown.saturating_add(ns);
    }

    /// Lets both clocks run at `rate` from `now` on.
    pub fn set_rate(&mut self, now: SimTime, rate: ClockRate) {
        let [wall_shown, monotonic_shown] =
            [self.wall_shown, self.monotonic_shown].map(|shown| self.read(shown, now));
        *self = Self { since: now, wall_shown, monotonic_shown, rate };
    }

    fn read(&self, shown: i64, now: SimTime) -> i64 {
        let passed = i128::from(now.since(self.since).as_ns());
        // Nearly every clock is right, and is read at every step of its node: no division for it.
        let is_right = self.rate == ClockRate::RIGHT;
        let ran = if is_right { passed } else { passed * i128::from(self.rate.0) / PPM };
        i64::try_from(i128::from(shown) + ran).unwrap_or(i64::MAX)
    }
}

const PPM: i128 = 1_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_four_times_too_fast_shows_four_seconds_after_one() {
        let mut clocks = Clocks::RIGHT;
        clocks.set_rate(SimTime::from_ms(500), ClockRate(4_000_000));
        assert_eq!(clocks.monotonic(SimTime::from_ms(1000)), SimTime::from_ms(2500));
        assert_eq!(clocks.when_monotonic(SimTime::from_ms(2500)), SimTime::from_ms(1000));
    }

    #[test]
    fn a_step_moves_the_wall_clock_and_not_the_monotonic_one() {
        let mut clocks = Clocks::RIGHT;
        clocks.step_wall(-3_000_000);
        assert_eq!(clocks.wall(SimTime::from_ms(1)), WallTime(-2_000_000));
        assert_eq!(clocks.monotonic(SimTime::from_ms(1)), SimTime::from_ms(1));
    }

    #[test]
    fn when_is_the_first_instant_at_which_the_clock_shows_that_much() {
        let mut clocks = Clocks::RIGHT;
        clocks.set_rate(SimTime::ZERO, ClockRate(333_333));
        for shown in [1, 2, 1000, 123_457] {
            let when = clocks.when_monotonic(SimTime::from_ns(shown));
            assert!(SimTime::from_ns(shown) <= clocks.monotonic(when));
            let before = SimTime::from_ns(when.as_ns() - 1);
            assert!(clocks.monotonic(before) < SimTime::from_ns(shown));
        }
    }

    #[test]
    fn a_clock_that_stands_still_never_gets_there() {
        let mut clocks = Clocks::RIGHT;
        clocks.set_rate(SimTime::ZERO, ClockRate(0));
        assert_eq!(clocks.when_monotonic(SimTime::from_ns(1)), SimTime::END);
    }
}
