//! What is worth saying: from records, their summaries and the briefs of their subjects to a
//! report.
//!
//! Nothing here knows a ring from a queue. Sentences are formed from numbers by the forms that a
//! `Finding` names, always with the spread over the seeds and how many they are; where no
//! difference can be told from chance, the sentence says so instead of naming a winner.

mod against;
mod between;
mod charts;
mod labels;
mod phases;
mod sentences;
mod side_by_side;

pub use against::against;
pub use between::between;
pub use side_by_side::side_by_side;

use super::quantity::show_times_interval;
use super::{Block, BottomLine, Cell, Column, Mark, Provenance, Report, Section, Table, Tone};
use crate::kernel::rng::Seed;
use crate::record::brief::{Brief, Headline};
use crate::record::claims::{Level, Outcome, Verdict};
use crate::record::statistics::{Estimate, FEW};
use crate::record::summary::{self, Group, Statistic, Summary};
use crate::record::{Ending, FaultSpan, Metric, Record};

/// What a report is about, apart from the numbers.
#[derive(Clone, Debug)]
pub struct Occasion<'a> {
    /// The name of the scenario.
    pub title: String,
    /// What the reader wants to know.
    pub question: String,
    /// What is to be said of each subject. Subjects without a brief are left out.
    pub briefs: &'a [Brief],
    /// What became of the claims.
    pub verdicts: Vec<Verdict>,
    /// What else the reader must know before trusting the numbers.
    pub notes: Vec<String>,
    /// What it takes to make the report again.
    pub provenance: Provenance,
}

/// A sentence names so many variants; the table has the others.
const NAMED_MAX: usize = 4;
/// Of a metric that is measured at more places than this the table has the mean.
const COLUMNS_PER_METRIC_MAX: usize = 2;
/// So many violations of a variant are told in words.
const TOLD_MAX: usize = 5;

/// Says of `records` and their `summaries` what is worth saying.
pub fn compose(occasion: Occasion<'_>, records: &[Record], summaries: &[Summary]) -> Report {
    let groups = summary::groups(records);
    let sections = occasion
        .briefs
        .iter()
        .filter(|brief| groups.iter().any(|group| group.subject == brief.subject))
        .map(|brief| Composer::of(brief, &groups, summaries).section())
        .collect();
    let mut notes = occasion.notes;
    notes.extend(what_to_beware_of(records, &groups));
    Report {
        title: occasion.title,
        question: occasion.question,
        bottom_line: bottom_line(&occasion.verdicts, records, &groups),
        notes,
        verdicts: occasion.verdicts,
        kept: None,
        sections,
        provenance: occasion.provenance,
    }
}

fn bottom_line(verdicts: &[Verdict], records: &[Record], groups: &[Group<'_>]) -> BottomLine {
    let count = |level: Level, outcome: Outcome| {
        verdicts.iter().filter(|v| v.level == level && v.outcome == outcome).count()
    };
    let failed: Vec<&str> = verdicts
        .iter()
        .filter(|v| v.level == Level::Error && v.outcome == Outcome::Failed)
        .map(|v| v.claim.as_str())
        .collect();
    let unknown = count(Level::Error, Outcome::Unknown) + count(Level::Warn, Outcome::Unknown);
    let warned = count(Level::Warn, Outcome::Failed);
    let incomplete: usize = groups.iter().map(|group| group.incomplete.len()).sum();
    let runs = counted(records.len(), "run");
    let claims = counted(verdicts.len(), "claim");
    let (tone, text) = if let Some(first) = failed.first() {
        let of = format!("{} of {claims}", failed.len());
        let does = if failed.len() == 1 { "does" } else { "do" };
        (Tone::Bad, format!("FAILED: {of} {does} not hold: {first}"))
    } else if 0 < incomplete {
        (
            Tone::Unknown,
            format!("INCOMPLETE: {incomplete} of {runs} reached a cap and are left out"),
        )
    } else if records.is_empty() {
        (Tone::Unknown, "INCOMPLETE: no run was made".to_owned())
    } else if 0 < unknown {
        (Tone::Unknown, format!("UNKNOWN: {unknown} of {claims} could not be judged ({runs})"))
    } else if 0 < warned {
        (Tone::Warning, format!("WARNING: {warned} of {claims} does not hold ({runs})"))
    } else if verdicts.is_empty() {
        (Tone::Good, format!("DONE: {runs}; the scenario makes no claim"))
    } else {
        let all = if verdicts.len() == 1 {
            "the claim holds".into()
        } else {
            format!("all {claims} hold")
        };
        (Tone::Good, format!("PASSED: {all} ({runs})"))
    };
    BottomLine { tone, text }
}

fn what_to_beware_of(records: &[Record], groups: &[Group<'_>]) -> Vec<String> {
    let mut notes = Vec::new();
    let fewest = groups.iter().map(|group| group.runs.len()).min().unwrap_or(0);
    if fewest == 1 {
        notes.push("one seed: no spread, no ranking".to_owned());
    } else if 1 < fewest && fewest < FEW as usize {
        notes.push(format!("few seeds ({fewest}): the intervals are wide and lean on normality"));
    }
    let cap = records.iter().find_map(|record| match &record.ending {
        Ending::Incomplete(cap) => Some((record, cap)),
        Ending::Complete => None,
    });
    if let Some((record, cap)) = cap {
        let label = summary::label(&record.variant, &record.point);
        notes.push(format!("{label}, seed {}: {cap}", record.seed.0));
    }
    notes
}

/// `1 run`, `96 runs`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// What is known of one subject.
struct Composer<'a> {
    brief: &'a Brief,
    groups: Vec<&'a Group<'a>>,
    summaries: Vec<&'a Summary>,
    /// What tells the groups apart, in a few letters; in their order.
    short: Vec<String>,
}

impl<'a> Composer<'a> {
    fn of(brief: &'a Brief, groups: &'a [Group<'a>], summaries: &'a [Summary]) -> Self {
        let groups: Vec<&Group<'_>> =
            groups.iter().filter(|group| group.subject == brief.subject).collect();
        let short = labels::short(&groups);
        let summaries = summaries.iter().filter(|s| s.subject == brief.subject).collect();
        Self { brief, groups, summaries, short }
    }

    /// What titles and sentences call a variant at a point: no more than tells it apart.
    fn name_of(&self, variant: &str, point: &[(String, String)]) -> String {
        let is_meant = |group: &&Group<'_>| group.variant == variant && group.point == point;
        let index = self.groups.iter().position(is_meant);
        let known = index.and_then(|index| self.short.get(index)).cloned();
        known.unwrap_or_else(|| summary::label(variant, point))
    }

    fn short_name(&self, group: &Group<'_>) -> String {
        self.name_of(group.variant, group.point)
    }

    fn section(&self) -> Section {
        let mut blocks = vec![Block::Table(self.headline_table())];
        blocks.extend(self.brief.pictures.iter().flat_map(|p| self.charts(*p)).map(Block::Chart));
        blocks.extend(self.tables_by_place().into_iter().map(Block::Table));
        blocks.extend(self.fault_table().map(Block::Table));
        blocks.extend(self.violations());
        Section {
            heading: self.brief.subject.name().to_owned(),
            findings: self.brief.findings.iter().filter_map(|f| self.sentence(*f)).collect(),
            blocks,
        }
    }

    fn seed_count(&self) -> usize {
        self.groups.iter().map(|group| group.runs.len()).max().unwrap_or(0)
    }

    fn seeds(&self) -> String {
        counted(self.seed_count(), "seed")
    }

    /// The summaries of one number at one place, by group; `None` where a group has none.
    fn row(&self, headline: Headline, at: &str) -> Vec<Option<&'a Summary>> {
        let of_group = |group: &&Group<'_>| {
            self.summaries.iter().copied().find(|s| {
                s.metric.name == headline.metric.name
                    && s.statistic == headline.statistic
                    && s.at == at
                    && s.variant == group.variant
                    && s.point == group.point
            })
        };
        self.groups.iter().map(of_group).collect()
    }

    /// The places at which a number was measured, in the order in which they come first.
    fn places(&self, metric: &Metric, statistic: Statistic) -> Vec<&'a str> {
        let mut places: Vec<&str> = Vec::new();
        for summary in &self.summaries {
            let is_meant = summary.metric.name == metric.name && summary.statistic == statistic;
            if is_meant && !places.contains(&summary.at.as_str()) {
                places.push(&summary.at);
            }
        }
        places
    }

    fn headline_table(&self) -> Table {
        let mut columns = vec![Column::of_words("variant")];
        let name = |group: &&Group<'_>| vec![Cell::Text(group.label())];
        let mut rows: Vec<Vec<Cell>> = self.groups.iter().map(name).collect();
        for &headline in self.brief.headlines {
            for number in self.columns_of(headline) {
                columns.push(Column {
                    title: title_of(headline, &number.at),
                    unit: Some(headline.metric.unit),
                    definition: headline.metric.definition.to_owned(),
                });
                for (row, cell) in rows.iter_mut().zip(number.cells()) {
                    row.push(cell);
                }
            }
        }
        let caption = format!("{} over {}", self.brief.subject.name(), self.seeds());
        Table { caption, columns, rows, is_detail: false }
    }

    /// The columns of a headline: the number that has no place, or that of each place where they
    /// are few, or else their mean.
    fn columns_of(&self, headline: Headline) -> Vec<Number> {
        let places = self.places(headline.metric, headline.statistic);
        if !places.contains(&"") && (2..=COLUMNS_PER_METRIC_MAX).contains(&places.len()) {
            return places.iter().map(|at| self.number_at(headline, at)).collect();
        }
        self.one_number(headline).into_iter().collect()
    }

    /// The number of a headline where there can be but one: that without a place, or the only
    /// one, or in each run the mean over all places.
    fn one_number(&self, headline: Headline) -> Option<Number> {
        let places = self.places(headline.metric, headline.statistic);
        match places.as_slice() {
            [] => None,
            [only] => Some(self.number_at(headline, only)),
            _ if places.contains(&"") => Some(self.number_at(headline, "")),
            // A mean of percentiles of different things would mean nothing.
            _ if headline.statistic != Statistic::Value => None,
            _ => Some(self.mean_over(headline, places.len())),
        }
    }

    fn number_at(&self, headline: Headline, at: &str) -> Number {
        let row = self.row(headline, at).into_iter().map(Option::<&Summary>::cloned).collect();
        Number { at: at.to_owned(), row }
    }

    fn mean_over(&self, headline: Headline, place_count: usize) -> Number {
        let at = format!("mean of {place_count}");
        let mean = |group: &&Group<'_>| {
            let Headline { metric, statistic } = headline;
            Summary::of_values(group, metric, statistic, &at, group.means(metric))
        };
        let row = self.groups.iter().map(mean).collect();
        Number { at, row }
    }

    /// A table for each metric of the brief that was measured at several places, with a row for
    /// each place.
    fn tables_by_place(&self) -> Vec<Table> {
        let mut metrics: Vec<&'static Metric> = Vec::new();
        for headline in self.brief.headlines {
            let is_new = !metrics.iter().any(|metric| metric.name == headline.metric.name);
            if is_new && headline.statistic == Statistic::Value {
                metrics.push(headline.metric);
            }
        }
        metrics.into_iter().filter_map(|metric| self.table_by_place(metric)).collect()
    }

    fn table_by_place(&self, metric: &'static Metric) -> Option<Table> {
        let headline = Headline::value(metric);
        let places = self.places(metric, Statistic::Value);
        // What the headline table has in full need not stand here again.
        if places.len() <= self.columns_of(headline).len() {
            return None;
        }
        let mut columns = vec![Column::of_words("at")];
        columns.extend(self.groups.iter().map(|group| Column {
            title: group.label(),
            unit: Some(metric.unit),
            definition: String::new(),
        }));
        let row = |at: &&str| {
            let name = if at.is_empty() { "at first" } else { at };
            let cells = self.number_at(headline, at).cells();
            std::iter::once(Cell::Text(name.to_owned())).chain(cells).collect()
        };
        Some(Table {
            caption: format!("{}: {}", metric.title, metric.definition),
            columns,
            rows: places.iter().map(row).collect(),
            is_detail: true,
        })
    }

    fn fault_table(&self) -> Option<Table> {
        let (faults, whose) = self.faults()?;
        let row = |(number, fault): (usize, &FaultSpan)| {
            let until =
                if fault.until <= fault.from { "–".into() } else { fault.until.to_string() };
            [number.to_string(), fault.label.clone(), fault.from.to_string(), until]
                .map(Cell::Text)
                .into()
        };
        Some(Table {
            caption: format!("faults, {whose}"),
            columns: ["no.", "fault", "from", "until"].map(Column::of_words).into(),
            rows: (1..).zip(faults).map(row).collect(),
            is_detail: true,
        })
    }

    /// The faults that the subject's runs met, and whose they are: those of all seeds where they
    /// are the same, and otherwise those of the first.
    fn faults(&self) -> Option<(&'a [FaultSpan], String)> {
        let first = self.groups.iter().find_map(|group| group.runs.first())?;
        if first.faults.is_empty() {
            return None;
        }
        let whose = if self.all_meet(&first.faults) {
            "the same in every run".to_owned()
        } else {
            format!("of seed {}", first.seed.0)
        };
        Some((&first.faults, whose))
    }

    fn all_meet(&self, faults: &[FaultSpan]) -> bool {
        self.groups.iter().flat_map(|group| &group.runs).all(|run| run.faults == faults)
    }

    fn violations(&self) -> Option<Block> {
        let mut lines = Vec::new();
        for group in &self.groups {
            let told: Vec<(Seed, &String)> = group
                .runs
                .iter()
                .flat_map(|run| run.findings.iter().map(|finding| (run.seed, finding)))
                .collect();
            for (seed, finding) in told.iter().take(TOLD_MAX) {
                lines.push(format!("{}, seed {}: {finding}", group.label(), seed.0));
            }
            if TOLD_MAX < told.len() {
                lines.push(format!("{}: and {} more", group.label(), told.len() - TOLD_MAX));
            }
        }
        let caption = "what went wrong, with its virtual time".to_owned();
        (!lines.is_empty()).then_some(Block::Lines { caption, lines })
    }
}

fn cell(summary: Option<&Summary>, mark: Mark) -> Cell {
    summary.map_or(Cell::Empty, |summary| Cell::Estimate(summary.estimate, mark))
}

/// Who is best among those that were measured.
fn marks(column: &[Option<&Summary>]) -> Vec<Mark> {
    let present: Vec<&Summary> = column.iter().copied().flatten().collect();
    let standings = summary::rank(&present).unwrap_or_default();
    // Where all are level there is nothing to point at.
    let all_level = standings.iter().all(|standing| standing.place == 1);
    let mut standings = standings.into_iter();
    let mark = |summary: Option<&Summary>| {
        let standing = summary.and_then(|_| standings.next());
        match standing {
            Some(standing) if standing.place == 1 && !all_level => {
                if standing.tied {
                    Mark::Tied
                } else {
                    Mark::Best
                }
            }
            _ => Mark::None,
        }
    };
    column.iter().copied().map(mark).collect()
}

fn title_of(headline: Headline, at: &str) -> String {
    let mut title = headline.metric.title.to_owned();
    if headline.statistic != Statistic::Value {
        title = format!("{title} {}", headline.statistic.title());
    }
    if at.is_empty() { title } else { format!("{title}, {at}") }
}

/// One number of every variant.
struct Number {
    /// Where it was measured; empty where there is one.
    at: String,
    /// The summary of each group, in their order.
    row: Vec<Option<Summary>>,
}

impl Number {
    fn cells(&self) -> Vec<Cell> {
        let row: Vec<Option<&Summary>> = self.row.iter().map(Option::as_ref).collect();
        let marks = marks(&row);
        row.into_iter().zip(marks).map(|(summary, mark)| cell(summary, mark)).collect()
    }
}

/// `a 12.1 ms, b 9.0 ms`, or, where there are more than `room`, `from b 9.0 ms to z 80.0 ms`.
fn each_or_ends(
    values: &[(String, f64)],
    room: usize,
    show: impl Fn(&str, f64) -> String,
) -> String {
    let say = |(name, value): &(String, f64)| show(name, *value);
    if values.len() <= room {
        return values.iter().map(say).collect::<Vec<_>>().join(", ");
    }
    let least = values.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map(say);
    let most = values.iter().max_by(|a, b| a.1.total_cmp(&b.1)).map(say);
    format!("from {} to {}", least.unwrap_or_default(), most.unwrap_or_default())
}

fn more_than(shown: usize, all: usize) -> String {
    if shown < all { format!(" and {} more", all - shown) } else { String::new() }
}

/// What an interval adds behind a ratio, with `more` behind it: ` (1.28 .. 1.34, 32 seeds)`.
fn interval(ratio: &Estimate, more: &str) -> String {
    let shown = show_times_interval(ratio);
    let parts: Vec<&str> =
        [shown.as_deref(), Some(more)].into_iter().flatten().filter(|p| !p.is_empty()).collect();
    if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) }
}
