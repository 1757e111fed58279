//! What the catalogue of rings says of its variants, held against each of them.
//!
//! Every law runs over every row, with its default parameters and with others; a new variant is
//! under them as soon as it has its row.

use stormglass::choice::Choice;
use stormglass::config::{Config, Problems, Value, ValueKind};
use stormglass::kernel::rng::Seed;
use stormglass::rings::{
    self, CATALOGUE, Capabilities, HashKind, Hasher, Key, Member, MemberId, Membership, Placement,
};

/// Parameters beside the defaults. What a row promises of its defaults holds for these too.
const OTHERS: &[&str] = &[
    "{ modulo = { removal = \"swap\" } }",
    "{ jump = { removal = \"swap\" } }",
    "{ jump = { removal = \"tombstone\" } }",
    "{ jump_back = { generator = \"xorshift\", removal = \"tombstone\" } }",
    "{ flip = { dialect = \"datadog_xxh3\" } }",
    "{ flip = { dialect = \"supsi\" } }",
    "{ power = { dialect = \"supsi\" } }",
    "{ binomial = { tries = 64 } }",
    "{ ring = { virtual_nodes = 1 } }",
    "{ rendezvous = { score = \"xorshift\" } }",
    "{ rendezvous = { score = \"key_node\" } }",
    "{ rendezvous = { score = \"node_key\" } }",
    "{ rendezvous = { score = \"node_dash_key\" } }",
    "{ weighted_rendezvous = { score = \"key_node\" } }",
    "{ multi_probe = { probing = \"double\" } }",
    "{ maglev = { table_size = 10007, permutation = \"katran\" } }",
    "{ maglev = { table_size = 10007, permutation = \"go\", turns = \"first_round\" } }",
    "{ anchor = { capacity = { buckets = 1000 }, form = \"full\" } }",
    "{ anchor = { hashes = \"crc32c\" } }",
    "{ anchor = { hashes = \"supsi\" } }",
    "{ dx = { capacity = { times = 10 }, draws = \"java\" } }",
    "{ jump_back_anchor = { generator = \"xorshift\" } }",
    "{ ketama = { dialect = \"libmemcached\" } }",
    "{ bounded_load = { overflow = \"jump\", virtual_nodes = 1 } }",
    "{ partitions = { strategy = \"random_tokens\" } }",
    "{ partitions = { strategy = \"equal_partitions\" } }",
    "{ partitions = { strategy = \"dealt_at_random\" } }",
    "{ local_rendezvous = { departure = \"points_stay\" } }",
    "{ racks = { strategy = \"simple\" } }",
    "{ straw2 = { mode = \"firstn\" } }",
];

struct Case {
    label: String,
    choice: Choice,
    capabilities: Capabilities,
}

fn cases() -> Vec<Case> {
    let defaults = CATALOGUE.iter().map(|entry| Choice::named(entry.about.name));
    let others = OTHERS.iter().map(|text| choice(text));
    defaults
        .chain(others)
        .map(|choice| {
            let mut problems = Problems::default();
            let entry = choice.find("ring", CATALOGUE, &mut problems);
            let entry = entry.unwrap_or_else(|| panic!("{problems:?}"));
            Case { label: choice.label(), capabilities: entry.capabilities, choice }
        })
        .collect()
}

fn choice(text: &str) -> Choice {
    let mut problems = Problems::default();
    let value = Value::parse(&format!("ring = {text}"), 0, &mut problems);
    let ValueKind::Table(table) = &value.kind else { panic!("{text}") };
    let choice = table.get("ring").and_then(|value| Choice::read(value, &mut problems));
    choice.unwrap_or_else(|| panic!("{text}: {problems:?}"))
}

impl Case {
    fn build(&self, members: &Membership, seed: u64) -> Box<dyn Placement> {
        rings::build(&self.choice, members, Hasher::new(HashKind::Xxh3, seed))
            .unwrap_or_else(|error| panic!("{}: {error}", self.label))
    }
}

fn owners(placement: &dyn Placement, count: u32) -> Vec<MemberId> {
    (0..count)
        .map(|index| placement.locate(placement.key(format!("key-{index}").as_bytes())))
        .collect()
}

/// A cluster and its placement after a history of joins, leaves and new weights.
struct History {
    members: Membership,
    placement: Box<dyn Placement>,
}

impl History {
    fn of(case: &Case, start: u32, steps: u32, seed: u64) -> Self {
        let mut members = Membership::uniform(start);
        let mut placement = case.build(&members, seed);
        let mut rng = Seed(seed).stream("history", &case.label);
        for _ in 0..steps {
            let index = rng.below(members.len() as u64) as usize;
            let (some, _) = members.iter().nth(index).expect("a member");
            if rng.below(2) == 0 && members.len() < 30 {
                let member = Member::named(format!("late-{}", members.id_bound()));
                let id = members.add(member.clone());
                if placement.add(id, &member).is_err() {
                    placement = case.build(&members, seed);
                }
            } else if 2 < members.len() {
                members.remove(some);
                if placement.remove(some).is_err() {
                    placement = case.build(&members, seed);
                }
            }
        }
        Self { members, placement }
    }
}

/// Starts and lengths of histories: one node and many, none and some dozens of steps.
const HISTORIES: [(u32, u32); 4] = [(1, 0), (10, 30), (25, 12), (3, 40)];

fn each_history(check: impl Fn(&Case, History, &str)) {
    for case in cases() {
        for (seed, (start, steps)) in (1..).zip(HISTORIES) {
            let history = History::of(&case, start, steps, seed);
            let at = format!("{}, {start} nodes and {steps} steps", case.label);
            check(&case, history, &at);
        }
    }
}

#[test]
fn every_key_has_a_live_owner_and_every_member_has_keys() {
    each_history(|_, History { members, placement }, at| {
        let mut counts = vec![0; members.id_bound()];
        for owner in owners(&*placement, 30_000) {
            assert!(members.get(owner).is_some(), "{at}: {owner:?} is not a member");
            counts[owner.index()] += 1;
        }
        for (id, member) in members.iter() {
            assert!(0 < counts[id.index()], "{at}: {} has no keys", member.name);
        }
    });
}

#[test]
fn who_joins_takes_keys_and_none_move_between_the_others() {
    each_history(|case, History { mut members, mut placement }, at| {
        let before = owners(&*placement, 5000);
        let member = Member::named("newcomer");
        let id = members.add(member.clone());
        if placement.add(id, &member).is_err() {
            return;
        }
        let after = owners(&*placement, 5000);
        let astray =
            before.iter().zip(&after).filter(|(old, new)| old != new && **new != id).count();
        let is_doubling = case.choice.name == "dx" && 2 * 5000 / 5 < astray;
        if case.capabilities.minimal_disruption && !is_doubling {
            assert_eq!(astray, 0, "{at}: keys moved that need not");
        }
        assert!(after.contains(&id), "{at}: the newcomer has no keys");
    });
}

#[test]
fn only_the_keys_of_a_leaver_move() {
    each_history(|case, History { members, .. }, at| {
        if members.len() < 2 {
            return;
        }
        // From a placement as it is built: a member in the middle, and the one that came last.
        let middle = members.iter().nth(members.len() / 2).map(|(id, _)| id);
        let last = members.iter().next_back().map(|(id, _)| id);
        let capabilities = case.capabilities;
        for (leaver, holds) in [
            (middle, capabilities.arbitrary_removal),
            (last, capabilities.arbitrary_removal || capabilities.minimal_disruption),
        ] {
            let leaver = leaver.expect("a member");
            let mut placement = case.build(&members, 9);
            let before = owners(&*placement, 5000);
            placement.remove(leaver).expect("any member may leave");
            let after = owners(&*placement, 5000);
            assert!(!after.contains(&leaver), "{at}: {leaver:?} has left and owns keys");
            let astray =
                before.iter().zip(&after).filter(|(old, new)| old != new && **old != leaver);
            if holds {
                assert_eq!(astray.count(), 0, "{at}: {leaver:?} left and others' keys moved");
            }
        }
    });
}

#[test]
fn who_leaves_and_comes_back_finds_its_keys_again() {
    each_history(|case, History { members, .. }, at| {
        let history_free = case.capabilities.history_free;
        if members.len() < 2 || !(history_free || case.capabilities.minimal_disruption) {
            return;
        }
        let mut placement = case.build(&members, 9);
        let before = owners(&*placement, 5000);
        let (id, member) = members.iter().next_back().expect("a member");
        placement.remove(id).expect("any member may leave");
        placement.add(id, member).expect("it was there before");
        let back = owners(&*placement, 5000);
        let lost = before.iter().zip(&back).filter(|(old, new)| old != new).count();
        // Slots are dealt out by need, not by memory.
        let is_dealt = case.label == "slots"
            || case.choice.name == "partitions" && !case.label.contains("tokens");
        if !is_dealt && case.label != "partitions{strategy=equal_partitions}" {
            assert_eq!(lost, 0, "{at}: keys did not come back");
        }
    });
}

#[test]
fn a_history_ends_where_a_new_beginning_would() {
    each_history(|case, History { members, placement }, at| {
        if !case.capabilities.history_free {
            return;
        }
        // `swap` and `tombstone` remember; so do points that stay behind.
        let remembers = ["removal=swap", "removal=tombstone", "points_stay"];
        if remembers.iter().any(|what| case.label.contains(what)) {
            return;
        }
        let seed = HISTORIES
            .iter()
            .position(|(start, steps)| at.ends_with(&format!("{start} nodes and {steps} steps")));
        let anew = case.build(&members, seed.expect("a history") as u64 + 1);
        assert_eq!(owners(&*placement, 5000), owners(&*anew, 5000), "{at}");
    });
}

#[test]
fn equal_seeds_give_equal_answers_and_look_ups_change_nothing() {
    for case in cases() {
        let members = Membership::uniform(10);
        let (one, two) = (case.build(&members, 5), case.build(&members, 5));
        assert_eq!(owners(&*one, 2000), owners(&*one, 2000), "{}", case.label);
        assert_eq!(owners(&*one, 2000), owners(&*two, 2000), "{}", case.label);
        let other = case.build(&members, 6);
        let has_own_hash = ["ketama", "slots", "racks"].contains(&case.choice.name.as_str());
        let differs = owners(&*one, 2000) != owners(&*other, 2000);
        // Only the tokens of `racks` are drawn.
        assert!(differs || has_own_hash, "{}: the seed does nothing", case.label);
    }
}

#[test]
fn many_at_once_are_answered_as_one_by_one() {
    each_history(|_, History { placement, .. }, at| {
        let mut out = vec![MemberId(99)];
        for count in [0, 1, 3, 63, 64, 65, 1000] {
            let names: Vec<String> = (0..count).map(|index| format!("key-{index}")).collect();
            let keys: Vec<_> = names.iter().map(|name| placement.key(name.as_bytes())).collect();
            placement.locate_all(&keys, &mut out);
            let one_by_one: Vec<MemberId> = keys.iter().map(|key| placement.locate(*key)).collect();
            assert_eq!(out, one_by_one, "{at}: {count} keys");
        }
    });
}

#[test]
fn functions_from_numbers_to_numbers_are_those_of_the_catalogue() {
    let build = |name, count| {
        let hasher = Hasher::new(HashKind::Xxh3, 0);
        rings::build(&Choice::named(name), &Membership::uniform(count), hasher).expect("it fits")
    };
    let mut out = Vec::new();
    for count in (1..70).chain([255, 256, 257, 1000]) {
        let hashes = (0..2000_u64).map(rings::hash::splitmix64).chain([0, 1, u64::MAX]);
        let keys: Vec<Key<'_>> = hashes.map(|hash| Key { hash, bytes: &[] }).collect();
        let functions: [(&str, &dyn Fn(u64) -> u32); 3] = [
            ("jump", &|hash| rings::jump(hash, count)),
            ("flip", &|hash| rings::flip(hash, u64::from(count) - 1) as u32),
            ("power", &|hash| rings::power(hash, count)),
        ];
        for (name, function) in functions {
            let placement = build(name, count);
            placement.locate_all(&keys, &mut out);
            for (key, owner) in keys.iter().zip(&out) {
                assert_eq!(*owner, placement.locate(*key), "{name}: {key:?} of {count}");
                assert_eq!(owner.0, function(key.hash), "{name}: {key:?} of {count}");
            }
        }
    }
    assert_eq!((rings::jump(1, 0), rings::power(1, 0)), (0, 0), "without a bucket");
}

#[test]
fn replicas_are_distinct_and_the_owner_is_the_first() {
    each_history(|case, History { members, placement }, at| {
        let mut out = vec![MemberId(99)];
        for index in 0..500 {
            let bytes = format!("key-{index}");
            let key = placement.key(bytes.as_bytes());
            for count in [1, 3, 40] {
                let done = placement.replicas(key, count, &mut out);
                if !case.capabilities.replicas {
                    assert!(done.is_err(), "{at}: replicas that it says it has not");
                    continue;
                }
                assert_eq!(done, Ok(()), "{at}");
                let most = count.min(members.len());
                assert!(out.len() <= most, "{at}: {count} copies");
                // CRUSH gives up on the last few of all members, after 50 collisions.
                let gives_up = case.choice.name == "straw2" && members.len() / 2 < count;
                assert!(out.len() == most || gives_up, "{at}: {count} copies, {out:?}");
                assert_eq!(out[0], placement.locate(key), "{at}: {count} copies");
                let mut distinct = out.clone();
                distinct.sort_unstable();
                distinct.dedup();
                assert_eq!(distinct.len(), out.len(), "{at}: {count} copies, {out:?}");
                assert!(out.iter().all(|id| members.get(*id).is_some()), "{at}: {out:?}");
            }
        }
    });
}

#[test]
fn a_second_replica_takes_over_from_a_leaver() {
    // Where leaving moves only the leaver's keys, and copies are ranked, the next in the ranking
    // is the one to own them.
    for name in ["ring", "rendezvous", "weighted_rendezvous", "multi_probe", "choose_k", "ketama"] {
        let case = cases().into_iter().find(|case| case.label == name).expect("a row");
        let members = Membership::uniform(12);
        let mut placement = case.build(&members, 3);
        let mut copies = Vec::new();
        let mut expected = Vec::new();
        for index in 0..2000 {
            let key = format!("key-{index}");
            let done = placement.replicas(placement.key(key.as_bytes()), 2, &mut copies);
            assert_eq!(done, Ok(()));
            expected.push(if copies[0] == MemberId(5) { copies[1] } else { copies[0] });
        }
        placement.remove(MemberId(5)).expect("any may leave");
        let after = owners(&*placement, 2000);
        // A probe that is nearest to one point may not be the nearest without it.
        let tolerated = if name == "multi_probe" { 2000 / 12 } else { 0 };
        let astray = after.iter().zip(&expected).filter(|(a, b)| a != b).count();
        assert!(astray <= tolerated, "{name}: {astray} keys went to somebody else");
    }
}

#[test]
fn shares_follow_weights_where_weights_are_known() {
    const KEYS: u32 = 20_000;
    for case in cases().into_iter().take(CATALOGUE.len()) {
        let (mut shares, mut is_weighed) = ([0.0; 4], false);
        for seed in 0..10 {
            // Other names each time, for those whose hash has no seed.
            let names = (0..8).map(|id| Member::named(format!("node-{seed}-{id}")));
            let mut members = Membership::of(names);
            // 1, 2, 3 and 4, twice; from the start, and by `reweight`.
            for id in (0..8).filter(|_| seed % 2 == 0) {
                members.reweight(MemberId(id), f64::from(id % 4 + 1));
            }
            let mut placement = case.build(&members, seed);
            for id in 0..8 {
                let weight = f64::from(id % 4 + 1);
                let done = placement.reweight(MemberId(id), weight);
                if case.capabilities.weights {
                    assert_eq!(done, Ok(()), "{}", case.label);
                }
                is_weighed = done.is_ok();
            }
            for owner in owners(&*placement, KEYS) {
                shares[owner.index() % 4] += 1.0 / (10.0 * f64::from(KEYS));
            }
        }
        // What takes weights and promises no shares, such as bounds that follow them, may do either.
        if is_weighed != case.capabilities.weights {
            continue;
        }
        for (index, share) in shares.iter().enumerate() {
            let fair = if case.capabilities.weights { (index + 1) as f64 / 10.0 } else { 0.25 };
            let error = (share / fair - 1.0).abs();
            // Those without weights may be uneven, but not in the order of the weights.
            let tolerance = if case.capabilities.weights { 0.1 } else { 0.3 };
            assert!(error < tolerance, "{}: share {share}, fair {fair}", case.label);
        }
    }
}

#[test]
fn another_weight_comes_to_the_same_as_building_with_it() {
    for case in cases().into_iter().take(CATALOGUE.len()) {
        if !case.capabilities.weights || !case.capabilities.history_free {
            continue;
        }
        let mut members = Membership::uniform(10);
        let mut placement = case.build(&members, 4);
        for weight in [3.0, 0.5, 1.0] {
            members.reweight(MemberId(4), weight);
            placement.reweight(MemberId(4), weight).expect("it knows weights");
            let anew = case.build(&members, 4);
            assert_eq!(
                owners(&*placement, 20_000),
                owners(&*anew, 20_000),
                "{}: a weight of {weight}",
                case.label
            );
        }
    }
}

#[test]
fn another_weight_moves_keys_only_to_or_from_its_member() {
    for case in cases().into_iter().take(CATALOGUE.len()) {
        let Capabilities { weights, minimal_disruption, .. } = case.capabilities;
        // In ketama a weight is a part of the whole: another one for a member is one for all.
        if !weights || !minimal_disruption || case.label == "ketama" {
            continue;
        }
        let mut placement = case.build(&Membership::uniform(10), 4);
        let mut before = owners(&*placement, 10_000);
        for (weight, grows) in [(3.0, true), (0.5, false), (1.0, true)] {
            placement.reweight(MemberId(4), weight).expect("it knows weights");
            let after = owners(&*placement, 10_000);
            let moves = before.iter().zip(&after).filter(|(old, new)| old != new);
            let (mut count, mut astray) = (0, 0);
            for (old, new) in moves {
                count += 1;
                astray += usize::from(*(if grows { new } else { old }) != MemberId(4));
            }
            assert_eq!(astray, 0, "{}: to {weight}, of {count} moves", case.label);
            assert!(0 < count, "{}: a weight of {weight} moves nothing", case.label);
            before = after;
        }
    }
}

#[test]
fn a_bound_is_kept_where_one_is_promised_and_only_there() {
    for entry in CATALOGUE {
        // One point a member: without a bound its load would be three times the mean.
        let text = match entry.about.name {
            "bounded_load" => "{ bounded_load = { virtual_nodes = 1, load = 1.1 } }",
            "ring" => "{ ring = { virtual_nodes = 1 } }",
            _ => {
                assert!(!entry.capabilities.bounded, "{} needs a case here", entry.about.name);
                continue;
            }
        };
        let members = Membership::uniform(10);
        let hasher = Hasher::new(HashKind::Xxh3, 1);
        let placement = rings::build(&choice(text), &members, hasher).expect("it fits");
        let mut counts = [0_u32; 10];
        for owner in owners(&*placement, 100_000) {
            counts[owner.index()] += 1;
        }
        let most = f64::from(*counts.iter().max().expect("ten")) / 10_000.0;
        // The bound is on partitions; keys add their noise, 0.01 a standard deviation.
        assert_eq!(most < 1.15, entry.capabilities.bounded, "{}: {most}", entry.about.name);
    }
}

#[test]
fn tables_are_as_large_as_theory_says() {
    for case in cases().into_iter().take(CATALOGUE.len()) {
        let mut problems = Problems::default();
        let entry = case.choice.find("ring", CATALOGUE, &mut problems).expect("a row");
        for count in [10, 1000] {
            let cost = (entry.cost)(&case.choice, count).expect("a cost");
            let bytes = case.build(&Membership::uniform(count), 1).table_bytes() as f64;
            let ratio = bytes / cost.table_bytes as f64;
            assert!((0.5..=1.5).contains(&ratio), "{}: {ratio} at {count}", case.label);
            assert!(0.0 < cost.lookup_steps && 0 < cost.build_steps, "{}", case.label);
        }
    }
}

/// `docs/rings.md` carries the table that `stormglass list rings --format markdown` prints.
#[test]
fn the_documents_table_is_the_catalogues() {
    let page = include_str!("../docs/rings.md");
    let (_, rest) = page.split_once("<!-- catalogue -->\n\n").expect("where the table begins");
    let (found, _) = rest.split_once("\n<!-- end -->").expect("where the table ends");
    let expected = rings::table::markdown();
    for (line, (found, expected)) in found.lines().zip(expected.lines()).enumerate() {
        assert_eq!(found, expected, "line {line} of the table in docs/rings.md");
    }
    assert_eq!(found.lines().count(), expected.lines().count());
}

#[test]
fn every_hash_function_spreads_keys_over_all_members() {
    let members = Membership::uniform(7);
    for entry in CATALOGUE {
        for kind in ["xxh64", "xxh32", "murmur3_32", "murmur3_128", "sip24", "fnv1a_mixed", "md5"] {
            let mut problems = Problems::default();
            let value = Value {
                kind: ValueKind::Text(kind.into()),
                place: stormglass::config::Place::default(),
            };
            let hash = HashKind::read(&value, &mut problems).expect("a hash function");
            let choice = Choice::named(entry.about.name);
            let placement = rings::build(&choice, &members, Hasher::new(hash, 2)).expect("it fits");
            let mut counts = [0; 7];
            for owner in owners(&*placement, 7000) {
                counts[owner.index()] += 1;
            }
            let least = counts.iter().min().expect("seven");
            assert!(100 < *least, "{} by {kind}: {counts:?}", entry.about.name);
        }
    }
}
