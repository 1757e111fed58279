//! Seeded randomness: one seed a run, one independent stream for each purpose of each entity.
//!
//! Words come from ChaCha8, and draws are built from them here, so that no release of a crate can
//! move a result. A stream is opened by what it is for and whom it
//! serves, never by a number in order of creation: so adding a node, or a draw, moves no other
//! stream, and variants of one scenario meet the same arrivals and the same faults.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::kernel::chacha::{self, BLOCK_WORDS};
use crate::kernel::decimal::{scaled, split_quantity};
use crate::kernel::ziggurat;

/// The seed of one run. Equal seed and equal scenario give an equal run.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Seed(pub u64);

/// One stream of random draws, in 104 bytes.
#[derive(Clone, Debug)]
pub struct Rng {
    /// How many words have been taken.
    position: u64,
    /// The block that the next word is from, unless it is the block's first.
    block: [u64; BLOCK_WORDS],
    key: [u32; 8],
}

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
        let digest: [u8; 32] = hash.finalize().into();
        let mut key = [0; 8];
        for (word, bytes) in key.iter_mut().zip(digest.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        Rng { position: 0, block: [0; BLOCK_WORDS], key }
    }
}

impl Rng {
    /// A uniform 64-bit word.
    #[inline]
    pub fn word(&mut self) -> u64 {
        let place = self.position as usize % BLOCK_WORDS;
        if place == 0 {
            self.refill();
        }
        self.position += 1;
        self.block[place]
    }

    #[cold]
    #[inline(never)]
    fn refill(&mut self) {
        self.block = chacha::block(&self.key, self.position / BLOCK_WORDS as u64);
    }

    /// Uniform in `0..bound`, by multiply-and-shift (Lemire 2019; bias below 2⁻⁶⁴ · bound).
    #[inline]
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(0 < bound, "a draw needs a non-empty range");
        ((u128::from(self.word()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in the open interval (0, 1), in steps of 2⁻⁵².
    #[inline]
    pub fn unit(&mut self) -> f64 {
        unit_of(self.word())
    }

    /// True with probability `p`. Takes one draw whatever `p` is.
    #[inline]
    pub fn chance(&mut self, p: Probability) -> bool {
        u128::from(self.word()) < p.threshold
    }

    /// Exponential with mean 1.
    #[inline]
    pub fn exponential(&mut self) -> f64 {
        ziggurat::exponential(self)
    }

    /// Exponential with mean 1, half as slow again as [`exponential`](Self::exponential). Takes one
    /// word, and falls as the word rises: for runs whose draws are to be coupled one to one.
    pub fn exponential_by_inversion(&mut self) -> f64 {
        -libm::log(self.unit())
    }

    /// Normal with mean 0 and variance 1.
    #[inline]
    pub fn normal(&mut self) -> f64 {
        ziggurat::normal(self)
    }

    /// Puts `items` into a random order (Fisher and Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

/// The middle of one of 2⁵² equal parts of the unit interval, chosen by the upper bits of `word`.
///
/// One bit more, and the last middle would be rounded to 1.
#[inline]
pub(super) fn unit_of(word: u64) -> f64 {
    ((word >> 12) as f64 + 0.5) * (1.0 / 4_503_599_627_370_496.0)
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
        const SCALE: u64 = 1_000_000_000_000_000_000;
        let wrong = || {
            "expected a chance from 0 to 1, such as \"1/1000\", \"0.1%\" or \"0.001\"".to_owned()
        };
        if let Some((numerator, denominator)) = text.split_once('/') {
            let numerator = numerator.trim().parse().map_err(|_| wrong())?;
            let denominator = denominator.trim().parse().map_err(|_| wrong())?;
            return Self::ratio(numerator, denominator).ok_or_else(wrong);
        }
        let (whole, fraction, unit) = split_quantity(text).ok_or_else(wrong)?;
        let whole_is = match unit {
            "" => SCALE,
            "%" => SCALE / 100,
            _ => return Err(wrong()),
        };
        scaled(whole, fraction, whole_is)
            .and_then(|numerator| Self::ratio(numerator, SCALE))
            .ok_or_else(wrong)
    }
}

impl fmt::Display for Probability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the draws below were taken from.
    fn stream() -> Rng {
        Seed(1).stream("link delay", "client-3")
    }

    #[test]
    fn a_stream_is_what_it_was() {
        let mut rng = stream();
        // Computed apart: ChaCha8, counter 0, no nonce, keyed with the SHA-256 of seed, length of
        // purpose (8 bytes each, lowest first), purpose and entity.
        let words = [
            0xd049_c1e8_c8ae_a265,
            0x6461_7d0d_1c86_7509,
            0xde59_f2a0_4e99_638e,
            0x2549_fbf0_fedb_7a91,
            0x7997_cbd7_20b5_fa0d,
            0xdfa6_9b16_4bea_94b6,
            0xe1f5_bbb7_0821_4b22,
            0x5468_d7e3_0611_2962,
            0x18b8_6c58_a642_ca61,
            0x3e59_5e04_e6cc_ea4e,
        ];
        assert_eq!([(); 10].map(|()| rng.word()), words);
    }

    #[test]
    fn draws_are_what_they_were_to_the_last_bit() {
        let check = |what: &str, draw: fn(&mut Rng) -> u64, expected: [u64; 4]| {
            let mut rng = stream();
            assert_eq!([(); 4].map(|()| draw(&mut rng)), expected, "{what}");
        };
        check("below", |rng| rng.below(1_000_000), [813_625, 392_112, 868_559, 145_660]);
        check(
            "unit",
            |rng| rng.unit().to_bits(),
            [
                0x3fea_0938_3d19_15d5,
                0x3fd9_185f_4347_219e,
                0x3feb_cb3e_5409_d32d,
                0x3fc2_a4fd_f87f_6dbc,
            ],
        );
        check(
            "exponential",
            |rng| rng.exponential().to_bits(),
            [
                0x3ffa_8252_00e4_9d8e,
                0x4000_40f9_ad85_84c6,
                0x3ff4_dae5_25a6_7b86,
                0x3fcb_5369_0401_df0b,
            ],
        );
        check(
            "inversion",
            |rng| rng.exponential_by_inversion().to_bits(),
            [
                0x3fca_6691_a3e0_bd32,
                0x3fed_f567_0380_a115,
                0x3fc2_099f_0c17_4973,
                0x3ffe_d2db_b2d9_585a,
            ],
        );
        check(
            "normal",
            |rng| rng.normal().to_bits(),
            [
                0x3ff6_72f5_168d_c265,
                0xbff2_68dd_bd85_aa52,
                0xbff4_073e_c854_49df,
                0x3fca_7f1c_672f_bf06,
            ],
        );
        // The rare cases too: a sum over many draws moves if one of them does.
        let many = |draw: fn(&mut Rng) -> f64| {
            let mut rng = stream();
            (0..100_000).map(|_| draw(&mut rng)).sum::<f64>().to_bits()
        };
        assert_eq!(many(Rng::exponential), 0x40f8_7640_66f5_08ae);
        assert_eq!(many(Rng::exponential_by_inversion), 0x40f8_54fb_d9c8_56ab);
        assert_eq!(many(Rng::normal), 0xc08f_4002_ff5f_a6f5);
    }

    #[test]
    fn each_seed_purpose_and_entity_has_its_own_stream() {
        let first = |seed, purpose, entity| Seed(seed).stream(purpose, entity).word();
        let words = [
            first(1, "delay", "a"),
            first(2, "delay", "a"),
            first(1, "loss", "a"),
            first(1, "delay", "b"),
            first(1, "delaya", ""),
            first(1, "", "delaya"),
        ];
        for (index, word) in words.iter().enumerate() {
            assert!(!words[..index].contains(word), "stream {index} is another's");
        }
        assert_eq!(words[0], first(1, "delay", "a"));
    }

    #[test]
    fn the_unit_interval_is_open_on_both_sides() {
        assert_eq!(unit_of(0).to_bits(), (0.5_f64 / (1_u64 << 52) as f64).to_bits());
        assert_eq!(unit_of(u64::MAX).to_bits(), (1.0 - f64::EPSILON / 2.0).to_bits());
    }

    #[test]
    fn all_numbers_below_a_small_bound_are_equally_likely() {
        for bound in [1, 2, 3, 5, 6, 7, 10] {
            let mut rng = Seed(3).stream("below", "test");
            let mut counts = vec![0_u32; bound];
            for _ in 0..100_000 {
                counts[rng.below(bound as u64) as usize] += 1;
            }
            let expected = 100_000.0 / bound as f64;
            for count in counts {
                assert!((f64::from(count) - expected).abs() <= 4.5 * libm::sqrt(expected));
            }
        }
    }

    #[test]
    #[should_panic(expected = "a draw needs a non-empty range")]
    fn nothing_is_below_zero() {
        stream().below(0);
    }

    #[test]
    fn never_is_never_and_always_is_always_at_the_price_of_one_draw() {
        let mut rng = stream();
        for _ in 0..1_000 {
            assert!(!rng.chance(Probability::ZERO));
            assert!(rng.chance(Probability::ONE));
        }
        let mut other = stream();
        for _ in 0..2_000 {
            other.word();
        }
        assert_eq!(rng.word(), other.word());
    }

    #[test]
    fn a_chance_comes_true_as_often_as_it_says() {
        let mut rng = stream();
        let third = Probability::ratio(1, 3).unwrap();
        let count = (0..100_000).filter(|_| rng.chance(third)).count() as f64;
        assert!((count - 100_000.0 / 3.0).abs() < 4.5 * libm::sqrt(100_000.0 * 2.0 / 9.0));
    }

    #[test]
    fn all_orders_of_three_are_equally_likely() {
        let mut rng = Seed(3).stream("shuffle", "test");
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..60_000 {
            let mut items = [0, 1, 2];
            rng.shuffle(&mut items);
            *counts.entry(items).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 6);
        for (order, count) in counts {
            let distance = (f64::from(count) - 10_000.0).abs();
            assert!(distance < 4.5 * libm::sqrt(10_000.0), "{order:?}: {count}");
        }
    }

    #[test]
    fn chances_are_read_exactly() {
        for (text, numerator, denominator) in [
            ("0", 0, 1),
            ("1", 1, 1),
            ("100%", 1, 1),
            ("1/1000", 1, 1_000),
            ("0.1%", 1, 1_000),
            ("0.1 %", 1, 1_000),
            ("0.001", 1, 1_000),
            (" 2 / 3 ", 2, 3),
            ("0.000000000000000001", 1, 1_000_000_000_000_000_000),
        ] {
            let expected = Probability::ratio(numerator, denominator).unwrap();
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_chance_is_refused() {
        for text in ["", "%", "1.1", "101%", "3/2", "0/0", "1/0", "-1", "1e-3", "often", "1/2/3"] {
            let refusal = text.parse::<Probability>().unwrap_err();
            assert!(refusal.starts_with("expected a chance from 0 to 1"), "{text}: {refusal}");
        }
    }

    #[test]
    fn chances_are_shown_as_decimal_numbers() {
        for text in ["0", "1", "0.5", "0.001", "0.9999"] {
            assert_eq!(text.parse::<Probability>().unwrap().to_string(), text);
        }
        assert_eq!(Probability::ratio(1, 3).unwrap().to_string(), "0.3333333333333333");
    }
}
