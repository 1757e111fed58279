//! ChaCha with 8 rounds, as a table of blocks: block n of a key is a function of both, and of
//! nothing else (Bernstein, "ChaCha, a variant of Salsa20", 2008; counter of 64 bits, nonce zero).
//!
//! Why not a crate's: the quick ones work on four blocks at a time, and so hold 256 bytes of words
//! to come. A simulation has tens of thousands of streams, each drawn from now and then, and what
//! a draw costs is the cache lines that it touches. Here a stream takes two of them.

/// Words of a block.
pub(super) const BLOCK_WORDS: usize = 8;

type Row = [u32; 4];

/// Block number `block` under `key`.
pub(super) fn block(key: &[u32; 8], block: u64) -> [u64; BLOCK_WORDS] {
    let [k0, k1, k2, k3, k4, k5, k6, k7] = *key;
    let start: [Row; 4] = [
        // "expand 32-byte k"
        [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574],
        [k0, k1, k2, k3],
        [k4, k5, k6, k7],
        [block as u32, (block >> 32) as u32, 0, 0],
    ];
    let [mut a, mut b, mut c, mut d] = start;
    for _ in 0..DOUBLE_ROUNDS {
        quarter_rounds(&mut a, &mut b, &mut c, &mut d);
        // The diagonals become columns, and again.
        b.rotate_left(1);
        c.rotate_left(2);
        d.rotate_left(3);
        quarter_rounds(&mut a, &mut b, &mut c, &mut d);
        b.rotate_right(1);
        c.rotate_right(2);
        d.rotate_right(3);
    }
    let mut words = [0; BLOCK_WORDS];
    for (row, (end, start)) in [a, b, c, d].iter().zip(&start).enumerate() {
        for half in 0..2 {
            let [low, high] = [2 * half, 2 * half + 1].map(|i| end[i].wrapping_add(start[i]));
            words[2 * row + half] = (u64::from(high) << 32) | u64::from(low);
        }
    }
    words
}

/// A quarter round in each column.
#[inline]
fn quarter_rounds(a: &mut Row, b: &mut Row, c: &mut Row, d: &mut Row) {
    step(a, b, d, 16);
    step(c, d, b, 12);
    step(a, b, d, 8);
    step(c, d, b, 7);
}

#[inline]
fn step(sum: &mut Row, addend: &Row, turned: &mut Row, bits: u32) {
    for column in 0..4 {
        sum[column] = sum[column].wrapping_add(addend[column]);
        turned[column] = (turned[column] ^ sum[column]).rotate_left(bits);
    }
}

const DOUBLE_ROUNDS: u32 = 4;

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_chacha::rand_core::{Rng as _, SeedableRng};

    use super::*;

    #[test]
    fn blocks_are_those_of_the_reference_crate() {
        for first in [0_u8, 1, 200] {
            let seed: [u8; 32] = std::array::from_fn(|i| first.wrapping_mul(31) ^ i as u8);
            let key = std::array::from_fn(|i| {
                u32::from_le_bytes([4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3].map(|i| seed[i]))
            });
            let mut reference = ChaCha8Rng::from_seed(seed);
            for number in (0..9).chain([u64::from(u32::MAX), 1 << 32, (1 << 40) + 5]) {
                reference.set_word_pos(u128::from(number) * 16);
                let expected = [(); BLOCK_WORDS].map(|()| reference.next_u64());
                assert_eq!(block(&key, number), expected, "block {number}");
            }
        }
    }
}
