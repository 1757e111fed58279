//! Look-ups of stormglass's rings and of the best crates for the same job, side by side.
//!
//! All contenders of a size are built first and then take turns, round by round, each for a stretch
//! of the same random keys; what is told is the median over the rounds of processor time of the one
//! thread, so that other work on the machine costs as little truth as it can. Every contender is
//! used as its documentation shows, with its default hash function; stormglass through the trait
//! object that a scenario uses. Crates that take a number for a key do not hash it, and neither does
//! stormglass beside them: jump, flip, power, and their kin jump_back and binomial. Lower is better; the ratio is theirs over ours.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [ROUNDS [FAMILY]]`

use std::hash::{BuildHasherDefault, DefaultHasher};
use std::hint::black_box;

use cpu_time::ThreadTime;
use maglev::ConsistentHasher as _;
use stormglass::choice::Choice;
use stormglass::rings::{HashKind, Hasher, Key, Membership, build};

/// Looks up some keys and says something that depends on every answer.
type LookUps = Box<dyn Fn(&[u64]) -> u64>;

struct Contender {
    family: &'static str,
    name: &'static str,
    look_ups: LookUps,
    times: Vec<f64>,
}

const SIZES: [u32; 4] = [10, 100, 1000, 10_000];
const KEY_COUNT: usize = 1 << 16;
/// Keys that are looked up in one call.
const STRETCH: usize = 64;
/// Nanoseconds of processor time for each turn.
const TURN: f64 = 15e6;
const OURS: &str = "stormglass";

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize =
        arguments.next().map_or(11, |text| text.parse().expect("a number of rounds"));
    let only = arguments.next();
    let keys: Vec<u64> = (0..KEY_COUNT as u64).map(splitmix).collect();
    println!("median processor time of {rounds} interleaved rounds; this machine, this run");
    for size in SIZES {
        let mut contenders = contenders(size, only.as_deref());
        for _ in 0..rounds {
            for contender in &mut contenders {
                contender.times.push(turn(&contender.look_ups, &keys));
            }
        }
        println!("\n{size} nodes");
        println!("{:16} {:28} {:>12} {:>8}", "family", "", "ns/look-up", "ratio");
        let medians: Vec<f64> = contenders.iter_mut().map(|one| median(&mut one.times)).collect();
        for (contender, ns) in contenders.iter().zip(&medians) {
            let is_ours =
                |other: &Contender| other.family == contender.family && other.name == OURS;
            let ours = contenders.iter().position(is_ours).map_or(f64::NAN, |at| medians[at]);
            let Contender { family, name, .. } = contender;
            println!("{family:16} {name:28} {ns:12.2} {:8.2}", ns / ours);
        }
    }
}

fn turn(look_ups: &LookUps, keys: &[u64]) -> f64 {
    let (some, _) = keys.split_at(STRETCH);
    let once = time(|| {
        black_box(look_ups(some));
    });
    let count = (TURN / once.max(1.0)).clamp(1.0, 1e6) as usize;
    let spent = time(|| {
        for stretch in keys.chunks(STRETCH).cycle().take(count) {
            black_box(look_ups(stretch));
        }
    });
    spent / (count * STRETCH) as f64
}

/// Nanoseconds of processor time.
fn time(work: impl FnOnce()) -> f64 {
    let start = ThreadTime::now();
    work();
    start.elapsed().as_nanos() as f64
}

fn median(times: &mut [f64]) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn splitmix(index: u64) -> u64 {
    let word = (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A contender that answers one key at a time.
fn each(answer: impl Fn(u64) -> u64 + 'static) -> LookUps {
    Box::new(move |keys| keys.iter().fold(0, |sum, &key| sum ^ answer(key)))
}

fn ours(ring: &str, size: u32) -> LookUps {
    let hasher = Hasher::new(HashKind::Xxh3, 0);
    let placement = build(&Choice::named(ring), &Membership::uniform(size), hasher)
        .unwrap_or_else(|error| panic!("{ring}: {error}"));
    each(move |key| placement.locate(placement.key(&key.to_le_bytes())).0.into())
}

/// Ours for a key that is a number already, against crates that take no other.
fn ours_hashed(ring: &str, size: u32) -> LookUps {
    let hasher = Hasher::new(HashKind::Xxh3, 0);
    let placement = build(&Choice::named(ring), &Membership::uniform(size), hasher)
        .unwrap_or_else(|error| panic!("{ring}: {error}"));
    each(move |hash| placement.locate(Key { hash, bytes: &[] }).0.into())
}

/// Names that live as long as the program, for crates that borrow them.
fn names(size: u32) -> Vec<&'static String> {
    (0..size).map(|index| &*Box::leak(Box::new(format!("node-{index}")))).collect()
}

fn contenders(size: u32, only: Option<&str>) -> Vec<Contender> {
    let mut all = Vec::new();
    let mut add = |family, name, make: &dyn Fn() -> LookUps| {
        if only.is_none_or(|only| only == family) {
            all.push(Contender { family, name, look_ups: make(), times: Vec::new() });
        }
    };

    add("ring", OURS, &|| ours("ring", size));
    add("ring", "consistent_hash_ring 0.8.0", &|| {
        let ring = consistent_hash_ring::RingBuilder::default()
            .vnodes(100)
            .nodes_iter(0..u64::from(size))
            .build();
        each(move |key| *ring.get(key))
    });
    add("ring", "hashring 0.3.6", &|| {
        let mut ring = hashring::HashRing::new();
        ring.batch_add((0..u64::from(size) * 100).collect());
        each(move |key| ring.get(&key).map_or(0, |point| point / 100))
    });
    add("ring", "consistent_hash 0.1.4", &|| {
        let nodes = (0..u64::from(size)).map(|node| consistent_hash::Node::new(node).quantity(100));
        let ring = consistent_hash::StaticHashRing::new(consistent_hash::DefaultHash, nodes);
        let ring = Box::leak(Box::new(ring));
        each(move |key| ring.calc_candidates(&key).next().map_or(0, |node| node.key))
    });

    add("rendezvous", OURS, &|| ours("rendezvous", size));
    if size <= 1000 {
        add("rendezvous", "hash-rings 1.1.0", &|| {
            let mut ring = hash_rings::rendezvous::Ring::new();
            names(size).into_iter().for_each(|name| ring.insert_node(name, 1));
            each(move |key| ring.get_node(&key).len() as u64)
        });
        add("rendezvous", "rendezvous_hash 0.3.0", &|| {
            let mut nodes = rendezvous_hash::RendezvousNodes::default();
            for name in names(size) {
                nodes.insert(name.as_str());
            }
            each(move |key| nodes.calc_candidates(&key).next().map_or(0, |name| name.len() as u64))
        });
    }

    add("jump", OURS, &|| ours_hashed("jump", size));
    add("jump", "jump-consistent-hash 0.1.0", &|| {
        each(move |key| jump_consistent_hash::hash(key, size as usize).into())
    });

    add("flip", OURS, &|| ours_hashed("flip", size));
    add("flip", "fliphash 0.1.0", &|| {
        let last = u64::from(size) - 1;
        each(move |key| fliphash::fliphash_64(key, ..=last))
    });
    add("power", OURS, &|| ours_hashed("power", size));
    add("power", "power-consistent-hash 0.1.0", &|| {
        let ring = power_consistent_hash::PowerConsistentHasher::try_new(size).expect("buckets");
        each(move |key| ring.hash_u64(key).into())
    });
    add("jump_back", OURS, &|| ours_hashed("jump_back", size));
    add("binomial", OURS, &|| ours_hashed("binomial", size));

    add("anchor", OURS, &|| ours("anchor", size));
    add("anchor", "anchorhash 0.2.2", &|| {
        let ring = anchorhash::Builder::with_hasher(BuildHasherDefault::<DefaultHasher>::default())
            .with_resources(0..size)
            .build::<u64>(size as u16 * 2);
        each(move |key| ring.get_resource(key).copied().map_or(0, u64::from))
    });

    add("maglev", OURS, &|| ours("maglev", size));
    if size <= 1000 {
        add("maglev", "maglev 0.2.1", &|| {
            let ring = maglev::Maglev::with_capacity(0..size, 65537);
            each(move |key| ring.get(&key).copied().map_or(0, u64::from))
        });
        add("maglev", "hash-rings 1.1.0", &|| {
            let ring = hash_rings::maglev::Ring::with_capacity_hint(names(size), 65537);
            each(move |key| ring.get_node(&key).len() as u64)
        });
    }

    add("multi_probe", OURS, &|| ours("multi_probe", size));
    add("multi_probe", "hash-rings 1.1.0", &|| {
        let mut ring = hash_rings::mpc::Ring::new(21);
        names(size).into_iter().for_each(|name| ring.insert_node(name));
        each(move |key| ring.get_node(&key).len() as u64)
    });
    add("multi_probe", "mpchash 2.0.10", &|| {
        let ring = mpchash::HashRing::new();
        (0..u64::from(size)).for_each(|node| ring.add(node));
        each(move |key| ring.node(&key).map_or(0, |token| *token.node()))
    });
    all
}
