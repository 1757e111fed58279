//! The wing's testbed: what a placement does with a population of keys, and what each change of
//! membership costs. There is no virtual time.
//!
//! Keys are made up one by one and never held. Two copies of a placement go through the script,
//! one event apart: a pass over the keys asks both, and so sees each key that moves. A pass goes
//! over blocks of keys side by side, and adds them up in their order: how many threads there are
//! does not show.

use std::fmt::Write as _;
use std::ops::Range;

use rayon::prelude::*;

use crate::choice::Choice;
use crate::config::Problems;
use crate::kernel::rng::Seed;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement};
use crate::model::popularity::Popularity;
use crate::record::statistics;
use crate::record::{Better, Ending, Flow, Measure, Metric, Profile, Record, Subject, Unit};
use crate::rings::copies::{Copies, CopyChange};
use crate::rings::hash::{Hasher, mix, splitmix64};
use crate::rings::script::{Stage, Step, script};
use crate::rings::{BuildError, Entry, Unfit, VARIANTS};

pub use crate::rings::script::{
    AddEvent, Event, KeyForm, Keys, MadeKeys, NodeCount, NodeGroup, Nodes, OneMember,
    ReweightEvent, RingsConfig,
};

/// What is measured: the configuration, and the keys that it names a file for.
#[derive(Clone, Debug, PartialEq)]
pub struct Setup {
    /// What the scenario says.
    pub config: RingsConfig,
    /// The keys of the file, where the configuration names one.
    pub listed: Option<ListedKeys>,
}

/// Keys and how often each is asked for, from a file.
#[derive(Clone, Debug, PartialEq)]
pub struct ListedKeys {
    // Invariant: there is one at least; weights are finite, not negative, and not all zero.
    rows: Vec<(String, f64)>,
}

/// What a measurement will take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// Steps, each of some nanoseconds.
    pub operations: f64,
    /// Bytes that are held at once.
    pub bytes: f64,
}

impl ListedKeys {
    /// Keys with weights.
    ///
    /// # Errors
    /// Where there is no key, or the weights are not such: the number of the row and why.
    pub fn new(rows: Vec<(String, f64)>) -> Result<Self, (usize, String)> {
        let wrong = |weight: f64| !weight.is_finite() || weight < 0.0;
        if let Some(index) = rows.iter().position(|(_, weight)| wrong(*weight)) {
            let found = rows[index].1;
            return Err((index, format!("the weight {found}, expected a number from 0 on")));
        }
        let total: f64 = rows.iter().map(|(_, weight)| weight).sum();
        if !total.is_finite() || total <= 0.0 {
            return Err((0, "no key with a weight".into()));
        }
        Ok(Self { rows })
    }

    /// The keys and their weights, in the order of the file.
    pub fn rows(&self) -> &[(String, f64)] {
        &self.rows
    }
}

/// Tells all that is wrong with the variants of `setup`, at its start and after each event.
pub fn check(setup: &Setup, problems: &mut Problems) {
    let start = setup.config.nodes.membership();
    let script = script(&setup.config, Seed(0));
    for choice in &setup.config.variants {
        let Some(entry) = choice.find("ring", VARIANTS, problems) else { continue };
        let before = problems.len();
        let stages = script.stages.iter().map(|stage| &stage.members);
        for members in std::iter::once(&start).chain(stages) {
            if before == problems.len() {
                (entry.check)(choice, members, problems);
            }
        }
    }
}

/// What measuring `choice` once will take; nothing where the choice is wrong.
pub fn estimate(choice: &Choice, setup: &Setup) -> Estimate {
    let members = setup.config.nodes.membership();
    let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let cost = super::find(choice).ok().and_then(|entry| (entry.cost)(choice, count));
    let Some(cost) = cost else { return Estimate { operations: 0.0, bytes: 0.0 } };
    let events = setup.config.events.len() as f64;
    let keys = KeySource::new(setup, Seed(0)).count as f64;
    let lookups = keys * (2.0 * events).max(1.0);
    let copies = f64::from(setup.config.replicas);
    // Copies are looked up apart, and each key's set of holders is kept.
    let (passes, sets) = if 1.0 < copies { (1.0 + copies, 8.0 * keys) } else { (1.0, 0.0) };
    Estimate {
        operations: passes * lookups * (cost.lookup_steps + 4.0)
            + 2.0 * (1.0 + events) * cost.build_steps as f64,
        bytes: 2.0 * cost.table_bytes as f64 + 200.0 * f64::from(count) + sets,
    }
}

/// Measures `choice` on `setup` under `seed`.
///
/// # Errors
/// Where the choice is wrong or cannot place the members.
pub fn measure(choice: &Choice, setup: &Setup, seed: Seed) -> Result<Record, BuildError> {
    measure_entry(super::find(choice)?, choice, setup, seed)
}

/// Measures `entry`, which may be a ring from outside this crate, with the parameters of `choice`.
///
/// A script whose random picks make a later event impossible under this seed ends there: the
/// record says so, and is incomplete.
///
/// # Errors
/// Where the parameters are wrong or it cannot place the members at the start.
pub fn measure_entry(
    entry: &Entry,
    choice: &Choice,
    setup: &Setup,
    seed: Seed,
) -> Result<Record, BuildError> {
    let keys = KeySource::new(setup, seed);
    let hash_seed = seed.stream("ring hash", "").word();
    let hasher = Hasher::new(setup.config.hash.clone(), hash_seed);
    let start = setup.config.nodes.membership();
    let script = script(&setup.config, seed);

    let mut before = Replayed::new(entry, choice, &start, hasher.clone())?;
    let mut after = Replayed::new(entry, choice, &start, hasher)?;
    let mut report = Report::new(choice, seed);
    let lookup_steps =
        (entry.cost)(choice, start.len() as u32).map_or(0.0, |cost| cost.lookup_steps);
    report.tables("", &*before.placement, &start);
    report.add(&LOOKUP_STEPS, "", lookup_steps);

    // The first pass over the keys tells the loads at the start, and what the first event moves.
    let mut stages = script.stages.iter();
    let mut next = stages.next().map(|stage| (stage, after.play(stage)));
    let mut change = match next {
        Some((stage, Ok(_))) => Some(keys.change(&before, &after, stage, &start)),
        _ => None,
    };
    let loads = match &change {
        Some(change) => change.before.of_the_first(start.id_bound()),
        None => keys.tally(
            [&*before.placement],
            || Loads::new(&start),
            |loads, [owner], weight| loads.add(owner, weight),
        ),
    };
    report.loads("", &loads, &start, &keys);
    report.shares("", &*before.placement, &start);
    report.hashes("", &*before.placement, &keys);
    report.profiles(&loads, &start);
    let copies = setup.config.replicas as usize;
    let has_copies = 1 < copies && report.knows_copies(&mut before, copies);
    if has_copies {
        let mut lie = Copies::new(&start);
        keys.each(|key, _| lie.add(before.holders(key, copies)));
        report.copies("", lie, copies, &start);
    }

    let mut members = start;
    while let Some((stage, played)) = next {
        match played {
            Ok(None) => (),
            Ok(Some(reason)) => {
                report.record.findings.push(format!("{}: built anew: {reason}", stage.label));
            }
            Err(error) => {
                report.record.ending = Ending::Incomplete(format!("{}: {error}", stage.label));
                return Ok(report.record);
            }
        }
        let change = change.take().unwrap_or_else(|| keys.change(&before, &after, stage, &members));
        report.change(&stage.label, &change, &members, stage, &keys);
        report.loads(&stage.label, &change.after, &stage.members, &keys);
        report.shares(&stage.label, &*after.placement, &stage.members);
        report.hashes(&stage.label, &*after.placement, &keys);
        if has_copies {
            let mut change = CopyChange::new(&stage.members);
            let mut lie = Copies::new(&stage.members);
            keys.each(|key, _| {
                let holders = after.holders(key, copies);
                change.add(before.holders(key, copies), holders);
                lie.add(holders);
            });
            report.copy_change(&stage.label, &change, &setup.config);
            report.copies(&stage.label, lie, copies, &stage.members);
        }
        report.tables(&stage.label, &*after.placement, &stage.members);
        before.play(stage)?;
        members = stage.members.clone();
        next = stages.next().map(|stage| (stage, after.play(stage)));
    }
    if let Some((_, why)) = script.broken {
        report.record.ending = Ending::Incomplete(why);
    }
    if let Some(why) = before.placement.trouble().or_else(|| after.placement.trouble()) {
        return Err(BuildError::Unfit(Unfit(why)));
    }
    Ok(report.record)
}

/// A placement that goes through a script.
struct Replayed<'a> {
    entry: &'a Entry,
    choice: &'a Choice,
    hasher: Hasher,
    placement: Box<dyn Placement>,
    /// Room for the holders of a key.
    holders: Vec<MemberId>,
}

impl<'a> Replayed<'a> {
    fn new(
        entry: &'a Entry,
        choice: &'a Choice,
        members: &Membership,
        hasher: Hasher,
    ) -> Result<Self, BuildError> {
        let placement = (entry.build)(choice, members, hasher.clone())?;
        Ok(Self { entry, choice, hasher, placement, holders: Vec::new() })
    }

    /// The members that hold the copies of a key.
    fn holders(&mut self, key: &[u8], copies: usize) -> &[MemberId] {
        let done = self.placement.replicas(self.placement.key(key), copies, &mut self.holders);
        done.expect("a placement that knew copies once knows them still");
        &self.holders
    }

    fn build_anew(&mut self, members: &Membership) -> Result<(), BuildError> {
        self.placement = (self.entry.build)(self.choice, members, self.hasher.clone())?;
        Ok(())
    }

    /// Lets `stage` happen. Where the placement cannot express it, it is built anew, as its user
    /// would have to; the reason why.
    fn play(&mut self, stage: &Stage) -> Result<Option<String>, BuildError> {
        if BULK <= stage.steps.len() && self.entry.capabilities.history_free {
            self.build_anew(&stage.members)?;
            return Ok(None);
        }
        for step in &stage.steps {
            let done = match step {
                Step::Add(id, member) => self.placement.add(*id, member),
                Step::Remove(id) => self.placement.remove(*id),
                Step::Reweight(id, weight) => self.placement.reweight(*id, *weight),
            };
            if let Err(unsupported) = done {
                self.build_anew(&stage.members)?;
                return Ok(Some(unsupported.to_string()));
            }
        }
        Ok(None)
    }
}

/// The keys of a setup under a seed, one by one.
struct KeySource<'a> {
    setup: &'a Setup,
    salt: u64,
    count: u64,
    weight_total: f64,
    hottest: f64,
}

impl<'a> KeySource<'a> {
    fn new(setup: &'a Setup, seed: Seed) -> Self {
        let salt = seed.stream("ring keys", "").word();
        let (count, weight_total, hottest) = match (&setup.config.keys, &setup.listed) {
            (Keys::Made(made), _) => {
                let total = made.popularity.weight_total(made.count);
                (made.count, total, made.popularity.weight(0, made.count))
            }
            (Keys::File(_), Some(listed)) => {
                let weights = listed.rows.iter().map(|(_, weight)| *weight);
                (listed.rows.len() as u64, weights.clone().sum(), weights.fold(0.0, f64::max))
            }
            (Keys::File(_), None) => (0, 1.0, 0.0),
        };
        Self { setup, salt, count, weight_total, hottest }
    }

    /// What `stage` moves, of which `after` has seen it and `before` has not.
    fn change(
        &self,
        before: &Replayed<'_>,
        after: &Replayed<'_>,
        stage: &Stage,
        members: &Membership,
    ) -> Change {
        self.tally(
            [&*before.placement, &*after.placement],
            || Change::new(stage, members),
            |change, [from, to], weight| change.add(from, to, weight),
        )
    }

    /// Adds up all keys: `add` takes one with its owner under each of `placements` and its share
    /// of the requests. The placements are of the same choice and hash function.
    ///
    /// Blocks of keys are added up side by side, and then the blocks in their order.
    fn tally<const N: usize, T: Tally>(
        &self,
        placements: [&dyn Placement; N],
        new: impl Fn() -> T + Sync,
        add: impl Fn(&mut T, [MemberId; N], f64) + Sync,
    ) -> T {
        let block_of = |index: usize| {
            let from = index as u64 * BLOCK;
            let mut block = new();
            let keys = from..self.count.min(from + BLOCK);
            self.placed(keys, placements, |owners, weight| add(&mut block, owners, weight));
            block
        };
        let mut whole = block_of(0);
        let count = self.count.div_ceil(BLOCK) as usize;
        // As many at a time as there are threads: a block of many members takes much memory.
        let at_a_time = rayon::current_num_threads().max(1);
        for first in (1..count).step_by(at_a_time) {
            let some = first..count.min(first + at_a_time);
            let blocks: Vec<T> = some.into_par_iter().with_max_len(1).map(block_of).collect();
            for block in blocks {
                whole.merge(block);
            }
        }
        whole
    }

    /// Calls `each` for some keys with their owner under each of `placements` and their share of
    /// the requests. Many are asked for at a time: some placements answer sooner so.
    fn placed<const N: usize>(
        &self,
        range: Range<u64>,
        placements: [&dyn Placement; N],
        mut each: impl FnMut([MemberId; N], f64),
    ) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        let mut weights = Vec::with_capacity(BATCH);
        let mut owners = [const { Vec::new() }; N];
        let mut flush = |bytes: &mut Vec<u8>, ends: &mut Vec<usize>, weights: &mut Vec<f64>| {
            let starts = std::iter::once(0).chain(ends.iter().copied());
            let keys = starts.zip(ends.iter());
            // All of them hash alike.
            let keys: Vec<Key<'_>> =
                keys.map(|(from, &to)| placements[0].key(&bytes[from..to])).collect();
            for (placement, owners) in placements.iter().zip(&mut owners) {
                placement.locate_all(&keys, owners);
            }
            for (index, weight) in weights.iter().enumerate() {
                each(std::array::from_fn(|which| owners[which][index]), *weight);
            }
            bytes.clear();
            ends.clear();
            weights.clear();
        };
        self.each_of(range, |key, weight| {
            bytes.extend_from_slice(key);
            ends.push(bytes.len());
            weights.push(weight);
            if weights.len() == BATCH {
                flush(&mut bytes, &mut ends, &mut weights);
            }
        });
        flush(&mut bytes, &mut ends, &mut weights);
    }

    /// Calls `each` for every key with its share of the requests.
    fn each(&self, each: impl FnMut(&[u8], f64)) {
        self.each_of(0..self.count, each);
    }

    /// Calls `each` for the keys of these numbers with their shares of the requests.
    fn each_of(&self, range: Range<u64>, mut each: impl FnMut(&[u8], f64)) {
        match (&self.setup.config.keys, &self.setup.listed) {
            (Keys::Made(made), _) => {
                let mut text = String::new();
                let even = 1.0 / self.count as f64;
                for rank in range {
                    text.clear();
                    write_key(&mut text, &made.form, self.salt, rank);
                    let share = match made.popularity {
                        Popularity::Uniform => even,
                        _ => made.popularity.weight(rank, self.count) / self.weight_total,
                    };
                    each(text.as_bytes(), share);
                }
            }
            (Keys::File(_), listed) => {
                let rows = listed.iter().flat_map(|listed| &listed.rows);
                let (skipped, count) = (range.start as usize, range.end - range.start);
                for (key, weight) in rows.skip(skipped).take(count as usize) {
                    each(key.as_bytes(), weight / self.weight_total);
                }
            }
        }
    }
}

/// What blocks of keys come to, and can be added up.
trait Tally: Send {
    /// Adds what the keys behind these come to.
    fn merge(&mut self, other: Self);
}

pub(super) fn write_key(text: &mut String, form: &KeyForm, salt: u64, rank: u64) {
    let word = splitmix64(salt.wrapping_add(mix(rank)));
    let written = match form {
        KeyForm::Hex => {
            let digits: [u8; 16] = std::array::from_fn(|place| {
                b"0123456789abcdef"[(word >> (60 - 4 * place)) as usize & 15]
            });
            text.push_str(std::str::from_utf8(&digits).expect("hexadecimal digits are text"));
            Ok(())
        }
        KeyForm::Sequential => write!(text, "key-{rank}"),
        KeyForm::Uuid => {
            let low = splitmix64(word);
            write!(
                text,
                "{:08x}-{:04x}-4{:03x}-{:x}{:03x}-{:012x}",
                word >> 32,
                word >> 16 & 0xffff,
                word & 0xfff,
                8 | low >> 62,
                low >> 48 & 0xfff,
                low & 0xffff_ffff_ffff
            )
        }
        KeyForm::Url => write!(text, "https://www.example.com/p/{:x}/{rank}.html", word >> 40),
    };
    written.expect("writing to a string cannot fail");
}

/// How much each member has, by id.
struct Loads {
    keys: Vec<u64>,
    requests: Vec<f64>,
}

impl Loads {
    fn new(members: &Membership) -> Self {
        let bound = members.id_bound();
        Self { keys: vec![0; bound], requests: vec![0.0; bound] }
    }

    fn add(&mut self, member: MemberId, share: f64) {
        self.keys[member.index()] += 1;
        self.requests[member.index()] += share;
    }

    /// Those of the members with the first `count` ids.
    fn of_the_first(&self, count: usize) -> Self {
        Self { keys: self.keys[..count].to_vec(), requests: self.requests[..count].to_vec() }
    }
}

impl Tally for Loads {
    fn merge(&mut self, other: Self) {
        self.keys.iter_mut().zip(other.keys).for_each(|(sum, keys)| *sum += keys);
        self.requests.iter_mut().zip(other.requests).for_each(|(sum, share)| *sum += share);
    }
}

/// What moves in an event.
struct Change {
    before: Loads,
    after: Loads,
    moved: Moved,
    survivors: Moved,
    /// Whether a member neither joins, nor leaves, nor gets another weight; by id.
    survives: Vec<bool>,
    /// How many keys each member gave to each other one, a row for each that gave, by id; nothing
    /// where they are many.
    pairs: Vec<Vec<u64>>,
}

/// Among so many members it is told who gave keys to whom.
const PAIRED_MAX: usize = 16;

#[derive(Default)]
struct Moved {
    keys: u64,
    requests: f64,
}

impl Change {
    fn new(stage: &Stage, before: &Membership) -> Self {
        let bound = stage.members.id_bound();
        let mut survives = vec![false; bound];
        for (id, member) in stage.members.iter() {
            let weight = before.get(id).map(|member| member.weight.to_bits());
            survives[id.index()] = weight == Some(member.weight.to_bits());
        }
        Self {
            before: Loads::new(&stage.members),
            after: Loads::new(&stage.members),
            moved: Moved::default(),
            survivors: Moved::default(),
            survives,
            pairs: if bound <= PAIRED_MAX { vec![vec![0; bound]; bound] } else { Vec::new() },
        }
    }

    fn add(&mut self, from: MemberId, to: MemberId, share: f64) {
        self.before.add(from, share);
        self.after.add(to, share);
        if from == to {
            return;
        }
        self.moved.keys += 1;
        self.moved.requests += share;
        if let Some(given) = self.pairs.get_mut(from.index()) {
            given[to.index()] += 1;
        }
        if self.survives[from.index()] && self.survives[to.index()] {
            self.survivors.keys += 1;
            self.survivors.requests += share;
        }
    }
}

impl Tally for Change {
    fn merge(&mut self, other: Self) {
        self.before.merge(other.before);
        self.after.merge(other.after);
        for (sum, moved) in [(&mut self.moved, other.moved), (&mut self.survivors, other.survivors)]
        {
            sum.keys += moved.keys;
            sum.requests += moved.requests;
        }
    }
}

/// The load of the members against their fair shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Balance {
    pub(super) max: f64,
    pub(super) min: f64,
    cv: f64,
    gini: f64,
    distance: f64,
    /// Quantiles over the members, for each of [`QUANTILES`].
    quantiles: [f64; QUANTILES.len()],
}

/// The quantiles over members that are told: the middle, the upper tail, and the ends between
/// which 99 % of the members lie.
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.005, 0.995];

impl Balance {
    /// Of members given as their share of the weight and their share of the load.
    pub(super) fn of(shares: impl Iterator<Item = (f64, f64)>) -> Self {
        // Each member's load in units of its fair load, and its fair share.
        let mut relative: Vec<(f64, f64)> =
            shares.map(|(fair, load)| (load / fair, fair)).collect();
        relative.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        let variance: f64 = relative.iter().map(|(r, fair)| fair * (r - 1.0) * (r - 1.0)).sum();
        let distance: f64 = relative.iter().map(|(r, fair)| fair * (r - 1.0).abs()).sum();
        // Twice the area below the Lorenz curve.
        let (mut below, mut area) = (0.0, 0.0);
        for (r, fair) in &relative {
            area += fair * (2.0 * below + r * fair);
            below += r * fair;
        }
        Self {
            max: relative.last().map_or(0.0, |(r, _)| *r),
            min: relative.first().map_or(0.0, |(r, _)| *r),
            cv: libm::sqrt(variance),
            gini: (1.0 - area).max(0.0),
            distance: distance / 2.0,
            quantiles: QUANTILES.map(|q| {
                // The nearest rank.
                let rank = libm::ceil(q * relative.len() as f64) as usize;
                relative.get(rank.max(1) - 1).map_or(0.0, |(r, _)| *r)
            }),
        }
    }

    /// Its numbers in the order of [`KEY_BALANCE`] and [`REQUEST_BALANCE`].
    pub(super) fn values(self) -> [f64; 5] {
        [self.max, self.min, self.cv, self.gini, self.distance]
    }
}

/// A record in the making.
struct Report {
    record: Record,
}

impl Report {
    fn new(choice: &Choice, seed: Seed) -> Self {
        Self {
            record: Record {
                subject: Subject::Rings,
                variant: choice.label(),
                point: Vec::new(),
                seed,
                measures: Vec::new(),
                samples: Vec::new(),
                curves: Vec::new(),
                profiles: Vec::new(),
                flows: Vec::new(),
                spans: Vec::new(),
                faults: Vec::new(),
                findings: Vec::new(),
                window: None,
                ending: Ending::Complete,
                event_count: 0,
                fingerprint: 0,
            },
        }
    }

    fn add(&mut self, metric: &'static Metric, at: &str, value: f64) {
        assert!(!value.is_nan(), "{} is not a number", metric.name);
        self.record.measures.push(Measure { metric, at: at.to_owned(), value });
    }

    fn loads(&mut self, at: &str, loads: &Loads, members: &Membership, keys: &KeySource<'_>) {
        let weight_total = members.weight_total();
        let balance = |load_of: &dyn Fn(usize) -> f64| {
            Balance::of(
                members.iter().map(|(id, m)| (m.weight / weight_total, load_of(id.index()))),
            )
        };
        let count = keys.count as f64;
        let by_keys = balance(&|index| loads.keys[index] as f64 / count);
        let by_requests = balance(&|index| loads.requests[index]);
        for (balance, metrics) in [(by_keys, &KEY_BALANCE), (by_requests, &REQUEST_BALANCE)] {
            for (metric, value) in metrics.iter().copied().zip(balance.values()) {
                self.add(metric, at, value);
            }
        }
        for (metric, value) in KEY_QUANTILES.into_iter().zip(by_keys.quantiles) {
            self.add(metric, at, value);
        }
        if 1 < members.len() {
            // The sum over the members of (found - expected)² / expected.
            let degrees = (members.len() - 1) as f64;
            let chi_square = count * by_keys.cv * by_keys.cv;
            self.add(&KEY_CHI_SQUARE, at, chi_square / degrees);
            self.add(&KEY_CHI_SQUARE_P, at, statistics::chi_square_p(chi_square, degrees));
        }
        let widest = members.iter().map(|(_, member)| member.weight).fold(0.0, f64::max);
        let hottest = keys.hottest / keys.weight_total;
        self.add(&REQUEST_SKEW_FLOOR, at, (hottest * weight_total / widest).max(1.0));
        let hash = loads.keys.iter().fold(self.record.fingerprint, |h, &n| mix(h ^ mix(n + 1)));
        self.record.fingerprint = hash;
    }

    fn change(
        &mut self,
        at: &str,
        change: &Change,
        before: &Membership,
        stage: &Stage,
        keys: &KeySource<'_>,
    ) {
        let count = keys.count as f64;
        let gains = change.before.keys.iter().zip(&change.after.keys);
        let floor: u64 = gains.map(|(before, after)| after.saturating_sub(*before)).sum();
        assert!(floor <= change.moved.keys, "fewer keys moved than had to");
        self.add(&KEY_REMAP, at, change.moved.keys as f64 / count);
        self.add(&KEY_REMAP_FLOOR, at, floor as f64 / count);
        self.add(&KEY_REMAP_EXCESS, at, (change.moved.keys - floor) as f64 / count);
        self.add(&KEY_REMAP_SURVIVORS, at, change.survivors.keys as f64 / count);
        self.flow(at, change, before, &stage.members, count);

        let gains = change.before.requests.iter().zip(&change.after.requests);
        let floor: f64 = gains.map(|(before, after)| (after - before).max(0.0)).sum();
        self.add(&REQUEST_REMAP, at, change.moved.requests);
        self.add(&REQUEST_REMAP_FLOOR, at, floor);
        self.add(&REQUEST_REMAP_EXCESS, at, (change.moved.requests - floor).max(0.0));
        self.add(&REQUEST_REMAP_SURVIVORS, at, change.survivors.requests);

        let (total_before, total_after) = (before.weight_total(), stage.members.weight_total());
        let fair: f64 = stage
            .members
            .iter()
            .map(|(id, member)| {
                let had = before.get(id).map_or(0.0, |member| member.weight / total_before);
                (member.weight / total_after - had).max(0.0)
            })
            .sum();
        self.add(&REMAP_FAIR, at, fair);
    }

    /// Who gave keys to whom, as shares of all keys: among those that were there before or are
    /// there after.
    fn flow(
        &mut self,
        at: &str,
        change: &Change,
        before: &Membership,
        after: &Membership,
        count: f64,
    ) {
        if change.pairs.is_empty() {
            return;
        }
        let mut all: Vec<(MemberId, &Member)> = before.iter().chain(after.iter()).collect();
        all.sort_by_key(|(id, _)| *id);
        all.dedup_by_key(|(id, _)| *id);
        let row = |(from, _): &(MemberId, &Member)| {
            let given = &change.pairs[from.index()];
            all.iter().map(|(to, _)| given[to.index()] as f64 / count).collect()
        };
        self.record.flows.push(Flow {
            metric: &KEY_REMAP,
            at: at.to_owned(),
            names: all.iter().map(|(_, member)| member.name.clone()).collect(),
            amounts: all.iter().map(row).collect(),
        });
    }

    fn tables(&mut self, at: &str, placement: &dyn Placement, members: &Membership) {
        let bytes = placement.table_bytes() as f64;
        self.add(&TABLE_BYTES, at, bytes);
        self.add(&NODE_BYTES, at, bytes / members.len() as f64);
    }

    /// The hashes that look-ups take, where the placement counts them: of so many keys as tell
    /// the mean to a few thousandths.
    fn hashes(&mut self, at: &str, placement: &dyn Placement, keys: &KeySource<'_>) {
        const COUNTED_MAX: u64 = 100_000;
        let (mut total, mut counted) = (0_u64, 0_u64);
        keys.each_of(0..keys.count.min(COUNTED_MAX), |key, _| {
            if let Some(hashes) = placement.count_hashes(placement.key(key)) {
                total += u64::from(hashes);
                counted += 1;
            }
        });
        if 0 < counted {
            self.add(&LOOKUP_HASHES, at, total as f64 / counted as f64);
        }
    }

    /// The balance of exact shares, where the placement tells them.
    fn shares(&mut self, at: &str, placement: &dyn Placement, members: &Membership) {
        let Some(shares) = placement.shares() else { return };
        let weight_total = members.weight_total();
        let share_of = |id: MemberId| {
            let found = shares.binary_search_by_key(&id, |(id, _)| *id);
            found.map_or(0.0, |index| shares[index].1)
        };
        let Balance { max, min, cv, quantiles: [.., low, high], .. } =
            Balance::of(members.iter().map(|(id, m)| (m.weight / weight_total, share_of(id))));
        self.add(&EXACT_SKEW, at, max);
        self.add(&EXACT_MIN, at, min);
        self.add(&EXACT_CV, at, cv);
        self.add(&EXACT_LOW, at, low);
        self.add(&EXACT_HIGH, at, high);
    }

    /// Whether the placement knows copies; a finding where it does not.
    fn knows_copies(&mut self, replayed: &mut Replayed<'_>, copies: usize) -> bool {
        let placement = &replayed.placement;
        let known = placement.replicas(placement.key(b""), copies, &mut replayed.holders);
        if let Err(reason) = &known {
            self.record.findings.push(format!("no copies: {reason}"));
        }
        known.is_ok()
    }

    fn copies(&mut self, at: &str, copies: Copies, wanted: usize, members: &Membership) {
        let weight_total = members.weight_total();
        let total = copies.counts.iter().sum::<u64>() as f64;
        let balance = Balance::of(members.iter().map(|(id, member)| {
            (member.weight / weight_total, copies.counts[id.index()] as f64 / total)
        }));
        self.add(&COPY_SKEW, at, balance.max);
        self.add(&COPY_CV, at, balance.cv);
        let losses = copies.losses(wanted, members.len());
        self.add(&COPY_SETS, at, losses.set_count as f64);
        self.add(&LOSS_CHANCE, at, losses.chance);
        self.add(&LOSS_WORST, at, losses.worst);
        if let Some(worst) = losses.worst_zone {
            self.add(&LOSS_ZONE, at, worst);
        }
    }

    fn copy_change(&mut self, at: &str, change: &CopyChange, config: &RingsConfig) {
        let count = change.copy_count() as f64;
        let floor = change.floor();
        assert!(floor <= change.moved, "fewer copies moved than had to");
        self.add(&COPY_REMAP, at, change.moved as f64 / count);
        self.add(&COPY_REMAP_FLOOR, at, floor as f64 / count);
        self.add(&COPY_REMAP_EXCESS, at, (change.moved - floor) as f64 / count);
        let keys = count / f64::from(config.replicas);
        self.add(&SETS_CHANGED, at, change.sets_changed as f64 / keys);
        let bytes = config.copy_size.0 as f64;
        self.add(&COPY_BYTES, at, change.moved as f64 * bytes);
        let seconds = change.bottleneck() as f64 * bytes / config.bandwidth.0 as f64;
        self.add(&COPY_TIME, at, seconds * 1e9);
    }

    fn profiles(&mut self, loads: &Loads, members: &Membership) {
        let alike = |(_, member): (MemberId, &Member)| member.weight.to_bits();
        let first = members.iter().next().map(alike);
        let is_even = members.iter().all(|member| Some(alike(member)) == first);
        let total: u64 = loads.keys.iter().sum();
        let fair = is_even.then(|| 1.0 / members.len() as f64);
        let bars = |load_of: &dyn Fn(usize) -> f64| {
            members.iter().map(|(id, m)| (m.name.clone(), load_of(id.index()))).collect()
        };
        self.record.profiles.push(Profile {
            metric: &NODE_KEYS,
            at: String::new(),
            bars: bars(&|index| loads.keys[index] as f64 / total as f64),
            fair,
        });
        self.record.profiles.push(Profile {
            metric: &NODE_REQUESTS,
            at: String::new(),
            bars: bars(&|index| loads.requests[index]),
            fair,
        });
    }
}

/// Keys that are placed at a time.
const BATCH: usize = 1024;
/// Keys that are added up by themselves. Part of the results: sums of floats depend on it.
const BLOCK: u64 = 1 << 20;

/// An event of so many steps is played by building anew where that comes to the same.
const BULK: usize = 8;

/// All that [`measure`] measures.
pub const METRICS: &[&Metric] = &[
    &KEY_SKEW,
    &KEY_MIN,
    &KEY_CV,
    &KEY_GINI,
    &KEY_DISTANCE,
    &KEY_P50,
    &KEY_P90,
    &KEY_P99,
    &KEY_CHI_SQUARE,
    &KEY_CHI_SQUARE_P,
    &REQUEST_SKEW,
    &REQUEST_MIN,
    &REQUEST_CV,
    &REQUEST_GINI,
    &REQUEST_DISTANCE,
    &REQUEST_SKEW_FLOOR,
    &KEY_REMAP,
    &KEY_REMAP_FLOOR,
    &KEY_REMAP_EXCESS,
    &KEY_REMAP_SURVIVORS,
    &REQUEST_REMAP,
    &REQUEST_REMAP_FLOOR,
    &REQUEST_REMAP_EXCESS,
    &REQUEST_REMAP_SURVIVORS,
    &REMAP_FAIR,
    &EXACT_SKEW,
    &EXACT_MIN,
    &EXACT_CV,
    &EXACT_LOW,
    &EXACT_HIGH,
    &COPY_SKEW,
    &COPY_CV,
    &COPY_SETS,
    &COPY_REMAP,
    &COPY_REMAP_FLOOR,
    &COPY_REMAP_EXCESS,
    &SETS_CHANGED,
    &COPY_BYTES,
    &COPY_TIME,
    &LOSS_CHANCE,
    &LOSS_WORST,
    &LOSS_ZONE,
    &NODE_KEYS,
    &NODE_REQUESTS,
    &TABLE_BYTES,
    &NODE_BYTES,
    &LOOKUP_STEPS,
    &LOOKUP_HASHES,
];

pub(super) const KEY_BALANCE: [&Metric; 5] =
    [&KEY_SKEW, &KEY_MIN, &KEY_CV, &KEY_GINI, &KEY_DISTANCE];
const KEY_QUANTILES: [&Metric; 3] = [&KEY_P50, &KEY_P90, &KEY_P99];
pub(super) const REQUEST_BALANCE: [&Metric; 5] =
    [&REQUEST_SKEW, &REQUEST_MIN, &REQUEST_CV, &REQUEST_GINI, &REQUEST_DISTANCE];

macro_rules! metrics {
    ($($constant:ident = $name:literal, $title:literal, $unit:ident, $better:ident:
       $definition:literal;)*) => {$(
        #[doc = $definition]
        pub static $constant: Metric = Metric {
            name: $name,
            title: $title,
            unit: Unit::$unit,
            better: Better::$better,
            definition: $definition,
        };
    )*};
}

pub(super) use metrics;

metrics! {
    KEY_SKEW = "key_skew", "key load, max/mean", Ratio, Lower:
        "The largest, over the members, of keys owned divided by the fair number, which is keys · weight / sum of weights. 1 is perfect.";
    KEY_MIN = "key_min", "key load, min/mean", Ratio, Higher:
        "The smallest, over the members, of keys owned divided by the fair number. 1 is perfect.";
    KEY_CV = "key_cv", "key load, coefficient of variation", Ratio, Lower:
        "The square root of the mean, over the members by fair share, of (keys owned / fair number - 1)²: standard deviation over mean where weights are equal.";
    KEY_GINI = "key_gini", "key load, Gini coefficient", Ratio, Lower:
        "The Gini coefficient of keys owned / fair number over the members, each counted by its fair share. 0 is perfect.";
    KEY_DISTANCE = "key_distance", "key load, distance from fair", Share, Lower:
        "Half the sum, over the members, of |share of the keys - fair share|: the part of the keys that would have to move to be fair.";
    KEY_P50 = "key_p50", "key load, p50/mean", Ratio, Neither:
        "The median, over the members, of keys owned divided by the fair number.";
    KEY_P90 = "key_p90", "key load, p90/mean", Ratio, Lower:
        "The 90th percentile, over the members (nearest rank), of keys owned divided by the fair number.";
    KEY_P99 = "key_p99", "key load, p99/mean", Ratio, Lower:
        "The 99th percentile, over the members (nearest rank), of keys owned divided by the fair number.";
    KEY_CHI_SQUARE = "key_chi_square", "key load, chi-square a degree of freedom", Ratio, Lower:
        "The sum, over the members, of (keys owned - fair number)² / fair number, over the number of members less one. About 1 where every key goes to a member drawn by weight; below, keys are dealt out more evenly than by chance.";
    KEY_CHI_SQUARE_P = "key_chi_square_p", "key load, chi-square p", Share, Neither:
        "The chance that keys which each go to a member drawn by weight would be as uneven as these, or more (chi-square test). Near 0: the placement is unfair beyond chance.";
    REQUEST_SKEW = "request_skew", "request load, max/mean", Ratio, Lower:
        "The largest, over the members, of the share of the requests that goes to its keys divided by its fair share. 1 is perfect.";
    REQUEST_MIN = "request_min", "request load, min/mean", Ratio, Higher:
        "The smallest, over the members, of the share of the requests that goes to its keys divided by its fair share. 1 is perfect.";
    REQUEST_CV = "request_cv", "request load, coefficient of variation", Ratio, Lower:
        "The square root of the mean, over the members by fair share, of (share of the requests / fair share - 1)².";
    REQUEST_GINI = "request_gini", "request load, Gini coefficient", Ratio, Lower:
        "The Gini coefficient of share of the requests / fair share over the members, each counted by its fair share. 0 is perfect.";
    REQUEST_DISTANCE = "request_distance", "request load, distance from fair", Share, Lower:
        "Half the sum, over the members, of |share of the requests - fair share|.";
    REQUEST_SKEW_FLOOR = "request_skew_floor", "request load, max/mean that no placement beats", Ratio, Neither:
        "The larger of 1 and the hottest key's share of the requests divided by the largest fair share: that key has to be somewhere.";
    KEY_REMAP = "key_remap", "keys moved", Share, Lower:
        "The share of the keys whose owner after the event is not the one before it.";
    KEY_REMAP_FLOOR = "key_remap_floor", "keys moved, floor", Share, Neither:
        "The sum over the members of max(0, keys after - keys before), over all keys: between these two assignments no placement moves less.";
    KEY_REMAP_EXCESS = "key_remap_excess", "keys moved above the floor", Share, Lower:
        "key_remap - key_remap_floor: what moved although it need not.";
    KEY_REMAP_SURVIVORS = "key_remap_survivors", "keys moved between survivors", Share, Lower:
        "The share of the keys that moved from one to another of the members that neither joined, nor left, nor got another weight.";
    REQUEST_REMAP = "request_remap", "requests moved", Share, Lower:
        "The share of the requests that goes to keys whose owner after the event is not the one before it.";
    REQUEST_REMAP_FLOOR = "request_remap_floor", "requests moved, floor", Share, Neither:
        "The sum over the members of max(0, share of the requests after - before).";
    REQUEST_REMAP_EXCESS = "request_remap_excess", "requests moved above the floor", Share, Lower:
        "request_remap - request_remap_floor.";
    REQUEST_REMAP_SURVIVORS = "request_remap_survivors", "requests moved between survivors", Share, Lower:
        "The share of the requests that goes to keys that moved between members that neither joined, nor left, nor got another weight.";
    REMAP_FAIR = "remap_fair", "keys moved by a perfect placement", Share, Neither:
        "The sum over the members of max(0, fair share after - fair share before): what a placement that is fair before and after has to move.";
    EXACT_SKEW = "exact_skew", "share of hashes, max/mean", Ratio, Lower:
        "The largest, over the members, of the share of all possible hashes that it owns divided by its fair share: exact, without keys. Only for placements that are tables or circles.";
    EXACT_MIN = "exact_min", "share of hashes, min/mean", Ratio, Higher:
        "The smallest, over the members, of the share of all possible hashes that it owns divided by its fair share.";
    EXACT_CV = "exact_cv", "share of hashes, coefficient of variation", Ratio, Lower:
        "The square root of the mean, over the members by fair share, of (share of all possible hashes / fair share - 1)².";
    EXACT_LOW = "exact_low", "share of hashes, 0.5 % quantile", Ratio, Higher:
        "The 0.5 % quantile, over the members (nearest rank), of the share of all possible hashes divided by the fair share.";
    EXACT_HIGH = "exact_high", "share of hashes, 99.5 % quantile", Ratio, Lower:
        "The 99.5 % quantile, over the members (nearest rank), of the share of all possible hashes divided by the fair share.";
    COPY_SKEW = "copy_skew", "copies, max/mean", Ratio, Lower:
        "The largest, over the members, of its share of all copies of keys divided by its fair share.";
    COPY_CV = "copy_cv", "copies, coefficient of variation", Ratio, Lower:
        "The square root of the mean, over the members by fair share, of (share of all copies / fair share - 1)².";
    COPY_SETS = "copy_sets", "distinct sets of holders", Count, Neither:
        "How many distinct sets of members hold the copies of a key. Fewer sets make a loss rarer, and larger.";
    COPY_REMAP = "copy_remap", "copies moved", Share, Lower:
        "The share of the copies that after the event lie on a member that had no copy of that key before it.";
    COPY_REMAP_FLOOR = "copy_remap_floor", "copies moved, floor", Share, Neither:
        "The sum over the members of max(0, copies after - copies before), over all copies.";
    COPY_REMAP_EXCESS = "copy_remap_excess", "copies moved above the floor", Share, Lower:
        "copy_remap - copy_remap_floor.";
    SETS_CHANGED = "sets_changed", "keys whose holders changed", Share, Lower:
        "The share of the keys that have a holder after the event which they had not before it, or fewer.";
    COPY_BYTES = "copy_bytes", "bytes copied", Bytes, Lower:
        "The copies that moved times the size of a copy.";
    COPY_TIME = "copy_time", "time to copy", Nanoseconds, Lower:
        "The most bytes that one member sends or receives because of the event, over its bandwidth. A copy is sent by the first holder that stays, or, where none does, by the first there was.";
    LOSS_CHANCE = "loss_chance", "chance that failures lose a key", Share, Lower:
        "The chance that as many random members as there are copies hold, together, all copies of some key: distinct sets of holders over all sets of that size.";
    LOSS_WORST = "loss_worst", "keys that the worst failures lose", Share, Lower:
        "The share of the keys whose copies all lie on the same set of holders, for the set with the most keys.";
    LOSS_ZONE = "loss_zone", "keys that the worst zone loses", Share, Lower:
        "The share of the keys whose copies all lie in one outermost zone, for the zone with the most such keys.";
    NODE_KEYS = "node_keys", "keys by node", Share, Neither:
        "The member's share of the keys, before the first event.";
    NODE_REQUESTS = "node_requests", "requests by node", Share, Neither:
        "The member's share of the requests, before the first event.";
    TABLE_BYTES = "table_bytes", "table", Bytes, Lower:
        "Bytes of the tables that a look-up reads, without the names of the members.";
    NODE_BYTES = "node_bytes", "table bytes a node", Count, Lower:
        "table_bytes over the number of members.";
    LOOKUP_HASHES = "lookup_hashes", "hashes a look-up", Count, Lower:
        "The mean over the keys of the hashes or draws that a look-up took, counted; with those that a variant counts: `jump`, `anchor` and `memento`.";
    LOOKUP_STEPS = "lookup_steps", "look-up steps", Count, Lower:
        "Expected hashes, draws and table reads of a look-up that follow one after the other, by theory, without the hash of the key.";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Value};

    fn setup(text: &str) -> Setup {
        let mut problems = Problems::default();
        let value = Value::parse(text, 0, &mut problems);
        let config = RingsConfig::read(&value, &mut problems);
        let config = config.unwrap_or_else(|| panic!("{problems:?}"));
        let setup = Setup { config, listed: None };
        check(&setup, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        setup
    }

    fn run(text: &str) -> Record {
        let setup = setup(text);
        measure(&setup.config.variants[0], &setup, Seed(1)).unwrap()
    }

    fn problems(text: &str) -> Vec<String> {
        let mut problems = Problems::default();
        let value = Value::parse(text, 0, &mut problems);
        if let Some(config) = RingsConfig::read(&value, &mut problems) {
            check(&Setup { config, listed: None }, &mut problems);
        }
        problems.into_sorted().into_iter().map(|problem| problem.message).collect()
    }

    #[track_caller]
    fn near(record: &Record, metric: &str, at: &str, expected: f64, tolerance: f64) {
        let value = record.value(metric, at).unwrap_or_else(|| panic!("no {metric} at {at}"));
        assert!((value - expected).abs() <= tolerance, "{metric} at {at}: {value}, {expected}");
    }

    #[test]
    fn modulo_moves_all_but_min_over_lcm_of_the_keys() {
        let record =
            run("variants = [\"modulo\"]\nnodes = 10\nkeys = { made = { count = 200000 } }
            events = [\"add\", { scale = 22 }, \"remove\"]");
        near(&record, "key_remap", "add", 10.0 / 11.0, 0.003);
        near(&record, "key_remap", "scale 11 to 22", 0.5, 0.003);
        near(&record, "key_remap", "remove", 1.0 - 1.0 / 22.0, 0.003);
        near(&record, "key_remap_survivors", "remove", 20.0 / 22.0, 0.01);
        // A join adds nothing to the survivors, and no node loses more than it had.
        near(&record, "key_remap_floor", "add", 1.0 / 11.0, 0.01);
    }

    #[test]
    fn a_ring_moves_only_what_must() {
        let record = run("variants = [{ ring = { virtual_nodes = 1000 } }]\nnodes = 20
            keys = { made = { count = 200000, popularity = { zipf = 0.8 } } }
            events = [\"add\", { remove = { node = \"node-3\" } }, \"replace\",
                { reweight = { weight = 2.0 } }, { scale = 40 }]");
        near(&record, "key_remap", "add", 1.0 / 21.0, 0.005);
        near(&record, "key_remap", "remove node-3", 1.0 / 21.0, 0.005);
        near(&record, "remap_fair", "scale 20 to 40", 0.487, 0.02);
        for at in ["add", "remove node-3", "replace", "reweight to 2", "scale 20 to 40"] {
            near(&record, "key_remap_survivors", at, 0.0, 0.0);
            // A newcomer's name is not its predecessor's, and so neither are its keys: what one
            // leaves to the others is not what the other takes from them.
            let excess = if at == "replace" { 1.0 / 21.0 } else { 0.0 };
            near(&record, "key_remap_excess", at, excess, excess / 5.0);
            near(&record, "request_remap_excess", at, excess, excess / 3.0 + 1e-9);
        }
    }

    #[test]
    fn the_spread_of_a_ring_is_what_theory_says() {
        // sqrt((n - 1) / (n v + 1)), and 1 / sqrt(keys a node) of sampling noise.
        let (mut sum, seeds) = (0.0, 20);
        let setup = setup(
            "variants = [{ ring = { virtual_nodes = 10 } }]\nnodes = 100
            keys = { made = { count = 200000 } }",
        );
        for seed in 0..seeds {
            let record = measure(&setup.config.variants[0], &setup, Seed(seed)).unwrap();
            sum += record.value("key_cv", "").unwrap();
        }
        let theory = libm::sqrt(99.0 / 1001.0 + 1.0 / 2000.0);
        let mean = sum / seeds as f64;
        assert!((mean / theory - 1.0).abs() < 0.05, "{mean}, expected {theory}");
    }

    #[test]
    fn weights_are_followed_and_unfairness_is_counted_against_them() {
        let record = run("variants = [{ ring = { virtual_nodes = 1000 } }]
            nodes = [{ name = \"big\", weight = 3.0 }, { name = \"small\", count = 3 }]");
        near(&record, "key_skew", "", 1.0, 0.08);
        near(&record, "key_distance", "", 0.0, 0.05);
        let big = record.profiles[0].bars[0].clone();
        assert_eq!(big.0, "big");
        assert!((big.1 - 0.5).abs() < 0.05, "{big:?}");
    }

    #[test]
    fn one_hot_key_is_told_apart_from_the_ring() {
        let record = run("variants = [\"modulo\"]\nnodes = 10\nkeys = { made = { count = 10000,
            popularity = { hot_spots = { count = 1, share = \"50%\" } } } }");
        near(&record, "request_skew_floor", "", 5.0, 1e-9);
        near(&record, "request_skew", "", 5.5, 0.1);
        near(&record, "key_skew", "", 1.0, 0.1);
    }

    #[test]
    fn copies_move_with_their_member_and_zones_lose_what_lies_in_them() {
        let nodes = "nodes = [{ name = \"a\", count = 6, zone = \"eu/1\" },
            { name = \"b\", count = 6, zone = \"us/1\" }]
            keys = { made = { count = 20000 } }\nreplicas = 2\ncopy_size = \"1MB\"
            bandwidth = \"100MB\"\nevents = [{ remove = { node = \"a-3\" } }]";
        let record = run(&format!("variants = [\"rendezvous\"]\n{nodes}"));
        // Two of twelve members hold a key; one that leaves takes part in a sixth of the sets.
        near(&record, "copy_remap", "remove a-3", 1.0 / 12.0, 0.006);
        near(&record, "copy_remap_excess", "remove a-3", 0.0, 0.0);
        near(&record, "sets_changed", "remove a-3", 1.0 / 6.0, 0.012);
        near(&record, "copy_sets", "", 66.0, 0.0);
        near(&record, "loss_chance", "", 1.0, 0.0);
        // Both copies of 5/22 of the keys in one of the zones.
        near(&record, "loss_zone", "", 5.0 / 22.0, 0.012);
        near(&record, "copy_bytes", "remove a-3", 40_000.0 / 12.0 * 1e6, 3e8);
        let time = record.value("copy_time", "remove a-3").unwrap();
        // Eleven members send and receive what one held: about 303 MB each.
        assert!((3.0e9..4.5e9).contains(&time), "{time}");

        let apart = run(&format!("variants = [{{ straw2 = {{ domain = 1 }} }}]\n{nodes}"));
        near(&apart, "loss_zone", "", 0.0, 0.0);
        let none = run(&format!("variants = [\"jump\"]\n{nodes}"));
        assert_eq!(none.value("copy_skew", ""), None);
        assert!(none.findings[0].starts_with("no copies:"), "{:?}", none.findings);
    }

    #[test]
    fn exact_shares_agree_with_many_keys() {
        for ring in [
            "\"ring\"",
            "{ ring = { virtual_nodes = 1 } }",
            "\"ketama\"",
            "\"maglev\"",
            "\"slots\"",
            "\"racks\"",
            "\"bounded_load\"",
            "{ multi_probe = { probes = 5 } }",
            "{ multi_probe = { probes = 1 } }",
            "{ partitions = { strategy = \"random_tokens\" } }",
            "{ partitions = { strategy = \"equal_partitions\" } }",
            "{ partitions = { strategy = \"dealt_in_turns\", partitions = 64 } }",
        ] {
            let record = run(&format!(
                "variants = [{ring}]\nkeys = {{ made = {{ count = 400000 }} }}
                nodes = [{{ name = \"a\", count = 5 }}, {{ name = \"b\", weight = 2.0 }}]"
            ));
            for (exact, sampled) in [
                ("exact_skew", "key_skew"),
                ("exact_min", "key_min"),
                ("exact_cv", "key_cv"),
                ("exact_high", "key_p99"),
            ] {
                near(&record, sampled, "", record.value(exact, "").unwrap(), 0.015);
            }
        }
        let one = run("variants = [{ ring = { virtual_nodes = 1 } }]\nnodes = 1");
        near(&one, "exact_skew", "", 1.0, 0.0);
    }

    #[test]
    fn chance_is_told_from_unfairness() {
        let nodes = "nodes = 50\nkeys = { made = { count = 50000 } }";
        let (mut sum, mut least) = (0.0, 1.0_f64);
        let fair = setup(&format!("variants = [\"rendezvous\"]\n{nodes}"));
        for seed in 0..20 {
            let record = measure(&fair.config.variants[0], &fair, Seed(seed)).unwrap();
            sum += record.value("key_chi_square", "").unwrap();
            least = least.min(record.value("key_chi_square_p", "").unwrap());
        }
        // A mean of 20 with a deviation of sqrt(2 / 49) each.
        assert!((sum / 20.0 - 1.0).abs() < 0.18, "{sum}");
        assert!(1e-4 < least, "{least}");
        let unfair = run(&format!("variants = [{{ ring = {{ virtual_nodes = 10 }} }}]\n{nodes}"));
        near(&unfair, "key_chi_square_p", "", 0.0, 1e-9);
        assert!(10.0 < unfair.value("key_chi_square", "").unwrap());
    }

    #[test]
    fn counted_hashes_are_what_theory_says() {
        let record = run("variants = [\"jump\"]\nnodes = 100");
        near(&record, "lookup_hashes", "", 5.187, 0.03);
        // 1 + ln(a / w): half of the capacity is free.
        let record = run("variants = [\"anchor\"]\nnodes = 100");
        near(&record, "lookup_hashes", "", 1.693, 0.02);
        let record = run("variants = [\"ring\"]\nnodes = 100");
        assert_eq!(record.value("lookup_hashes", ""), None);
    }

    #[test]
    fn a_script_that_breaks_under_one_seed_ends_there_and_says_so() {
        // A member leaves at random before its zone fails: under some seeds it is the only one
        // of that zone.
        let setup = setup(
            "variants = [\"ring\"]\nnodes = [{ name = \"a\", zone = \"eu\" },
            { name = \"b\", count = 9 }]\nevents = [\"remove\", { fail_zone = \"eu\" }]
            keys = { made = { count = 100 } }",
        );
        let endings: Vec<Ending> = (0..100)
            .map(|seed| measure(&setup.config.variants[0], &setup, Seed(seed)).unwrap().ending)
            .collect();
        assert!(endings.contains(&Ending::Complete));
        let broken = Ending::Incomplete("no member is in the zone \"eu\"".into());
        assert!(endings.contains(&broken), "{endings:?}");
    }

    #[test]
    fn balance_agrees_with_a_case_done_by_hand() {
        // Loads 0, 1, 1, 2 of 4: mean 1, deviation sqrt(1/2), Gini 3/8.
        let loads = [0.0, 0.25, 0.25, 0.5];
        let balance = Balance::of(loads.into_iter().map(|load| (0.25, load)));
        assert_eq!((balance.max, balance.min), (2.0, 0.0));
        assert!((balance.cv - libm::sqrt(0.5)).abs() < 1e-12);
        assert!((balance.gini - 0.375).abs() < 1e-12);
        assert!((balance.distance - 0.25).abs() < 1e-12);
        for (found, expected) in balance.quantiles.iter().zip([1.0, 2.0, 2.0, 0.0, 2.0]) {
            assert!((found - expected).abs() < 1e-12, "{:?}", balance.quantiles);
        }
    }

    #[test]
    fn a_run_repeats_to_the_last_bit_and_another_seed_differs() {
        let setup = setup("variants = [\"ring\"]\nnodes = 5\nevents = [\"remove\"]");
        let run = |seed| measure(&setup.config.variants[0], &setup, Seed(seed)).unwrap();
        assert_eq!(run(1), run(1));
        assert_ne!(run(1).fingerprint, run(2).fingerprint);
    }

    #[test]
    fn what_cannot_be_is_told_with_all_its_reasons() {
        assert_eq!(
            problems("variants = [\"rung\", { ring = { virtual_nodes = 0 } }]\nnodes = 3"),
            ["unknown ring `rung`", "found 0, expected at least 1 and at most 1000000",]
        );
        assert_eq!(
            problems("variants = []\nnodes = 0\nkeys = { made = { count = 0 } }"),
            [
                "found 0, expected at least 1 and at most 1000000",
                "found 0, expected at least 1 and at most 10000000000",
            ]
        );
        let events = "variants = [\"ring\"]\nnodes = 2\nevents = ";
        for (event, message) in [
            ("[\"remove\", \"remove\"]", "remove: no member would be left"),
            ("[{ remove = { node = \"x\" } }]", "`x` is not a member at that time"),
            ("[{ add = { node = \"node-1\" } }]", "`node-1` is a member already"),
            ("[{ fail_zone = \"eu\" }]", "no member is in the zone \"eu\""),
        ] {
            assert_eq!(problems(&format!("{events}{event}")), [message]);
        }
        assert_eq!(
            problems("variants = [\"ring\"]\nnodes = [{ name = \"a\" }, { name = \"a\" }]"),
            ["two nodes are called `a`"]
        );
        assert_eq!(
            problems("variants = [\"ring\"]\nnodes = 1000000000000").len(),
            1,
            "a count that no machine holds is refused"
        );
        let ring = "variants = [{ ring = { virtual_nodes = 100000 } }]\nnodes = 1000000";
        assert!(problems(ring)[0].contains("would take"), "{:?}", problems(ring));
    }
}
