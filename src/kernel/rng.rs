//! Seeded randomness: one seed a run, one independent stream for each purpose of each entity.
//!
//! The only file that names the `rand` crates. Draws are built here from raw words, so that a
//! release of `rand` cannot move a result. A stream is opened by what it is for and whom it
//! serves, never by a number in order of creation: so adding a node, or a draw, moves no other
//! stream, and variants of one scenario meet the same arrivals and the same faults.

use std::fmt;
use std::str::FromStr;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};
use sha2::{Digest, Sha256};

/// The seed of one run. Equal seed and equal scenario give an equal run.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Seed(pub u64);

/// One stream of random draws.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

/// A chance between 0 and 1, exact to 2⁻⁶⁴.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Probability {
    // Invariant: at most 2⁶⁴, which stands for certainty.
    threshold: u128,
}

impl Seed {
    /// Opens the stream for `purpose` of `entity`, such as `("link delay", "client-3")`.
    pub fn stream(self, purpose: &str, entity: &str) -> Rng {
        let mut hash = Sha256::new();
        hash.update(self.0.to_le_bytes());
        hash.update((purpose.len() as u64).to_le_bytes());
        hash.update(purpose.as_bytes());
        hash.update(entity.as_bytes());
        Rng(ChaCha8Rng::from_seed(hash.finalize().into()))
    }
}

impl Rng {
    /// A uniform 64-bit word.
    pub fn word(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `0..bound`, by multiply-and-shift (Lemire 2019; bias below 2⁻⁶⁴ · bound).
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(0 < bound, "a draw needs a non-empty range");
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in the open interval (0, 1), in steps of 2⁻⁵³.
    pub fn unit(&mut self) -> f64 {
        ((self.word() >> 11) as f64 + 0.5) * (1.0 / 9_007_199_254_740_992.0)
    }

    /// True with probability `p`. Takes one draw whatever `p` is.
    pub fn chance(&mut self, p: Probability) -> bool {
        u128::from(self.word()) < p.threshold
    }

    /// Exponential with mean 1.
    pub fn exponential(&mut self) -> f64 {
        -libm::log(self.unit())
    }

    /// Normal with mean 0 and variance 1.
    pub fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    /// Puts `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

impl Probability {
    /// Never.
    pub const ZERO: Self = Self { threshold: 0 };
    /// Always.
    pub const ONE: Self = Self { threshold: 1 << 64 };

    /// The chance `numerator / denominator`. `None` where that is more than 1 or no number.
    pub fn ratio(numerator: u64, denominator: u64) -> Option<Self> {
        (0 < denominator && numerator <= denominator)
            .then(|| Self { threshold: (u128::from(numerator) << 64) / u128::from(denominator) })
    }

    /// As a number; for output, not for decisions.
    pub fn as_f64(self) -> f64 {
        self.threshold as f64 / 18_446_744_073_709_551_616.0
    }
}

/// Reads `1/1000`, `0.1%` or `0.001`.
impl FromStr for Probability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const SCALE: u64 = 1_000_000_000_000;
        let wrong = || {
            "expected a chance from 0 to 1, such as \"1/1000\", \"0.1%\" or \"0.001\"".to_owned()
        };
        if let Some((numerator, denominator)) = text.split_once('/') {
            let numerator = numerator.trim().parse().map_err(|_| wrong())?;
            let denominator = denominator.trim().parse().map_err(|_| wrong())?;
            return Self::ratio(numerator, denominator).ok_or_else(wrong);
        }
        let (whole, fraction, unit) = super::decimal::split_quantity(text).ok_or_else(wrong)?;
        let whole_is = match unit {
            "" => SCALE,
            "%" => SCALE / 100,
            _ => return Err(wrong()),
        };
        super::decimal::scaled(whole, fraction, whole_is)
            .and_then(|numerator| Self::ratio(numerator, SCALE))
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}
