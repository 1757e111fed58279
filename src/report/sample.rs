//! Records such as three wings leave behind, for the tests of everything that draws them.

use crate::kernel::rng::Seed;
use crate::kernel::time::{SimDuration, SimTime};
use crate::record::brief::{Brief, Finding, Headline, Picture};
use crate::record::claims::{Evidence, Level, Outcome, Verdict};
use crate::record::summary::{self, Statistic};
use crate::record::{
    Better, Curve, Distribution, Ending, FaultSpan, Flow, Measure, Metric, Profile, Record, Sample,
    Span, SpanKind, Subject, Unit,
};
use crate::report::compose::{Occasion, compose};
use crate::report::{Provenance, Report};

macro_rules! metrics {
    ($($name:ident, $id:literal = $title:literal, $unit:ident, $better:ident, $definition:literal;)*) => {$(
        pub(crate) static $name: Metric = Metric {
            name: $id,
            title: $title,
            unit: Unit::$unit,
            better: Better::$better,
            definition: $definition,
        };
    )*};
}

metrics! {
    LOAD_SKEW, "load_skew" = "load skew, max/mean", Ratio, Lower,
        "the load of the most loaded node over the mean load of all nodes";
    MOVED, "moved" = "keys moved", Share, Lower, "the share of keys whose node changed";
    MOVED_MIN, "moved_min" = "least possible", Share, Neither,
        "the least share of keys that any placement could have moved between these two loads";
    KEYS, "keys" = "keys per node", Count, Neither, "keys that the placement puts on the node";
    GRANTS, "grants" = "grants", PerSecond, Higher, "grants acknowledged in the step, over its length";
    WAIT, "wait" = "lock wait", Nanoseconds, Lower, "from the intended request to the grant";
    LOST_UPDATES, "lost_updates" = "lost updates", Count, Lower,
        "writes to the protected resource that overwrote a value their writer had not read";
    LATENCY, "latency" = "end-to-end latency", Nanoseconds, Lower,
        "from the intended publication to the end of its processing";
    GOODPUT, "goodput" = "goodput", PerSecond, Higher, "distinct messages finished in the step";
    LOST, "lost" = "messages lost", Count, Lower, "acknowledged to the producer and never processed";
}

pub(crate) static BRIEFS: [Brief; 3] = [
    Brief {
        subject: Subject::Rings,
        headlines: &[Headline::value(&LOAD_SKEW), Headline::value(&MOVED)],
        findings: &[
            Finding::Times {
                of: &MOVED,
                to: &MOVED_MIN,
                verb: "moves",
                reference: "the least possible",
            },
            Finding::Best(Headline::value(&LOAD_SKEW)),
        ],
        pictures: &[
            Picture::Load(&KEYS),
            Picture::Floor { of: &MOVED, floor: &MOVED_MIN },
            Picture::Handover(&MOVED),
        ],
        side_by_side: &[],
    },
    Brief {
        subject: Subject::Locks,
        headlines: &[
            Headline::value(&LOST_UPDATES),
            Headline::of(&WAIT, Statistic::P50),
            Headline::of(&WAIT, Statistic::P99),
        ],
        findings: &[
            Finding::Occurs { count: &LOST_UPDATES, what: "lost update" },
            Finding::Best(Headline::of(&WAIT, Statistic::P99)),
        ],
        pictures: &[
            Picture::Lanes { verb: "believe that they hold the lock" },
            Picture::Percentiles(&WAIT),
            Picture::Course(&GRANTS),
        ],
        side_by_side: &[],
    },
    Brief {
        subject: Subject::Queues,
        headlines: &[
            Headline::value(&LOST),
            Headline::of(&LATENCY, Statistic::P50),
            Headline::of(&LATENCY, Statistic::P99),
        ],
        findings: &[Finding::Best(Headline::of(&LATENCY, Statistic::P99))],
        pictures: &[Picture::Percentiles(&LATENCY), Picture::Course(&GOODPUT)],
        side_by_side: &[],
    },
];

pub(crate) fn records(seed_count: u64) -> Vec<Record> {
    let mut records = Vec::new();
    for (variant, spread, moved) in
        [("modulo", 0.01, 0.92), ("ring{virtual_nodes=100}", 0.11, 0.086)]
    {
        records.extend((1..=seed_count).map(|seed| ring(variant, seed, spread, moved)));
    }
    for (variant, mean_ms, lost) in
        [("elapsed_release", 9.0, 3), ("token", 8.0, 2), ("token{fencing=true}", 8.1, 0)]
    {
        records.extend((1..=seed_count).map(|seed| lock(variant, seed, mean_ms, lost)));
    }
    for (variant, mean_ms) in [("amqp_classic", 4.0), ("celery{acks=late}", 11.0)] {
        records.extend((1..=seed_count).map(|seed| queue(variant, seed, mean_ms)));
    }
    records
}

/// A generator of its own, so that no change to the simulator's streams moves a snapshot of a
/// report: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014).
struct Dice(u64);

impl Dice {
    fn of(name: &str, seed: u64) -> Self {
        let mix = |state: u64, byte: u8| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        Self(name.bytes().fold(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15), mix))
    }

    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        ((word >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
    }

    fn exponential(&mut self) -> f64 {
        -libm::log(self.unit())
    }

    fn normal(&mut self) -> f64 {
        let radius = (-2.0 * libm::log(self.unit())).sqrt();
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }
}

fn blank(subject: Subject, variant: &str, seed: u64) -> Record {
    Record {
        subject,
        variant: variant.into(),
        point: Vec::new(),
        seed: Seed(seed),
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
        event_count: 1000,
        fingerprint: 0x5eed,
    }
}

fn measure(metric: &'static Metric, at: &str, value: f64) -> Measure {
    Measure { metric, at: at.into(), value }
}

fn ring(variant: &str, seed: u64, spread: f64, moved: f64) -> Record {
    let mut rng = Dice::of(variant, seed);
    let fair = 20_000.0 / 12.0;
    let bars: Vec<(String, f64)> = (1..=12)
        .map(|node| (format!("n{node}"), (fair * (1.0 + spread * rng.normal())).round()))
        .collect();
    let greatest = bars.iter().map(|bar| bar.1).fold(0.0, f64::max);
    let mut measures = vec![measure(&LOAD_SKEW, "", greatest / fair)];
    for (event, floor) in [("leave n3", 0.083), ("join n13", 0.077), ("leave n7", 0.082)] {
        let own = if moved < 0.5 {
            floor * (1.0 + 0.06 * rng.unit())
        } else {
            moved + 0.002 * rng.normal()
        };
        measures.push(measure(&MOVED, event, own));
        measures.push(measure(&MOVED_MIN, event, floor));
    }
    let names: Vec<String> = bars.iter().map(|(name, _)| name.clone()).collect();
    // A ring hands the keys of the one that leaves to the others; the other variant mixes all.
    let amount = |from: usize, to: usize| match (moved < 0.5, from == to) {
        (_, true) => 0.0,
        (true, false) if from != 2 => 0.0,
        (true, false) => 0.083 / 11.0,
        (false, false) => moved / 132.0,
    };
    let row = |from| (0..names.len()).map(|to| amount(from, to)).collect();
    let amounts = (0..names.len()).map(row).collect();
    let flow = Flow { metric: &MOVED, at: "leave n3".into(), names, amounts };
    let profile = Profile { metric: &KEYS, at: String::new(), bars, fair: Some(fair) };
    let (profiles, flows) = (vec![profile], vec![flow]);
    Record { measures, profiles, flows, ..blank(Subject::Rings, variant, seed) }
}

fn faults() -> Vec<FaultSpan> {
    let span = |label: &str, from: u64, until: u64| FaultSpan {
        label: label.into(),
        from: SimTime::from_ms(from),
        until: SimTime::from_ms(until),
    };
    vec![
        span("pause client-2", 8_000, 11_000),
        span("partition server-1 | clients", 20_000, 24_000),
        span("crash process server-1", 40_000, 40_000),
        span("link delay +20ms", 45_000, 52_000),
    ]
}

fn latencies(rng: &mut Dice, mean_ms: f64, count: u32) -> Distribution {
    let mut distribution = Distribution::new();
    for _ in 0..count {
        let slow = if rng.unit() < 0.01 { 8.0 } else { 1.0 };
        let ns = (0.4 + mean_ms * slow * rng.exponential()) * 1e6;
        distribution.add(SimDuration::from_ns_f64(ns).as_ns());
    }
    distribution
}

fn course(rng: &mut Dice, metric: &'static Metric, rate: f64, depth: f64) -> Curve {
    let values = (0..120)
        .map(|step| {
            let ms = step * 500;
            let is_hit = faults().iter().any(|fault| {
                fault.from.as_ns() <= ms * 1_000_000 && ms * 1_000_000 < fault.until.as_ns()
            });
            let level = if is_hit { 1.0 - depth } else { 1.0 };
            (rate * level * (1.0 + 0.04 * rng.normal())).max(0.0)
        })
        .collect();
    Curve { metric, at: String::new(), step: SimDuration::from_ms(500), values }
}

fn lock(variant: &str, seed: u64, mean_ms: f64, lost: u32) -> Record {
    let mut rng = Dice::of(variant, seed);
    let lost = if 0 < lost { f64::from(lost) + (3.0 * rng.unit()).floor() } else { 0.0 };
    let distribution = latencies(&mut rng, mean_ms, 4000);
    let curve = course(&mut rng, &GRANTS, 1000.0 / mean_ms, 0.6);
    let findings = if 0.0 < lost {
        vec!["at 11.02s client-3 overwrites 41 of client-2, whose lease ended at 9.5s".to_owned()]
    } else {
        Vec::new()
    };
    let span = |client: u64, kind, from: u64, until: u64| Span {
        lane: if kind == SpanKind::Belief { format!("client-{client}") } else { "resource".into() },
        kind,
        label: format!("token {}", 40 + client),
        from: SimTime::from_ms(from),
        until: SimTime::from_ms(until),
    };
    // Without a lost update the third waits until the second is done.
    let third = if 0.0 < lost { 9_600 } else { 11_100 };
    let spans = vec![
        span(1, SpanKind::Belief, 7_900, 7_950),
        span(2, SpanKind::Belief, 7_990, 11_050),
        span(3, SpanKind::Belief, third, 11_200),
        span(2, SpanKind::Accepted, 11_020, 11_020),
        span(3, SpanKind::Refused, 11_150, 11_150),
    ];
    Record {
        spans,
        measures: vec![measure(&LOST_UPDATES, "", lost)],
        samples: vec![Sample { metric: &WAIT, at: String::new(), distribution }],
        curves: vec![curve],
        faults: faults(),
        findings,
        ..blank(Subject::Locks, variant, seed)
    }
}

fn queue(variant: &str, seed: u64, mean_ms: f64) -> Record {
    let mut rng = Dice::of(variant, seed);
    let distribution = latencies(&mut rng, mean_ms, 12_000);
    let curve = course(&mut rng, &GOODPUT, 200.0, if mean_ms < 5.0 { 0.9 } else { 0.2 });
    Record {
        measures: vec![measure(&LOST, "", 0.0)],
        samples: vec![Sample { metric: &LATENCY, at: String::new(), distribution }],
        curves: vec![curve],
        faults: faults(),
        ..blank(Subject::Queues, variant, seed)
    }
}

pub(crate) fn verdicts() -> Vec<Verdict> {
    let verdict = |claim: &str, outcome: Outcome, value: f64| Verdict {
        claim: claim.into(),
        level: Level::Error,
        outcome,
        bound: "at most 1.1".into(),
        why: "1 + 1/sqrt(v) for v virtual nodes".into(),
        evidence: vec![Evidence {
            name: "load_skew".into(),
            metric: &LOAD_SKEW,
            variant: "modulo".into(),
            at: String::new(),
            value,
            seed: None,
            seed_count: 12,
            holds: outcome == Outcome::Passed,
        }],
        unknown_because: String::new(),
    };
    vec![
        verdict("modulo spreads keys evenly", Outcome::Passed, 1.02),
        verdict("the ring spreads keys evenly", Outcome::Failed, 1.21),
    ]
}

pub(crate) fn report_of(records: &[Record], verdicts: Vec<Verdict>) -> Report {
    let occasion = Occasion {
        title: "quickstart".into(),
        question: "What moves, what is lost, and what does it cost?".into(),
        briefs: &BRIEFS,
        verdicts,
        notes: Vec::new(),
        provenance: Provenance {
            command: "stormglass run scenarios/quickstart.toml --seeds 1..12".into(),
            version: "0.1.0".into(),
            semantics: 1,
            scenario: "scenarios/quickstart.toml".into(),
            scenario_sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
                .into(),
            seeds: "1..12".into(),
            alterations: vec!["queues.rate=\"200/s\"".into()],
            references: Vec::new(),
        },
    };
    compose(occasion, records, &summary::of(records))
}
