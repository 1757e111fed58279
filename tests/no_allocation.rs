//! A look-up allocates nothing: not in any variant, under any hash function, after any history.
//!
//! The counter is `allocation-counter`'s, a global allocator that counts by thread; so what other
//! threads do cannot matter.

use allocation_counter::measure;
use stormglass::choice::Choice;
use stormglass::config::{Config, Problems, Value};
use stormglass::rings::{
    self, CATALOGUE, HashKind, Hasher, Member, MemberId, Membership, Placement,
};

/// Hash functions with different ways through the code: seeded, digested, by table, parsed.
const HASHES: [HashKind; 5] =
    [HashKind::Xxh3, HashKind::Murmur3X64, HashKind::Md5, HashKind::Crc16, HashKind::Identity];

/// Variants whose look-ups take other ways than their defaults do.
const OTHERS: [&str; 5] = [
    "jump = { removal = \"tombstone\" }",
    "rendezvous = { score = \"node_dash_key\" }",
    "bounded_load = { overflow = \"jump\" }",
    "multi_probe = { probing = \"double\" }",
    "straw2 = { mode = \"firstn\" }",
];

fn choices() -> Vec<Choice> {
    let defaults = CATALOGUE.iter().map(|entry| Choice::named(entry.about.name));
    let others = OTHERS.iter().map(|text| {
        let mut problems = Problems::default();
        let value = Value::parse(text, 0, &mut problems);
        Choice::read(&value, &mut problems).unwrap_or_else(|| panic!("{text}: {problems:?}"))
    });
    defaults.chain(others).collect()
}

/// A placement with holes, where the variant can have some: members joined and left.
fn worn(choice: &Choice, kind: &HashKind) -> Box<dyn Placement> {
    let mut members = Membership::uniform(20);
    let hasher = Hasher::new(kind.clone(), 1);
    let build = |members: &Membership| {
        rings::build(choice, members, hasher.clone())
            .unwrap_or_else(|error| panic!("{}: {error}", choice.label()))
    };
    let mut placement = build(&members);
    for leaver in [3, 11, 4, 17] {
        members.remove(MemberId(leaver));
        if placement.remove(MemberId(leaver)).is_err() {
            placement = build(&members);
        }
    }
    let member = Member::named("late");
    let id = members.add(member.clone());
    if placement.add(id, &member).is_err() {
        placement = build(&members);
    }
    placement
}

#[test]
fn a_look_up_allocates_nothing() {
    let keys: Vec<String> = (0..500).map(|index| format!("user:{index}")).collect();
    for choice in choices() {
        for kind in &HASHES {
            let placement = worn(&choice, kind);
            let mut sum = 0;
            let counted = measure(|| {
                for key in &keys {
                    sum += u64::from(placement.locate(placement.key(key.as_bytes())).0);
                }
            });
            assert_eq!(counted.count_total, 0, "{} under {kind:?}", choice.label());
            assert!(0 < sum, "{} under {kind:?}: all keys are on the first node", choice.label());
        }
    }
}

#[test]
fn replicas_allocate_nothing_where_there_is_room_for_them() {
    let mut allocating = Vec::new();
    for choice in choices() {
        let placement = worn(&choice, &HashKind::Xxh3);
        let mut out = Vec::with_capacity(16);
        if placement.replicas(placement.key(b"key"), 3, &mut out).is_err() {
            continue;
        }
        let counted = measure(|| {
            for key in 0_u32..1000 {
                let bytes = key.to_le_bytes();
                let found = placement.replicas(placement.key(&bytes), 3, &mut out);
                assert!(found.is_ok(), "{}", choice.label());
            }
        });
        if 0 < counted.count_total {
            allocating.push(choice.label());
        }
    }
    // CRUSH and Cassandra's racks keep aside what they pass over.
    assert_eq!(allocating, ["racks"]);
}

#[test]
fn the_counter_counts() {
    let counted = measure(|| drop(std::hint::black_box(vec![0_u8; 100])));
    assert_eq!(counted.count_total, 1);
}
