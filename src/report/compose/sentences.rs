//! Sentences formed from numbers.

use super::{Composer, NAMED_MAX, counted, interval, more_than, title_of};
use crate::record::brief::{Finding, Headline};
use crate::record::statistics::{self, Estimate};
use crate::record::summary::{self, Summary, common};
use crate::record::{Better, Metric, Unit};
use crate::report::quantity::{Scale, show, show_times};

impl Composer<'_> {
    pub(super) fn sentence(&self, finding: Finding) -> Option<String> {
        match finding {
            Finding::Best(headline) => self.who_is_best(headline),
            Finding::Times { of, to, verb, reference } => {
                self.how_many_times(of, to, verb, reference)
            }
            Finding::Occurs { count, what } => self.how_often(count, what),
        }
    }

    fn who_is_best(&self, headline: Headline) -> Option<String> {
        let number = self.one_number(headline)?;
        let row: Vec<&Summary> = number.row.iter().flatten().collect();
        let title = title_of(headline, &number.at);
        let estimates: Vec<Estimate> = row.iter().map(|summary| summary.estimate).collect();
        let scale = Scale::of_estimates(headline.metric.unit, &estimates);
        let say = |s: &Summary| scale.show_with_unit(s.estimate.mean);
        let seeds = self.seeds();
        // One seed ranks nothing, so its numbers are only told.
        let standings = summary::rank(&row).filter(|_| 1 < self.seed_count());
        let Some(standings) = standings else {
            let each: Vec<String> = row
                .iter()
                .take(NAMED_MAX)
                .map(|s| format!("{} {}", self.name_of(&s.variant, &s.point), say(s)))
                .collect();
            return (!each.is_empty()).then(|| format!("{title}: {} ({seeds})", each.join(", ")));
        };
        let of_place = |first: bool| {
            let all = row.iter().zip(&standings);
            all.filter(move |(_, s)| (s.place == 1) == first).map(|(s, _)| *s)
        };
        let best: Vec<&Summary> = of_place(true).collect();
        let leader = best.first()?;
        let names: Vec<String> =
            best.iter().take(NAMED_MAX).map(|s| self.name_of(&s.variant, &s.point)).collect();
        let names = match more_than(NAMED_MAX, best.len()) {
            more if more.is_empty() => listed(&names),
            more => format!("{}{more}", names.join(", ")),
        };
        let farthest = of_place(false).max_by(|a, b| {
            let distance = |s: &Summary| (s.estimate.mean - leader.estimate.mean).abs();
            distance(a).total_cmp(&distance(b))
        });
        let Some(other) = farthest else {
            let ratio = best[1].ratio_to(leader).map(|ratio| ratio.estimate);
            let shown = ratio.map_or(format!(" ({seeds})"), |ratio| {
                format!(": ratio {}{}", show_times(ratio.mean), interval(&ratio, &seeds))
            });
            return Some(format!("{title}: no difference was seen between {names}{shown}"));
        };
        let kind = if headline.metric.better == Better::Higher { "highest" } else { "lowest" };
        let best_are = match best.len() {
            1 => format!("{names} has the {kind} {title}, {}", say(leader)),
            _ => {
                format!("{names} have the {kind} {title}, {} with no difference seen", say(leader))
            }
        };
        let compared = match other.ratio_to(leader).map(|ratio| ratio.estimate) {
            Some(ratio) => {
                format!("{} times as much{}", show_times(ratio.mean), interval(&ratio, &seeds))
            }
            None => format!("{} ({seeds})", say(other)),
        };
        Some(format!("{best_are}; {} has {compared}", self.name_of(&other.variant, &other.point)))
    }

    fn how_many_times(
        &self,
        of: &Metric,
        to: &Metric,
        verb: &str,
        reference: &str,
    ) -> Option<String> {
        let mut times: Vec<(String, Estimate)> = Vec::new();
        for group in &self.groups {
            let (done, least) = common(&group.totals(of), &group.totals(to));
            if let Some(ratio) = statistics::ratio(&done, &least) {
                times.push((self.short_name(group), ratio.estimate));
            }
        }
        let more = if NAMED_MAX < times.len() {
            // The ends say what there is to choose from.
            times.sort_by(|a, b| a.1.mean.total_cmp(&b.1.mean));
            let between = times.drain(1..times.len() - 1).count();
            format!("; {between} others lie between")
        } else {
            String::new()
        };
        let say = |(index, (label, ratio)): (usize, &(String, Estimate))| {
            let than = if index == 0 { reference } else { "it" };
            let spread = interval(ratio, "");
            format!("{label} {verb} {}{spread} times {than}", show_times(ratio.mean))
        };
        let parts: Vec<String> = times.iter().enumerate().map(say).collect();
        (!parts.is_empty()).then(|| format!("{}{more} ({})", parts.join("; "), self.seeds()))
    }

    /// "lost update: token in 9 of 10 seeds (77 in all); none with redlock in 10 schedules".
    fn how_often(&self, count: &Metric, what: &str) -> Option<String> {
        let (mut hits, mut misses, mut schedules) = (Vec::new(), Vec::new(), 0);
        for group in &self.groups {
            let totals = group.totals(count);
            if totals.is_empty() {
                continue;
            }
            schedules = totals.len();
            let hit = totals.iter().filter(|(_, total)| 0.0 < *total).count();
            if hit == 0 {
                misses.push(self.short_name(group));
                continue;
            }
            let all: f64 = totals.iter().map(|(_, total)| total).sum();
            let (label, all) = (self.short_name(group), show(Unit::Count, all));
            let seeds = counted(schedules, "seed");
            hits.push(format!("{label} in {hit} of {seeds} ({all} in all)"));
        }
        let schedules = counted(schedules, "schedule");
        match (hits.len(), misses.len()) {
            (0, 0) => None,
            (0, 1) => Some(format!("no {what} with {} in {schedules}", misses[0])),
            (0, _) => Some(format!("no {what} with any of them in {schedules} each")),
            (hit_count, miss_count) => {
                let more = more_than(NAMED_MAX, hit_count);
                hits.truncate(NAMED_MAX);
                misses.truncate(NAMED_MAX);
                let without = match miss_count {
                    0 => String::new(),
                    _ => format!(
                        "; none with {}{} in {schedules}",
                        listed(&misses),
                        more_than(NAMED_MAX, miss_count)
                    ),
                };
                Some(format!("{what}: {}{more}{without}", hits.join("; ")))
            }
        }
    }
}

fn listed(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
