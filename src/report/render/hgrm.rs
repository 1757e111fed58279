//! Latencies by percentile in the text form of HdrHistogram (`.hgrm`), which its plotter and its
//! relatives read: `AbstractHistogram.outputPercentileDistribution`, HdrHistogram 2.1.

use std::fmt::Write as _;

use super::Artefact;
use super::text::clean;
use crate::record::summary::Group;
use crate::record::{Distribution, Metric, Unit};

/// Reported steps for each halving of what lies beyond; the default of HdrHistogram's own tools.
const STEPS_PER_HALF: u32 = 5;

/// `hgrm/*.hgrm`: a file for each latency of each group, all seeds merged, in milliseconds.
pub(super) fn files(groups: &[Group<'_>]) -> Vec<Artefact> {
    let mut files: Vec<Artefact> = Vec::new();
    for (title, stem, text) in all(groups) {
        let mut path = format!("hgrm/{stem}.hgrm");
        let mut count = 1;
        // Two labels may look the same without their signs.
        while files.iter().any(|file| file.path == path) {
            count += 1;
            path = format!("hgrm/{stem}-{count}.hgrm");
        }
        files.push(Artefact { path, bytes: format!("{title}{text}").into_bytes() });
    }
    files
}

/// All of them in one text, each under a line that says what it is.
pub(super) fn together(groups: &[Group<'_>]) -> String {
    all(groups).into_iter().map(|(title, _, text)| format!("{title}{text}\n")).collect()
}

/// A title, a stem for a file's name, and the table.
fn all(groups: &[Group<'_>]) -> Vec<(String, String, String)> {
    let mut tables = Vec::new();
    for group in groups {
        let mut seen: Vec<(&Metric, &str)> = Vec::new();
        for sample in group.runs.iter().flat_map(|run| &run.samples) {
            let key = (sample.metric, sample.at.as_str());
            if sample.metric.unit != Unit::Nanoseconds || seen.contains(&key) {
                continue;
            }
            seen.push(key);
            let Some(merged) = group.merged(sample.metric, &sample.at) else { continue };
            let subject = group.subject.name();
            let (label, metric, at) = (group.label(), sample.metric.name, &sample.at);
            let at = if at.is_empty() { String::new() } else { format!(" at {at}") };
            let title = clean(&format!("#[{subject} {label}: {metric}{at}, in milliseconds]"));
            let stem = slug(&format!("{subject} {label} {metric}{at}"));
            tables.push((format!("{title}\n"), stem, table(&merged)));
        }
    }
    tables
}

/// Small letters, digits and single hyphens.
fn slug(text: &str) -> String {
    const LENGTH_MAX: usize = 80;
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.truncate(LENGTH_MAX);
    slug.trim_end_matches('-').to_owned()
}

fn table(distribution: &Distribution) -> String {
    let ms = |ns: f64| ns / 1e6;
    let mut text = format!(
        "{:>12} {:>14} {:>10} {:>14}\n\n",
        "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
    );
    for step in distribution.percentiles(STEPS_PER_HALF) {
        let value = ms(step.value as f64);
        let _ = write!(text, "{value:12.3} {:2.12} {:10}", step.quantile, step.count_to);
        let _ = if step.quantile < 1.0 {
            writeln!(text, " {:14.2}", 1.0 / (1.0 - step.quantile))
        } else {
            writeln!(text)
        };
    }
    let (mean, deviation) = (ms(distribution.mean()), ms(distribution.standard_deviation()));
    let (max, count) = (ms(distribution.max() as f64), distribution.count());
    let _ = writeln!(text, "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]");
    let _ = writeln!(text, "#[Max     = {max:12.3}, Total count    = {count:12}]");
    let _ = writeln!(text, "#[Buckets = {:12}, SubBuckets     = {:12}]", 54, 2048);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_rises_to_the_maximum_and_ends_with_its_footer() {
        let mut distribution = Distribution::new();
        (1..=10_000_u64).for_each(|ms| distribution.add(ms * 1_000_000));
        let text = table(&distribution);
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .take_while(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|cell| cell.parse().unwrap()).collect())
            .collect();
        assert!(rows.is_sorted_by(|a, b| a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2]));
        let last = rows.last().unwrap();
        assert_eq!(
            (last.len(), last[1].to_string(), last[2].to_string()),
            (3, "1".into(), "10000".into())
        );
        let half = rows.iter().find(|row| 0.5 <= row[1]).unwrap();
        assert!((half[0] / 5_000.0 - 1.0).abs() < 0.001, "{half:?}");
        let footer: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        assert!(footer[0].starts_with("#[Mean    =     5000"), "{footer:?}");
        assert!(footer[1].ends_with("Total count    =        10000]"), "{footer:?}");
    }

    #[test]
    fn names_of_files_are_plain() {
        assert_eq!(slug("locks Redlock{ttl=1s}, x=\"ü/..\": wait"), "locks-redlock-ttl-1s-x-wait");
    }
}
