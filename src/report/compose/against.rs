//! Side by side: every variant and point against one of them, seed by seed.
//!
//! Under one seed all of them met the same keys, arrivals and faults (common random numbers), so
//! what is compared is the ratio or the difference under each seed, and not two separate means.

use crate::record::Better;
use crate::record::brief::{Brief, Headline};
use crate::record::statistics::{self, Paired};
use crate::record::summary::Summary;
use crate::report::quantity::{Scale, show_times, show_times_interval};
use crate::report::{Block, Cell, Column, Mark, Section, Table};

/// The numbers of `brief`, each against the same number of `reference`, which is the label of a
/// variant and its point. `None` where that has none, or where there is nothing beside it.
pub fn against(brief: &Brief, reference: &str, summaries: &[Summary]) -> Option<Section> {
    let mine: Vec<&Summary> = summaries.iter().filter(|s| s.subject == brief.subject).collect();
    let numbers: Vec<Number<'_>> =
        brief.headlines.iter().flat_map(|headline| numbers(headline, reference, &mine)).collect();
    let ps: Vec<f64> = numbers.iter().flat_map(|n| &n.others).map(Compared::p).collect();
    if ps.is_empty() {
        return None;
    }
    let adjusted = statistics::holm(&ps);
    let told = numbers.iter().flat_map(|n| n.others.iter().map(move |other| (n, other)));
    let mut findings: Vec<String> = (told.zip(&adjusted))
        .take(SENTENCES_MAX)
        .map(|((number, other), &p)| {
            let title = title(number.reference);
            let said = other.said(&other.of.label(), reference, p, adjusted.len());
            format!("{title}: {said}")
        })
        .collect();
    if SENTENCES_MAX < adjusted.len() {
        findings.push(format!("and {} more, in the tables", adjusted.len() - SENTENCES_MAX));
    }
    let mut adjusted = adjusted.into_iter();
    let tables = numbers.iter().map(|number| Block::Table(number.table(&mut adjusted)));
    Some(Section {
        heading: format!("{} against {reference}", brief.subject.name()),
        findings,
        blocks: tables.collect(),
    })
}

/// So many comparisons are told in a sentence.
pub(super) const SENTENCES_MAX: usize = 8;

/// A number of the reference, and the same of all others.
struct Number<'a> {
    reference: &'a Summary,
    others: Vec<Compared<'a>>,
}

/// A number of a variant against that of the reference.
pub(super) struct Compared<'a> {
    pub(super) of: &'a Summary,
    ratio: Option<Paired>,
    difference: Option<Paired>,
}

fn numbers<'a>(headline: &Headline, reference: &str, summaries: &[&'a Summary]) -> Vec<Number<'a>> {
    let is_meant = |s: &&&Summary| s.metric == headline.metric && s.statistic == headline.statistic;
    let all: Vec<&Summary> = summaries.iter().filter(is_meant).copied().collect();
    // What is neither better nor worse describes the scenario, and is not what is compared.
    let is_judged = headline.metric.better != Better::Neither;
    let references = all.iter().filter(|summary| is_judged && summary.label() == reference);
    references
        .map(|&to| {
            let others = all.iter().filter(|of| of.at == to.at && of.label() != reference);
            let compared = |&of: &&'a Summary| Compared::of(of, to);
            Number { reference: to, others: others.map(compared).collect() }
        })
        .collect()
}

impl Number<'_> {
    fn table(&self, adjusted: &mut impl Iterator<Item = f64>) -> Table {
        let metric = self.reference.metric;
        let title = title(self.reference);
        let column =
            |title: &str, unit| Column { title: title.to_owned(), unit, definition: String::new() };
        let text = |text: &str| Cell::Text(text.to_owned());
        let mean = |summary: &Summary| Cell::Estimate(summary.estimate, Mark::None);
        let label = self.reference.label();
        let paired = self.others.iter().filter_map(|other| other.ratio.or(other.difference));
        let most = paired.map(|paired| paired.estimate.n).max().unwrap_or(0);
        let seeds = super::counted(most as usize, "seed");
        let mut rows = vec![vec![text(&label), mean(self.reference), text("1")]];
        for (other, p) in self.others.iter().zip(adjusted) {
            let times = format!("{}, {}", other.in_words(), other.verdict(p));
            rows.push(vec![text(&other.of.label()), mean(other.of), Cell::Text(times)]);
        }
        Table {
            caption: format!("{title}, each against {label} under the same seeds"),
            columns: vec![
                column(&title, None),
                column("mean", Some(metric.unit)),
                column(&format!("seed by seed, {seeds}"), None),
            ],
            rows,
            is_detail: false,
        }
    }
}

/// What a number is called: its metric, which number of it, and where.
pub(super) fn title(summary: &Summary) -> String {
    let mut title = summary.metric.title.to_owned();
    for part in [summary.statistic.title(), summary.at.as_str()] {
        if !part.is_empty() {
            title.push(' ');
            title.push_str(part);
        }
    }
    title
}

impl<'a> Compared<'a> {
    /// `of` against `to`, seed by seed.
    pub(super) fn of(of: &'a Summary, to: &Summary) -> Self {
        Self { of, ratio: of.ratio_to(to), difference: of.difference_to(to) }
    }

    /// Whether a difference is seen: `p` is its adjusted probability.
    pub(super) fn is_seen(&self, p: f64) -> bool {
        matches!(self.verdict(p), "better" | "worse" | "different")
    }

    /// How probable the difference is by chance. One seed tells nothing.
    pub(super) fn p(&self) -> f64 {
        match self.ratio.or(self.difference) {
            Some(paired) if 2 <= paired.estimate.n => paired.p,
            _ => 1.0,
        }
    }

    /// How many times as much: `1.18 (1.16 .. 1.21)`; or how much more, `+3 ±1`, where there is no ratio.
    pub(super) fn in_words(&self) -> String {
        match (self.ratio, self.difference) {
            (Some(Paired { estimate, .. }), _) => {
                let interval = show_times_interval(&estimate).filter(|_| 2 <= estimate.n);
                let interval = interval.map_or(String::new(), |it| format!(" ({it})"));
                format!("{}{interval}", show_times(estimate.mean))
            }
            (None, Some(Paired { estimate, .. })) => {
                let scale = Scale::of_estimates(self.of.metric.unit, &[estimate]);
                let sign = if 0.0 < estimate.mean { "+" } else { "" };
                let mean = scale.show_with_unit(estimate.mean);
                let spread = scale.show_spread(&estimate);
                format!("{sign}{mean} {spread}").trim_end().to_owned()
            }
            (None, None) => "–".to_owned(),
        }
    }

    /// As [`Self::in_words`], with the number of seeds beside the interval:
    /// `1.18 (1.16 .. 1.21, 32 seeds)`.
    fn in_words_with_seeds(&self) -> String {
        let words = self.in_words();
        let Some(Paired { estimate, .. }) = self.ratio.or(self.difference) else { return words };
        let seeds = super::counted(estimate.n as usize, "seed");
        match words.strip_suffix(')') {
            Some(open) => format!("{open}, {seeds})"),
            None => format!("{words} ({seeds})"),
        }
    }

    /// The sentence, and what it comes to: no difference where none is seen.
    /// `among` so many comparisons some are far apart by chance.
    pub(super) fn said(&self, of: &str, to: &str, p: f64, among: usize) -> String {
        let holds_one = match (self.ratio, self.difference) {
            (Some(Paired { estimate, .. }), _) => estimate.low <= 1.0 && 1.0 <= estimate.high,
            (None, Some(Paired { estimate, .. })) => estimate.low <= 0.0 && 0.0 <= estimate.high,
            (None, None) => false,
        };
        match self.verdict(p) {
            "no difference seen" if holds_one => format!(
                "no difference was seen between {of} and {to}: {}",
                self.in_words_with_seeds()
            ),
            "no difference seen" => {
                let sentence = self.sentence(of, to);
                format!("{sentence}, which may be chance among {among} comparisons")
            }
            verdict => format!("{}, {verdict}", self.sentence(of, to)),
        }
    }

    /// The same in a sentence: `A is 1.31 times B (1.28 .. 1.34, 32 seeds)`.
    pub(super) fn sentence(&self, of: &str, to: &str) -> String {
        let seeds = |n: u32| super::counted(n as usize, "seed");
        match (self.ratio, self.difference) {
            (Some(Paired { estimate, .. }), _) => {
                let interval = show_times_interval(&estimate).filter(|_| 2 <= estimate.n);
                let interval = interval.map_or(String::new(), |it| format!("{it}, "));
                let (times, seeds) = (show_times(estimate.mean), seeds(estimate.n));
                format!("{of} is {times} times {to} ({interval}{seeds})")
            }
            (None, Some(Paired { estimate, .. })) => {
                format!("{of} is {to} {} ({})", self.in_words(), seeds(estimate.n))
            }
            (None, None) => format!("{of} cannot be compared with {to}"),
        }
    }

    pub(super) fn verdict(&self, p: f64) -> &'static str {
        const LEVEL: f64 = 1.0 - statistics::CONFIDENCE;
        let Some(Paired { estimate, .. }) = self.difference else { return "not to be compared" };
        if estimate.n < 2 {
            return "one seed";
        }
        if estimate.exact && estimate.mean == 0.0 {
            return "the same";
        }
        if LEVEL <= p {
            return "no difference seen";
        }
        match (self.of.metric.better, 0.0 < estimate.mean) {
            (Better::Higher, true) | (Better::Lower, false) => "better",
            (Better::Higher, false) | (Better::Lower, true) => "worse",
            (Better::Neither, _) => "different",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::summary::{self, tests::measured};
    use crate::record::{Record, Subject};

    const BRIEF: Brief = Brief {
        subject: Subject::Rings,
        headlines: &[Headline::value(&summary::tests::SKEW)],
        findings: &[],
        pictures: &[],
        side_by_side: &[],
    };

    fn cells(records: &[Record]) -> Vec<String> {
        let section = against(&BRIEF, "a", &summary::of(records)).unwrap();
        let Block::Table(table) = &section.blocks[0] else { panic!("{section:?}") };
        let word = |row: &Vec<Cell>| match &row[2] {
            Cell::Text(text) => text.clone(),
            other => panic!("{other:?}"),
        };
        table.rows.iter().map(word).collect()
    }

    fn runs(variant: &str, values: &[f64]) -> Vec<Record> {
        (1..).zip(values).map(|(seed, &value)| measured(variant, seed, "", value)).collect()
    }

    #[test]
    fn ratios_are_taken_seed_by_seed_and_judged_by_what_is_better() {
        let mut records = runs("a", &[1.0, 2.0, 3.0]);
        records.extend(runs("twice", &[2.0, 4.0, 6.0]));
        records.extend(runs("same", &[1.0, 2.0, 3.0]));
        records.extend(runs("noise", &[3.0, 2.0, 1.0]));
        let cells = cells(&records);
        assert_eq!(cells[0], "1");
        assert!(cells[1].starts_with("2.00") && cells[1].ends_with(", worse"), "{cells:?}");
        assert!(cells[2].ends_with(", the same"), "{cells:?}");
        assert!(cells[3].ends_with(", no difference seen"), "{cells:?}");
    }

    #[test]
    fn each_comparison_is_a_sentence_with_its_interval_and_its_seeds() {
        let mut records = runs("a", &[1.0, 2.0, 3.0]);
        records.extend(runs("twice", &[2.0, 4.0, 6.1]));
        records.extend(runs("noise", &[3.0, 2.0, 1.0]));
        records.extend(runs("perhaps", &[1.5, 4.4, 6.0]));
        let told = against(&BRIEF, "a", &summary::of(&records)).unwrap().findings;
        let [twice, noise, perhaps] = told.as_slice() else { panic!("{told:?}") };
        assert!(
            twice.contains(": twice is 2.01 times a (") && twice.ends_with(", 3 seeds), worse")
        );
        assert!(noise.contains(": no difference was seen between noise and a: 1.000 ("), "{noise}");
        let chance = ", 3 seeds), which may be chance among 3 comparisons";
        assert!(perhaps.contains(": perhaps is ") && perhaps.ends_with(chance), "{perhaps}");
    }

    #[test]
    fn where_there_is_no_ratio_the_difference_is_told() {
        let mut records = runs("a", &[0.0, 0.0, 0.0]);
        records.extend(runs("more", &[1.0, 2.0, 3.0]));
        let cells = cells(&records);
        assert!(cells[1].starts_with('+'), "{cells:?}");
    }

    #[test]
    fn nothing_is_compared_with_what_is_not_there_or_alone() {
        let summaries = summary::of(&runs("a", &[1.0, 2.0]));
        assert_eq!(against(&BRIEF, "b", &summaries), None);
        assert_eq!(against(&BRIEF, "a", &summaries), None);
    }
}
