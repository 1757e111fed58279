//! Figures that somebody accepted, kept beside the code, and how far today's may be from them.
//!
//! A baseline keeps every number of every seed, so that one key more that moves under one seed is
//! seen. How far a number may move is a [`Tolerance`] of the scenario. Where it says nothing, what
//! was found without virtual time (who owns which key) may not move at all, and what a simulation
//! measured may move so far as chance explains.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::config;
use crate::config::{Problems, printable, unknown};
use crate::kernel::rng::Probability;
use crate::record::claims::{self, Bound, Known, Reference};
use crate::record::statistics::{self, Estimate};
use crate::record::summary::{Summary, common_pairs, name_of};
use crate::record::{Better, Record, SEMANTICS_VERSION, Unit};

config! {
    /// How far a metric may be from its baseline before `check --baseline` fails.
    pub struct Tolerance {
        /// The metric, such as `load_skew` or `lock_wait.p99`; the name of a latency without a
        /// statistic is all of its numbers.
        pub metric: Reference,
        /// How far it may be.
        pub allow: Allow,
        /// Why so far.
        pub why: String,
    }
}

config! {
    /// How far a number may be from its baseline.
    pub enum Allow {
        /// Not at all: the same under each seed, to the last bit. The default for what is measured
        /// without virtual time.
        "exact" => Exact,
        /// So far as chance explains: the 95 % interval of the differences, seed by seed, holds
        /// zero, all numbers so compared taken together (Holm). One seed has no interval and must
        /// be the same. The default for what a simulation measures.
        "interval" => Interval,
        /// The mean may be so much worse, in the metric's unit.
        "absolute" => Absolute(Bound),
        /// The mean may be worse by such a share of the baseline's.
        "relative" => Relative(Probability),
    }
}

/// One number of one variant under each seed.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// What it is about: `rings`.
    pub subject: String,
    /// The variant's label, with the point of a sweep.
    pub variant: String,
    /// The name of the number: `lock_wait.p99`.
    pub metric: String,
    /// Which of several measurements it is; empty where there is one.
    pub at: String,
    /// Its unit.
    pub unit: Unit,
    /// Which way is better.
    pub better: Better,
    /// Whether virtual time went by while it was measured.
    pub is_timed: bool,
    /// The number of each seed, in plan order.
    pub values: Vec<(u64, f64)>,
}

/// The figures of a scenario, as somebody accepted them.
#[derive(Clone, Debug, PartialEq)]
pub struct Baseline {
    /// The version of the simulation's meaning that they were made with.
    pub semantics: u32,
    /// The command that made them.
    pub command: String,
    /// SHA-256 of the scenario file.
    pub scenario_sha256: String,
    /// The figures.
    pub figures: Vec<Figure>,
}

/// Today's figures against those of a baseline.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// What is not as it was, in the order of today's figures; what went comes last.
    pub differences: Vec<Difference>,
    /// How many figures both have.
    pub compared: usize,
    /// How many seeds the two have in common, where that is less than what the baseline has.
    pub fewer_seeds: Option<usize>,
}

/// A figure that is not as it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Which; its values are today's, or the baseline's where it is gone.
    pub figure: Figure,
    /// What became of it.
    pub fate: Fate,
    /// How far it was allowed to be, in words.
    pub allowed: String,
    /// The seed whose numbers stand here; `None` for the means.
    pub seed: Option<u64>,
    /// The number of the baseline; `None` for one that is new.
    pub before: Option<f64>,
    /// The number of today; `None` for one that is gone.
    pub now: Option<f64>,
    /// The least possible today, under the same seed, where that is measured.
    pub floor: Option<f64>,
    /// Under how many seeds it is another number, and under how many it was compared.
    pub moved: (usize, usize),
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It is farther from its baseline than is allowed, on the wrong side or where there is none.
    Broken,
    /// It is no longer measured.
    Gone,
    /// It is better by more than the tolerance.
    Better,
    /// It has no baseline yet.
    New,
}

impl Fate {
    /// Whether `check` fails.
    pub const fn fails(self) -> bool {
        match self {
            Self::Broken | Self::Gone => true,
            Self::Better | Self::New => false,
        }
    }
}

/// Tells of every metric that `tolerances` name and `known` does not, and of bounds in a foreign
/// unit.
pub fn check(tolerances: &[Tolerance], known: &Known, problems: &mut Problems) {
    let mut names: Vec<String> = Vec::new();
    for &(metric, statistic) in &known.numbers {
        for name in [metric.name.to_owned(), name_of(metric, statistic)] {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    for Tolerance { metric, allow, .. } in tolerances {
        let is_meant = |name: &&str| **name == metric.name;
        if !names.iter().any(is_meant) {
            unknown(metric.place, "metric", &metric.name, &names, problems);
            continue;
        }
        let base = metric.name.split('.').next().unwrap_or_default();
        let found = known.numbers.iter().find(|(metric, _)| metric.name == base);
        if let (Allow::Absolute(bound), Some((of, _))) = (allow, found) {
            claims::check_unit(bound, &metric.name, of.unit, problems);
        }
    }
}

/// What a scenario with `tolerances` allows `figure`: the last one that names the number itself,
/// or else its metric.
pub fn allowance<'a>(tolerances: &'a [Tolerance], figure: &Figure) -> &'a Allow {
    let base = figure.metric.split('.').next().unwrap_or_default();
    let named = |name: &str| tolerances.iter().rev().find(|t| t.metric.name == name);
    let default = if figure.is_timed { &Allow::Interval } else { &Allow::Exact };
    named(&figure.metric).or_else(|| named(base)).map_or(default, |found| &found.allow)
}

/// The figures of `records`, whose `summaries` these are.
pub fn figures(records: &[Record], summaries: &[Summary]) -> Vec<Figure> {
    let timed: BTreeSet<_> = records
        .iter()
        .filter(|record| 0 < record.event_count)
        .map(|record| (record.subject, record.variant.as_str(), record.point.as_slice()))
        .collect();
    let figure = |summary: &Summary| Figure {
        subject: summary.subject.name().to_owned(),
        variant: summary.label(),
        metric: summary.name(),
        at: summary.at.clone(),
        unit: summary.metric.unit,
        better: summary.metric.better,
        is_timed: timed.contains(&(
            summary.subject,
            summary.variant.as_str(),
            summary.point.as_slice(),
        )),
        values: summary.values.iter().map(|&(seed, value)| (seed.0, value)).collect(),
    };
    summaries.iter().map(figure).collect()
}

impl Figure {
    fn key(&self) -> [&str; 4] {
        [&self.subject, &self.variant, &self.metric, &self.at]
    }

    fn mean(&self) -> Option<f64> {
        let values: Vec<f64> = self.values.iter().map(|&(_, value)| value).collect();
        Estimate::of(&values).map(|estimate| estimate.mean)
    }

    fn under(&self, seed: u64) -> Option<f64> {
        self.values.iter().find(|(of, _)| *of == seed).map(|&(_, value)| value)
    }

    /// The least possible beside it: `key_remap_floor` beside `key_remap`.
    fn floor<'a>(&self, all: &BTreeMap<[&str; 4], &'a Self>) -> Option<&'a Self> {
        let name = format!("{}_floor", self.metric);
        all.get(&[self.subject.as_str(), &self.variant, &name, &self.at]).copied()
    }
}

/// Figures that both sides have, and what today's is allowed.
struct Pair<'a> {
    before: &'a Figure,
    now: &'a Figure,
    allow: &'a Allow,
    /// Seed, before, now.
    values: Vec<(u64, f64, f64)>,
    /// How probable so large a difference is by chance.
    p: f64,
}

/// Holds the figures `now` against those `before`; `allowance` says how far each may be.
pub fn compare<'a>(
    before: &'a [Figure],
    now: &'a [Figure],
    allowance: impl Fn(&Figure) -> &'a Allow,
) -> Comparison {
    let old: BTreeMap<[&str; 4], &Figure> = before.iter().map(|f| (f.key(), f)).collect();
    let new: BTreeMap<[&str; 4], &Figure> = now.iter().map(|f| (f.key(), f)).collect();
    let pair = |now: &'a Figure| {
        let before = *old.get(&now.key())?;
        let values = common_pairs(&before.values, &now.values);
        let p = chance(&values);
        Some(Pair { before, now, allow: allowance(now), values, p })
    };
    let pairs: Vec<Option<Pair<'_>>> = now.iter().map(pair).collect();
    // All that are compared by chance are taken together: a false alarm among any number of them
    // comes in at most one of twenty checks.
    let is_by_chance = |pair: &&Pair<'_>| *pair.allow == Allow::Interval && 2 <= pair.values.len();
    let ps: Vec<f64> = pairs.iter().flatten().filter(is_by_chance).map(|pair| pair.p).collect();
    let mut adjusted = statistics::holm(&ps).into_iter();
    let mut comparison = Comparison::default();
    for (figure, pair) in now.iter().zip(&pairs) {
        let Some(pair) = pair else {
            comparison.differences.push(alone(figure, Fate::New));
            continue;
        };
        let p = if is_by_chance(&pair) { adjusted.next().unwrap_or(1.0) } else { 0.0 };
        comparison.compared += 1;
        if pair.values.len() < pair.before.values.len() {
            let least = comparison.fewer_seeds.map_or(usize::MAX, |known| known);
            comparison.fewer_seeds = Some(least.min(pair.values.len()));
        }
        comparison.differences.extend(pair.difference(p, &new));
    }
    for figure in before.iter().filter(|figure| !new.contains_key(&figure.key())) {
        comparison.differences.push(alone(figure, Fate::Gone));
    }
    comparison
}

fn chance(values: &[(u64, f64, f64)]) -> f64 {
    let (before, now): (Vec<f64>, Vec<f64>) = values.iter().map(|&(_, a, b)| (a, b)).unzip();
    statistics::difference(&now, &before).map_or(0.0, |paired| paired.p)
}

fn alone(figure: &Figure, fate: Fate) -> Difference {
    let mean = figure.mean();
    let (before, now) = if fate == Fate::Gone { (mean, None) } else { (None, mean) };
    Difference {
        figure: figure.clone(),
        fate,
        allowed: String::new(),
        seed: None,
        before,
        now,
        floor: None,
        moved: (0, 0),
    }
}

impl Pair<'_> {
    fn difference(&self, p: f64, all: &BTreeMap<[&str; 4], &Figure>) -> Option<Difference> {
        const LEVEL: f64 = 1.0 - statistics::CONFIDENCE;
        let moved: Vec<&(u64, f64, f64)> =
            self.values.iter().filter(|(_, a, b)| a.to_bits() != b.to_bits()).collect();
        let &&(first, _, _) = moved.first()?;
        let mean = |values: Vec<f64>| Estimate::of(&values).map_or(f64::NAN, |e| e.mean);
        let before = mean(self.values.iter().map(|&(_, before, _)| before).collect());
        let now = mean(self.values.iter().map(|&(_, _, now)| now).collect());
        let worse = match self.now.better {
            Better::Lower => now - before,
            Better::Higher => before - now,
            Better::Neither => (now - before).abs(),
        };
        let one_seed = *self.allow == Allow::Interval && self.values.len() < 2;
        let (is_out, is_exact, allowed) = match self.allow {
            Allow::Exact => (true, true, "no change".to_owned()),
            Allow::Interval if one_seed => (true, true, "no change (one seed)".to_owned()),
            Allow::Interval => (p < LEVEL, false, "what chance explains".to_owned()),
            Allow::Absolute(most) => (most.value < worse.abs(), false, most.text.clone()),
            Allow::Relative(share) => {
                let most = share.as_f64() * before.abs();
                (most < worse.abs(), false, format!("{share} of it"))
            }
        };
        if !is_out && !worse.is_nan() {
            return None;
        }
        // Where nothing may move, what is better was not foreseen either: it is to be accepted.
        let fate = if !is_exact && worse < 0.0 { Fate::Better } else { Fate::Broken };
        let floor = self.now.floor(all);
        let (seed, before, now, floor) = if is_exact {
            let value = |figure: &Figure| figure.under(first);
            (Some(first), value(self.before), value(self.now), floor.and_then(value))
        } else {
            (None, Some(before), Some(now), floor.and_then(Figure::mean))
        };
        Some(Difference {
            figure: self.now.clone(),
            fate,
            allowed,
            seed,
            before,
            now,
            floor,
            moved: (moved.len(), self.values.len()),
        })
    }
}

/// What a file says of itself.
const KIND: &str = "stormglass baseline";
const SCHEMA: u32 = 1;

impl Baseline {
    /// As a file: a figure a line, so that `git diff` shows what moved.
    pub fn to_text(&self) -> String {
        let seeds: BTreeSet<u64> =
            self.figures.iter().flat_map(|f| &f.values).map(|&(seed, _)| seed).collect();
        let mut text = String::from("{\n");
        for (name, value) in [
            ("kind", json!(KIND)),
            ("schema", json!(SCHEMA)),
            ("semantics", json!(self.semantics)),
            ("command", json!(self.command)),
            ("scenario_sha256", json!(self.scenario_sha256)),
            ("seeds", json!(seeds)),
        ] {
            let _ = writeln!(text, "\"{name}\": {value},");
        }
        let figure = |figure: &Figure| {
            let by_seed: BTreeMap<u64, f64> = figure.values.iter().copied().collect();
            let values =
                seeds.iter().map(|seed| by_seed.get(seed).copied().map_or(Json::Null, number));
            json!({
                "subject": figure.subject,
                "variant": figure.variant,
                "metric": figure.metric,
                "at": figure.at,
                "unit": figure.unit.name(),
                "better": figure.better.name(),
                "timed": figure.is_timed,
                "values": values.collect::<Vec<_>>(),
            })
            .to_string()
        };
        let figures: Vec<String> = self.figures.iter().map(figure).collect();
        let _ = writeln!(text, "\"figures\": [\n{}\n]\n}}", figures.join(",\n"));
        text
    }

    /// Reads what [`to_text`](Self::to_text) wrote.
    ///
    /// # Errors
    /// With what is wrong: the end of a sentence that begins with the file.
    pub fn parse(text: &str) -> Result<Self, String> {
        let file: Json =
            serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
        if file["kind"] != KIND {
            return Err("is not a baseline of stormglass".to_owned());
        }
        let schema = &file["schema"];
        if *schema != SCHEMA {
            return Err(format!("has schema {schema}, expected {SCHEMA}"));
        }
        let semantics = file["semantics"].as_u64().and_then(|number| u32::try_from(number).ok());
        let semantics = semantics.ok_or("does not say which semantics it has")?;
        if semantics != SEMANTICS_VERSION {
            return Err(format!(
                "has semantics {semantics}, and this version of stormglass {SEMANTICS_VERSION}: \
                 their numbers do not compare; save the baseline again"
            ));
        }
        let seeds: Option<Vec<u64>> =
            file["seeds"].as_array().and_then(|all| all.iter().map(Json::as_u64).collect());
        let seeds = seeds.ok_or("does not list its seeds")?;
        let figures = file["figures"].as_array().ok_or("has no figures")?;
        let read = |(index, json): (usize, &Json)| {
            figure(json, &seeds)
                .ok_or_else(|| format!("has a figure that cannot be read, number {}", index + 1))
        };
        let text = |name: &str| file[name].as_str().unwrap_or_default().to_owned();
        Ok(Self {
            semantics,
            command: text("command"),
            scenario_sha256: text("scenario_sha256"),
            figures: figures.iter().enumerate().map(read).collect::<Result<_, _>>()?,
        })
    }
}

/// A number for JSON, which has no infinity.
fn number(value: f64) -> Json {
    if value.is_finite() { json!(value) } else { json!(value.to_string()) }
}

fn figure(json: &Json, seeds: &[u64]) -> Option<Figure> {
    let text = |name: &str| json[name].as_str().map(printable);
    let values = json["values"].as_array().filter(|values| values.len() == seeds.len())?;
    let mut by_seed = Vec::new();
    for (&seed, value) in seeds.iter().zip(values) {
        match value {
            Json::Null => (),
            Json::String(text) => by_seed.push((seed, text.parse().ok()?)),
            other => by_seed.push((seed, other.as_f64()?)),
        }
    }
    Some(Figure {
        subject: text("subject")?,
        variant: text("variant")?,
        metric: text("metric")?,
        at: text("at")?,
        unit: Unit::named(json["unit"].as_str()?)?,
        better: Better::named(json["better"].as_str()?)?,
        is_timed: json["timed"].as_bool()?,
        values: by_seed,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figure(metric: &str, values: &[f64]) -> Figure {
        Figure {
            subject: "rings".into(),
            variant: "ring".into(),
            metric: metric.into(),
            at: "add".into(),
            unit: Unit::Share,
            better: Better::Lower,
            is_timed: false,
            values: (1..).zip(values.iter().copied()).collect(),
        }
    }

    fn fates(before: &[f64], now: &[f64], allow: &Allow) -> Vec<Fate> {
        let (before, now) = ([figure("key_remap", before)], [figure("key_remap", now)]);
        compare(&before, &now, |_| allow).differences.iter().map(|d| d.fate).collect()
    }

    fn absolute(value: f64) -> Allow {
        let place = config::Place::default();
        Allow::Absolute(Bound { value, unit: None, text: value.to_string(), place })
    }

    fn relative(text: &str) -> Allow {
        Allow::Relative(text.parse().unwrap())
    }

    #[test]
    fn one_key_more_under_one_seed_is_seen_and_named() {
        let before = [figure("key_remap", &[0.1, 0.1]), figure("key_remap_floor", &[0.09, 0.09])];
        let now = [figure("key_remap", &[0.1, 0.1001]), figure("key_remap_floor", &[0.09, 0.095])];
        let comparison = compare(&before[..1], &now[..1], |_| &Allow::Exact);
        assert_eq!(comparison.compared, 1);
        let found = &compare(&before, &now, |_| &Allow::Exact).differences[0];
        assert_eq!((found.fate, found.seed, found.moved), (Fate::Broken, Some(2), (1, 2)));
        assert_eq!((found.before, found.now, found.floor), (Some(0.1), Some(0.1001), Some(0.095)));
    }

    #[test]
    fn where_nothing_may_move_the_better_is_told_too() {
        assert_eq!(fates(&[0.2, 0.2], &[0.2, 0.1], &Allow::Exact), [Fate::Broken]);
        assert_eq!(fates(&[0.2, 0.2], &[0.2, 0.2], &Allow::Exact), []);
    }

    #[test]
    fn tolerances_hold_to_their_edge_and_only_the_worse_side_fails() {
        for (before, now, allow, fate) in [
            (1.0, 1.25, absolute(0.25), None),
            (1.0, 1.26, absolute(0.25), Some(Fate::Broken)),
            (1.0, 0.70, absolute(0.25), Some(Fate::Better)),
            (4.0, 5.0, relative("25%"), None),
            (4.0, 5.01, relative("25%"), Some(Fate::Broken)),
            (4.0, 2.9, relative("25%"), Some(Fate::Better)),
            (0.0, 0.01, relative("25%"), Some(Fate::Broken)),
            (1.0, f64::INFINITY, relative("25%"), Some(Fate::Broken)),
        ] {
            let found = fates(&[before, before], &[now, now], &allow);
            assert_eq!(found.first().copied(), fate, "{before} {now}");
        }
    }

    #[test]
    fn what_chance_explains_passes_and_what_it_does_not_fails() {
        let before = [1.0, 1.2, 0.9, 1.1, 1.0];
        let noise = [1.1, 1.1, 0.9, 1.0, 1.1];
        let worse = [1.5, 1.6, 1.4, 1.6, 1.5];
        assert_eq!(fates(&before, &noise, &Allow::Interval), []);
        assert_eq!(fates(&before, &worse, &Allow::Interval), [Fate::Broken]);
        assert_eq!(fates(&worse, &before, &Allow::Interval), [Fate::Better]);
        // One seed tells nothing of chance, and so it has to be the same.
        assert_eq!(fates(&[1.0], &[1.1], &Allow::Interval), [Fate::Broken]);
        assert_eq!(fates(&[1.0], &[1.0], &Allow::Interval), []);
    }

    #[test]
    fn what_is_no_longer_measured_fails_and_what_is_new_does_not() {
        let (a, b) = ([figure("a", &[1.0])], [figure("b", &[1.0])]);
        let fates: Vec<Fate> =
            compare(&a, &b, |_| &Allow::Exact).differences.iter().map(|d| d.fate).collect();
        assert_eq!(fates, [Fate::New, Fate::Gone]);
        assert_eq!(fates.iter().map(|fate| fate.fails()).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn seeds_that_only_one_side_has_are_left_out_and_counted() {
        let (before, now) = ([figure("a", &[1.0, 2.0, 3.0])], [figure("a", &[1.0, 2.0])]);
        let comparison = compare(&before, &now, |_| &Allow::Exact);
        assert_eq!((comparison.differences.len(), comparison.fewer_seeds), (0, Some(2)));
    }

    #[test]
    fn a_baseline_reads_back_as_it_was_to_the_last_bit() {
        let mut gap = figure("b", &[0.1 + 0.2, f64::INFINITY, 1e-300]);
        gap.values.remove(0);
        let baseline = Baseline {
            semantics: SEMANTICS_VERSION,
            command: "stormglass run scenarios/x.toml".into(),
            scenario_sha256: "ab".into(),
            figures: vec![figure("a", &[0.1 + 0.2, 1.0 / 3.0, 7.0]), gap],
        };
        assert_eq!(Baseline::parse(&baseline.to_text()), Ok(baseline));
    }

    #[test]
    fn what_is_no_baseline_is_refused_with_a_reason() {
        let good = Baseline {
            semantics: SEMANTICS_VERSION,
            command: String::new(),
            scenario_sha256: String::new(),
            figures: vec![figure("a", &[1.0])],
        }
        .to_text();
        let other = format!("\"semantics\": {SEMANTICS_VERSION}");
        for (text, why) in [
            ("", "is not JSON"),
            ("[]", "is not a baseline of stormglass"),
            (&good.replace("\"schema\": 1", "\"schema\": 9"), "has schema 9, expected 1"),
            (&good.replace(&other, "\"semantics\": 99"), "has semantics 99, and this version"),
            (&good.replace("share", "furlongs"), "cannot be read, number 1"),
            (&good.replace("[1.0]", "[1.0,2.0]"), "cannot be read, number 1"),
        ] {
            let told = Baseline::parse(text).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
