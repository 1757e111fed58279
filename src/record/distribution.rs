//! Many values, kept as a histogram: the one address of the `hdrhistogram` crate.

use std::borrow::Cow;

use hdrhistogram::Histogram;

/// The distribution of a non-negative whole quantity, to three significant digits.
#[derive(Clone, Debug)]
pub struct Distribution {
    values: Values,
}

/// The values, while they come and afterwards.
#[derive(Clone, Debug)]
enum Values {
    /// A counter for each value that there could be: fast to add to, and some 300 kB.
    Growing(Histogram<u64>),
    /// Each value that there was with its count, in rising order.
    Packed(Box<[(u64, u64)]>),
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
        Self { values: Values::Growing(empty()) }
    }

    /// Adds a value.
    pub fn add(&mut self, value: u64) {
        self.add_times(value, 1);
    }

    /// Adds a value so many times.
    pub fn add_times(&mut self, value: u64, count: u64) {
        let added = self.growing().record_n(value, count);
        added.expect("a histogram that resizes takes every value");
    }

    /// Adds all values of `other`. Exact, and the same in any order.
    pub fn merge(&mut self, other: &Self) {
        match &other.values {
            Values::Growing(histogram) => {
                self.growing().add(histogram).expect("a histogram that resizes takes every other");
            }
            Values::Packed(buckets) => {
                buckets.iter().for_each(|&(value, count)| self.add_times(value, count));
            }
        }
    }

    /// Keeps no more than the values that there are, for as long as no other comes: what thousands
    /// of runs leave behind stands in memory together. Changes nothing that can be asked.
    pub fn pack(&mut self) {
        if let Values::Growing(histogram) = &self.values {
            self.values = Values::Packed(buckets_of(histogram).collect());
        }
    }

    #[cfg(test)]
    pub(crate) fn is_packed(&self) -> bool {
        matches!(self.values, Values::Packed(_))
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        match &self.values {
            Values::Growing(histogram) => histogram.len(),
            Values::Packed(buckets) => buckets.iter().map(|&(_, count)| count).sum(),
        }
    }

    /// The smallest value whose rank is at least `q` of the count (nearest rank), to three
    /// digits. Zero where there is none.
    pub fn quantile(&self, q: f64) -> u64 {
        self.histogram().value_at_quantile(q)
    }

    /// How many values are greater than `value`, as far as three digits tell.
    pub fn count_above(&self, value: u64) -> u64 {
        self.count() - self.histogram().count_between(0, value)
    }

    /// The largest value, to three digits. Zero where there is none.
    pub fn max(&self) -> u64 {
        self.histogram().max()
    }

    /// The mean of the values, each to three digits.
    pub fn mean(&self) -> f64 {
        self.histogram().mean()
    }

    /// The standard deviation of the values, each to three digits.
    pub fn standard_deviation(&self) -> f64 {
        self.histogram().stdev()
    }

    /// Percentiles up to the largest value, `steps` for each halving of what lies beyond.
    pub fn percentiles(&self, steps: u32) -> Vec<Percentile> {
        let mut count_to = 0;
        self.histogram()
            .iter_quantiles(steps)
            .map(|step| {
                count_to += step.count_since_last_iteration();
                Percentile {
                    value: step.value_iterated_to(),
                    quantile: step.quantile_iterated_to(),
                    count_to,
                }
            })
            .collect()
    }

    /// Each recorded value (its bucket's upper end) with its count, in rising order.
    pub fn buckets(&self) -> Vec<(u64, u64)> {
        match &self.values {
            Values::Growing(histogram) => buckets_of(histogram).collect(),
            Values::Packed(buckets) => buckets.to_vec(),
        }
    }

    fn histogram(&self) -> Cow<'_, Histogram<u64>> {
        match &self.values {
            Values::Growing(histogram) => Cow::Borrowed(histogram),
            Values::Packed(buckets) => Cow::Owned(unpacked(buckets)),
        }
    }

    fn growing(&mut self) -> &mut Histogram<u64> {
        if let Values::Packed(buckets) = &self.values {
            self.values = Values::Growing(unpacked(buckets));
        }
        let Values::Growing(histogram) = &mut self.values else {
            unreachable!("it was unpacked above")
        };
        histogram
    }
}

impl PartialEq for Distribution {
    fn eq(&self, other: &Self) -> bool {
        self.buckets() == other.buckets()
    }
}

fn empty() -> Histogram<u64> {
    Histogram::new(3).expect("three significant digits are allowed")
}

fn buckets_of(histogram: &Histogram<u64>) -> impl Iterator<Item = (u64, u64)> + '_ {
    histogram.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value()))
}

fn unpacked(buckets: &[(u64, u64)]) -> Histogram<u64> {
    let mut histogram = empty();
    for &(value, count) in buckets {
        histogram.record_n(value, count).expect("a histogram that resizes takes every value");
    }
    histogram
}

impl Default for Distribution {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packed_distribution_answers_as_before_and_grows_again() {
        let values = [0, 1, 999, 123_456, 123_457, 98_765_432_101, u64::MAX / 4];
        let mut growing = Distribution::new();
        for value in values {
            growing.add_times(value, 1 + value % 3);
        }
        let mut packed = growing.clone();
        packed.pack();
        let more = |distribution: &Distribution| {
            let mut sum = Distribution::new();
            sum.add(7);
            sum.merge(distribution);
            sum.buckets()
        };
        let answers = |distribution: &Distribution| {
            let quantiles = [0.0, 0.3, 0.5, 0.99, 1.0].map(|q| distribution.quantile(q));
            let above = values.map(|value| distribution.count_above(value));
            let moments = (distribution.mean(), distribution.standard_deviation());
            let (count, max) = (distribution.count(), distribution.max());
            (quantiles, above, moments, count, max, distribution.percentiles(5))
        };
        assert_eq!(answers(&packed), answers(&growing));
        assert_eq!(more(&packed), more(&growing));
        assert_eq!(packed, growing);
        growing.add(5);
        assert_ne!(packed, growing);
        packed.add(5);
        assert_eq!(packed, growing);
    }
}
