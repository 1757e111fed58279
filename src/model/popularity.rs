//! Which keys are asked for, and how often.
//!
//! A [`Popularity`] is a law over the ranks `0..count` of keys: rank 0 is the most popular.
//! Analysis asks for the weight of a rank; a simulation draws ranks with a [`KeyPicker`].
//!
//! Uniform and hot-spot ranks are drawn with one word each; Zipf ranks by rejection-inversion
//! (Hörmann and Derflinger, "Rejection-inversion to generate variates from monotone discrete
//! distributions", ACM TOMACS 6(3), 1996): exact for every exponent >= 0, no table, 1.1 draws on
//! average at worst; listed weights by an alias table (Walker 1977; Vose 1991), two words a draw.

use serde_json::{Value as Json, json};

use crate::config::{Config, Problems, Value, within};
use crate::kernel::rng::{Probability, Rng};

crate::config! {
    /// How often each key is asked for.
    pub enum Popularity {
        /// All alike.
        "uniform" => Uniform,
        /// The key of rank r (from 1) with weight r^-exponent.
        "zipf" => Zipf(Exponent),
        /// A few keys share a large part evenly, the others share the rest evenly.
        "hot_spots" => HotSpots(HotSpots),
    }
}

crate::config! {
    /// A few hot keys.
    pub struct HotSpots {
        /// How many keys are hot.
        pub count: u64 = 1 => 1..,
        /// The share of all requests that goes to them together.
        pub share: Probability,
    }
}

/// The exponent of a Zipf law: finite, not negative, at most 20. Zero is uniform.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Exponent(f64);

/// Draws ranks of keys.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyPicker {
    count: u64,
    law: Law,
}

#[derive(Clone, Debug, PartialEq)]
enum Law {
    Uniform,
    HotSpots { hot_count: u64, share: Probability },
    Zipf(RejectionInversion),
    Listed(AliasTable),
}

impl Exponent {
    /// The exponent `value`; `None` where it is out of range.
    pub fn new(value: f64) -> Option<Self> {
        (0.0..=EXPONENT_MAX).contains(&value).then_some(Self(value))
    }

    /// As a number.
    pub const fn as_f64(self) -> f64 {
        self.0
    }
}

impl Config for Exponent {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let number = f64::read(value, problems)?;
        within(number, &(0.0..=EXPONENT_MAX), value.place, problems).map(Self)
    }

    fn schema() -> Json {
        json!({ "type": "number", "minimum": 0, "maximum": EXPONENT_MAX })
    }

    fn write(&self) -> Json {
        json!(self.0)
    }
}

impl Popularity {
    /// The weight of `rank` among `count` keys; ranks count from 0. Weights are relative: divide
    /// by [`weight_total`](Self::weight_total).
    pub fn weight(&self, rank: u64, count: u64) -> f64 {
        assert!(rank < count, "rank {rank} of {count} keys");
        match self {
            Self::Uniform => 1.0,
            Self::Zipf(exponent) => libm::exp(-exponent.0 * libm::log(rank as f64 + 1.0)),
            Self::HotSpots(hot) => {
                let (hot_count, share) = (hot.count.min(count), hot.share.as_f64());
                if hot_count == count {
                    1.0
                } else if rank < hot_count {
                    share / hot_count as f64
                } else {
                    (1.0 - share) / (count - hot_count) as f64
                }
            }
        }
    }

    /// The sum of the weights of `count` keys: one step a key for a Zipf law.
    pub fn weight_total(&self, count: u64) -> f64 {
        match self {
            Self::HotSpots(hot) if hot.count < count => 1.0,
            Self::Uniform | Self::HotSpots(_) => count as f64,
            // The small ones first, which loses the least.
            Self::Zipf(_) => (0..count).rev().map(|rank| self.weight(rank, count)).sum(),
        }
    }
}

impl KeyPicker {
    /// Draws from `popularity` over `count` keys.
    pub fn new(popularity: &Popularity, count: u64) -> Self {
        assert!(0 < count, "there is no key to draw");
        let law = match popularity {
            Popularity::HotSpots(hot) if hot.count < count => {
                Law::HotSpots { hot_count: hot.count, share: hot.share }
            }
            Popularity::Uniform | Popularity::HotSpots(_) => Law::Uniform,
            Popularity::Zipf(exponent) => Law::Zipf(RejectionInversion::new(exponent.0, count)),
        };
        Self { count, law }
    }

    /// Draws rank i with a chance proportional to `weights[i]`. `None` where there is no weight,
    /// where one is negative or not finite, or where all are zero.
    pub fn weighted(weights: &[f64]) -> Option<Self> {
        let law = Law::Listed(AliasTable::new(weights)?);
        Some(Self { count: weights.len() as u64, law })
    }

    /// How many keys there are.
    pub const fn key_count(&self) -> u64 {
        self.count
    }

    /// The rank of the next key asked for.
    pub fn draw(&self, rng: &mut Rng) -> u64 {
        match &self.law {
            Law::Uniform => rng.below(self.count),
            Law::HotSpots { hot_count, share } => {
                if rng.chance(*share) {
                    rng.below(*hot_count)
                } else {
                    hot_count + rng.below(self.count - hot_count)
                }
            }
            Law::Zipf(law) => law.draw(rng),
            Law::Listed(table) => table.draw(rng),
        }
    }
}

/// Zipf ranks by rejection-inversion. The hat is the integral of h(x) = x^-s: a point under it
/// is drawn by inversion and falls to the nearest rank; the few points between the hat and the
/// bars are drawn anew.
#[derive(Clone, Debug, PartialEq)]
struct RejectionInversion {
    exponent: f64,
    count: f64,
    /// The integral up to where the first bar begins, and to the end of the last.
    integral_first: f64,
    integral_last: f64,
    /// So close below its rank, a point is under the bar for sure.
    sure: f64,
}

impl RejectionInversion {
    fn new(exponent: f64, count: u64) -> Self {
        let mut law = Self {
            exponent,
            count: count as f64,
            integral_first: 0.0,
            integral_last: 0.0,
            sure: 0.0,
        };
        law.integral_first = law.integral(1.5) - 1.0;
        law.integral_last = law.integral(law.count + 0.5);
        law.sure = 2.0 - law.integral_inverse(law.integral(2.5) - law.bar(2.0));
        law
    }

    fn draw(&self, rng: &mut Rng) -> u64 {
        loop {
            let u = self.integral_last + rng.unit() * (self.integral_first - self.integral_last);
            let x = self.integral_inverse(u);
            let rank = libm::floor(x + 0.5).clamp(1.0, self.count);
            if rank - x <= self.sure || self.integral(rank + 0.5) - self.bar(rank) <= u {
                return rank as u64 - 1;
            }
        }
    }

    /// x^-s.
    fn bar(&self, x: f64) -> f64 {
        libm::exp(-self.exponent * libm::log(x))
    }

    /// (x^(1-s) - 1) / (1 - s), which is ln x for s = 1.
    fn integral(&self, x: f64) -> f64 {
        let log = libm::log(x);
        expm1_over((1.0 - self.exponent) * log) * log
    }

    fn integral_inverse(&self, x: f64) -> f64 {
        // Below -1 only by rounding.
        let t = (x * (1.0 - self.exponent)).max(-1.0);
        libm::exp(log1p_over(t) * x)
    }
}

/// (e^x - 1) / x, smooth through 0.
fn expm1_over(x: f64) -> f64 {
    if x.abs() < 1e-8 { 1.0 + x * 0.5 } else { libm::expm1(x) / x }
}

/// ln(1 + x) / x, smooth through 0.
fn log1p_over(x: f64) -> f64 {
    if x.abs() < 1e-8 { 1.0 - x * 0.5 } else { libm::log1p(x) / x }
}

/// Ranks with listed weights: each column holds its own rank up to a threshold and one other
/// rank above it.
#[derive(Clone, Debug, PartialEq)]
struct AliasTable {
    columns: Vec<Column>,
}

#[derive(Clone, Debug, PartialEq)]
struct Column {
    own: Probability,
    other: u32,
}

impl AliasTable {
    fn new(weights: &[f64]) -> Option<Self> {
        let total: f64 = weights.iter().sum();
        let are_weights = weights.iter().all(|weight| 0.0 <= *weight);
        let count = u32::try_from(weights.len()).ok()?;
        if !are_weights || !total.is_finite() || total <= 0.0 {
            return None;
        }
        let mut filled: Vec<f64> =
            weights.iter().map(|weight| weight / total * f64::from(count)).collect();
        let mut columns = vec![Column { own: Probability::ONE, other: 0 }; weights.len()];
        let (mut poor, mut rich): (Vec<u32>, Vec<u32>) =
            (0..count).partition(|&rank| filled[rank as usize] < 1.0);
        while let (Some(&from), Some(&to)) = (rich.last(), poor.last()) {
            poor.pop();
            let has = filled[to as usize];
            columns[to as usize] = Column { own: chance(has), other: from };
            filled[from as usize] -= 1.0 - has;
            if filled[from as usize] < 1.0 {
                rich.pop();
                poor.push(from);
            }
        }
        // What is left on either side is full but for rounding. A key of weight 0 is never drawn.
        debug_assert!(poor.iter().all(|&rank| 0.5 < filled[rank as usize]));
        Some(Self { columns })
    }

    fn draw(&self, rng: &mut Rng) -> u64 {
        let column = rng.below(self.columns.len() as u64);
        let entry = &self.columns[column as usize];
        if rng.chance(entry.own) { column } else { entry.other.into() }
    }
}

/// The chance `p`, to 2⁻⁵³.
fn chance(p: f64) -> Probability {
    const STEPS: u64 = 1 << 53;
    Probability::ratio(((p * STEPS as f64) as u64).min(STEPS), STEPS)
        .expect("not more than all of the steps")
}

/// Above it the second key is asked for once in a million requests.
const EXPONENT_MAX: f64 = 20.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::Seed;

    /// Draws, and compares counts with weights: no rank is off by more than five standard errors.
    fn check(picker: &KeyPicker, weight: impl Fn(u64) -> f64) {
        const DRAWS: u32 = 200_000;
        let mut rng = Seed(7).stream("test", "popularity");
        let mut counts = vec![0_u32; picker.key_count() as usize];
        for _ in 0..DRAWS {
            counts[picker.draw(&mut rng) as usize] += 1;
        }
        let total: f64 = (0..picker.key_count()).map(&weight).sum();
        for (rank, &count) in counts.iter().enumerate() {
            let p = weight(rank as u64) / total;
            let expected = p * f64::from(DRAWS);
            let error = libm::sqrt(expected * (1.0 - p));
            assert!(
                (f64::from(count) - expected).abs() <= 5.0 * error + 1e-9,
                "rank {rank}: {count} draws, expected {expected}"
            );
        }
    }

    #[test]
    fn every_law_draws_as_it_weighs() {
        let zipf = |exponent| Popularity::Zipf(Exponent::new(exponent).unwrap());
        let half = Probability::ratio(1, 2).unwrap();
        for law in [
            Popularity::Uniform,
            zipf(0.0),
            zipf(0.5),
            zipf(1.0),
            zipf(1.0 + 1e-12),
            zipf(2.6774),
            zipf(20.0),
            Popularity::HotSpots(HotSpots { count: 3, share: half }),
            Popularity::HotSpots(HotSpots { count: 99, share: half }),
        ] {
            for count in [1, 2, 50] {
                check(&KeyPicker::new(&law, count), |rank| law.weight(rank, count));
            }
        }
    }

    #[test]
    fn listed_weights_are_drawn_as_listed_and_zero_never() {
        let weights = [0.0, 5.0, 0.5, 0.0, 1.0, 3.25, 0.25];
        check(&KeyPicker::weighted(&weights).unwrap(), |rank| weights[rank as usize]);
    }

    #[test]
    fn weights_that_are_none_are_refused() {
        for wrong in [&[][..], &[0.0], &[1.0, -1.0], &[f64::NAN], &[f64::INFINITY, 1.0]] {
            assert_eq!(KeyPicker::weighted(wrong), None, "{wrong:?}");
        }
        assert_eq!(Exponent::new(-0.1), None);
        assert_eq!(Exponent::new(f64::NAN), None);
    }

    #[test]
    fn weights_add_up_to_their_total() {
        let law = Popularity::Zipf(Exponent::new(1.0).unwrap());
        // The 10th harmonic number.
        assert!((law.weight_total(10) - 7381.0 / 2520.0).abs() < 1e-12);
    }
}
