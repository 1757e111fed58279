//! Pictures, as data: which lines and bars, and the finding that stands above them.

use std::collections::BTreeMap;

use super::{Composer, NAMED_MAX, each_or_ends};
use crate::kernel::rng::Seed;
use crate::record::brief::{Finding, Headline, Picture};
use crate::record::statistics::{self, Estimate};
use crate::record::summary::{Group, Statistic, common};
use crate::record::{Better, Curve, FaultSpan, Metric, Profile, Record, Sample, Unit};
use crate::report::quantity::{Scale, show_times};
use crate::report::{BarSeries, Chart, Horizontal, Plot, Point, Series};

/// A chart has so many colours that can be told apart.
const DRAWN_MAX: usize = 6;
/// A title names so many variants, or else the two at the ends.
const TITLE_ROOM: usize = 3;

impl<'a> Composer<'a> {
    pub(super) fn charts(&self, picture: Picture) -> Vec<Chart> {
        match picture {
            Picture::Load(metric) => self.load_chart(metric).into_iter().collect(),
            Picture::Floor { of, floor } => self.floor_chart(of, floor).into_iter().collect(),
            Picture::Percentiles(metric) => self.percentile_charts(metric),
            Picture::Course(metric) => self.course_charts(metric),
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
        let places = self.places(headline.metric, headline.statistic);
        let chart = |(index, at): (usize, &&str)| self.swept_chart(headline, &parameter, index, at);
        // Later places repeat the first one's shape; the tables have them.
        places.iter().enumerate().take(1).filter_map(chart).collect()
    }

    /// The name of the parameter that varies, where it is one, and all its values are numbers.
    fn varied(&self) -> Option<String> {
        let mut names: Vec<&str> = Vec::new();
        for (name, value) in self.groups.iter().flat_map(|group| group.point) {
            value.parse::<f64>().ok().filter(|value| value.is_finite())?;
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        match names.as_slice() {
            [name] => Some((*name).to_owned()),
            _ => None,
        }
    }

    fn swept_chart(
        &self,
        headline: Headline,
        parameter: &str,
        index: usize,
        at: &str,
    ) -> Option<Chart> {
        let metric = headline.metric;
        let mut series: Vec<Series> = Vec::new();
        for (group, summary) in self.groups.iter().zip(self.row(headline, at)) {
            let (Some(summary), Some((_, value))) = (summary, group.point.first()) else {
                continue;
            };
            let estimate = summary.estimate;
            let x: f64 = value.parse().ok()?;
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
                "{} over {parameter}; mean of {}, band: 95 % interval",
                metric.title,
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
                best = Some((group.label(), y));
            }
            let points = vec![Point { x, y, low, high }];
            series.push(Series { name: group.label(), style: index, points });
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
            fullest.push((group.label(), last.y));
            series.push(Series { name: group.label(), style, points });
        }
        if series.is_empty() {
            return None;
        }
        let title = if is_relative {
            let each =
                each_or_ends(&fullest, TITLE_ROOM, |name, y| format!("{name} {}", show_times(y)));
            format!("Most loaded node: {each} times the fair share")
        } else {
            format!("Most loaded node: {}", each_with_unit(metric.unit, &fullest))
        };
        Some(Chart {
            name: self.name(metric, 0),
            description: format!("{}; nodes sorted by load. {title}.", metric.title),
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
                name: group.label(),
                style,
                bars: places.iter().map(|at| find(of, at)).collect(),
            });
            floors.push(places.iter().map(|at| find(floor, at).map(|e| e.mean)).collect());
            let (done, least) = common(&group.totals(of), &group.totals(floor));
            if let Some(ratio) = statistics::ratio(&done, &least) {
                times.push((group.label(), ratio.estimate.mean));
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
        let mut tails: Vec<(String, f64)> = Vec::new();
        let p99 = self.row(Headline::of(metric, Statistic::P99), at);
        for (style, group) in drawn {
            let points = percentile_points(group, metric, at);
            if points.is_empty() {
                continue;
            }
            if let Some(Some(summary)) = p99.get(style) {
                tails.push((group.label(), summary.estimate.mean));
            }
            series.push(Series { name: group.label(), style, points });
        }
        if series.is_empty() {
            return None;
        }
        let place = if at.is_empty() { String::new() } else { format!(", {at}") };
        let title = if tails.is_empty() {
            format!("{}{place}", metric.title)
        } else {
            format!("p99 of {}{place}: {}", metric.title, each_with_unit(metric.unit, &tails))
        };
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
        let mut under: Vec<(String, f64)> = Vec::new();
        let mut means: Vec<(String, f64)> = Vec::new();
        for (style, group) in drawn {
            let points = course_points(group, metric, at, only);
            if points.is_empty() {
                continue;
            }
            let (during, outside) = means_under(&points, faults);
            match (during, outside) {
                (Some(during), Some(outside)) if 0.0 < outside => {
                    under.push((group.label(), during / outside));
                }
                (_, Some(outside)) => means.push((group.label(), outside)),
                (_, None) => (),
            }
            series.push(Series { name: group.label(), style, points });
        }
        if series.is_empty() {
            return None;
        }
        let place = if at.is_empty() { String::new() } else { format!(", {at}") };
        let title = if under.is_empty() {
            format!(
                "{}{place}: {}",
                sentence_case(metric.title),
                each_with_unit(metric.unit, &means)
            )
        } else {
            format!(
                "{}{place} under faults, as a share of that without: {}",
                sentence_case(metric.title),
                each_with_unit(Unit::Share, &under)
            )
        };
        let over = match only {
            Some(seed) => format!("seed {}", seed.0),
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

fn sentence_case(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// `a 12.1 ms, b 9.0 ms`: in one unit.
fn each_with_unit(unit: Unit, values: &[(String, f64)]) -> String {
    let scale = Scale::of(unit, &values.iter().map(|(_, value)| *value).collect::<Vec<_>>());
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

/// The means of the steps inside and outside the faults' spans.
fn means_under(points: &[Point], faults: &[FaultSpan]) -> (Option<f64>, Option<f64>) {
    let is_under = |point: &&Point| {
        faults.iter().any(|fault| {
            fault.from.as_secs_f64() <= point.x && point.x <= fault.until.as_secs_f64()
        })
    };
    let (under, outside): (Vec<&Point>, Vec<&Point>) = points.iter().partition(is_under);
    let mean = |points: Vec<&Point>| {
        (!points.is_empty())
            .then(|| points.iter().map(|point| point.y).sum::<f64>() / points.len() as f64)
    };
    (mean(under), mean(outside))
}
