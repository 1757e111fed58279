//! Look-ups of stormglass's rings and of the best crates for the same job, side by side.
//!
//! All contenders of a size are built first and then take turns, round by round, each for a stretch
//! of the same random keys; what is told is the median over the rounds of processor time of the one
//! thread, so that other work on the machine costs as little truth as it can. Lower is better.
//!
//! Like is held against like. Keys are the same eight bytes for all, and hashed by XXH3 on both
//! sides wherever the crate lets its user choose. Crates that are functions from a number to a
//! number (jump, flip, power) hash nothing and know no members: the row `stormglass` beside them is
//! our function. Elsewhere it is one key: its hash, and [`Placement::locate`] through the trait object
//! that a scenario uses. The rows below it are the other ways to ask: one number through the trait
//! object, or 64 keys at once by [`Placement::locate_all`].
//!
//! A *floor* is the least that the algorithm can be, as a bare loop without members, parameters or
//! a trait: an XXH3 and a division; the same and a read of a table; a `partition_point` over
//! sorted points; a mix and a comparison for each member; 21 mixed probes by `partition_point`.
//!
//! No crate that we know of has jump_back, binomial, local_rendezvous (LRH), memento, dx, slots,
//! partitions, bounded_load, racks or straw2. The table at the end holds the fastest crate of each
//! family, and the floor, against ours.
//!
//! `cargo run --release --manifest-path benches/peers/Cargo.toml [ROUNDS [FAMILY]]`

use std::cell::RefCell;
use std::hash::{BuildHasherDefault, Hash as _, Hasher as _};
use std::hint::black_box;

use cpu_time::ThreadTime;
use maglev::ConsistentHasher as _;
use stormglass::choice::Choice;
use stormglass::rings::{self, HashKind, Hasher, Key, MemberId, Membership, Placement, build};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Looks up some keys and says something that depends on every answer.
type LookUps = Box<dyn Fn(&[u64]) -> u64>;

struct Contender {
    family: &'static str,
    name: &'static str,
    side: Side,
    look_ups: LookUps,
    times: Vec<f64>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Side {
    /// The row that the others of its family are held against.
    Ours,
    /// Another way to ask ours.
    OursToo,
    Theirs,
    Floor,
}

const SIZES: [u32; 4] = [10, 100, 1000, 10_000];
const KEY_COUNT: usize = 1 << 16;
/// Keys that are looked up in one call.
const STRETCH: usize = 64;
/// Nanoseconds of processor time for each turn.
const TURN: f64 = 10e6;
const TABLE_SIZE: u64 = 65_537;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let rounds: usize =
        arguments.next().map_or(11, |text| text.parse().expect("a number of rounds"));
    let only = arguments.next();
    let keys: Vec<u64> = (0..KEY_COUNT as u64).map(splitmix).collect();
    println!("median processor time of {rounds} interleaved rounds; this machine, this run");
    let mut verdicts = Vec::new();
    for size in SIZES {
        let mut contenders = contenders(size, only.as_deref());
        for _ in 0..rounds {
            for contender in &mut contenders {
                contender.times.push(turn(&contender.look_ups, &keys));
            }
        }
        println!("\n{size} nodes");
        println!("{:12} {:36} {:>10} {:>6}", "family", "", "ns/look-up", "/ours");
        let medians: Vec<f64> = contenders.iter_mut().map(|one| median(&mut one.times)).collect();
        let mut ours = f64::NAN;
        for (contender, ns) in contenders.iter().zip(&medians) {
            let Contender { family, name, side, .. } = contender;
            if *side == Side::Ours {
                ours = *ns;
                verdicts.push(Verdict { family, size, ours, crates: None, floor: None });
            }
            if let Some(verdict) = verdicts.last_mut() {
                match side {
                    Side::Theirs if verdict.crates.is_none_or(|(_, least)| *ns < least) => {
                        verdict.crates = Some((name, *ns));
                    }
                    Side::Floor => verdict.floor = Some(*ns),
                    _ => (),
                }
            }
            println!("{family:12} {name:36} {ns:10.2} {:6.2}", ns / ours);
        }
    }
    println!();
    println!(
        "{:12} {:>6} {:>9} {:>9} {:>6}  {:28} {:>7} {:>10}",
        "family", "nodes", "ours", "theirs", "/ours", "fastest crate", "floor", "ours/floor"
    );
    for Verdict { family, size, ours, crates, floor } in verdicts {
        let (theirs, ratio, name) = match crates {
            Some((name, ns)) => (format!("{ns:.2}"), format!("{:.2}", ns / ours), name),
            None => ("-".into(), "-".into(), "-"),
        };
        let (floor, above) = match floor {
            Some(ns) => (format!("{ns:.2}"), format!("{:.2}", ours / ns)),
            None => ("-".into(), "-".into()),
        };
        println!(
            "{family:12} {size:>6} {ours:9.2} {theirs:>9} {ratio:>6}  {name:28} {floor:>7} {above:>10}"
        );
    }
}

/// What a family comes to at one size.
struct Verdict {
    family: &'static str,
    size: u32,
    ours: f64,
    crates: Option<(&'static str, f64)>,
    floor: Option<f64>,
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

fn placement(ring: &str, size: u32) -> Box<dyn Placement> {
    let hasher = Hasher::new(HashKind::Xxh3, 0);
    build(&Choice::named(ring), &Membership::uniform(size), hasher)
        .unwrap_or_else(|error| panic!("{ring}: {error}"))
}

fn ours(ring: &str, size: u32) -> LookUps {
    let placement = placement(ring, size);
    // Ketama hashes in a way of its own.
    let hasher = (ring != "ketama").then(|| Hasher::new(HashKind::Xxh3, 0));
    match hasher {
        Some(hasher) => each(move |key| {
            let bytes = key.to_le_bytes();
            placement.locate(Key { hash: hasher.of(&bytes), bytes: &bytes }).0.into()
        }),
        None => each(move |key| placement.locate(placement.key(&key.to_le_bytes())).0.into()),
    }
}

/// Ours for a key that is a number already, against crates that take no other.
fn ours_hashed(ring: &str, size: u32) -> LookUps {
    let placement = placement(ring, size);
    each(move |hash| placement.locate(Key { hash, bytes: &[] }).0.into())
}

/// A stretch of keys at once; `hash` is a key's.
fn at_once(placement: Box<dyn Placement>, hash: impl Fn(&[u8; 8]) -> u64 + 'static) -> LookUps {
    let out = RefCell::new(Vec::with_capacity(STRETCH));
    Box::new(move |words| {
        let words: &[u64; STRETCH] = words.try_into().expect("a whole stretch");
        let bytes = words.map(u64::to_le_bytes);
        let keys = bytes.each_ref().map(|bytes| Key { hash: hash(bytes), bytes });
        let mut out = out.borrow_mut();
        placement.locate_all(&keys, &mut out);
        out.iter().fold(0, |sum, owner| sum ^ u64::from(owner.0))
    })
}

fn ours_at_once(ring: &str, size: u32) -> LookUps {
    let hasher = Hasher::new(HashKind::Xxh3, 0);
    at_once(placement(ring, size), move |bytes| hasher.of(bytes))
}

fn ours_hashed_at_once(ring: &str, size: u32) -> LookUps {
    at_once(placement(ring, size), |bytes| u64::from_le_bytes(*bytes))
}

fn ours_replicas(ring: &str, size: u32, count: usize) -> LookUps {
    let (placement, out) = (placement(ring, size), RefCell::new(Vec::with_capacity(count)));
    each(move |key| {
        let mut out = out.borrow_mut();
        let key = key.to_le_bytes();
        placement.replicas(placement.key(&key), count, &mut out).expect("it has copies");
        out.iter().fold(0, |sum, MemberId(id)| sum ^ u64::from(*id))
    })
}

/// XXH3 for crates that let their user choose the hash function: what ours use.
#[derive(Clone, Default)]
struct Xxh3(u64);

impl std::hash::Hasher for Xxh3 {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

type BuildXxh3 = BuildHasherDefault<Xxh3>;

/// The same for consistent_hash, which hashes items and points apart.
struct RingXxh3;

impl consistent_hash::RingHash for RingXxh3 {
    fn hash_item<T: std::hash::Hash>(&self, item: &T) -> u64 {
        let mut hasher = Xxh3::default();
        item.hash(&mut hasher);
        hasher.finish()
    }

    fn hash_vnode<K: std::hash::Hash>(&self, node: &K, vnode: usize) -> u64 {
        let mut hasher = Xxh3::default();
        (node, vnode).hash(&mut hasher);
        hasher.finish()
    }
}

fn xxh3(key: u64) -> u64 {
    xxh3_64_with_seed(&key.to_le_bytes(), 0)
}

/// Points for floors: places in rising order, and whose they are.
fn points(count: u32, each: u32) -> Vec<(u64, u32)> {
    let mut points: Vec<(u64, u32)> = (0..u64::from(count) * u64::from(each))
        .map(|index| (splitmix(index ^ 1 << 40), (index % u64::from(count)) as u32))
        .collect();
    points.sort_unstable();
    points
}

fn owner(points: &[(u64, u32)], place: u64) -> (u64, u32) {
    let found = points.partition_point(|(at, _)| *at < place);
    let (at, owner) = points[if found == points.len() { 0 } else { found }];
    (at.wrapping_sub(place), owner)
}

/// Names that live as long as the program, for crates that borrow them.
fn names(size: u32) -> Vec<&'static String> {
    (0..size).map(|index| &*Box::leak(Box::new(format!("node-{index}")))).collect()
}

fn contenders(size: u32, only: Option<&str>) -> Vec<Contender> {
    use Side::{Floor, Ours, OursToo, Theirs};
    let mut all = Vec::new();
    let mut add = |side, family, name, make: &dyn Fn() -> LookUps| {
        if only.is_none_or(|only| only == family) {
            all.push(Contender { family, name, side, look_ups: make(), times: Vec::new() });
        }
    };

    add(Ours, "modulo", "stormglass", &|| ours("modulo", size));
    add(OursToo, "modulo", "stormglass, 64 at once", &|| ours_at_once("modulo", size));
    add(Floor, "modulo", "floor: XXH3 mod n", &|| {
        let count = u64::from(size);
        each(move |key| xxh3(key) % count)
    });

    add(Ours, "ring", "stormglass", &|| ours("ring", size));
    add(OursToo, "ring", "stormglass, 64 at once", &|| ours_at_once("ring", size));
    add(Theirs, "ring", "consistent_hash_ring 0.8.0", &|| {
        let ring = consistent_hash_ring::RingBuilder::new(BuildXxh3::default())
            .vnodes(100)
            .nodes_iter(0..u64::from(size))
            .build();
        each(move |key| *ring.get(key))
    });
    add(Theirs, "ring", "hashring 0.3.6", &|| {
        let mut ring = hashring::HashRing::with_hasher(BuildXxh3::default());
        ring.batch_add((0..u64::from(size) * 100).collect());
        each(move |key| ring.get(&key).map_or(0, |point| point / 100))
    });
    add(Theirs, "ring", "consistent_hash 0.1.4", &|| {
        let nodes = (0..u64::from(size)).map(|node| consistent_hash::Node::new(node).quantity(100));
        let ring = consistent_hash::StaticHashRing::new(RingXxh3, nodes);
        let ring = Box::leak(Box::new(ring));
        each(move |key| ring.calc_candidates(&key).next().map_or(0, |node| node.key))
    });
    add(Floor, "ring", "floor: partition_point, 100 each", &|| {
        let points = points(size, 100);
        each(move |key| owner(&points, xxh3(key)).1.into())
    });

    add(Ours, "ketama", "stormglass", &|| ours("ketama", size));
    add(Theirs, "ketama", "ketama 0.0.2", &|| {
        let names: Vec<&str> = names(size).into_iter().map(String::as_str).collect();
        let ring = ketama::Ring::build(&names);
        each(move |key| ring.route(&key.to_le_bytes()) as u64)
    });

    add(Ours, "rendezvous", "stormglass", &|| ours("rendezvous", size));
    if size <= 1000 {
        add(Theirs, "rendezvous", "hash-rings 1.1.0", &|| {
            let mut ring = hash_rings::rendezvous::Ring::with_hasher(BuildXxh3::default());
            names(size).into_iter().for_each(|name| ring.insert_node(name, 1));
            each(move |key| ring.get_node(&key).len() as u64)
        });
        add(Theirs, "rendezvous", "rendezvous_hash 0.3.0", &|| {
            let mut nodes = rendezvous_hash::RendezvousNodes::default();
            for name in names(size) {
                nodes.insert(name.as_str());
            }
            each(move |key| nodes.calc_candidates(&key).next().map_or(0, |name| name.len() as u64))
        });
    }
    add(Floor, "rendezvous", "floor: a mix for each node", &|| {
        let words: Vec<u64> = (0..u64::from(size)).map(splitmix).collect();
        each(move |key| {
            let (hash, mut best) = (xxh3(key), (0, 0));
            for (index, word) in words.iter().enumerate() {
                let score = splitmix(hash ^ word);
                if best.0 < score {
                    best = (score, index);
                }
            }
            best.1 as u64
        })
    });

    add(Ours, "jump", "stormglass", &|| each(move |key| rings::jump(key, size).into()));
    add(OursToo, "jump", "stormglass, through the trait", &|| ours_hashed("jump", size));
    add(OursToo, "jump", "stormglass, 64 at once", &|| ours_hashed_at_once("jump", size));
    add(Theirs, "jump", "jump-consistent-hash 0.1.0", &|| {
        each(move |key| jump_consistent_hash::hash(key, size as usize).into())
    });

    let last = u64::from(size) - 1;
    add(Ours, "flip", "stormglass", &|| each(move |key| rings::flip(key, last)));
    add(OursToo, "flip", "stormglass, through the trait", &|| ours_hashed("flip", size));
    add(OursToo, "flip", "stormglass, 64 at once", &|| ours_hashed_at_once("flip", size));
    add(Theirs, "flip", "fliphash 0.1.0", &|| each(move |key| fliphash::fliphash_64(key, ..=last)));

    add(Ours, "power", "stormglass", &|| each(move |key| rings::power(key, size).into()));
    add(OursToo, "power", "stormglass, through the trait", &|| ours_hashed("power", size));
    add(OursToo, "power", "stormglass, 64 at once", &|| ours_hashed_at_once("power", size));
    add(Theirs, "power", "power-consistent-hash 0.1.0", &|| {
        let ring = power_consistent_hash::PowerConsistentHasher::try_new(size).expect("buckets");
        each(move |key| ring.hash_u64(key).into())
    });

    add(Ours, "anchor", "stormglass", &|| ours("anchor", size));
    add(OursToo, "anchor", "stormglass, 64 at once", &|| ours_at_once("anchor", size));
    add(Theirs, "anchor", "anchorhash 0.2.2", &|| {
        let ring = anchorhash::Builder::with_hasher(BuildXxh3::default())
            .with_resources(0..size)
            .build::<u64>(size as u16 * 2);
        each(move |key| ring.get_resource(key).copied().map_or(0, u64::from))
    });

    add(Ours, "maglev", "stormglass", &|| ours("maglev", size));
    add(OursToo, "maglev", "stormglass, 64 at once", &|| ours_at_once("maglev", size));
    if size <= 1000 {
        add(Theirs, "maglev", "maglev 0.2.1", &|| {
            let build = BuildXxh3::default();
            let ring =
                maglev::Maglev::with_capacity_and_hasher(0..size, TABLE_SIZE as usize, build);
            each(move |key| ring.get(&key).copied().map_or(0, u64::from))
        });
        add(Theirs, "maglev", "hash-rings 1.1.0", &|| {
            let ring =
                hash_rings::maglev::Ring::with_capacity_hint(names(size), TABLE_SIZE as usize);
            each(move |key| ring.get_node(&key).len() as u64)
        });
    }
    add(Floor, "maglev", "floor: XXH3, a table of 65537", &|| {
        let count = u64::from(size);
        let table: Vec<u32> = (0..TABLE_SIZE).map(|at| (splitmix(at) % count) as u32).collect();
        each(move |key| table[(xxh3(key) % table.len() as u64) as usize].into())
    });

    add(Ours, "multi_probe", "stormglass", &|| ours("multi_probe", size));
    add(Theirs, "multi_probe", "hash-rings 1.1.0", &|| {
        let mut ring = hash_rings::mpc::Ring::with_hasher(BuildXxh3::default(), 21);
        names(size).into_iter().for_each(|name| ring.insert_node(name));
        each(move |key| ring.get_node(&key).len() as u64)
    });
    add(Theirs, "multi_probe", "mpchash 2.0.10", &|| {
        let ring = mpchash::HashRing::new();
        (0..u64::from(size)).for_each(|node| ring.add(node));
        each(move |key| ring.node(&key).map_or(0, |token| *token.node()))
    });
    add(Floor, "multi_probe", "floor: 21 times partition_point", &|| {
        let points = points(size, 1);
        each(move |key| {
            let hash = xxh3(key);
            let probes = (0..21).map(|index| owner(&points, splitmix(hash ^ splitmix(index))));
            probes.min().map_or(0, |(_, owner)| owner.into())
        })
    });

    add(Ours, "choose_k", "stormglass, k = 1", &|| ours("choose_k", size));
    add(Theirs, "choose_k", "consistent-choose-k 0.1.2", &|| their_choice(size, 1));
    add(Ours, "choose_3", "stormglass, k = 3", &|| ours_replicas("choose_k", size, 3));
    add(Theirs, "choose_3", "consistent-choose-k 0.1.2", &|| their_choice(size, 3));

    add(Ours, "jump_back", "stormglass", &|| ours_hashed("jump_back", size));
    add(Ours, "binomial", "stormglass", &|| ours_hashed("binomial", size));
    add(Ours, "local_rend.", "stormglass", &|| ours("local_rendezvous", size));
    all
}

fn their_choice(size: u32, count: usize) -> LookUps {
    each(move |key| {
        let mut hasher = Xxh3::default();
        key.hash(&mut hasher);
        let chosen =
            consistent_choose_k::ConsistentChooseKHasher::new_with_k(hasher, size as usize, count);
        chosen.samples().iter().fold(0, |sum, node| sum ^ *node as u64)
    })
}
