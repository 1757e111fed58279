//! The hash functions: a free axis of every experiment with rings.
//!
//! A [`Hasher`] is a function and the seed of a run. It answers three questions, in a way that is
//! fixed for each function: the hash of some bytes; the hash of the same bytes under a *salt*, for
//! placements that need several; and a new hash from an old one, for those that draw again and
//! again. Functions without a seed of their own give the same answers under every seed.

use md5::{Digest as _, Md5};
use sha2::Sha256;
use siphasher::sip::SipHasher24;
use xxhash_rust::xxh3::xxh3_64_with_seed;
use xxhash_rust::xxh32::{Xxh32, xxh32};
use xxhash_rust::xxh64::xxh64;

crate::config! {
    /// A hash function.
    pub enum HashKind {
        /// XXH3, 64 bits, seeded (xxHash 0.8).
        "xxh3" => Xxh3,
        /// XXH64, seeded (xxHash 0.8).
        "xxh64" => Xxh64,
        /// XXH32, seeded with 32 bits; a salt is appended to the bytes, as SUPSI's tool does.
        "xxh32" => Xxh32,
        /// MurmurHash3 x86, 32 bits, seeded (Appleby, SMHasher).
        "murmur3_32" => Murmur3X86,
        /// MurmurHash3 x64, the first 64 of 128 bits, seeded (Appleby, SMHasher).
        "murmur3_128" => Murmur3X64,
        /// SipHash-2-4 (Aumasson and Bernstein 2012): the salt is the first key word, the seed
        /// the second.
        "sip24" => Sip24,
        /// FNV-1a, 64 bits, as it is: weak on short keys, and that can be seen.
        "fnv1a" => Fnv1a,
        /// FNV-1a, 64 bits, and the finaliser of MurmurHash3 after it.
        "fnv1a_mixed" => Fnv1aMixed,
        /// The first eight bytes of MD5, little-endian.
        "md5" => Md5,
        /// The first four bytes of MD5, little-endian, as clients of memcached take them.
        "md5_32" => Md5Short,
        /// The first eight bytes of SHA-256, big-endian.
        "sha256" => Sha256,
        /// CRC-16/XMODEM, as Redis Cluster uses it: 16 bits.
        "crc16" => Crc16,
        /// CRC-32C (iSCSI): 32 bits.
        "crc32c" => Crc32c,
        /// The key is a number already, in decimal, or several with `:` between, for those that
        /// need salted hashes; what is none is hashed with XXH3.
        "identity" => Identity,
    }
}

/// A hash function and the seed of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Hasher {
    kind: HashKind,
    seed: u64,
}

impl Hasher {
    /// The function `kind` under `seed`; seed 0 is the function as its authors publish it.
    pub const fn new(kind: HashKind, seed: u64) -> Self {
        Self { kind, seed }
    }

    /// The hash of `bytes`, in as many low bits as the function has.
    #[inline]
    pub fn of(&self, bytes: &[u8]) -> u64 {
        self.salted(bytes, 0)
    }

    /// The hash of `bytes` under `salt`; salt 0 is [`of`](Self::of).
    #[inline]
    pub fn salted(&self, bytes: &[u8], salt: u64) -> u64 {
        let seed = self.seed ^ salt.wrapping_mul(GOLDEN);
        match self.kind {
            // Straight there: the way past suffixes and digests costs as much as the hash of a
            // short key (`cargo run --release --manifest-path benches/peers/Cargo.toml`).
            HashKind::Xxh3 => xxh3_64_with_seed(bytes, seed),
            _ => self.salted_otherwise(bytes, salt),
        }
    }

    fn salted_otherwise(&self, bytes: &[u8], salt: u64) -> u64 {
        let seed = self.seed ^ salt.wrapping_mul(GOLDEN);
        let mut room = [0; 8];
        let suffix = suffix(salt, &mut room);
        match self.kind {
            HashKind::Xxh3 => xxh3_64_with_seed(bytes, seed),
            HashKind::Xxh64 => xxh64(bytes, seed),
            HashKind::Xxh32 if salt == 0 => xxh32(bytes, self.seed as u32).into(),
            HashKind::Xxh32 => {
                let mut state = Xxh32::new(self.seed as u32);
                state.update(bytes);
                state.update(&(salt as u32).to_be_bytes());
                state.digest().into()
            }
            HashKind::Murmur3X86 => murmur3_x86_32(bytes, seed as u32).into(),
            HashKind::Murmur3X64 => murmur3_x64_128(bytes, seed as u32, Tail::Unsigned).0,
            HashKind::Sip24 => SipHasher24::new_with_keys(salt, self.seed).hash(bytes),
            HashKind::Fnv1a => fnv1a(bytes.iter().chain(suffix)),
            HashKind::Fnv1aMixed => mix(fnv1a(bytes.iter().chain(suffix))),
            HashKind::Md5 | HashKind::Md5Short => {
                let digest = Md5::new().chain_update(bytes).chain_update(suffix);
                let word = u64::from_le_bytes(first_eight(&digest.finalize()));
                if self.kind == HashKind::Md5 { word } else { word & 0xffff_ffff }
            }
            HashKind::Sha256 => {
                let digest = Sha256::new().chain_update(bytes).chain_update(suffix);
                u64::from_be_bytes(first_eight(&digest.finalize()))
            }
            HashKind::Crc16 => {
                let mut digest = CRC_16.digest();
                digest.update(bytes);
                digest.update(suffix);
                digest.finalize().into()
            }
            HashKind::Crc32c => {
                let mut digest = CRC_32C.digest();
                digest.update(bytes);
                digest.update(suffix);
                digest.finalize().into()
            }
            HashKind::Identity => {
                let numbers = || std::str::from_utf8(bytes).ok().map(|text| text.split(':'));
                let number = |index: u64| numbers()?.nth(index as usize)?.parse().ok();
                number(salt.min(bytes.len() as u64)).unwrap_or_else(|| {
                    let first = number(0).unwrap_or_else(|| xxh3_64_with_seed(bytes, 0));
                    mix(first ^ salt.wrapping_mul(GOLDEN))
                })
            }
        }
    }

    /// The hash of several stretches of bytes, one after the other.
    pub fn joined(&self, parts: &[&[u8]]) -> u64 {
        let mut room = [0; 256];
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if room.len() < length {
            return self.of(&parts.concat());
        }
        let mut filled = 0;
        for part in parts {
            room[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        }
        self.of(&room[..filled])
    }

    /// A new hash from `word`, which is one already, under `salt`. A mixer does as well there as
    /// a hash of strings, and faster; XXH32 alone goes its own way, SUPSI's, so that the answers
    /// of that tool can be had.
    #[inline]
    pub fn again(&self, word: u64, salt: u64) -> u64 {
        match self.kind {
            HashKind::Xxh32 => {
                let mut bytes = [0; 12];
                bytes[..8].copy_from_slice(&word.to_be_bytes());
                bytes[8..].copy_from_slice(&(salt as u32).to_be_bytes());
                xxh32(&bytes, 0).into()
            }
            _ => mix(word ^ mix(salt.wrapping_add(GOLDEN))),
        }
    }

    /// The `index`-th new hash from `word` under `salt`.
    #[inline]
    pub fn again_at(&self, word: u64, salt: u64, index: u64) -> u64 {
        match self.kind {
            HashKind::Xxh32 => {
                let mut bytes = [0; 16];
                bytes[..8].copy_from_slice(&word.to_be_bytes());
                bytes[8..12].copy_from_slice(&(salt as u32).to_be_bytes());
                bytes[12..].copy_from_slice(&(index as u32).to_be_bytes());
                xxh32(&bytes, 0).into()
            }
            _ => mix(word ^ mix((salt << 32 | index).wrapping_add(GOLDEN))),
        }
    }

    /// A hash of this function moved up into the leading bits of a word, for placements that
    /// read it as a place on a circle of 2⁶⁴.
    #[inline]
    pub const fn spread(&self, hash: u64) -> u64 {
        match self.kind {
            HashKind::Xxh32 | HashKind::Murmur3X86 | HashKind::Md5Short | HashKind::Crc32c => {
                hash << 32
            }
            HashKind::Crc16 => hash << 48,
            _ => hash,
        }
    }

    /// Which function it is.
    pub const fn kind(&self) -> &HashKind {
        &self.kind
    }
}

/// How MurmurHash3 reads the bytes after the last whole block.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Tail {
    /// As numbers from 0 to 255: its author's way.
    Unsigned,
    /// As numbers from -128 to 127: Cassandra's way (its Java translation widened signed bytes).
    Signed,
}

/// The finaliser of MurmurHash3 x64: a bijection of 64-bit words in which every bit of the input
/// moves about half of those of the output (Appleby, SMHasher, `fmix64`).
#[inline]
pub const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

/// The next word of SplitMix64 (Steele, Lea and Flood 2014), which is also a hash of its state.
#[inline]
pub const fn splitmix64(state: u64) -> u64 {
    let word = state.wrapping_add(GOLDEN);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// FNV-1a, 64 bits (Fowler, Noll and Vo).
pub fn fnv1a<'a>(bytes: impl IntoIterator<Item = &'a u8>) -> u64 {
    bytes.into_iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// CRC-16/XMODEM.
pub fn crc16(bytes: &[u8]) -> u16 {
    CRC_16.checksum(bytes)
}

/// MurmurHash3 x86 32 (Appleby, SMHasher, `MurmurHash3_x86_32`).
pub fn murmur3_x86_32(bytes: &[u8], seed: u32) -> u32 {
    let scramble =
        |block: u32| block.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut blocks = bytes.chunks_exact(4);
    let mut hash = seed;
    for block in &mut blocks {
        hash ^= scramble(little_endian(block) as u32);
        hash = hash.rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    hash ^= scramble(little_endian(blocks.remainder()) as u32);
    hash ^= bytes.len() as u32;
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

/// MurmurHash3 x64 128 (Appleby, SMHasher, `MurmurHash3_x64_128`): its two words.
pub fn murmur3_x64_128(bytes: &[u8], seed: u32, tail: Tail) -> (u64, u64) {
    const C1: u64 = 0x87c3_7b91_1142_53d5;
    const C2: u64 = 0x4cf5_ad43_2745_937f;
    let scramble_1 = |word: u64| word.wrapping_mul(C1).rotate_left(31).wrapping_mul(C2);
    let scramble_2 = |word: u64| word.wrapping_mul(C2).rotate_left(33).wrapping_mul(C1);
    let (mut h1, mut h2) = (u64::from(seed), u64::from(seed));
    let mut blocks = bytes.chunks_exact(16);
    for block in &mut blocks {
        h1 ^= scramble_1(little_endian(&block[..8]));
        h1 = h1.rotate_left(27).wrapping_add(h2).wrapping_mul(5).wrapping_add(0x52dc_e729);
        h2 ^= scramble_2(little_endian(&block[8..]));
        h2 = h2.rotate_left(31).wrapping_add(h1).wrapping_mul(5).wrapping_add(0x3849_5ab5);
    }
    let rest = blocks.remainder();
    let (low, high) = rest.split_at(rest.len().min(8));
    let word = |bytes: &[u8]| match tail {
        Tail::Unsigned => little_endian(bytes),
        Tail::Signed => bytes
            .iter()
            .enumerate()
            .fold(0, |word, (index, byte)| word ^ ((*byte as i8 as u64) << (8 * index))),
    };
    h2 ^= scramble_2(word(high));
    h1 ^= scramble_1(word(low));
    h1 ^= bytes.len() as u64;
    h2 ^= bytes.len() as u64;
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (h1, h2) = (mix(h1), mix(h2));
    h1 = h1.wrapping_add(h2);
    h2 = h2.wrapping_add(h1);
    (h1, h2)
}

/// Up to eight bytes as a little-endian number.
fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| (word << 8) | u64::from(*byte))
}

fn first_eight(digest: &[u8]) -> [u8; 8] {
    digest[..8].try_into().expect("a digest is longer than eight bytes")
}

/// What a function without a seed takes in after the bytes: nothing for salt 0.
fn suffix(salt: u64, room: &mut [u8; 8]) -> &[u8] {
    *room = salt.to_be_bytes();
    if salt == 0 { &[] } else { room }
}

/// 2⁶⁴ divided by the golden ratio, odd: spreads small numbers over the word.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
static CRC_16: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_XMODEM);
static CRC_32C: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_give_the_values_that_their_authors_publish() {
        let unseeded = |kind| Hasher::new(kind, 0).of(b"123456789");
        // The check values of the CRC catalogue; RFC 1321 and FIPS 180 digests; the FNV test
        // suite; and `xxhsum` and SMHasher for the others.
        assert_eq!(unseeded(HashKind::Crc16), 0x31c3);
        assert_eq!(unseeded(HashKind::Crc32c), 0xe306_9283);
        assert_eq!(unseeded(HashKind::Xxh32), 0x937b_ad67);
        assert_eq!(unseeded(HashKind::Xxh64), 0x8cb8_41db_40e6_ae83);
        assert_eq!(Hasher::new(HashKind::Xxh3, 0).of(b""), 0x2d06_8005_38d3_94c2);
        assert_eq!(Hasher::new(HashKind::Fnv1a, 0).of(b"foobar"), 0x8594_4171_f739_67e8);
        let empty_md5 = 0xd41d_8cd9_8f00_b204_u64;
        assert_eq!(Hasher::new(HashKind::Md5, 0).of(b""), empty_md5.swap_bytes());
        assert_eq!(Hasher::new(HashKind::Sha256, 0).of(b"abc"), 0xba78_16bf_8f01_cfea);
        assert_eq!(murmur3_x86_32(b"", 1), 0x514e_28b7);
        assert_eq!(murmur3_x86_32(b"test", 0x9747_b28c), 0x704b_81dc);
        assert_eq!(murmur3_x86_32(b"Hello, world!", 0x9747_b28c), 0x2488_4cba);
        assert_eq!(
            murmur3_x64_128(b"The quick brown fox jumps over the lazy dog", 0, Tail::Unsigned),
            (0xe34b_bc7b_bc07_1b6c, 0x7a43_3ca9_c49a_9347)
        );
        assert_eq!(splitmix64(0), 0xe220_a839_7b1d_cdaf);
    }

    #[test]
    fn identity_reads_a_number_and_hashes_what_is_none() {
        let hasher = Hasher::new(HashKind::Identity, 5);
        assert_eq!(hasher.of(b"18446744073709551615"), u64::MAX);
        assert_eq!((hasher.of(b"7:8"), hasher.salted(b"7:8", 1)), (7, 8));
        assert_ne!(hasher.salted(b"7:8", 2), hasher.salted(b"7:8", 3));
        assert_ne!(hasher.of(b"a"), hasher.of(b"b"));
    }

    #[test]
    fn salts_and_words_give_other_hashes_in_every_function() {
        for kind in KINDS {
            let hasher = Hasher::new(kind.clone(), 1);
            assert_eq!(hasher.salted(b"17", 0), hasher.of(b"17"), "{kind:?}");
            assert_ne!(hasher.salted(b"17", 1), hasher.salted(b"17", 2), "{kind:?}");
            assert_ne!(hasher.again(17, 1), hasher.again(17, 2), "{kind:?}");
            assert_ne!(hasher.again(17, 1), hasher.again(18, 1), "{kind:?}");
            assert_ne!(hasher.again_at(17, 1, 0), hasher.again_at(17, 1, 1), "{kind:?}");
        }
    }

    #[test]
    fn places_on_the_circle_use_all_of_it() {
        for kind in KINDS {
            let hasher = Hasher::new(kind.clone(), 1);
            let places = (0..1000).map(|i: u32| hasher.spread(hasher.of(&i.to_le_bytes())));
            let upper_half = places.filter(|place| u64::MAX / 2 < *place).count();
            assert!((300..700).contains(&upper_half), "{kind:?}: {upper_half} of 1000");
        }
    }

    const KINDS: [HashKind; 14] = [
        HashKind::Xxh3,
        HashKind::Xxh64,
        HashKind::Xxh32,
        HashKind::Murmur3X86,
        HashKind::Murmur3X64,
        HashKind::Sip24,
        HashKind::Fnv1a,
        HashKind::Fnv1aMixed,
        HashKind::Md5,
        HashKind::Md5Short,
        HashKind::Sha256,
        HashKind::Crc16,
        HashKind::Crc32c,
        HashKind::Identity,
    ];
}
