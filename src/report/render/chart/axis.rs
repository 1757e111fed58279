//! From numbers to places on the paper, and the ticks between.

use crate::record::Unit;
use crate::report::quantity::Scale;

/// A stretch of numbers that can be drawn: finite, rising, not empty, and positive where it is
/// logarithmic.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_logarithmic: bool,
    /// Where its ticks stand, in its own numbers, and what is written there.
    pub(super) ticks: Vec<(f64, String)>,
}

impl Axis {
    /// An axis over exactly `low..=high`. `None` where that cannot be drawn: plotters would draw
    /// nonsense without a word, or, with an infinite end, never return.
    pub(super) fn checked(low: f64, high: f64, is_logarithmic: bool) -> Option<Self> {
        if !low.is_finite() || !high.is_finite() || high < low || (is_logarithmic && low <= 0.0) {
            return None;
        }
        let (low, high) = match (low < high, is_logarithmic) {
            (true, _) => (low, high),
            (false, true) => (low / 2.0, high * 2.0),
            (false, false) => {
                let margin = if low == 0.0 { 1.0 } else { low.abs() / 2.0 };
                (low - margin, high + margin)
            }
        };
        // At the ends of the range of numbers the margins above may have left it.
        let is_sound = low < high && (high - low).is_finite() && (!is_logarithmic || 0.0 < low);
        is_sound.then_some(Self { low, high, is_logarithmic, ticks: Vec::new() })
    }

    /// A linear axis for `values` of `unit`: with zero, unless all of them lie far from it.
    pub(super) fn linear(values: &[f64], unit: Unit) -> Option<Self> {
        let (least, greatest) = span(values)?;
        let low = if 0.0 <= least && least < 0.4 * greatest { 0.0 } else { least };
        let low = if greatest <= 0.0 { least } else { low };
        let mut axis = Self::checked(low, greatest, false)?;
        if low == 0.0 && greatest <= 0.0 {
            // There is nothing below nothing.
            axis.low = 0.0;
        }
        let step = nice_step_of(unit, (axis.high - axis.low) / 4.0);
        let first = (axis.low / step).floor();
        let last = (axis.high / step).ceil();
        let count = (last - first) as usize;
        let ticks: Vec<f64> = (0..=count.min(12)).map(|i| (first + i as f64) * step).collect();
        let scale = Scale::of_axis(unit, &ticks, step);
        let mut axis = Self::checked(first * step, last * step, false)?;
        axis.ticks = ticks.iter().map(|&tick| (tick, scale.show_with_unit(tick))).collect();
        Some(axis)
    }

    /// A logarithmic axis for the positive ones of `values` of `unit`.
    pub(super) fn logarithmic(values: &[f64], unit: Unit) -> Option<Self> {
        let positive: Vec<f64> = values.iter().copied().filter(|value| 0.0 < *value).collect();
        let (least, greatest) = span(&positive)?;
        let axis = Self::checked(least, greatest, true)?;
        if unit == Unit::Bytes {
            return axis.with_powers_of_two();
        }
        let first = floor_log10(axis.low);
        let last = floor_log10(axis.high) + 1;
        let decades = last - first;
        // Over many decades only their beginnings are written, and over very many some of those.
        let (within, every): (&[f64], i32) = match decades {
            ..=3 => (&[1.0, 2.0, 5.0], 1),
            4..=8 => (&[1.0], 1),
            _ => (&[1.0], decades / 8 + 1),
        };
        let mut marks: Vec<f64> = Vec::new();
        for decade in (first..=last).step_by(usize::try_from(every).unwrap_or(1)) {
            marks.extend(within.iter().map(|digit| digit * libm::pow(10.0, f64::from(decade))));
        }
        // The axis ends at the marks just outside of the values.
        let below = marks.iter().copied().rfind(|mark| *mark <= axis.low).unwrap_or(axis.low);
        let above = marks.iter().copied().find(|mark| axis.high <= *mark).unwrap_or(axis.high);
        let mut axis = Self::checked(below, above, true)?;
        let scale_of = |tick: f64| Scale::of(unit, &[tick]).show_with_unit(tick);
        axis.ticks = (marks.into_iter())
            .filter(|mark| axis.low <= *mark && *mark <= axis.high)
            .map(|mark| (mark, scale_of(mark)))
            .collect();
        Some(axis)
    }

    /// A logarithmic axis of bytes, of which 1024 are a KiB: it ends at powers of two, and has a
    /// tick at each second, fourth ... of them.
    fn with_powers_of_two(self) -> Option<Self> {
        let power = |exponent: i32| libm::pow(2.0, f64::from(exponent));
        let first = libm::floor(libm::log2(self.low)) as i32;
        let last = libm::ceil(libm::log2(self.high)) as i32;
        let mut axis = Self::checked(power(first), power(last), true)?;
        // Not more than eight, and 10 powers are the same digits in the next unit.
        let every = [1, 2, 5, 10].into_iter().find(|every| last - first <= 8 * every);
        let every = every.unwrap_or((last - first) / 8 + 1);
        let from = first.div_euclid(every) + i32::from(first.rem_euclid(every) != 0);
        axis.ticks = (from..=last.div_euclid(every))
            .map(|index| power(index * every))
            .map(|tick| (tick, Scale::of(Unit::Bytes, &[tick]).show_with_unit(tick)))
            .collect();
        Some(axis)
    }

    /// The same axis with other ticks; those outside are left out.
    pub(super) fn with_ticks(mut self, ticks: Vec<(f64, String)>) -> Self {
        self.ticks = ticks;
        self.ticks.retain(|(at, _)| self.low <= *at && *at <= self.high);
        self
    }

    /// Where on the axis `value` stands, from 0 to 1; values outside stand at its ends.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = if self.is_logarithmic {
            let value = value.max(self.low);
            (libm::log(value) - libm::log(self.low)) / (libm::log(self.high) - libm::log(self.low))
        } else {
            (value - self.low) / (self.high - self.low)
        };
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }
}

/// The least and the greatest of the finite ones of `values`.
fn span(values: &[f64]) -> Option<(f64, f64)> {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let least = finite.clone().min_by(f64::total_cmp)?;
    let greatest = finite.max_by(f64::total_cmp)?;
    Some((least, greatest))
}

/// A round step of `unit`, at least `rough`: for bytes one that is round in KiB, MiB and so on.
fn nice_step_of(unit: Unit, rough: f64) -> f64 {
    let mut size = 1.0;
    if unit == Unit::Bytes {
        while 1024.0 * size <= rough {
            size *= 1024.0;
        }
        // Between 512 and 1024 of a unit, half of the next is as round as it gets.
        let step = nice_step(rough / size);
        return if 500.0 < step { 1024.0 * size } else { step.max(1.0) * size };
    }
    nice_step(rough)
}

/// 1, 2, 2.5 or 5 times a power of ten, at least `rough`.
pub(super) fn nice_step(rough: f64) -> f64 {
    let power = libm::pow(10.0, f64::from(floor_log10(rough)));
    let fits = [1.0, 2.0, 2.5, 5.0, 10.0].iter().map(|digit| digit * power);
    fits.clone().find(|step| rough <= *step).unwrap_or(10.0 * power)
}

fn floor_log10(value: f64) -> i32 {
    if !value.is_finite() || value <= 0.0 {
        return 0;
    }
    // Rounding may put 1000 just below 3; the check repairs it.
    let guess = libm::floor(libm::log10(value)) as i32;
    if libm::pow(10.0, f64::from(guess + 1)) <= value { guess + 1 } else { guess }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|(_, label)| label.as_str()).collect()
    }

    #[test]
    fn what_cannot_be_drawn_is_refused() {
        for (low, high, is_logarithmic) in [
            (0.0, f64::INFINITY, false),
            (f64::NEG_INFINITY, 0.0, false),
            (f64::NAN, 1.0, false),
            (0.0, f64::NAN, false),
            (1.0, 0.0, false),
            (0.0, 1.0, true),
            (-1.0, 1.0, true),
            (f64::MIN, f64::MAX, false),
        ] {
            assert_eq!(Axis::checked(low, high, is_logarithmic), None, "{low} .. {high}");
        }
        assert_eq!(Axis::linear(&[], Unit::Count), None);
        assert_eq!(Axis::linear(&[f64::NAN, f64::INFINITY], Unit::Count), None);
        assert_eq!(Axis::logarithmic(&[0.0, -1.0], Unit::Count), None);
    }

    #[test]
    fn an_empty_stretch_is_widened() {
        for value in [0.0, 5.0, -5.0, 1e-300] {
            let axis = Axis::linear(&[value, value], Unit::Ratio).unwrap();
            assert!(axis.low < axis.high, "{value}");
        }
        assert!(Axis::logarithmic(&[7.0], Unit::Nanoseconds).is_some());
    }

    #[test]
    fn ticks_are_round_and_written_alike() {
        let axis = Axis::linear(&[0.0, 0.92], Unit::Share).unwrap();
        assert_eq!(labels(&axis), ["0 %", "25 %", "50 %", "75 %", "100 %"]);
        let axis = Axis::linear(&[0.91, 1.17], Unit::Ratio).unwrap();
        assert_eq!(labels(&axis), ["0.9", "1.0", "1.1", "1.2"]);
        let axis = Axis::logarithmic(&[3e5, 4e7], Unit::Nanoseconds).unwrap();
        assert_eq!(
            labels(&axis),
            ["200 µs", "500 µs", "1 ms", "2 ms", "5 ms", "10 ms", "20 ms", "50 ms"]
        );
        let axis = Axis::logarithmic(&[1e-200, 1e200], Unit::Ratio).unwrap();
        assert!(axis.ticks.len() < 20, "{}", axis.ticks.len());
    }

    #[test]
    fn bytes_are_round_in_binary_units() {
        let axis = Axis::logarithmic(&[41.0, 50_000.0], Unit::Bytes).unwrap();
        assert_eq!(labels(&axis), ["64 B", "256 B", "1 KiB", "4 KiB", "16 KiB", "64 KiB"]);
        let axis = Axis::linear(&[0.0, 7_000.0], Unit::Bytes).unwrap();
        assert_eq!(labels(&axis), ["0 KiB", "2 KiB", "4 KiB", "6 KiB", "8 KiB"]);
        let axis = Axis::linear(&[0.0, 2_500.0], Unit::Bytes).unwrap();
        assert_eq!(labels(&axis), ["0 KiB", "1 KiB", "2 KiB", "3 KiB"]);
    }

    #[test]
    fn what_never_happens_has_an_axis_from_zero_up() {
        assert_eq!(Axis::linear(&[0.0, 0.0], Unit::Count).unwrap().low.to_bits(), 0);
    }

    #[test]
    fn values_have_their_place_and_strays_stay_at_the_ends() {
        let axis = Axis::checked(1.0, 100.0, true).unwrap();
        for (value, place) in [(1.0, 0.0), (10.0, 0.5), (100.0, 1.0), (1e9, 1.0), (-1.0, 0.0)] {
            assert!((axis.place(value) - place).abs() < 1e-12, "{value}");
        }
        assert!(axis.place(f64::NAN).abs() < 1e-12);
    }
}
