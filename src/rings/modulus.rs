//! The remainder of a division by the same number again and again, by multiplication.
//!
//! With M = floor((2⁶⁴ - 1) / d), the high word of w · M is the quotient w / d or one less: what is
//! lost is w · (2⁶⁴ - d · M) / (d · 2⁶⁴), and the bracket is d at most. So one correction makes it
//! exact (Granlund and Montgomery, "Division by Invariant Integers using Multiplication", PLDI
//! 1994), in half the time of a division.

/// A divisor and its reciprocal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Modulus {
    // Invariant: not 0.
    divisor: u64,
    reciprocal: u64,
}

impl Modulus {
    /// Division by `divisor`, which is not 0.
    #[inline]
    pub(super) fn new(divisor: u64) -> Self {
        assert!(divisor != 0, "nothing is divided by nothing");
        Self { divisor, reciprocal: u64::MAX / divisor }
    }

    /// `word` modulo the divisor.
    #[inline]
    pub(super) fn of(self, word: u64) -> u64 {
        let quotient = ((u128::from(word) * u128::from(self.reciprocal)) >> 64) as u64;
        let rest = word.wrapping_sub(quotient.wrapping_mul(self.divisor));
        // Less than twice the divisor: the quotient is not more than one too small.
        if rest < self.divisor { rest } else { rest - self.divisor }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rings::hash::mix;

    #[test]
    fn it_is_the_remainder() {
        let edges = [0, 1, 2, 3, 65_536, 65_537, 1 << 32, 1 << 63, u64::MAX - 1, u64::MAX];
        let words = || edges.into_iter().chain((0..1000).map(mix));
        for divisor in words().chain(1..200).filter(|divisor| *divisor != 0) {
            for around in [0, divisor, divisor.wrapping_mul(7)] {
                for word in words() {
                    for word in [word, around, around.wrapping_sub(1), around.wrapping_add(word)] {
                        let found = Modulus::new(divisor).of(word);
                        assert_eq!(found, word % divisor, "{word} modulo {divisor}");
                    }
                }
            }
        }
    }
}
