//! How numbers are shown: in a unit that fits the column, with the digits that mean something.

use crate::record::Unit;
use crate::record::statistics::Estimate;

/// The unit and the precision of a column, an axis or a single number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Scale {
    divisor: f64,
    /// The unit as it is written behind a number or in a head: `ms`, `%`, or nothing.
    pub(super) suffix: &'static str,
    decimals: usize,
    is_whole: bool,
}

/// Digits of the greatest number of a column, at most.
const DIGITS_OF_ESTIMATES: i32 = 4;
/// Digits of a number in a sentence or on an axis.
const DIGITS_OF_VALUES: i32 = 3;
const DECIMALS_MAX: usize = 6;

impl Scale {
    /// The scale that fits `values` of `unit`.
    pub(super) fn of(unit: Unit, values: &[f64]) -> Self {
        let single = |&mean: &f64| Estimate { mean, low: mean, high: mean, n: 1, exact: false };
        Self::fitting(unit, &values.iter().map(single).collect::<Vec<_>>(), DIGITS_OF_VALUES)
    }

    /// The scale that fits `estimates` of `unit`: all in one unit, with as many decimals as the
    /// narrowest interval among them deserves.
    pub(super) fn of_estimates(unit: Unit, estimates: &[Estimate]) -> Self {
        Self::fitting(unit, estimates, DIGITS_OF_ESTIMATES)
    }

    fn fitting(unit: Unit, estimates: &[Estimate], digits: i32) -> Self {
        let means = estimates.iter().map(|e| e.mean.abs()).filter(|mean| mean.is_finite());
        let greatest = means.clone().fold(0.0, f64::max);
        let (divisor, suffix) = divisor(unit, greatest);
        let is_whole = matches!(unit, Unit::Count | Unit::Bytes)
            && divisor.total_cmp(&1.0).is_eq()
            && estimates.iter().all(|e| {
                let is_sure = e.exact || !e.has_interval();
                is_sure && (e.mean.fract() == 0.0 || !e.mean.is_finite())
            });
        let ceiling = decimals(greatest / divisor, digits);
        let deserved = estimates.iter().map(|e| {
            let half_width = (e.high - e.low) / 2.0;
            if half_width.is_finite() && 0.0 < half_width {
                decimals_of_spread(half_width / divisor)
            } else {
                decimals_that_count(e.mean / divisor, ceiling)
            }
        });
        let decimals = if is_whole { 0 } else { deserved.max().unwrap_or(0).min(ceiling) };
        Self { divisor, suffix, decimals, is_whole }
    }

    /// The scale of an axis with `ticks` that are `step` apart: all with the decimals of a step.
    #[cfg(feature = "charts")]
    pub(super) fn of_axis(unit: Unit, ticks: &[f64], step: f64) -> Self {
        let scale = Self::of(unit, ticks);
        let decimals = decimals_that_count(step / scale.divisor, DECIMALS_MAX);
        Self { decimals, is_whole: true, ..scale }
    }

    /// `value` without its unit.
    pub(super) fn show(&self, value: f64) -> String {
        if value.is_nan() {
            return "–".to_owned();
        }
        if value.is_infinite() {
            return if 0.0 < value { "∞" } else { "-∞" }.to_owned();
        }
        let scaled = value / self.divisor;
        // A number far below the others of its column must not be rounded away.
        let own = if self.is_whole || scaled == 0.0 { 0 } else { decimals(scaled.abs(), 2) };
        let decimals = self.decimals.max(if own <= self.decimals + 1 { 0 } else { own });
        if DECIMALS_MAX < decimals || 1e15 <= scaled.abs() {
            return format!("{scaled:.1e}");
        }
        let shown = format!("{scaled:.decimals$}");
        let is_zero = shown.bytes().all(|b| matches!(b, b'-' | b'0' | b'.'));
        grouped(if is_zero { shown.trim_start_matches('-') } else { &shown })
    }

    /// `value` with its unit: `1.5 ms`, `2 %`, `812/s`.
    pub(super) fn show_with_unit(&self, value: f64) -> String {
        let gap = if self.suffix.is_empty() || self.suffix.starts_with('/') { "" } else { " " };
        format!("{}{gap}{}", self.show(value), self.suffix)
    }

    /// What follows the mean of `estimate`: `±0.02`; nothing where all seeds agree; `±?` where
    /// there is but one.
    pub(super) fn show_spread(&self, estimate: &Estimate) -> String {
        if estimate.exact {
            return String::new();
        }
        if !estimate.has_interval() {
            return "±?".to_owned();
        }
        let half_width = (estimate.high - estimate.low) / 2.0;
        if !half_width.is_finite() {
            return "±∞".to_owned();
        }
        let fixed = format!("{:.*}", self.decimals, half_width / self.divisor);
        format!("±{}", grouped(&fixed))
    }
}

/// `value` of `unit` by itself, with its unit.
pub(super) fn show(unit: Unit, value: f64) -> String {
    Scale::of(unit, &[value]).show_with_unit(value)
}

/// Values of `unit`, each with its unit, and with so many digits that those which differ are seen
/// to.
pub(super) fn show_apart(unit: Unit, values: &[f64]) -> Vec<String> {
    const DECIMALS_OF_A_DOUBLE: usize = 17;
    let mut scale = Scale::of(unit, values);
    let plain: Vec<String> = values.iter().map(|&value| scale.show_with_unit(value)).collect();
    let are_apart = |shown: &[String]| {
        let pairs = (0..values.len()).flat_map(|b| (0..b).map(move |a| (a, b)));
        pairs
            .into_iter()
            .all(|(a, b)| values[a].to_bits() == values[b].to_bits() || shown[a] != shown[b])
    };
    if are_apart(&plain) {
        return plain;
    }
    let gap = if scale.suffix.is_empty() || scale.suffix.starts_with('/') { "" } else { " " };
    while scale.decimals < DECIMALS_OF_A_DOUBLE {
        scale.decimals += 1;
        let show = |value: &f64| {
            format!("{:.*}{gap}{}", scale.decimals, value / scale.divisor, scale.suffix)
        };
        let shown: Vec<String> = values.iter().map(show).collect();
        if are_apart(&shown) {
            return shown;
        }
    }
    plain
}

/// How many times: `1.02`, `10.0`, to three digits.
pub(super) fn show_times(value: f64) -> String {
    if !value.is_finite() {
        return Scale::of(Unit::Ratio, &[value]).show(value);
    }
    let decimals = decimals(value.abs(), 3).min(4);
    grouped(&format!("{value:.decimals$}"))
}

/// The interval of a ratio to the same digits: `1.28 .. 1.34`. `None` where it says no more than
/// the ratio itself.
pub(super) fn show_times_interval(estimate: &Estimate) -> Option<String> {
    let decimals = decimals(estimate.mean.abs(), 3).min(4);
    let [mean, low, high] =
        [estimate.mean, estimate.low, estimate.high].map(|end| format!("{end:.decimals$}"));
    (low != mean || high != mean).then(|| format!("{low} .. {high}"))
}

fn divisor(unit: Unit, greatest: f64) -> (f64, &'static str) {
    let pick = |steps: &[(f64, &'static str)]| {
        let fits = |&&(size, _): &&(f64, &str)| size <= greatest;
        steps.iter().find(fits).or(steps.last()).copied().unwrap_or((1.0, ""))
    };
    match unit {
        Unit::Count | Unit::Ratio => (1.0, ""),
        Unit::Share => (0.01, "%"),
        Unit::PerSecond => (1.0, "/s"),
        Unit::Nanoseconds => pick(&[(1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns")]),
        Unit::Bytes => pick(&[
            (1_099_511_627_776.0, "TiB"),
            (1_073_741_824.0, "GiB"),
            (1_048_576.0, "MiB"),
            (1024.0, "KiB"),
            (1.0, "B"),
        ]),
    }
}

/// How many decimals show `digits` digits of `value`.
fn decimals(value: f64, digits: i32) -> usize {
    if value <= 0.0 || !value.is_finite() {
        return 0;
    }
    usize::try_from(digits - 1 - magnitude(value)).unwrap_or(0)
}

/// How many decimals `value` has, up to `ceiling`, without noughts at the end.
fn decimals_that_count(value: f64, ceiling: usize) -> usize {
    let shown = format!("{value:.ceiling$}");
    shown.split_once('.').map_or(0, |(_, decimals)| decimals.trim_end_matches('0').len())
}

/// How many decimals a number deserves that is uncertain by `half_width`: two digits of the
/// uncertainty where they are 10 to 35, one where they are more (the rule of the Particle Data
/// Group, Review of Particle Physics, section 5.3).
fn decimals_of_spread(half_width: f64) -> usize {
    let two = decimals(half_width, 2);
    let mut leading = half_width;
    while leading < 10.0 {
        leading *= 10.0;
    }
    while 100.0 <= leading {
        leading /= 10.0;
    }
    if leading <= 35.4 { two } else { two.saturating_sub(1) }
}

/// The power of ten of the first digit of `value`, which is positive and finite.
fn magnitude(mut value: f64) -> i32 {
    // No logarithm: that of 1000 may come out just below 3.
    let mut magnitude = 0;
    while 10.0 <= value {
        value /= 10.0;
        magnitude += 1;
    }
    while value < 1.0 {
        value *= 10.0;
        magnitude -= 1;
    }
    magnitude
}

/// `number` with a comma before every third digit from 10,000 up.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_once('.').map_or((number, ""), |(whole, rest)| (whole, rest));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut shown = sign.to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if 5 <= digits.len() && 0 < index && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    if !rest.is_empty() {
        shown.push('.');
        shown.push_str(rest);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(mean: f64, half_width: f64) -> Estimate {
        Estimate { mean, low: mean - half_width, high: mean + half_width, n: 32, exact: false }
    }

    fn column(unit: Unit, estimates: &[Estimate]) -> (&'static str, Vec<String>) {
        let scale = Scale::of_estimates(unit, estimates);
        let show = |e: &Estimate| format!("{} {}", scale.show(e.mean), scale.show_spread(e));
        (scale.suffix, estimates.iter().map(|e| show(e).trim().to_owned()).collect())
    }

    #[test]
    fn what_differs_is_shown_to() {
        for (values, shown) in [
            ([0.095, 0.096], ["9.5 %", "9.6 %"]),
            ([0.095_002, 0.095_004], ["9.5002 %", "9.5004 %"]),
            ([0.5, 0.5], ["50 %", "50 %"]),
        ] {
            assert_eq!(show_apart(Unit::Share, &values), shown);
        }
    }

    #[test]
    fn a_column_has_one_unit_and_the_decimals_that_its_intervals_deserve() {
        let exact = Estimate { exact: true, ..estimate(2_000_000.0, 0.0) };
        for (unit, estimates, suffix, shown) in [
            (
                Unit::Nanoseconds,
                vec![estimate(12_345_678.0, 320_000.0), exact],
                "ms",
                vec!["12.35 ±0.32", "2.00"],
            ),
            (Unit::Nanoseconds, vec![estimate(12_345_678.0, 3_200_000.0)], "ms", vec!["12.3 ±3.2"]),
            (Unit::Share, vec![estimate(0.909_1, 0.000_2)], "%", vec!["90.91 ±0.02"]),
            (
                Unit::Ratio,
                vec![estimate(10.04, 0.1), estimate(0.001_2, 0.000_1)],
                "",
                vec!["10.04 ±0.10", "0.0012 ±0.00"],
            ),
            (Unit::PerSecond, vec![estimate(812_345.4, 1200.0)], "/s", vec!["812,345 ±1200"]),
            (Unit::Count, vec![Estimate { exact: true, ..estimate(3.0, 0.0) }], "", vec!["3"]),
            (Unit::Count, vec![estimate(3.0, 1.0)], "", vec!["3.0 ±1.0"]),
            (Unit::Bytes, vec![estimate(1536.0, 0.0)], "KiB", vec!["1.5 ±0.0"]),
            (Unit::Count, vec![estimate(0.0, 0.0)], "", vec!["0 ±0"]),
        ] {
            assert_eq!(
                column(unit, &estimates),
                (suffix, shown.iter().map(ToString::to_string).collect())
            );
        }
    }

    #[test]
    fn what_is_no_ordinary_number_is_shown_as_what_it_is() {
        let endless =
            Estimate { mean: f64::INFINITY, low: 1.0, high: f64::INFINITY, n: 3, exact: false };
        assert_eq!(column(Unit::Ratio, &[endless]).1, ["∞ ±∞"]);
        assert_eq!(Scale::of(Unit::Ratio, &[f64::NAN]).show(f64::NAN), "–");
        assert_eq!(Scale::of(Unit::Ratio, &[1.0]).show(-0.000_000_1), "-1.0e-7");
        assert_eq!(Scale::of(Unit::Ratio, &[1.25]).show(-0.0), "0.00");
        assert_eq!(Scale::of(Unit::Ratio, &[1e300]).show(1e300), "1.0e300");
        let single = Estimate { n: 1, ..estimate(1.5, 0.0) };
        assert_eq!(column(Unit::Ratio, &[single]).1, ["1.5 ±?"]);
    }

    #[test]
    fn single_numbers_carry_their_unit() {
        assert_eq!(show(Unit::Nanoseconds, 1_500_000.0), "1.5 ms");
        assert_eq!(show(Unit::PerSecond, 812.0), "812/s");
        assert_eq!(show(Unit::Share, 0.5), "50 %");
        assert_eq!(show_times(10.04), "10.0");
        assert_eq!(show_times(1.016), "1.02");
        assert_eq!(show_times(12_345.6), "12,346");
    }
}
