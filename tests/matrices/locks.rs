//! The matrix of locks.

use std::collections::BTreeMap;

use stormglass::locks::matrix::{Base, Cell, FAULTS, Mode, VARIANTS, cells};

use super::Score;

/// Computes the cells of a `locks-matrix` file.
pub(crate) fn replay(text: &str, wanted: &str, score: &mut Score) {
    let mut rows = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let head = rows.headers().expect("a vectors file has a head").clone();
    for row in rows.records() {
        let row = row.expect("a vectors file is CSV");
        let fields: BTreeMap<&str, &str> = head.iter().zip(row.iter()).collect();
        let (variant, fault) = (fields["variant"], fields["fault"]);
        let id = format!("locks:{variant}/{fault}");
        if !id.contains(wanted) {
            continue;
        }
        let found = VARIANTS.iter().find(|row| row.id == variant);
        let Some(variant) = found else {
            score.skip(&id, "no such variant yet");
            continue;
        };
        let Some(fault) = FAULTS.iter().find(|row| row.id == fault) else {
            score.skip(&id, "no such fault yet");
            continue;
        };
        let ours = cells(variant, fault);
        for mode in Mode::ALL {
            let column = mode.column();
            let expected = fields[column];
            let cell = ours.iter().find(|cell| cell.mode == mode);
            match cell {
                Some(cell) if !expected.is_empty() => compute(&id, cell, expected, wanted, score),
                Some(_) => score.note(&id, column, "a verdict", "none", false),
                None if expected.is_empty() => (),
                None => score.note(&id, column, "none", expected, false),
            }
        }
    }
}

fn compute(id: &str, cell: &Cell, expected: &str, wanted: &str, score: &mut Score) {
    let computed = cell.compute(&Base::default());
    let computed = computed.unwrap_or_else(|problems| panic!("{id}: {problems:?}"));
    let letters = computed.letters;
    let agrees = letters.agrees_with(expected);
    let column = cell.mode.column();
    score.note(id, column, &letters.to_string(), expected, agrees);
    if !wanted.is_empty() {
        let first = computed.first_other_grant_ms.map(|ms| format!("{ms:.0}")).unwrap_or_default();
        println!("{id} {column}: {letters} ({expected}), first other grant {first}");
        for finding in &computed.findings {
            println!("    {}", finding.text);
        }
    }
}
