//! What a scenario claims of its own outcome, and whether the runs bear it out.
//!
//! A claim is data: a metric, a bound and the reason for the bound. It is *passed* when the mean
//! over the seeds meets the bound, or, with `of = "every seed"`, when each seed does; it says
//! nothing of chance beyond that. It is *unknown* when a run that it is about came to no end, and
//! a claim about something that was never measured is refused when the scenario is read, never
//! passed.

use serde_json::{Value as Json, json};

use crate::config;
use crate::config::{Bytes, Config, Place, Problems, Rate, Value, ValueKind, printable, unknown};
use crate::kernel::rng::Probability;
use crate::kernel::time::SimDuration;
use crate::record::summary::{self, Group, Statistic, Summary, name_of};
use crate::record::{Metric, Record, Unit};

config! {
    /// A claim: a bound that a metric must meet.
    pub struct Claim {
        /// The claim, in a sentence.
        pub claim: String,
        /// The metric it is about, such as `load_skew`, or one number of a latency, such as
        /// `lock_wait.p99`.
        pub metric: Reference,
        /// The variant it is about, by its label or its bare name. All that have the metric where
        /// it is left out.
        pub variant: Option<Reference> = None,
        /// Which of several measurements it is about, such as one membership event. All of them
        /// where it is left out.
        pub at: Option<String> = None,
        /// The number may be this or less.
        pub at_most: Option<Bound> = None,
        /// The number must be this or more.
        pub at_least: Option<Bound> = None,
        /// The number must be this, to nine digits.
        pub equals: Option<Bound> = None,
        /// The number must lie between these two, or be one of them.
        pub within: Option<Vec<Bound>> = None,
        /// Of what the number is taken: of the mean over all seeds, or of every seed by itself.
        pub of: Of = Of::Mean,
        /// Whether `check` fails when the claim does.
        pub level: Level = Level::Error,
        /// The formula or the source of the bound. A bound that was copied from an earlier result
        /// claims nothing.
        pub why: String,
    }
    check has_one_limit;
}

config! {
    /// What a claim's number is taken of.
    pub enum Of {
        /// The mean over the seeds.
        "mean" => Mean,
        /// Each seed by itself; all must meet the bound.
        "every seed" => EverySeed,
    }
}

config! {
    /// What a failed claim does to `check`.
    pub enum Level {
        /// It fails.
        "error" => Error,
        /// It says so and passes.
        "warn" => Warn,
    }
}

/// A name that is looked up in a list which the file does not hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// The name.
    pub name: String,
    /// Where it stands.
    pub place: Place,
}

/// A number with or without a unit, as a claim writes it: `1.05`, `"2%"`, `"20ms"`.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// The number in the metric's unit: nanoseconds, bytes, a share from 0 to 1, things a second.
    pub value: f64,
    /// The unit it was written with; `None` for a bare number.
    pub unit: Option<Unit>,
    /// As it was written.
    pub text: String,
    /// Where it stands.
    pub place: Place,
}

/// What a claim holds a number against.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit<'a> {
    /// This or less.
    AtMost(&'a Bound),
    /// This or more.
    AtLeast(&'a Bound),
    /// This.
    Equals(&'a Bound),
    /// Between these two, or one of them.
    Within(&'a Bound, &'a Bound),
}

/// Whether the runs bear a claim out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// They do.
    Passed,
    /// They do not.
    Failed,
    /// It cannot be said: a run came to no end, or nothing was measured.
    Unknown,
}

/// A claim and what became of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The claim, in a sentence.
    pub claim: String,
    /// Whether `check` fails when the claim does.
    pub level: Level,
    /// Whether the runs bear it out.
    pub outcome: Outcome,
    /// The bound in words: `at most 20ms`.
    pub bound: String,
    /// The formula or the source of the bound.
    pub why: String,
    /// The numbers it was judged by, in plan order.
    pub evidence: Vec<Evidence>,
    /// Why it is unknown; empty where it is not.
    pub unknown_because: String,
}

/// One number that a claim was judged by.
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The name of the number: `lock_wait.p99`.
    pub name: String,
    /// What was measured.
    pub metric: &'static Metric,
    /// The variant's label, with the point of a sweep.
    pub variant: String,
    /// Which of several measurements; empty where there is one.
    pub at: String,
    /// The number: the mean, or the seed's that is farthest on the wrong side.
    pub value: f64,
    /// The seed of the number; `None` for the mean.
    pub seed: Option<u64>,
    /// How many seeds there were.
    pub seed_count: u32,
    /// Whether the number meets the bound.
    pub holds: bool,
}

/// The names that a claim may use.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// The metrics that the scenario's runs measure; with a statistic for samples.
    pub numbers: Vec<(&'static Metric, Statistic)>,
    /// The labels of its variants.
    pub variants: Vec<String>,
}

impl Known {
    /// Adds a metric that has one number a run.
    pub fn add_measure(&mut self, metric: &'static Metric) {
        self.numbers.push((metric, Statistic::Value));
    }

    /// Adds a metric of which a run samples many values.
    pub fn add_sample(&mut self, metric: &'static Metric) {
        self.numbers.extend(Statistic::OF_SAMPLES.map(|statistic| (metric, statistic)));
    }
}

impl Claim {
    /// What it holds the number against.
    pub fn limit(&self) -> Limit<'_> {
        match (&self.at_most, &self.at_least, &self.equals, self.within.as_deref()) {
            (Some(most), None, None, None) => Limit::AtMost(most),
            (None, Some(least), None, None) => Limit::AtLeast(least),
            (None, None, Some(value), None) => Limit::Equals(value),
            (None, None, None, Some([low, high])) => Limit::Within(low, high),
            _ => unreachable!("a claim that was read has exactly one limit"),
        }
    }

    /// Whether it is about the variant of this label.
    fn is_about(&self, label: &str) -> bool {
        self.variant.as_ref().is_none_or(|variant| names(&variant.name, label))
    }
}

/// Whether `name` is `label` itself or its part before the parameters.
fn names(name: &str, label: &str) -> bool {
    name == label || label.split('{').next() == Some(name)
}

/// Tells of every name in `claims` that is not in `known`, with what may have been meant, and of
/// every bound whose unit is not its metric's.
pub fn check(claims: &[Claim], known: &Known, problems: &mut Problems) {
    let numbers: Vec<String> =
        known.numbers.iter().map(|&(metric, statistic)| name_of(metric, statistic)).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    let variants: Vec<&str> = known.variants.iter().map(String::as_str).collect();
    for claim in claims {
        match known.numbers.iter().zip(&numbers).find(|(_, name)| **name == claim.metric.name) {
            Some(((metric, _), _)) => check_units(claim, metric.unit, problems),
            None => {
                unknown(claim.metric.place, "metric", &claim.metric.name, &numbers, problems);
            }
        }
        if let Some(variant) = &claim.variant
            && !variants.iter().any(|label| names(&variant.name, label))
        {
            unknown(variant.place, "variant", &variant.name, &variants, problems);
        }
    }
}

fn check_units(claim: &Claim, unit: Unit, problems: &mut Problems) {
    let bounds = match claim.limit() {
        Limit::AtMost(bound) | Limit::AtLeast(bound) | Limit::Equals(bound) => vec![bound],
        Limit::Within(low, high) => vec![low, high],
    };
    for bound in bounds {
        check_unit(bound, &claim.metric.name, unit, problems);
    }
}

/// Tells where `bound` is not written in the `unit` of `metric`.
pub(super) fn check_unit(bound: &Bound, metric: &str, unit: Unit, problems: &mut Problems) {
    let is_fine = match bound.unit {
        Some(written) => written == unit,
        // A bare number of nanoseconds would be read as seconds or milliseconds by someone.
        None => !matches!(unit, Unit::Nanoseconds),
    };
    if is_fine {
        return;
    }
    let expected = match unit {
        Unit::Count => "a number of things, such as 0",
        Unit::Ratio => "a number, such as 1.05",
        Unit::Share => "a share, such as \"2%\" or 0.02",
        Unit::Bytes => "a size, such as \"16KiB\"",
        Unit::Nanoseconds => "a duration, such as \"20ms\"",
        Unit::PerSecond => "a rate, such as \"250/s\"",
    };
    problems.add(
        bound.place,
        format!("`{}` does not fit `{metric}`: expected {expected}", printable(&bound.text)),
    );
}

fn has_one_limit(claim: &Claim, value: &Value, problems: &mut Problems) {
    let limits = [
        ("at_most", claim.at_most.is_some()),
        ("at_least", claim.at_least.is_some()),
        ("equals", claim.equals.is_some()),
        ("within", claim.within.is_some()),
    ];
    let given: Vec<&str> =
        limits.iter().filter(|(_, is_given)| *is_given).map(|(name, _)| *name).collect();
    let expected = "expected exactly one of `at_most`, `at_least`, `equals`, `within`";
    match given.as_slice() {
        [_] => (),
        [] => problems.add(value.place, format!("a claim without a bound, {expected}")),
        _ => problems.add(value.place, format!("found `{}`, {expected}", given.join("`, `"))),
    }
    match claim.within.as_deref() {
        None => (),
        Some([low, high]) if low.value <= high.value => (),
        Some([low, high]) => problems.add(
            low.place,
            format!("the lower bound `{}` is above the upper one `{}`", low.text, high.text),
        ),
        Some(bounds) => problems.add(
            value.place,
            format!("`within` has {} bounds, expected two: [low, high]", bounds.len()),
        ),
    }
}

/// Judges `claims` by what `records` and their `summaries` say.
pub fn judge(claims: &[Claim], records: &[Record], summaries: &[Summary]) -> Vec<Verdict> {
    let groups = summary::groups(records);
    claims.iter().map(|claim| judge_one(claim, &groups, summaries)).collect()
}

fn judge_one(claim: &Claim, groups: &[Group<'_>], summaries: &[Summary]) -> Verdict {
    let limit = claim.limit();
    let is_meant = |summary: &&Summary| {
        summary.name() == claim.metric.name
            && claim.is_about(&summary.variant)
            && claim.at.as_ref().is_none_or(|at| *at == summary.at)
    };
    let evidence: Vec<Evidence> =
        summaries.iter().filter(is_meant).map(|summary| weigh(claim, limit, summary)).collect();
    let subjects: Vec<_> = summaries.iter().filter(is_meant).map(|s| s.subject).collect();
    let incomplete: usize = groups
        .iter()
        .filter(|group| claim.is_about(group.variant))
        .filter(|group| subjects.is_empty() || subjects.contains(&group.subject))
        .map(|group| group.incomplete.len())
        .sum();
    // A counter-example stands whatever else the unfinished runs might have shown; but a mean
    // over the runs that happened to finish is no mean.
    let is_refuted =
        evidence.iter().any(|item| !item.holds) && (incomplete == 0 || claim.of == Of::EverySeed);
    let (outcome, unknown_because) = if is_refuted {
        (Outcome::Failed, String::new())
    } else if 0 < incomplete {
        (Outcome::Unknown, format!("{incomplete} of its runs came to no end"))
    } else if evidence.is_empty() {
        (Outcome::Unknown, "nothing was measured".to_owned())
    } else {
        (Outcome::Passed, String::new())
    };
    Verdict {
        claim: claim.claim.clone(),
        level: claim.level.clone(),
        outcome,
        bound: limit.to_string(),
        why: claim.why.clone(),
        evidence,
        unknown_because,
    }
}

fn weigh(claim: &Claim, limit: Limit<'_>, summary: &Summary) -> Evidence {
    let (seed, value) = match claim.of {
        Of::Mean => (None, summary.estimate.mean),
        Of::EverySeed => {
            let worst = summary
                .values
                .iter()
                .max_by(|a, b| limit.excess(a.1).total_cmp(&limit.excess(b.1)))
                .expect("a summary has at least one value");
            (Some(worst.0.0), worst.1)
        }
    };
    Evidence {
        name: summary.name(),
        metric: summary.metric,
        variant: summary.label(),
        at: summary.at.clone(),
        value,
        seed,
        seed_count: summary.estimate.n,
        holds: limit.holds(value),
    }
}

impl Limit<'_> {
    /// Whether `value` meets it. NaN never does.
    pub fn holds(&self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most.value,
            Self::AtLeast(least) => least.value <= value,
            Self::Equals(bound) => {
                // The mean of equal numbers, or a share of whole ones, can miss by a rounding.
                let scale = bound.value.abs().max(f64::MIN_POSITIVE);
                value.total_cmp(&bound.value).is_eq() || (value - bound.value).abs() <= 1e-9 * scale
            }
            Self::Within(low, high) => low.value <= value && value <= high.value,
        }
    }

    /// How far `value` is on the wrong side; NaN counts as farthest.
    fn excess(&self, value: f64) -> f64 {
        let excess = match self {
            Self::AtMost(most) => value - most.value,
            Self::AtLeast(least) => least.value - value,
            Self::Equals(bound) => (value - bound.value).abs(),
            Self::Within(low, high) => (low.value - value).max(value - high.value),
        };
        if value.is_nan() { f64::INFINITY } else { excess }
    }
}

impl std::fmt::Display for Limit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(most) => write!(f, "at most {}", most.text),
            Self::AtLeast(least) => write!(f, "at least {}", least.text),
            Self::Equals(value) => write!(f, "exactly {}", value.text),
            Self::Within(low, high) => write!(f, "within {} .. {}", low.text, high.text),
        }
    }
}

impl Config for Reference {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        String::read(value, problems).map(|name| Self { name, place: value.place })
    }

    fn schema() -> Json {
        String::schema()
    }

    fn write(&self) -> Json {
        json!(self.name)
    }
}

impl Config for Bound {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let place = value.place;
        let bare = |value: f64| Self { value, unit: None, text: value.to_string(), place };
        match &value.kind {
            ValueKind::Integer(number) => Some(bare(*number as f64)),
            ValueKind::Float(number) if number.is_finite() => Some(bare(*number)),
            ValueKind::Text(text) => match quantity(text) {
                Some((value, unit)) => {
                    Some(Self { value, unit: Some(unit), text: text.clone(), place })
                }
                None => wrong_bound(value, problems),
            },
            _ => wrong_bound(value, problems),
        }
    }

    fn schema() -> Json {
        json!({ "type": ["number", "string"] })
    }

    fn write(&self) -> Json {
        match self.unit {
            Some(_) => json!(self.text),
            None => json!(self.value),
        }
    }
}

fn wrong_bound(value: &Value, problems: &mut Problems) -> Option<Bound> {
    let expected =
        "expected a number, or a quantity such as \"20ms\", \"2%\", \"16KiB\" or \"250/s\"";
    problems.add(value.place, format!("found {}, {expected}", value.describe()));
    None
}

fn quantity(text: &str) -> Option<(f64, Unit)> {
    if text.ends_with('%') {
        return text.parse().ok().map(|share: Probability| (share.as_f64(), Unit::Share));
    }
    if let Ok(duration) = text.parse::<SimDuration>() {
        return Some((duration.as_ns() as f64, Unit::Nanoseconds));
    }
    if let Ok(Bytes(count)) = text.parse() {
        return Some((count as f64, Unit::Bytes));
    }
    text.parse().ok().map(|rate: Rate| (rate.as_per_second(), Unit::PerSecond))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Ending;
    use crate::record::summary::tests::{SKEW, WAIT, measured};

    fn read(text: &str) -> Result<Claim, String> {
        let mut problems = Problems::default();
        let value = Value::parse(text, 0, &mut problems);
        let claim = Claim::read(&value, &mut problems);
        let told: Vec<String> = problems.into_sorted().into_iter().map(|p| p.message).collect();
        claim.filter(|_| told.is_empty()).ok_or_else(|| told.join("; "))
    }

    fn claim(rest: &str) -> Claim {
        read(&format!("claim = 'even'\nmetric = 'load_skew'\nwhy = 'because'\n{rest}")).unwrap()
    }

    fn outcome(claim: &Claim, records: &[Record]) -> Outcome {
        judge(std::slice::from_ref(claim), records, &summary::of(records))[0].outcome
    }

    fn runs(values: &[f64]) -> Vec<Record> {
        (1..).zip(values).map(|(seed, &value)| measured("ring{v=1}", seed, "", value)).collect()
    }

    #[test]
    fn the_mean_is_judged_unless_every_seed_is_asked_for() {
        let records = runs(&[1.0, 1.2]);
        assert_eq!(outcome(&claim("at_most = 1.1"), &records), Outcome::Passed);
        assert_eq!(outcome(&claim("at_most = 1.09"), &records), Outcome::Failed);
        let strict = claim("at_most = 1.1\nof = 'every seed'");
        assert_eq!(outcome(&strict, &records), Outcome::Failed);
        let verdict = &judge(&[strict], &records, &summary::of(&records))[0];
        assert_eq!(
            (verdict.evidence[0].seed, verdict.evidence[0].value.to_string()),
            (Some(2), "1.2".into())
        );
        assert_eq!(verdict.bound, "at most 1.1");
    }

    #[test]
    fn every_form_of_limit_is_judged_at_its_edge() {
        for (limit, value, expected) in [
            ("at_most = 1", 1.0, Outcome::Passed),
            ("at_most = 1", 1.000_001, Outcome::Failed),
            ("at_least = 1", 1.0, Outcome::Passed),
            ("at_least = 1", 0.999_999, Outcome::Failed),
            ("equals = 0.3", 0.1 + 0.2, Outcome::Passed),
            ("equals = 0", 0.0, Outcome::Passed),
            ("equals = 0", 1e-12, Outcome::Failed),
            ("within = [1, 2]", 2.0, Outcome::Passed),
            ("within = [1, 2]", 2.5, Outcome::Failed),
            ("at_most = 1", f64::INFINITY, Outcome::Failed),
        ] {
            assert_eq!(outcome(&claim(limit), &runs(&[value])), expected, "{limit}, {value}");
        }
    }

    #[test]
    fn what_did_not_end_is_unknown_but_a_counter_example_stands() {
        let mut records = runs(&[1.0, 3.0]);
        records[0].ending = Ending::Incomplete("event cap".into());
        assert_eq!(outcome(&claim("at_most = 2"), &records), Outcome::Unknown);
        assert_eq!(outcome(&claim("at_most = 5"), &records), Outcome::Unknown);
        let strict = claim("at_most = 2\nof = 'every seed'");
        assert_eq!(outcome(&strict, &records), Outcome::Failed);
    }

    #[test]
    fn nothing_measured_is_unknown_and_never_passed() {
        assert_eq!(outcome(&claim("at_most = 2"), &[]), Outcome::Unknown);
        assert_eq!(
            outcome(&claim("at_most = 2\nat = 'leave n9'"), &runs(&[1.0])),
            Outcome::Unknown
        );
    }

    #[test]
    fn a_variant_is_meant_by_its_label_or_its_bare_name() {
        let records = [measured("ring{v=1}", 1, "", 1.0), measured("rings", 1, "", 9.0)];
        for variant in ["ring", "ring{v=1}"] {
            let claim = claim(&format!("at_most = 2\nvariant = '{variant}'"));
            assert_eq!(outcome(&claim, &records), Outcome::Passed, "{variant}");
        }
        assert_eq!(outcome(&claim("at_most = 2"), &records), Outcome::Failed);
    }

    #[test]
    fn a_claim_has_exactly_one_limit() {
        let expected = "expected exactly one of `at_most`, `at_least`, `equals`, `within`";
        let base = "claim = 'x'\nmetric = 'm'\nwhy = 'w'\n";
        for (limits, told) in [
            ("", format!("a claim without a bound, {expected}")),
            ("at_most = 1\nequals = 1", format!("found `at_most`, `equals`, {expected}")),
            ("within = [2, 1]", "the lower bound `2` is above the upper one `1`".into()),
            ("within = [2]", "`within` has 1 bounds, expected two: [low, high]".into()),
        ] {
            assert_eq!(read(&format!("{base}{limits}")).unwrap_err(), told);
        }
    }

    #[test]
    fn unknown_names_and_foreign_units_are_told_with_what_was_meant() {
        let mut known =
            Known { variants: vec!["ring{v=1}".into(), "jump".into()], ..Known::default() };
        known.add_measure(&SKEW);
        known.add_sample(&WAIT);
        let told = |text: &str| {
            let mut problems = Problems::default();
            let claim = read(&format!("claim = 'x'\nwhy = 'w'\n{text}")).unwrap();
            check(&[claim], &known, &mut problems);
            problems.into_sorted().into_iter().map(|p| (p.message, p.help)).collect::<Vec<_>>()
        };
        let found = told("metric = 'load_skwe'\nat_most = 1");
        assert_eq!(found[0].1.as_deref(), Some("did you mean `load_skew`?"));
        assert!(
            found[0].0.starts_with("unknown metric `load_skwe`, expected `load_skew`, `wait.mean`")
        );
        let found = told("metric = 'load_skew'\nvariant = 'jmp'\nat_most = 1");
        assert_eq!(found[0].1.as_deref(), Some("did you mean `jump`?"));
        let found = told("metric = 'wait.p99.9'\nat_most = 20");
        assert_eq!(
            found[0].0,
            "`20` does not fit `wait.p99.9`: expected a duration, such as \"20ms\""
        );
        assert_eq!(told("metric = 'wait.p99'\nvariant = 'ring'\nat_most = '20ms'"), []);
        assert_eq!(told("metric = 'load_skew'\nat_most = '20ms'").len(), 1);
    }

    #[test]
    fn bounds_are_read_in_the_metrics_unit() {
        for (text, value, unit) in [
            ("'20ms'", 2e7, Some(Unit::Nanoseconds)),
            ("'2%'", 0.02, Some(Unit::Share)),
            ("'16KiB'", 16_384.0, Some(Unit::Bytes)),
            ("'250/s'", 250.0, Some(Unit::PerSecond)),
            ("3", 3.0, None),
        ] {
            let claim = claim(&format!("at_most = {text}"));
            let bound = claim.at_most.unwrap();
            assert!((bound.value - value).abs() < 1e-9, "{text}: {}", bound.value);
            assert_eq!(bound.unit, unit, "{text}");
        }
        assert!(read("claim='x'\nmetric='m'\nwhy='w'\nat_most = 'much'").is_err());
    }
}
