//! JumpBackHash: jump hash from behind, in constant time and whole numbers.
//!
//! It walks the jumps of a key in falling order. A jump into the buckets 2^i to 2^(i+1) - 1 can
//! be drawn from one random word, and whether there is one at all from one bit; so the first of
//! them below n is found after 1.6 draws or so, whatever n is.
//!
//! Ertl, "JumpBackHash: Say Goodbye to the Modulo Operation to Distribute Keys Uniformly to
//! Buckets", Software: Practice and Experience 55(3), 2025 (arXiv 2403.18682), algorithm 3; and the
//! implementation in hash4j. O(1) expected time, no table.

use crate::choice::About;
use crate::model::placement::Key;
use crate::rings::Capabilities;
use crate::rings::hash::{Hasher, splitmix64};
use crate::rings::numbered::{BUCKETS_ONLY, BucketFunction, Removal};

crate::config! {
    /// Where the draws come from.
    pub(super) enum Generator {
        /// SplitMix64: takes a hash of any quality.
        "splitmix64" => SplitMix64,
        /// The hash itself, then Marsaglia's xorshift with 7 and 9: faster, needs a good hash.
        "xorshift" => Xorshift,
    }
}

crate::config! {
    /// Parameters of `jump_back`.
    pub(super) struct JumpBackParams {
        /// Where the draws come from.
        pub generator: Generator = Generator::SplitMix64,
        /// What becomes of the number of a member that leaves.
        pub removal: Removal = Removal::Renumber,
    }
}

/// JumpBackHash.
#[derive(Debug)]
pub(super) struct JumpBack {
    generator: Generator,
}

impl BucketFunction for JumpBack {
    const ABOUT: About = About {
        name: "jump_back",
        summary: "JumpBackHash: jump hash in constant time; only the last node can leave",
        source: "Ertl, Software: Practice and Experience 55(3), 2025 (arXiv 2403.18682)",
        version: "",
    };
    const CAPABILITIES: Capabilities = BUCKETS_ONLY;
    type Params = JumpBackParams;

    fn removal(params: &JumpBackParams) -> Removal {
        params.removal.clone()
    }

    fn steps(_: &JumpBackParams, _: u32) -> f64 {
        1.6
    }

    fn new(params: &JumpBackParams) -> Self {
        Self { generator: params.generator.clone() }
    }

    fn bucket(&self, _: &Hasher, key: Key<'_>, last: u64) -> u64 {
        let count = last as u32 + 1;
        let bucket = match self.generator {
            Generator::SplitMix64 => jump_back(&mut SplitMix64::new(key.hash), count),
            Generator::Xorshift => jump_back(&mut Xorshift::new(key.hash), count),
        };
        bucket.into()
    }
}

/// A stream of random words from one hash.
pub(super) trait Words {
    /// The next word.
    fn next(&mut self) -> u64;
}

/// SplitMix64 from a hash.
pub(super) struct SplitMix64 {
    state: u64,
}

/// Marsaglia's xorshift, which begins with the hash itself.
pub(super) struct Xorshift {
    state: u64,
}

impl SplitMix64 {
    pub(super) fn new(hash: u64) -> Self {
        Self { state: hash }
    }
}

impl Xorshift {
    pub(super) fn new(hash: u64) -> Self {
        Self { state: hash }
    }
}

impl Words for SplitMix64 {
    fn next(&mut self) -> u64 {
        let word = splitmix64(self.state);
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        word
    }
}

impl Words for Xorshift {
    fn next(&mut self) -> u64 {
        let word = self.state;
        self.state ^= self.state << 7;
        self.state ^= self.state >> 9;
        word
    }
}

/// The bucket out of `count`, of which there is one at least, for the key that `words` come from.
pub(super) fn jump_back(words: &mut impl Words, count: u32) -> u32 {
    if count <= 1 {
        return 0;
    }
    let first = words.next();
    // Bit i is set where the key jumps into the buckets from 2^i to 2^(i+1) - 1.
    let mut octaves = (first ^ (first >> 32)) as u32 & (u32::MAX >> (count - 1).leading_zeros());
    while octaves != 0 {
        let octave = 1 << octaves.ilog2();
        let half = first >> (32 * octaves.count_ones() % 64);
        let bucket = octave + (half as u32 & (octave - 1));
        if bucket < count {
            return bucket;
        }
        // Half of the draws say neither, at most. Where all do, the key stays below the octave.
        'draws: for _ in 0..WORDS_MAX {
            let word = words.next();
            for half in [word as u32, (word >> 32) as u32] {
                let bucket = half & (2 * octave - 1);
                if bucket < octave {
                    break 'draws;
                }
                if bucket < count {
                    return bucket;
                }
            }
        }
        octaves ^= octave;
    }
    0
}

/// So many words are drawn for an octave: of two draws each, one key in 10¹⁹ needs more.
const WORDS_MAX: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;

    /// A first word, and 7 for ever: of 5 buckets none, and not below the octave that begins at 4.
    struct Sevens(u64);

    impl Words for Sevens {
        fn next(&mut self) -> u64 {
            std::mem::replace(&mut self.0, 0x0000_0007_0000_0007)
        }
    }

    #[test]
    fn a_stream_that_never_says_where_to_go_ends_in_a_bucket() {
        // A jump into the octave of 4, to 7; and with another one into that of 2, to 3.
        assert_eq!(jump_back(&mut Sevens(0x0000_0003_0000_0007), 5), 0);
        assert_eq!(jump_back(&mut Sevens(0x0000_0001_0000_0007), 5), 3);
    }
}
