//! Keys shared out over members by any ring, as a plain table: so the wings that put them to work
//! need know nothing of rings.

use crate::choice::Choice;
use crate::config::Problems;
use crate::kernel::rng::Seed;
use crate::model::placement::Membership;
use crate::rings::{self, BuildError, HashKind, Hasher, VARIANTS};

/// Tells all that is wrong with `ring` for so many members.
pub(super) fn check(ring: &Choice, count: u32, problems: &mut Problems) {
    if let Some(entry) = ring.find("ring", VARIANTS, problems) {
        (entry.check)(ring, &Membership::uniform(count), problems);
    }
}

/// For each of `keys` the number of the member that owns it by `ring` under `seed`, of `count`
/// that are called `node-0`, `node-1` and so on.
///
/// # Errors
/// Where the ring cannot be built.
pub(super) fn owners(
    ring: &Choice,
    count: u32,
    keys: impl IntoIterator<Item = String>,
    seed: Seed,
) -> Result<Vec<u32>, BuildError> {
    let hasher = Hasher::new(HashKind::Xxh3, seed.0);
    let placement = rings::build(ring, &Membership::uniform(count), hasher)?;
    let owner = |key: String| placement.locate(placement.key(key.as_bytes())).0;
    Ok(keys.into_iter().map(owner).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Value, ValueKind};

    fn ring(text: &str) -> Choice {
        let table = Value::parse(&format!("ring = {text}"), 0, &mut Problems::default());
        let ValueKind::Table(fields) = &table.kind else { panic!("a table") };
        Choice::read(fields.get("ring").expect("ring"), &mut Problems::default()).expect("a choice")
    }

    fn keys(count: u32) -> impl Iterator<Item = String> {
        (1..=count).map(|number| format!("lock-{number}"))
    }

    #[test]
    fn every_key_has_one_of_the_members_and_another_seed_shares_them_out_otherwise() {
        for name in ["\"jump\"", "\"maglev\"", "{ rendezvous = {} }"] {
            let of_seed =
                |seed| owners(&ring(name), 8, keys(800), Seed(seed)).expect("it is built");
            let shared = of_seed(1);
            assert_eq!(shared, of_seed(1));
            assert_ne!(shared, of_seed(2));
            let count = |member| shared.iter().filter(|owner| **owner == member).count();
            // 100 each; a member with fewer than 50 or more than 150 has one chance in 10^6.
            assert!((0..8).all(|member| (50..=150).contains(&count(member))), "{name}");
            assert_eq!(shared.len(), 800);
        }
    }

    #[test]
    fn a_ring_that_there_is_not_is_told_of() {
        let mut problems = Problems::default();
        check(&ring("\"jumpp\""), 8, &mut problems);
        assert!(!problems.is_empty());
        let mut problems = Problems::default();
        check(&ring("\"jump\""), 8, &mut problems);
        assert!(problems.is_empty());
    }
}
