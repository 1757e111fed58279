//! The matrix of queues.

use std::collections::{BTreeMap, BTreeSet};

use stormglass::queues::matrix::{FAULTS, RULES, VARIANTS, cells};

use super::Score;

/// Computes the cells of a `queues-acceptance` file, and what its rules say to the message.
pub(crate) fn replay(text: &str, wanted: &str, score: &mut Score) {
    let mut rows = csv::ReaderBuilder::new().from_reader(text.as_bytes());
    let head = rows.headers().expect("a vectors file has a head").clone();
    let mut rules: BTreeSet<String> = BTreeSet::new();
    for row in rows.records() {
        let row = row.expect("a vectors file is CSV");
        let fields: BTreeMap<&str, &str> = head.iter().zip(row.iter()).collect();
        let (variant, fault) = (fields["variant"], fields["fault"]);
        let id = format!("queues:{variant}/{fault}");
        let condition = fields["condition"];
        if !id.contains(wanted) {
            continue;
        }
        rules.insert(fields.get("rule_id").copied().unwrap_or_default().to_owned());
        let Some(variant) = VARIANTS.iter().find(|row| row.id == variant) else {
            score.skip(&id, "no such variant yet");
            continue;
        };
        let Some(fault) = FAULTS.iter().find(|row| row.id == fault) else {
            score.skip(&id, "no such fault yet");
            continue;
        };
        let ours = cells(variant, fault);
        let Some(cell) = ours.iter().find(|cell| cell.condition_name() == condition) else {
            score.skip(&id, &format!("no condition `{condition}`"));
            continue;
        };
        let computed = cell.compute();
        let computed = computed.unwrap_or_else(|problems| panic!("{id}: {problems:?}"));
        let (codes, expected) = (&computed.codes, fields["outcome"]);
        let agrees = codes.agree_with(expected);
        score.note(&id, condition, &codes.to_string(), expected, agrees);
        if !wanted.is_empty() {
            println!("{id} {condition}: {codes} ({expected}), {}", computed.counts.join(", "));
            if std::env::var_os("SG_HISTORY").is_some() {
                for heard in computed.outcome.iter().flat_map(|outcome| outcome.judge.history()) {
                    println!("  {:>12} {} {:?}", heard.at.as_ns() / 1000, heard.node.0, heard.told);
                }
            }
            for finding in computed.outcome.iter().flat_map(|outcome| &outcome.record.findings) {
                println!("    {finding}");
            }
        }
    }
    for rule in RULES.iter().filter(|rule| rules.contains(rule.id)) {
        let found = rule.compute();
        let found = found.unwrap_or_else(|problems| panic!("{}: {problems:?}", rule.id));
        let agrees = found == rule.expected;
        score.note(&format!("queues:{}", rule.id), rule.what, &found, rule.expected, agrees);
    }
}
