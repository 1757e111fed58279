//! Exponential and normal draws, mostly at the price of a multiplication.
//!
//! The area under the density is cut into 256 layers of equal area, each a rectangle but for its
//! right end. A draw takes a layer and a place in it. In 98 to 99 of 100 cases that place lies
//! where the density covers the layer above as well, and is the answer; else the density decides,
//! and in the lowest layer the tail beyond it is drawn apart (Marsaglia and Tsang, "The Ziggurat
//! Method for Generating Random Variables", 2000).
//!
//! Layer and place are different bits of one word: the original takes them from the same ones,
//! which shows (Doornik, "An Improved Ziggurat Method to Generate Normal Random Samples", 2005).
//! The tables are computed by `libm` on first use. So are the rare cases. Both give the same bits
//! on every platform.

use std::f64::consts::{FRAC_1_SQRT_2, FRAC_PI_2};
use std::sync::LazyLock;

use crate::kernel::rng::{Rng, unit_of};

/// Exponential with mean 1.
#[inline]
pub(super) fn exponential(rng: &mut Rng) -> f64 {
    // What is left beyond a point is exponential again.
    let tail = |rng: &mut Rng| EXPONENTIAL_END + rng.exponential_by_inversion();
    EXPONENTIAL.draw(rng, exponential_density, tail).0
}

/// Normal with mean 0 and variance 1.
#[inline]
pub(super) fn normal(rng: &mut Rng) -> f64 {
    let (distance, word) = NORMAL.draw(rng, normal_density, normal_tail);
    if word & SIGN_BIT == 0 { distance } else { -distance }
}

struct Layers {
    /// Where each layer ends on the right, from the lowest up; the lowest as wide as its area
    /// demands, with its tail folded in. One more stands for the top, where nothing is left.
    ends: [f64; LAYER_COUNT + 1],
    /// The density there.
    densities: [f64; LAYER_COUNT + 1],
}

impl Layers {
    /// Layers of a falling `density` with the given inverse, the lowest of which ends at `end`,
    /// from where on an area of `tail_area` is left.
    fn new(
        end: f64,
        tail_area: f64,
        density: impl Fn(f64) -> f64,
        inverse: impl Fn(f64) -> f64,
    ) -> Self {
        let area = end * density(end) + tail_area;
        let mut ends = [0.0; LAYER_COUNT + 1];
        ends[0] = area / density(end);
        ends[1] = end;
        for layer in 2..LAYER_COUNT {
            let below = ends[layer - 1];
            ends[layer] = inverse(density(below) + area / below);
        }
        Self { densities: ends.map(density), ends }
    }

    /// A draw from the right half, and the word that it comes from, whose [`SIGN_BIT`] is free.
    #[inline]
    fn draw(
        &self,
        rng: &mut Rng,
        density: impl Fn(f64) -> f64,
        tail: impl Fn(&mut Rng) -> f64,
    ) -> (f64, u64) {
        loop {
            let word = rng.word();
            let layer = word as usize % LAYER_COUNT;
            let place = unit_of(word) * self.ends[layer];
            if place < self.ends[layer + 1] {
                return (place, word);
            }
            if let Some(decided) = self.decide(layer, place, rng, &density, &tail) {
                return (decided, word);
            }
        }
    }

    /// The rare cases, out of the way: `None` where the place is rejected.
    #[cold]
    fn decide(
        &self,
        layer: usize,
        place: f64,
        rng: &mut Rng,
        density: impl Fn(f64) -> f64,
        tail: impl Fn(&mut Rng) -> f64,
    ) -> Option<f64> {
        if layer == 0 {
            return Some(tail(rng));
        }
        let (low, high) = (self.densities[layer], self.densities[layer + 1]);
        (low + (high - low) * rng.unit() < density(place)).then_some(place)
    }
}

fn exponential_density(x: f64) -> f64 {
    libm::exp(-x)
}

fn normal_density(x: f64) -> f64 {
    libm::exp(-0.5 * x * x)
}

/// The normal beyond [`NORMAL_END`] (Marsaglia, "Generating a Variable from the Tail of the Normal
/// Distribution", 1964).
fn normal_tail(rng: &mut Rng) -> f64 {
    loop {
        let beyond = rng.exponential_by_inversion() / NORMAL_END;
        if beyond * beyond < 2.0 * rng.exponential_by_inversion() {
            return NORMAL_END + beyond;
        }
    }
}

static EXPONENTIAL: LazyLock<Layers> = LazyLock::new(|| {
    let tail_area = exponential_density(EXPONENTIAL_END);
    Layers::new(EXPONENTIAL_END, tail_area, exponential_density, |y| -libm::log(y))
});

static NORMAL: LazyLock<Layers> = LazyLock::new(|| {
    let tail_area = libm::sqrt(FRAC_PI_2) * libm::erfc(NORMAL_END * FRAC_1_SQRT_2);
    Layers::new(NORMAL_END, tail_area, normal_density, |y| libm::sqrt(-2.0 * libm::log(y)))
});

const LAYER_COUNT: usize = 256;
/// The lowest bit that chooses neither the layer nor, from the twelfth on, the place.
const SIGN_BIT: u64 = 1 << 8;
// Where the lowest layer has to end for the highest to fit under the peak, from section 3 of
// Marsaglia and Tsang.
const EXPONENTIAL_END: f64 = 7.697_117_470_131_05;
const NORMAL_END: f64 = 3.654_152_885_361_009;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::Seed;

    const DRAW_COUNT: u32 = 1_000_000;

    /// Asserts that a count which is binomial with chance `p` is what it should be, within 4.5
    /// standard deviations: one seed in 150,000 would fail.
    fn assert_count(what: &str, count: u32, p: f64) {
        let expected = f64::from(DRAW_COUNT) * p;
        let deviation = libm::sqrt(expected * (1.0 - p));
        let distance = (f64::from(count) - expected).abs();
        assert!(distance < 4.5 * deviation, "{what}: {count}, expected {expected}");
    }

    /// Asserts that `probability_below` of the draws is uniform, by counts in 128 equal parts.
    fn assert_distribution(draws: &[f64], probability_below: impl Fn(f64) -> f64) {
        const PART_COUNT: usize = 128;
        let mut counts = [0_u32; PART_COUNT];
        for &draw in draws {
            let part = (probability_below(draw) * PART_COUNT as f64) as usize;
            counts[part.min(PART_COUNT - 1)] += 1;
        }
        let expected = f64::from(DRAW_COUNT) / PART_COUNT as f64;
        let squares =
            counts.map(|count| (f64::from(count) - expected) * (f64::from(count) - expected));
        let chi_square = squares.iter().sum::<f64>() / expected;
        let freedom = PART_COUNT as f64 - 1.0;
        let distance = (chi_square - freedom).abs() / libm::sqrt(2.0 * freedom);
        assert!(distance < 4.5, "chi-square {chi_square} with {freedom} degrees of freedom");
    }

    fn draws(draw: impl Fn(&mut Rng) -> f64) -> Vec<f64> {
        let mut rng = Seed(7).stream("draws", "test");
        (0..DRAW_COUNT).map(|_| draw(&mut rng)).collect()
    }

    fn count(draws: &[f64], is_counted: impl Fn(f64) -> bool) -> u32 {
        draws.iter().filter(|draw| is_counted(**draw)).count() as u32
    }

    fn moment(draws: &[f64], power: impl Fn(f64) -> f64) -> f64 {
        draws.iter().map(|draw| power(*draw)).sum::<f64>() / f64::from(DRAW_COUNT)
    }

    #[test]
    fn all_layers_have_the_same_area_and_the_highest_ends_at_the_peak() {
        for layers in [&*EXPONENTIAL, &*NORMAL] {
            let area = layers.ends[0] * layers.densities[1];
            for layer in 1..LAYER_COUNT {
                let height = layers.densities[layer + 1] - layers.densities[layer];
                let distance = (layers.ends[layer] * height - area).abs();
                assert!(distance < 1e-13, "layer {layer} is off by {distance}");
            }
        }
    }

    #[test]
    fn exponential_draws_are_exponential() {
        for draws in [draws(exponential), draws(Rng::exponential_by_inversion)] {
            assert_distribution(&draws, |x| -libm::expm1(-x));
            for x in [0.01, 0.1, 1.0, 3.0, 7.0, 7.8, 9.0] {
                assert_count(&format!("above {x}"), count(&draws, |draw| x < draw), libm::exp(-x));
            }
            // The n-th moment is n!, and its estimate has the variance (2n)! - n!² over the count.
            assert!((moment(&draws, |x| x) - 1.0).abs() < 4.5e-3);
            assert!((moment(&draws, |x| x * x) - 2.0).abs() < 4.5 * 4.48e-3);
        }
    }

    #[test]
    fn normal_draws_are_normal() {
        let draws = draws(normal);
        let probability_below = |x: f64| 0.5 * libm::erfc(-x * FRAC_1_SQRT_2);
        assert_distribution(&draws, probability_below);
        for x in [0.0, 0.01, 0.3, 1.0, 2.0, 3.0, 3.7, 4.0] {
            let p = probability_below(-x);
            assert_count(&format!("above {x}"), count(&draws, |draw| x < draw), p);
            assert_count(&format!("below -{x}"), count(&draws, |draw| draw < -x), p);
        }
        // The variances of the estimates: 1, 3 - 1, 15 and 105 - 9, over the count.
        assert!(moment(&draws, |x| x).abs() < 4.5e-3);
        assert!((moment(&draws, |x| x * x) - 1.0).abs() < 4.5 * 1.42e-3);
        assert!(moment(&draws, |x| x * x * x).abs() < 4.5 * 3.88e-3);
        assert!((moment(&draws, |x| x * x * x * x) - 3.0).abs() < 4.5 * 9.8e-3);
    }
}
