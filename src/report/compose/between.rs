//! Two results of the same variants, seed by seed: what a change of the code or the scenario did.

use crate::record::Better;
use crate::record::brief::Brief;
use crate::record::statistics;
use crate::record::summary::Summary;
use crate::report::{Block, Cell, Column, Mark, Section, Table};

use super::against::{Compared, SENTENCES_MAX};

/// The numbers of `brief` that both results have: those of `after`, called `names.1`, against those
/// of `before`, called `names.0`. `None` where they have none in common.
pub fn between(
    brief: &Brief,
    names: (&str, &str),
    before: &[Summary],
    after: &[Summary],
) -> Option<Section> {
    let of_before = |now: &Summary| {
        before.iter().find(|then| {
            then.subject == now.subject
                && then.metric.name == now.metric.name
                && then.statistic == now.statistic
                && then.at == now.at
                && then.variant == now.variant
                && then.point == now.point
        })
    };
    let mut tables: Vec<(&Summary, Vec<(&Summary, Compared<'_>)>)> = Vec::new();
    for headline in brief.headlines.iter().filter(|h| h.metric.better != Better::Neither) {
        let is_meant = |s: &&Summary| {
            s.subject == brief.subject
                && s.metric.name == headline.metric.name
                && s.statistic == headline.statistic
        };
        for now in after.iter().filter(is_meant) {
            let Some(then) = of_before(now) else { continue };
            let row = (then, Compared::of(now, then));
            let is_same = |known: &&mut (&Summary, Vec<_>)| {
                known.0.metric.name == now.metric.name
                    && known.0.statistic == now.statistic
                    && known.0.at == now.at
            };
            match tables.iter_mut().find(is_same) {
                Some((_, rows)) => rows.push(row),
                None => tables.push((now, vec![row])),
            }
        }
    }
    let ps: Vec<f64> = tables.iter().flat_map(|(_, rows)| rows).map(|(_, c)| c.p()).collect();
    if ps.is_empty() {
        return None;
    }
    let among = ps.len();
    let mut adjusted = statistics::holm(&ps).into_iter();
    let column =
        |title: &str, unit| Column { title: title.to_owned(), unit, definition: String::new() };
    let mut findings = Vec::new();
    let mut blocks = Vec::new();
    for (first, rows) in &tables {
        let title = super::against::title(first);
        let rows: Vec<Vec<Cell>> = rows
            .iter()
            .zip(&mut adjusted)
            .map(|((then, compared), p)| {
                let words = format!("{}, {}", compared.in_words(), compared.verdict(p));
                if compared.is_seen(p) {
                    let said = compared.said(names.1, names.0, p, among);
                    findings.push(format!("{title} of {}: {said}", compared.of.label()));
                }
                let mean = |summary: &Summary| Cell::Estimate(summary.estimate, Mark::None);
                vec![
                    Cell::Text(compared.of.label()),
                    mean(then),
                    mean(compared.of),
                    Cell::Text(words),
                ]
            })
            .collect();
        blocks.push(Block::Table(Table {
            caption: format!("{title}: {} against {} under the same seeds", names.1, names.0),
            columns: vec![
                column(&title, None),
                column(names.0, Some(first.metric.unit)),
                column(names.1, Some(first.metric.unit)),
                column("seed by seed", None),
            ],
            rows,
            is_detail: false,
        }));
    }
    let (seen, (before, after)) = (findings.len(), names);
    if SENTENCES_MAX < seen {
        findings.truncate(SENTENCES_MAX);
        findings.push(format!("and {} more, in the tables", seen - SENTENCES_MAX));
    }
    let level = match (seen, among - seen) {
        (_, 0) => None,
        (0, all) => Some(super::counted(all, "number")),
        (_, 1) => Some("the other number".to_owned()),
        (_, others) => Some(format!("the other {others} numbers")),
    };
    if let Some(level) = level {
        findings.push(format!("no difference was seen between {after} and {before} in {level}"));
    }
    Some(Section { heading: brief.subject.name().to_owned(), findings, blocks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::brief::Headline;
    use crate::record::summary::{self, tests::measured};
    use crate::record::{Record, Subject};

    const BRIEF: Brief = Brief {
        subject: Subject::Rings,
        headlines: &[Headline::value(&summary::tests::SKEW)],
        findings: &[],
        pictures: &[],
        side_by_side: &[],
    };

    fn runs(variant: &str, values: &[f64]) -> Vec<Record> {
        (1..).zip(values).map(|(seed, &value)| measured(variant, seed, "", value)).collect()
    }

    #[test]
    fn each_variant_is_held_against_itself_and_what_is_seen_is_a_sentence() {
        let mut before = runs("a", &[1.0, 2.0, 3.0]);
        before.extend(runs("b", &[1.0, 2.0, 3.0]));
        before.extend(runs("gone", &[1.0]));
        let mut after = runs("a", &[2.0, 4.0, 6.0]);
        after.extend(runs("b", &[1.0, 2.0, 3.0]));
        let section =
            between(&BRIEF, ("old", "new"), &summary::of(&before), &summary::of(&after)).unwrap();
        assert_eq!(
            section.findings,
            [
                "load skew of a: new is 2.00 times old (3 seeds), worse",
                "no difference was seen between new and old in the other number",
            ]
        );
        let Block::Table(table) = &section.blocks[0] else { panic!("{section:?}") };
        assert_eq!(table.rows.len(), 2);
        assert_eq!(table.rows[1][3], Cell::Text("1.00, the same".into()));
    }

    #[test]
    fn where_nothing_is_seen_it_says_so_and_nothing_in_common_is_nothing() {
        let (a, b) = (runs("a", &[1.0, 2.0, 3.0]), runs("b", &[3.0]));
        let same = between(&BRIEF, ("x", "y"), &summary::of(&a), &summary::of(&a)).unwrap();
        assert_eq!(same.findings, ["no difference was seen between y and x in 1 number"]);
        assert_eq!(between(&BRIEF, ("x", "y"), &summary::of(&a), &summary::of(&b)), None);
    }
}
