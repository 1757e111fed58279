//! Quantities that hold for a while: exact integrals over virtual time, and their course.

use crate::kernel::time::{SimDuration, SimTime};

/// Steps of equal length from the start of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Steps {
    pub(crate) length: SimDuration,
    pub(crate) count: usize,
}

impl Steps {
    /// As many steps as a picture can show, over all of `span`.
    pub(crate) fn over(span: SimDuration) -> Self {
        const SHOWN: u64 = 240;
        let length = SimDuration::from_ns(span.as_ns().div_ceil(SHOWN).max(1));
        let count = span.as_ns().div_ceil(length.as_ns()).max(1) as usize;
        Self { length, count }
    }

    /// In which step `at` lies; the last one has no end.
    pub(super) fn index(&self, at: SimTime) -> usize {
        ((at.as_ns() / self.length.as_ns()) as usize).min(self.count - 1)
    }
}

/// A whole number that changes at instants.
#[derive(Clone, Debug)]
pub(super) struct Gauge {
    value: u64,
    since: SimTime,
    window: (SimTime, SimTime),
    /// Sums of value times nanoseconds: within the window, and within each step.
    area: u128,
    max: u64,
    peak: u64,
    steps: Steps,
    areas: Vec<u128>,
}

impl Gauge {
    pub(super) fn new(window: (SimTime, SimTime), steps: Steps) -> Self {
        Self {
            value: 0,
            since: SimTime::ZERO,
            window,
            area: 0,
            max: 0,
            peak: 0,
            steps,
            areas: vec![0; steps.count],
        }
    }

    /// The value changes at `now`.
    pub(super) fn set(&mut self, value: u64, now: SimTime) {
        self.advance(now);
        self.value = value;
        self.peak = self.peak.max(value);
        if self.window.0 <= now && now < self.window.1 {
            self.max = self.max.max(value);
        }
    }

    pub(super) fn add(&mut self, more: u64, now: SimTime) {
        self.set(self.value + more, now);
    }

    pub(super) fn take(&mut self, less: u64, now: SimTime) {
        assert!(less <= self.value, "less than nothing: {} - {less}", self.value);
        self.set(self.value - less, now);
    }

    pub(super) fn value(&self) -> u64 {
        self.value
    }

    fn advance(&mut self, now: SimTime) {
        if self.since == now {
            return;
        }
        let within = now.min(self.window.1).since(self.since.max(self.window.0));
        self.area += u128::from(self.value) * u128::from(within.as_ns());
        if within != SimDuration::ZERO {
            self.max = self.max.max(self.value);
        }
        if 0 < self.value {
            let (first, last) = (self.steps.index(self.since), self.steps.index(now));
            for index in first..=last {
                let begin = SimTime::ZERO + self.steps.length.times(index as u64);
                let end = if index == last { now } else { begin + self.steps.length };
                let part = end.since(begin.max(self.since));
                self.areas[index] += u128::from(self.value) * u128::from(part.as_ns());
            }
        }
        self.since = now;
    }

    /// The mean over the window, by time.
    pub(super) fn mean(&mut self, now: SimTime) -> f64 {
        self.advance(now);
        let window_ns = self.window.1.since(self.window.0).as_ns().max(1);
        self.area as f64 / window_ns as f64
    }

    /// The most within the window.
    pub(super) fn max(&self) -> u64 {
        self.max
    }

    /// The most in the whole run.
    pub(super) fn peak(&self) -> u64 {
        self.peak
    }

    /// The sum of value times nanoseconds from the start to `now`.
    pub(super) fn area_until(&mut self, now: SimTime) -> u128 {
        self.advance(now);
        self.areas.iter().sum()
    }

    /// The mean in each step.
    pub(super) fn course(&mut self, now: SimTime) -> Vec<f64> {
        self.advance(now);
        let length_ns = self.steps.length.as_ns() as f64;
        self.areas.iter().map(|&area| area as f64 / length_ns).collect()
    }
}

/// How often something happens in each step.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    steps: Steps,
    counts: Vec<u64>,
}

impl Pulse {
    pub(super) fn new(steps: Steps) -> Self {
        Self { steps, counts: vec![0; steps.count] }
    }

    pub(super) fn beat(&mut self, now: SimTime) {
        self.counts[self.steps.index(now)] += 1;
    }

    /// How often a second in each step.
    pub(super) fn course(&self) -> Vec<f64> {
        let length_s = self.steps.length.as_secs_f64();
        self.counts.iter().map(|&count| count as f64 / length_s).collect()
    }
}

/// Count, sum and sum of squares.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Moments {
    /// How many values.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub sum_of_squares: f64,
}

impl Moments {
    pub(super) fn add(&mut self, value: f64) {
        self.count += 1;
        self.sum += value;
        self.sum_of_squares += value * value;
    }

    /// Their mean; 0 where there are none.
    pub fn mean(&self) -> f64 {
        if self.count == 0 { 0.0 } else { self.sum / self.count as f64 }
    }

    /// Their variance; 0 where there are none.
    pub fn variance(&self) -> f64 {
        if self.count == 0 {
            return 0.0;
        }
        let mean = self.mean();
        (self.sum_of_squares / self.count as f64 - mean * mean).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integrals_are_exact_and_end_with_the_window() {
        let ms = SimTime::from_ms;
        let steps = Steps { length: SimDuration::from_ms(10), count: 5 };
        let mut gauge = Gauge::new((ms(10), ms(40)), steps);
        gauge.add(3, ms(5));
        gauge.add(1, ms(20));
        gauge.take(4, ms(45));
        // 3 for 10 ms and 4 for 20 ms, of 30.
        assert!((gauge.mean(ms(50)) - 110.0 / 30.0).abs() < 1e-12);
        assert_eq!((gauge.max(), gauge.peak(), gauge.value()), (4, 4, 0));
        assert_eq!(gauge.course(ms(50)), [1.5, 3.0, 4.0, 4.0, 2.0]);
    }

    #[test]
    fn a_value_before_the_window_counts_as_its_maximum_if_it_lasts_into_it() {
        let ms = SimTime::from_ms;
        let mut gauge = Gauge::new((ms(10), ms(40)), Steps::over(SimDuration::from_ms(50)));
        gauge.set(9, ms(1));
        gauge.set(2, ms(11));
        assert_eq!(gauge.max(), 9);
    }
}
