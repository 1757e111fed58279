//! Many variants side by side: one table of the numbers that tell them apart.

use super::{Composer, Number};
use crate::record::brief::{Beside, Brief, Over};
use crate::record::summary::{self, Group, Statistic, Summary};
use crate::record::{Metric, Record};
use crate::report::{Block, Cell, Column, Section, Table};

/// A row for each variant, parted by the points of the sweep: what is best is best at its point.
/// `None` where the brief has no such table, or nothing was measured.
pub fn side_by_side(brief: &Brief, records: &[Record], summaries: &[Summary]) -> Option<Section> {
    let groups = summary::groups(records);
    let all = Composer::of(brief, &groups, summaries);
    let columns: Vec<(&Beside, &str)> = brief
        .side_by_side
        .iter()
        .flat_map(|beside| all.places_of(beside).into_iter().map(move |at| (beside, at)))
        .collect();
    if columns.is_empty() {
        return None;
    }
    let mut points: Vec<&[(String, String)]> = Vec::new();
    for group in &all.groups {
        if !points.contains(&group.point) {
            points.push(group.point);
        }
    }
    let mut rows = Vec::new();
    for point in points {
        if !point.is_empty() {
            let label = summary::label("", point);
            let mut row = vec![Cell::Text(label.trim_start_matches(", ").to_owned())];
            row.resize(1 + columns.len(), Cell::Text(String::new()));
            rows.push(row);
        }
        rows.extend(all.at_point(point).rows(&columns));
    }
    let head = |(beside, at): &(&Beside, &str)| Column {
        title: if at.is_empty() { beside.title.into() } else { format!("{}, {at}", beside.title) },
        unit: Some(beside.of.metric.unit),
        definition: beside.of.metric.definition.to_owned(),
    };
    let subject = brief.subject.name();
    let table = Table {
        caption: format!("{subject} side by side over {}", all.seeds()),
        columns: std::iter::once(Column::of_words("variant"))
            .chain(columns.iter().map(head))
            .collect(),
        rows,
        is_detail: false,
    };
    Some(Section {
        heading: format!("{subject} side by side"),
        findings: Vec::new(),
        blocks: vec![Block::Table(table)],
    })
}

impl<'a> Composer<'a> {
    /// Where the columns of `beside` are taken; nothing where it was not measured.
    fn places_of(&self, beside: &Beside) -> Vec<&'a str> {
        let places = self.places(beside.of.metric, beside.of.statistic);
        match beside.over {
            Over::Start => places.into_iter().filter(|at| at.is_empty()).collect(),
            Over::Each => places,
            Over::Sum => places.first().map(|_| "").into_iter().collect(),
        }
    }

    /// What is known of one point.
    fn at_point(&self, point: &[(String, String)]) -> Self {
        let groups = self.groups.iter().filter(|group| group.point == point);
        let groups: Vec<&Group<'_>> = groups.copied().collect();
        let short = groups.iter().map(|group| self.short_name(group)).collect();
        Self { brief: self.brief, groups, summaries: self.summaries.clone(), short }
    }

    fn rows(&self, columns: &[(&Beside, &str)]) -> Vec<Vec<Cell>> {
        let name = |group: &&Group<'_>| vec![Cell::Text(group.variant.to_owned())];
        let mut rows: Vec<Vec<Cell>> = self.groups.iter().map(name).collect();
        for (beside, at) in columns {
            let number = match beside.over {
                Over::Start | Over::Each => self.number_at(beside.of, at),
                Over::Sum => self.sum_over(beside.of.metric),
            };
            for (row, cell) in rows.iter_mut().zip(number.cells()) {
                row.push(cell);
            }
        }
        rows
    }

    fn sum_over(&self, metric: &'static Metric) -> Number {
        let sum = |group: &&Group<'_>| {
            Summary::of_values(group, metric, Statistic::Value, "", group.totals(metric))
        };
        Number { at: String::new(), row: self.groups.iter().map(sum).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Subject;
    use crate::record::brief::Headline;
    use crate::record::summary::tests::{SKEW, measured};
    use crate::report::Mark;

    const BRIEF: Brief = Brief {
        subject: Subject::Rings,
        headlines: &[],
        findings: &[],
        pictures: &[],
        side_by_side: &[
            Beside { title: "each", of: Headline::value(&SKEW), over: Over::Each },
            Beside { title: "sum", of: Headline::value(&SKEW), over: Over::Sum },
        ],
    };

    fn table(records: &[Record]) -> Table {
        let section = side_by_side(&BRIEF, records, &summary::of(records)).unwrap();
        let Some(Block::Table(table)) = section.blocks.into_iter().next() else { panic!() };
        table
    }

    /// Two measurements of a variant at a point, the same under each of three seeds.
    fn runs(variant: &str, point: &str, values: [f64; 2]) -> Vec<Record> {
        let one = |seed| {
            let mut record = measured(variant, seed, "join", values[0]);
            record.measures.extend(measured(variant, seed, "leave", values[1]).measures);
            record.point = vec![("n".to_owned(), point.to_owned())];
            record
        };
        (1..=3).map(one).collect()
    }

    #[test]
    fn the_best_is_sought_among_those_of_the_same_point_and_ties_are_marked() {
        let mut records = Vec::new();
        for (point, factor) in [("10", 1.0), ("100", 0.1)] {
            for (variant, join) in [("a", 2.0), ("b", 1.0), ("c", 1.0)] {
                records.extend(runs(variant, point, [join * factor, factor]));
            }
        }
        let table = table(&records);
        let heads: Vec<&str> = table.columns.iter().map(|column| column.title.as_str()).collect();
        assert_eq!(heads, ["variant", "each, join", "each, leave", "sum"]);
        let shown: Vec<(String, Vec<Mark>)> = table
            .rows
            .iter()
            .map(|row| {
                let Cell::Text(name) = &row[0] else { panic!("{row:?}") };
                let marks = row[1..].iter().filter_map(|cell| match cell {
                    Cell::Estimate(_, mark) => Some(*mark),
                    Cell::Text(_) | Cell::Outcome(..) | Cell::Empty => None,
                });
                (name.clone(), marks.collect())
            })
            .collect();
        let (none, tied) = (Mark::None, Mark::Tied);
        let at_each_point = [
            ("a".to_owned(), vec![none, none, none]),
            ("b".to_owned(), vec![tied, none, tied]),
            ("c".to_owned(), vec![tied, none, tied]),
        ];
        assert_eq!(shown[0], ("n=10".to_owned(), Vec::new()));
        assert_eq!(shown[1..4], at_each_point);
        assert_eq!(shown[4], ("n=100".to_owned(), Vec::new()));
        assert_eq!(shown[5..], at_each_point);
        let Cell::Estimate(sum, _) = table.rows[1][3] else { panic!("{table:?}") };
        assert!((sum.mean - 3.0).abs() < 1e-12);
    }

    #[test]
    fn where_nothing_was_measured_there_is_no_table() {
        assert_eq!(side_by_side(&BRIEF, &[], &[]), None);
        let records = runs("a", "1", [1.0, 2.0]);
        let without = Brief { side_by_side: &[], ..BRIEF };
        assert_eq!(side_by_side(&without, &records, &summary::of(&records)), None);
    }
}
