//! Pictures, as data: which lines and bars, and the finding that stands above them.

use std::collections::BTreeMap;

use super::{Composer, NAMED_MAX, each_or_ends};
use crate::kernel::rng::Seed;
use crate::kernel::time::SimDuration;
use crate::record::brief::{Finding, Headline, Picture};
use crate::record::statistics::{self, Estimate};
use crate::record::summary::{self, Group, Statistic, common};
use crate::record::{Better, Curve, Flow, Metric, Profile, Record, Sample, Span, SpanKind, Unit};
use crate::report::quantity::{Scale, show, show_times};
use crate::report::{BarSeries, Chart, Grid, Horizontal, Lane, Plot, Point, Series};

/// A chart has so many colours that can be told apart.
const DRAWN_MAX: usize = 6;
/// So many grids stand beside each other.
const GRIDS_MAX: usize = 3;
/// A title names so many variants, or else the two at the ends.
pub(super) const TITLE_ROOM: usize = 3;

impl<'a> Composer<'a> {
    pub(super) fn charts(&self, picture: Picture) -> Vec<Chart> {
        match picture {
            Picture::Load(metric) => self.load_chart(metric).into_iter().collect(),
            Picture::Floor { of, floor } => self.floor_chart(of, floor).into_iter().collect(),
            Picture::Percentiles(metric) => self.percentile_charts(metric),
            Picture::Course(metric) => self.course_charts(metric),
            Picture::Handover(metric) => self.handover_chart(metric).into_iter().collect(),
            Picture::Lanes { verb } => self.lanes_chart(verb).into_iter().collect(),
            Picture::Swept(headline) => self.swept_charts(headline),
            Picture::Cost { cost, worth } => self.cost_chart(cost, worth).into_iter().collect(),
        }
    }

    fn name(&self, metric: &'static Metric, index: usize) -> String {
        let slug = metric.name.replace('_', "-");
        let number = if index == 0 { String::new() } else { format!("-{}", index + 1) };
        format!("{}-{slug}{number}", self.brief.subject.name())
    }

    /// The groups that are drawn, with their style, and a word on those that are not.
    fn drawn(&self) -> (impl Iterator<Item = (usize, &'a Group<'a>)> + Clone, String) {
        let all = self.groups.len();
        let note = if DRAWN_MAX < all {
            format!("; {DRAWN_MAX} of {all} variants, the others in the tables")
        } else {
            String::new()
        };
        (self.groups.clone().into_iter().take(DRAWN_MAX).enumerate(), note)
    }

    /// `headline` over the one parameter that varies, a chart for each place.
    fn swept_charts(&self, headline: Headline) -> Vec<Chart> {
        let Some(parameter) = self.varied() else { return Vec::new() };
        // Where others vary too, what they are at their first values is drawn, and the subtitle
        // says so.
        let held = self.held(&parameter);
        let places = self.places(headline.metric, headline.statistic);
        let chart = |(index, at): (usize, &&str)| {
            self.swept_chart(headline, (&parameter, &held), index, at)
        };
        // Later places repeat the first one's shape; the tables have them.
        places.iter().enumerate().take(1).filter_map(chart).collect()
    }

    /// The name of the first parameter that varies and has only numbers for values.
    fn varied(&self) -> Option<String> {
        let (first, _) = self.groups.first()?.point.iter().find(|(name, _)| {
            let values = self.groups.iter().flat_map(|group| group.point);
            values.filter(|(other, _)| other == name).all(|(_, value)| number(value).is_some())
        })?;
        Some(first.clone())
    }

    /// The parameters beside `varied` at their first values.
    fn held(&self, varied: &str) -> Vec<(String, String)> {
        let first = self.groups.first().map_or(&[][..], |group| group.point);
        first.iter().filter(|(name, _)| name != varied).cloned().collect()
    }

    fn swept_chart(
        &self,
        headline: Headline,
        (parameter, held): (&str, &[(String, String)]),
        index: usize,
        at: &str,
    ) -> Option<Chart> {
        let metric = headline.metric;
        let mut series: Vec<Series> = Vec::new();
        for (group, summary) in self.groups.iter().zip(self.row(headline, at)) {
            let Some(summary) = summary else { continue };
            let others = group.point.iter().filter(|(name, _)| name != parameter);
            let of_point = group.point.iter().find(|(name, _)| name == parameter);
            let Some(x) = of_point.and_then(|(_, value)| number(value)) else { continue };
            if !others.eq(held) {
                continue;
            }
            let estimate = summary.estimate;
            let point = Point { x, y: estimate.mean, low: estimate.low, high: estimate.high };
            let known = series.iter().position(|line| line.name == group.variant);
            match known {
                Some(index) => series[index].points.push(point),
                None if series.len() < DRAWN_MAX => {
                    let (name, style) = (group.variant.to_owned(), series.len());
                    series.push(Series { name, style, points: vec![point] });
                }
                None => (),
            }
        }
        for line in &mut series {
            line.points.sort_by(|a, b| a.x.total_cmp(&b.x));
        }
        series.retain(|line| 2 <= line.points.len());
        let first = series.first()?;
        let (from, to) = (first.points.first()?, first.points.last()?);
        let ends: Vec<(String, f64)> = (series.iter())
            .filter_map(|line| {
                let (from, to) = (line.points.first()?, line.points.last()?);
                (0.0 < from.y).then(|| (line.name.clone(), to.y / from.y))
            })
            .collect();
        let each =
            each_or_ends(&ends, TITLE_ROOM, |name, y| format!("{name} {} times", show_times(y)));
        let title = format!(
            "{} from {parameter} {} to {}: {each} as much",
            sentence_case(metric.title),
            from.x,
            to.x
        );
        Some(Chart {
            name: format!("{}-by-parameter", self.name(metric, index)),
            description: format!("{} over {parameter}. {title}.", metric.title),
            title,
            subtitle: format!(
                "{} over {parameter}{}; mean of {}, band: 95 % interval",
                metric.title,
                summary::label("", held),
                self.seeds()
            ),
            y_label: metric.title.to_owned(),
            y_unit: metric.unit,
            plot: Plot::Lines {
                x: Horizontal::Swept(parameter.to_owned()),
                series,
                reference: None,
                faults: Vec::new(),
            },
        })
    }

    /// What each costs against what it is worth: a mark each.
    fn cost_chart(&self, cost: &'static Metric, worth: &'static Metric) -> Option<Chart> {
        /// Fewer are read from the table.
        const MARKS_MIN: usize = 3;
        /// More could not be told apart.
        const MARKS_MAX: usize = 40;
        let costs = self.row(Headline::value(cost), "");
        let worths = self.row(Headline::value(worth), "");
        let mut series = Vec::new();
        let mut best: Option<(String, f64)> = None;
        for (index, (group, pair)) in self.groups.iter().zip(costs.iter().zip(worths)).enumerate() {
            let (Some(cost), Some(of)) = (pair.0, pair.1) else { continue };
            let (x, Estimate { mean: y, low, high, .. }) = (cost.estimate.mean, of.estimate);
            if !x.is_finite() || !y.is_finite() {
                continue;
            }
            let is_better = |than: f64| match worth.better {
                Better::Higher => than < y,
                Better::Lower | Better::Neither => y < than,
            };
            if best.as_ref().is_none_or(|(_, than)| is_better(*than)) {
                best = Some((self.short_name(group), y));
            }
            let points = vec![Point { x, y, low, high }];
            series.push(Series { name: self.short_name(group), style: index, points });
        }
        let cheapest = series.iter().min_by(|a, b| a.points[0].x.total_cmp(&b.points[0].x))?;
        if !(MARKS_MIN..=MARKS_MAX).contains(&series.len()) {
            return None;
        }
        let (best, _) = best?;
        let show = |metric: &Metric, value| Scale::of(metric.unit, &[value]).show_with_unit(value);
        let describe = |line: &Series| {
            let Point { x, y, .. } = line.points[0];
            format!("{}, {} for {}", line.name, show(worth, y), show(cost, x))
        };
        let dearest = series.iter().find(|line| line.name == best)?;
        let way = if worth.better == Better::Higher { "most" } else { "least" };
        let title = if best == cheapest.name {
            format!("{} has the least {} and the {way} {}", best, cost.title, worth.title)
        } else {
            format!("Cheapest: {}. Best: {}", describe(cheapest), describe(dearest))
        };
        Some(Chart {
            name: format!("{}-for-{}", self.name(worth, 0), cost.name.replace('_', "-")),
            description: format!("{} against {}. {title}.", worth.title, cost.title),
            title,
            subtitle: format!(
                "{} against {}; mean of {}, whiskers: 95 % interval",
                worth.title,
                cost.title,
                self.seeds()
            ),
            y_label: worth.title.to_owned(),
            y_unit: worth.unit,
            plot: Plot::Lines {
                x: Horizontal::Cost(cost),
                series,
                reference: None,
                faults: Vec::new(),
            },
        })
    }

    /// Who gave how much to whom at the first event, a grid for each of the first variants.
    fn handover_chart(&self, metric: &'static Metric) -> Option<Chart> {
        let flows = |group: &Group<'a>| -> Vec<&'a Flow> {
            let runs = group.runs.iter().copied();
            let of_run = |run: &'a Record| run.flows.iter().find(|f| f.metric.name == metric.name);
            runs.filter_map(of_run).collect()
        };
        let mut grids = Vec::new();
        let mut pairs: Vec<(String, f64)> = Vec::new();
        let mut at = None;
        let mut seeds = 0;
        for group in &self.groups {
            let mut of_group = flows(group);
            let Some(first) = of_group.first().copied() else { continue };
            // A node picked at random differs from seed to seed, and so does the grid.
            of_group.retain(|flow| flow.at == first.at && flow.names == first.names);
            let is_shown = *at.get_or_insert(&first.at) == &first.at && grids.len() < GRIDS_MAX;
            if !is_shown {
                continue;
            }
            let count = of_group.len() as f64;
            let mean = |row: usize, column: usize| {
                of_group.iter().map(|flow| flow.amounts[row][column]).sum::<f64>() / count
            };
            let sides = 0..first.names.len();
            let row = |row| sides.clone().map(|column| mean(row, column)).collect();
            let given = |flow: &&Flow| flow.amounts.iter().flatten().filter(|a| 0.0 < **a).count();
            let all: usize = of_group.iter().map(given).sum();
            pairs.push((self.short_name(group), all as f64 / count));
            seeds = seeds.max(of_group.len());
            grids.push(Grid {
                name: self.short_name(group),
                names: first.names.clone(),
                amounts: sides.clone().map(row).collect(),
            });
        }
        let at = at?;
        let scale =
            Scale::of(Unit::Ratio, &pairs.iter().map(|(_, n)| n.round()).collect::<Vec<_>>());
        let each = each_or_ends(&pairs, TITLE_ROOM, |name, n| {
            format!("{} with {name}", scale.show(n.round()))
        });
        // What is counted stands behind the first number alone.
        let each = each.replacen(" with ", " pairs of nodes with ", 1);
        let title = format!("{}, {at}: between {each}", sentence_case(metric.title));
        let left_out = self.groups.len().saturating_sub(grids.len());
        let note = if 0 < left_out {
            format!("; {left_out} variants more have none")
        } else {
            String::new()
        };
        Some(Chart {
            name: format!("{}-handover", self.name(metric, 0)),
            description: format!("Who gives to whom, as a grid for each variant. {title}."),
            title,
            subtitle: format!(
                "rows give, columns get; mean of {}{note}",
                super::counted(seeds, "seed")
            ),
            y_label: metric.title.to_owned(),
            y_unit: metric.unit,
            plot: Plot::Grids(grids),
        })
    }

    /// The piece of a run's course that makes its case: of the first run in which two were at it
    /// at once, or else of the first run.
    fn lanes_chart(&self, verb: &str) -> Option<Chart> {
        let runs =
            || self.groups.iter().flat_map(|group| group.runs.iter().map(move |run| (group, *run)));
        let told = || runs().filter(|(_, run)| !run.spans.is_empty());
        let (group, run, both) = told()
            .find_map(|(group, run)| both_at_once(&run.spans).map(|both| (group, run, Some(both))))
            .or_else(|| told().next().map(|(group, run)| (group, run, None)))?;
        let from = run.spans.iter().map(|span| span.from).min()?;
        let until = run.spans.iter().map(|span| span.until).max()?;
        let whose = format!("{}, seed {}", self.short_name(group), run.seed.0);
        let show = |time: SimDuration| show(Unit::Nanoseconds, time.as_ns() as f64);
        let title = match both {
            Some((one, other, overlap)) => {
                // What lasts to the end of the piece may last on.
                let goes_on = one.until.min(other.until) == until;
                let least = if goes_on { "at least " } else { "" };
                let (one, other) = (&one.lane, &other.lane);
                format!("{whose}: {one} and {other} both {verb}, for {least}{}", show(overlap))
            }
            None => format!("{whose}: at no time do two {verb}"),
        };
        let mut names: Vec<&str> = Vec::new();
        for span in &run.spans {
            if !names.contains(&span.lane.as_str()) {
                names.push(&span.lane);
            }
        }
        let lanes: Vec<Lane> = names
            .into_iter()
            .map(|name| Lane {
                name: name.to_owned(),
                spans: run.spans.iter().filter(|span| span.lane == name).cloned().collect(),
            })
            .collect();
        let faults = run.faults.iter().filter(|fault| from <= fault.until && fault.from <= until);
        Some(Chart {
            name: format!("{}-lanes", self.brief.subject.name()),
            description: format!("Who did what when, a lane each. {title}."),
            title,
            subtitle: format!(
                "bars: those who {verb}, dark where two do; resource: a mark for each write let \
                 through, a cross for what was refused"
            ),
            y_label: "a piece of the course".to_owned(),
            y_unit: Unit::Count,
            plot: Plot::Lanes { lanes, faults: faults.cloned().collect() },
        })
    }

    fn load_chart(&self, metric: &'static Metric) -> Option<Chart> {
        let (drawn, note) = self.drawn();
        let profiles: Vec<(usize, &Group<'_>, Vec<&Profile>)> =
            drawn.map(|(style, group)| (style, group, profiles_of(group, metric))).collect();
        let is_relative = profiles
            .iter()
            .flat_map(|(_, _, profiles)| profiles)
            .all(|profile| profile.fair.is_some_and(|fair| 0.0 < fair));
        let mut series = Vec::new();
        let mut fullest: Vec<(String, f64)> = Vec::new();
        for (style, group, profiles) in profiles {
            let points = by_rank(&profiles, is_relative);
            let Some(last) = points.last() else { continue };
            fullest.push((self.short_name(group), last.y));
            series.push(Series { name: self.short_name(group), style, points });
        }
        // One alone has nothing to be held against.
        if series.iter().all(|line| line.points.len() < 2) {
            return None;
        }
        let title = if is_relative {
            let each =
                each_or_ends(&fullest, TITLE_ROOM, |name, y| format!("{name} {}", show_times(y)));
            format!("The most loaded: {each} times the fair share")
        } else {
            format!("The most loaded: {}", each_with_unit(metric.unit, &fullest))
        };
        Some(Chart {
            name: self.name(metric, 0),
            description: format!("{}; sorted by load. {title}.", metric.title),
            title,
            subtitle: format!(
                "{}, sorted; mean of {}, band from least to most{note}",
                metric.title,
                self.seeds()
            ),
            y_label: if is_relative { "times the fair share".into() } else { metric.title.into() },
            y_unit: if is_relative { Unit::Ratio } else { metric.unit },
            plot: Plot::Lines {
                x: Horizontal::Rank,
                series,
                reference: is_relative.then(|| (1.0, "fair share".to_owned())),
                faults: Vec::new(),
            },
        })
    }

    fn floor_chart(&self, of: &'static Metric, floor: &'static Metric) -> Option<Chart> {
        let places = self.places(of, Statistic::Value);
        let (drawn, note) = self.drawn();
        let mut series = Vec::new();
        let mut floors = Vec::new();
        let mut times: Vec<(String, f64)> = Vec::new();
        let (verb, reference) = self.verb_of(of);
        for (style, group) in drawn {
            let find = |metric: &'static Metric, at: &str| {
                self.row(Headline::value(metric), at)[style].map(|summary| summary.estimate)
            };
            series.push(BarSeries {
                name: self.short_name(group),
                style,
                bars: places.iter().map(|at| find(of, at)).collect(),
            });
            floors.push(places.iter().map(|at| find(floor, at).map(|e| e.mean)).collect());
            let (done, least) = common(&group.totals(of), &group.totals(floor));
            if let Some(ratio) = statistics::ratio(&done, &least) {
                times.push((self.short_name(group), ratio.estimate.mean));
            }
        }
        if places.is_empty() {
            return None;
        }
        let title = if times.is_empty() {
            of.title.to_owned()
        } else {
            let each = each_or_ends(&times, TITLE_ROOM, |name, y| {
                format!("{name} {verb} {} times", show_times(y))
            });
            // What the number is a multiple of stands behind the first alone.
            each.replacen(" times", &format!(" times {reference}"), 1)
        };
        Some(Chart {
            name: self.name(of, 0),
            description: format!("{} by event. {title}.", of.title),
            title,
            subtitle: format!(
                "{}; mean of {}, whiskers: 95 % interval; mark: {}{note}",
                of.title,
                self.seeds(),
                floor.title
            ),
            y_label: of.title.to_owned(),
            y_unit: of.unit,
            plot: Plot::Bars {
                groups: places.iter().map(ToString::to_string).collect(),
                series,
                floor: Some((floor.title.to_owned(), floors)),
            },
        })
    }

    /// The verb and the limit with which the brief speaks of `of`.
    fn verb_of(&self, of: &Metric) -> (&'static str, &'static str) {
        let spoken = self.brief.findings.iter().find_map(|finding| match finding {
            Finding::Times { of: metric, verb, reference, .. } if metric.name == of.name => {
                Some((*verb, *reference))
            }
            Finding::Times { .. } | Finding::Best(_) | Finding::Occurs { .. } => None,
        });
        spoken.unwrap_or(("has", "the least possible"))
    }

    fn percentile_charts(&self, metric: &'static Metric) -> Vec<Chart> {
        let mut places: Vec<&str> = Vec::new();
        for sample in self.groups.iter().flat_map(|g| &g.runs).flat_map(|run| &run.samples) {
            if sample.metric.name == metric.name && !places.contains(&sample.at.as_str()) {
                places.push(&sample.at);
            }
        }
        let chart = |(index, at): (usize, &&str)| self.percentile_chart(metric, at, index);
        places.iter().take(NAMED_MAX).enumerate().filter_map(chart).collect()
    }

    fn percentile_chart(&self, metric: &'static Metric, at: &str, index: usize) -> Option<Chart> {
        let (drawn, note) = self.drawn();
        let mut series = Vec::new();
        // The farthest out that there are values enough for.
        let rows = [Statistic::P99, Statistic::P90, Statistic::P50]
            .map(|statistic| (statistic, self.row(Headline::of(metric, statistic), at)));
        let told = rows.iter().find(|(_, row)| row.iter().any(Option::is_some));
        let mut tails: Vec<(String, f64)> = Vec::new();
        for (style, group) in drawn {
            let points = percentile_points(group, metric, at);
            if points.is_empty() {
                continue;
            }
            if let Some(Some(summary)) = told.and_then(|(_, row)| row.get(style)) {
                tails.push((self.short_name(group), summary.estimate.mean));
            }
            series.push(Series { name: self.short_name(group), style, points });
        }
        // A point is no curve; the table has it.
        if series.iter().all(|line| line.points.len() < 2) {
            return None;
        }
        let place = if at.is_empty() { String::new() } else { format!(", {at}") };
        let (statistic, _) = told?;
        let title = format!(
            "{} of {}{place}: {}",
            statistic.title(),
            metric.title,
            each_with_unit(metric.unit, &tails)
        );
        Some(Chart {
            name: self.name(metric, index),
            description: format!("{} by percentile. {title}.", metric.title),
            title,
            subtitle: format!(
                "by percentile, log scale; mean of {}, band from least to most{note}",
                self.seeds()
            ),
            y_label: metric.title.to_owned(),
            y_unit: metric.unit,
            plot: Plot::Lines {
                x: Horizontal::Quantile,
                series,
                reference: None,
                faults: Vec::new(),
            },
        })
    }

    fn course_charts(&self, metric: &'static Metric) -> Vec<Chart> {
        let mut places: Vec<&str> = Vec::new();
        for curve in self.groups.iter().flat_map(|g| &g.runs).flat_map(|run| &run.curves) {
            if curve.metric.name == metric.name && !places.contains(&curve.at.as_str()) {
                places.push(&curve.at);
            }
        }
        let chart = |(index, at): (usize, &&str)| self.course_chart(metric, at, index);
        places.iter().take(NAMED_MAX).enumerate().filter_map(chart).collect()
    }

    fn course_chart(&self, metric: &'static Metric, at: &str, index: usize) -> Option<Chart> {
        let (drawn, note) = self.drawn();
        let faults = self.faults().map_or(&[][..], |(faults, _)| faults);
        // Where each seed meets other faults, an average would blur what each does.
        let only = (!self.all_meet(faults))
            .then(|| self.groups.iter().find_map(|group| group.runs.first()))
            .flatten()
            .map(|run| run.seed);
        let mut series = Vec::new();
        for (style, group) in drawn {
            let points = course_points(group, metric, at, only);
            if points.is_empty() {
                continue;
            }
            series.push(Series { name: self.short_name(group), style, points });
        }
        if series.is_empty() {
            return None;
        }
        let place = if at.is_empty() { String::new() } else { format!(", {at}") };
        let title = format!("{}{place}{}", sentence_case(metric.title), self.told(metric, at));
        let over = match only {
            Some(seed) => format!("drawn: seed {}; title: {}", seed.0, self.seeds()),
            None => format!("mean of {}, band from least to most", self.seeds()),
        };
        Some(Chart {
            name: self.name(metric, index),
            description: format!("{} over virtual time. {title}.", metric.title),
            title,
            subtitle: format!("over virtual time; {over}{note}"),
            y_label: metric.title.to_owned(),
            y_unit: metric.unit,
            plot: Plot::Lines {
                x: Horizontal::Time,
                series,
                reference: None,
                faults: faults.to_vec(),
            },
        })
    }
}

/// The first two spans of belief that overlap in different lanes, and for how long they do.
fn both_at_once(spans: &[Span]) -> Option<(&Span, &Span, SimDuration)> {
    let mut beliefs: Vec<&Span> =
        spans.iter().filter(|span| span.kind == SpanKind::Belief).collect();
    beliefs.sort_by_key(|span| span.from);
    beliefs.iter().enumerate().find_map(|(index, later)| {
        let earlier = beliefs[..index].iter();
        let overlaps =
            |it: &&&Span| it.lane != later.lane && later.from < it.until.min(later.until);
        let earlier = earlier.copied().find(|it| overlaps(&it))?;
        Some((earlier, *later, earlier.until.min(later.until).since(later.from)))
    })
}

fn sentence_case(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `a 12.1 ms, b 9.0 ms`: in one unit.
pub(super) fn each_with_unit(unit: Unit, values: &[(String, f64)]) -> String {
    let scale = Scale::of(unit, &values.iter().map(|(_, value)| *value).collect::<Vec<_>>());
    let shown: Vec<String> = values.iter().map(|(_, value)| scale.show_with_unit(*value)).collect();
    // Where nothing can be told apart there are no ends to name.
    if let [first, .., _] = shown.as_slice()
        && shown.iter().all(|other| other == first)
    {
        let is_none = values.iter().all(|(_, value)| value.to_bits() == 0);
        return if is_none { "none with any of them".into() } else { format!("{first} with each") };
    }
    let show = |name: &str, value: f64| format!("{name} {}", scale.show_with_unit(value));
    each_or_ends(values, TITLE_ROOM, show)
}

fn profiles_of<'a>(group: &Group<'a>, metric: &Metric) -> Vec<&'a Profile> {
    let of_run = |run: &&'a Record| {
        let run: &'a Record = run;
        run.profiles.iter().find(|profile| profile.metric.name == metric.name)
    };
    group.runs.iter().filter_map(of_run).collect()
}

/// The finite number that a parameter's value is.
fn number(value: &str) -> Option<f64> {
    value.parse::<f64>().ok().filter(|value| value.is_finite())
}

/// The value of each rank over the runs: the least loaded node of each, the next, and so on.
fn by_rank(profiles: &[&Profile], is_relative: bool) -> Vec<Point> {
    let sorted = |profile: &&Profile| {
        let fair = profile.fair.filter(|_| is_relative).unwrap_or(1.0);
        let mut values: Vec<f64> = profile.bars.iter().map(|(_, value)| value / fair).collect();
        values.sort_by(f64::total_cmp);
        values
    };
    let runs: Vec<Vec<f64>> = profiles.iter().map(sorted).collect();
    // Runs of one group have the same nodes at the end; if not, the common top is comparable.
    let count = runs.iter().map(Vec::len).min().unwrap_or(0);
    let point = |rank: usize| {
        let values: Vec<f64> = runs.iter().map(|run| run[run.len() - count + rank]).collect();
        over(rank as f64 + 1.0, &values)
    };
    (0..count).filter_map(point).collect()
}

/// Mean, least and most of `values`, where they are finite.
fn over(x: f64, values: &[f64]) -> Option<Point> {
    let values: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let low = values.iter().copied().min_by(f64::total_cmp)?;
    let high = values.iter().copied().max_by(f64::total_cmp)?;
    Some(Point { x, y: values.iter().sum::<f64>() / values.len() as f64, low, high })
}

/// Quantiles at even steps of log10(1/(1-q)), so far as each run has values beyond them.
fn percentile_points(group: &Group<'_>, metric: &Metric, at: &str) -> Vec<Point> {
    const STEPS_PER_DECADE: f64 = 20.0;
    /// To p99.9999.
    const STEPS_MAX: u32 = 120;
    let is_meant = |s: &&Sample| s.metric.name == metric.name && s.at == at;
    let samples: Vec<_> =
        group.runs.iter().filter_map(|run| run.samples.iter().find(is_meant)).collect();
    let fewest = samples.iter().map(|sample| sample.distribution.count()).min().unwrap_or(0);
    let mut points = Vec::new();
    // The lower half says little of a latency and would take most of the height.
    for step in 6_u32.. {
        let beyond = libm::pow(10.0, -f64::from(step) / STEPS_PER_DECADE);
        if (fewest as f64) * beyond < 1.0 || STEPS_MAX < step {
            break;
        }
        let q = 1.0 - beyond;
        let values: Vec<f64> =
            samples.iter().map(|sample| sample.distribution.quantile(q) as f64).collect();
        points.extend(over(q, &values).filter(|point| 0.0 < point.y));
    }
    points
}

/// The curve over the runs, or over the one run of the seed `only`.
fn course_points(group: &Group<'_>, metric: &Metric, at: &str, only: Option<Seed>) -> Vec<Point> {
    let mut steps: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    let mut seconds = 0.0;
    for run in group.runs.iter().filter(|run| only.is_none_or(|seed| seed == run.seed)) {
        let is_meant = |c: &&Curve| c.metric.name == metric.name && c.at == at;
        let Some(curve) = run.curves.iter().find(is_meant) else { continue };
        seconds = curve.step.as_secs_f64();
        for (index, value) in curve.values.iter().enumerate() {
            steps.entry(index).or_default().push(*value);
        }
    }
    // A step is drawn in its middle: it is an average over all of it.
    let point = |(index, values): (usize, Vec<f64>)| over((index as f64 + 0.5) * seconds, &values);
    steps.into_iter().filter_map(point).collect()
}
