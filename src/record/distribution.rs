//! Many values, kept as a histogram: the one address of the `hdrhistogram` crate.

use hdrhistogram::Histogram;

/// The distribution of a non-negative whole quantity, to three significant digits.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    histogram: Histogram<u64>,
}

/// A step of a table of percentiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Percentile {
    /// The value, to three digits.
    pub value: u64,
    /// The share of the values that are this or less, as the step asked for it.
    pub quantile: f64,
    /// How many values that are.
    pub count_to: u64,
}

impl Distribution {
    /// An empty distribution that grows as it must.
    pub fn new() -> Self {
        let histogram = Histogram::new(3).expect("three significant digits are allowed");
        Self { histogram }
    }

    /// Adds a value.
    pub fn add(&mut self, value: u64) {
        self.histogram.record(value).expect("a histogram that resizes takes every value");
    }

    /// Adds a value so many times.
    pub fn add_times(&mut self, value: u64, count: u64) {
        let added = self.histogram.record_n(value, count);
        added.expect("a histogram that resizes takes every value");
    }

    /// Adds all values of `other`. Exact, and the same in any order.
    pub fn merge(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("a histogram that resizes takes every other");
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.histogram.len()
    }

    /// The smallest value whose rank is at least `q` of the count (nearest rank), to three
    /// digits. Zero where there is none.
    pub fn quantile(&self, q: f64) -> u64 {
        self.histogram.value_at_quantile(q)
    }

    /// How many values are greater than `value`, as far as three digits tell.
    pub fn count_above(&self, value: u64) -> u64 {
        self.count() - self.histogram.count_between(0, value)
    }

    /// The largest value, to three digits. Zero where there is none.
    pub fn max(&self) -> u64 {
        self.histogram.max()
    }

    /// The mean of the values, each to three digits.
    pub fn mean(&self) -> f64 {
        self.histogram.mean()
    }

    /// The standard deviation of the values, each to three digits.
    pub fn standard_deviation(&self) -> f64 {
        self.histogram.stdev()
    }

    /// Percentiles up to the largest value, `steps` for each halving of what lies beyond.
    pub fn percentiles(&self, steps: u32) -> impl Iterator<Item = Percentile> + '_ {
        self.histogram.iter_quantiles(steps).scan(0, |count_to, step| {
            *count_to += step.count_since_last_iteration();
            Some(Percentile {
                value: step.value_iterated_to(),
                quantile: step.quantile_iterated_to(),
                count_to: *count_to,
            })
        })
    }

    /// Each recorded value (its bucket's upper end) with its count, in rising order.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
    }
}

impl Default for Distribution {
    fn default() -> Self {
        Self::new()
    }
}
