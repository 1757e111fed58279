//! Simulated time, in whole nanoseconds. No floating point, no wall clock.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};
use std::str::FromStr;

use crate::kernel::decimal::{scaled, split_quantity};

/// An instant on the simulated clock: nanoseconds since the run began.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SimTime(u64);

/// A length of simulated time, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SimDuration(u64);

impl SimTime {
    /// The instant at which a run begins.
    pub const ZERO: Self = Self(0);
    /// The end of time: 584 years. Nothing falls due then.
    pub const END: Self = Self(u64::MAX);

    /// The instant `ns` nanoseconds after the run began.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// The instant `ms` milliseconds after the run began.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// Nanoseconds since the run began.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// Seconds since the run began; for output, not for decisions.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// How long after `earlier` this is; zero where it is not after it.
    pub const fn since(self, earlier: Self) -> SimDuration {
        SimDuration(self.0.saturating_sub(earlier.0))
    }

    /// The first instant at or after this that is a whole number of `step` from the beginning; this
    /// itself where `step` is nothing.
    pub const fn round_up(self, step: SimDuration) -> Self {
        match step.0 {
            0 => self,
            step => Self(self.0.div_ceil(step).saturating_mul(step)),
        }
    }
}

impl SimDuration {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// For ever.
    pub const MAX: Self = Self(u64::MAX);

    /// `ns` nanoseconds.
    pub const fn from_ns(ns: u64) -> Self {
        Self(ns)
    }

    /// `us` microseconds.
    pub const fn from_us(us: u64) -> Self {
        Self(us * 1_000)
    }

    /// `ms` milliseconds.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms * 1_000_000)
    }

    /// `secs` seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs * 1_000_000_000)
    }

    /// `ns` nanoseconds, rounded to a whole number; zero where negative, the most where too large.
    pub fn from_ns_f64(ns: f64) -> Self {
        // A float-to-integer cast saturates, and turns NaN into 0: the same on every platform.
        Self((ns + 0.5) as u64)
    }

    /// In nanoseconds.
    pub const fn as_ns(self) -> u64 {
        self.0
    }

    /// In seconds; for output, not for decisions.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e9
    }

    /// In milliseconds; for output, not for decisions.
    pub fn as_ms_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// `count` times as long, or for ever.
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// This long times `numerator / denominator`, rounded down, or for ever.
    pub const fn scale(self, numerator: u64, denominator: u64) -> Self {
        // Nodes at full speed scale all that they do: no division for them.
        if numerator == denominator {
            return self;
        }
        let scaled = self.0 as u128 * numerator as u128 / denominator as u128;
        Self(if scaled > u64::MAX as u128 { u64::MAX } else { scaled as u64 })
    }
}

/// Saturates at [`SimTime::END`], at which nothing happens.
impl Add<SimDuration> for SimTime {
    type Output = Self;

    fn add(self, rhs: SimDuration) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl Add for SimDuration {
    type Output = Self;

    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl AddAssign for SimDuration {
    fn add_assign(&mut self, rhs: Self) {
        *self = *self + rhs;
    }
}

/// Saturates at zero.
impl Sub for SimDuration {
    type Output = Self;

    fn sub(self, rhs: Self) -> Self {
        Self(self.0.saturating_sub(rhs.0))
    }
}

/// Reads what a scenario writes: a number and a unit, as in `250us`, `1.5ms`, `30s`, `2m` or `1h`.
impl FromStr for SimDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            "expected a duration with a unit, such as \"500us\", \"20ms\", \"5s\" or \"2m\""
                .to_owned()
        };
        let (whole, fraction, unit) = split_quantity(text).ok_or_else(wrong)?;
        let ns_per_unit = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return Err(wrong()),
        };
        scaled(whole, fraction, ns_per_unit)
            .map(Self)
            .ok_or_else(|| "expected a whole number of nanoseconds, at most 584 years".to_owned())
    }
}

/// In the largest unit of which there is at least one, exactly: reading it gives the same again.
impl fmt::Display for SimDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ns_per_unit, decimals, unit) = match self.0 {
            0..1_000 => return write!(f, "{}ns", self.0),
            1_000..1_000_000 => (1_000, 3, "us"),
            1_000_000..1_000_000_000 => (1_000_000, 6, "ms"),
            _ => (1_000_000_000, 9, "s"),
        };
        let fraction = format!("{:0decimals$}", self.0 % ns_per_unit);
        let fraction = fraction.trim_end_matches('0');
        let point = if fraction.is_empty() { "" } else { "." };
        write!(f, "{}{point}{fraction}{unit}", self.0 / ns_per_unit)
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        SimDuration(self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_up_finds_the_next_multiple_and_leaves_one_where_it_is() {
        let step = SimDuration::from_ms(50);
        assert_eq!(SimTime::from_ms(50).round_up(step), SimTime::from_ms(50));
        assert_eq!(SimTime::from_ns(50_000_001).round_up(step), SimTime::from_ms(100));
        assert_eq!(SimTime::from_ms(7).round_up(SimDuration::ZERO), SimTime::from_ms(7));
        assert_eq!(SimTime::END.round_up(step), SimTime::END);
    }

    #[test]
    fn durations_are_read_exactly() {
        for (text, ns) in [
            ("0s", 0),
            ("7ns", 7),
            ("250us", 250_000),
            ("1.5ms", 1_500_000),
            ("30s", 30_000_000_000),
            ("2m", 120_000_000_000),
            ("0.000000001s", 1),
        ] {
            assert_eq!(text.parse(), Ok(SimDuration(ns)), "{text}");
        }
    }

    #[test]
    fn durations_are_shown_exactly_in_the_unit_that_fits() {
        for (ns, text) in [
            (0, "0ns"),
            (999, "999ns"),
            (1_000, "1us"),
            (1_500_000, "1.5ms"),
            (60_000_000_000, "60s"),
            (1_500_000_001, "1.500000001s"),
            (u64::MAX, "18446744073.709551615s"),
        ] {
            assert_eq!(SimDuration(ns).to_string(), text);
            assert_eq!(text.parse(), Ok(SimDuration(ns)));
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in
            ["", "5", "ms", "-5ms", "5 parsecs", "0.5ns", "1e3s", "NaN", "600y", "99999999999h"]
        {
            assert!(text.parse::<SimDuration>().is_err(), "{text}");
        }
    }

    #[test]
    fn time_saturates_at_its_end() {
        assert_eq!(SimTime::END + SimDuration::from_ns(1), SimTime::END);
    }
}
