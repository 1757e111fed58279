//! Which partition a record goes to.

/// The hash by which Kafka's clients place keys: Appleby's MurmurHash2 of 32 bits with Kafka's seed,
/// and signed, as Java has it (`org.apache.kafka.common.utils.Utils.murmur2`).
pub const fn murmur2(bytes: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let (words, rest) = bytes.as_chunks::<4>();
    let mut at = 0;
    while at < words.len() {
        let word = u32::from_le_bytes(words[at]).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ (word ^ (word >> 24)).wrapping_mul(M);
        at += 1;
    }
    if !rest.is_empty() {
        let mut left = rest.len();
        while 0 < left {
            left -= 1;
            hash ^= (rest[left] as u32) << (8 * left);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    (hash ^ (hash >> 15)).cast_signed()
}

/// The partition among `count` of a record with this key (`BuiltInPartitioner.partitionForKey`: the
/// sign bit is masked away, `Utils.toPositive`).
pub const fn partition_of(key: &[u8], count: u32) -> u32 {
    (murmur2(key) & 0x7fff_ffff).cast_unsigned() % count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_the_java_client() {
        // `UtilsTest.testMurmur2`.
        assert_eq!(murmur2(b"21"), -973_932_308);
        assert_eq!(murmur2(b"foobar"), -790_332_482);
        assert_eq!(murmur2(b"a-little-bit-long-string"), -985_981_536);
        assert_eq!(murmur2(b"abc"), 479_470_107);
    }

    #[test]
    fn a_negative_hash_gives_a_partition_all_the_same() {
        assert_eq!(partition_of(b"21", 7), 3);
        assert_eq!(partition_of(b"a-little-bit-long-string", 12), 8);
    }
}
