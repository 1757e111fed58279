//! The report as Markdown (GitHub's dialect, which has tables): for reviews, issues and the step
//! summary of a CI run.

use std::fmt::Write as _;

use super::text::clean;
use super::{Artefact, LEGEND, lay_out, reasons, word};
use crate::report::kept::Kept;
use crate::report::{Block, Chart, Report, Section, Sheet, Table};

/// `report.md`.
pub(super) fn report(report: &Report) -> Artefact {
    Artefact { path: "report.md".into(), bytes: markdown(report).into_bytes() }
}

/// The report as Markdown.
pub(super) fn markdown(report: &Report) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# {}\n", escape(&report.title));
    let _ = writeln!(out, "**{}**\n", escape(&report.bottom_line.text));
    if !report.question.is_empty() {
        let _ = writeln!(out, "{}\n", escape(&report.question));
    }
    for note in &report.notes {
        let _ = writeln!(out, "> Note: {}\n", escape(note));
    }
    verdicts(&mut out, report);
    if let Some(kept) = &report.kept {
        baseline(&mut out, kept);
    }
    for part in &report.sections {
        section(&mut out, part);
    }
    if !report.sections.is_empty() {
        let _ = writeln!(out, "{}\n", escape(LEGEND));
    }
    provenance(&mut out, report);
    out
}

/// The sheet as Markdown.
pub(super) fn sheet(sheet: &Sheet) -> String {
    let mut out = String::new();
    let _ = writeln!(out, "# {}\n", escape(&sheet.title));
    for words in &sheet.words {
        let _ = writeln!(out, "{}\n", escape(words));
    }
    for part in &sheet.sections {
        section(&mut out, part);
    }
    repeat(&mut out, &sheet.command);
    out
}

fn verdicts(out: &mut String, report: &Report) {
    if report.verdicts.is_empty() {
        return;
    }
    out.push_str(
        "## Claims\n\n| outcome | claim | evidence | why this bound |\n|---|---|---|---|\n",
    );
    for verdict in &report.verdicts {
        let evidence: Vec<String> = reasons(verdict).iter().map(|line| escape(line)).collect();
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} |",
            word(verdict),
            escape(&verdict.claim),
            evidence.join("<br>"),
            escape(&verdict.why)
        );
    }
    out.push('\n');
}

fn baseline(out: &mut String, kept: &Kept) {
    let _ = writeln!(out, "## Baseline\n\n{}\n", escape(&kept.sentence));
    if kept.changes.is_empty() {
        return;
    }
    out.push_str("| outcome | figure | what became of it |\n|---|---|---|\n");
    for change in &kept.changes {
        let (word, figure) = (change.outcome.word(), escape(&change.figure));
        let _ = writeln!(out, "| {word} | {figure} | {} |", escape(&change.text));
    }
    out.push('\n');
}

fn section(out: &mut String, section: &Section) {
    let _ = writeln!(out, "## {}\n", escape(&section.heading));
    for finding in &section.findings {
        let _ = writeln!(out, "- {}", escape(finding));
    }
    if !section.findings.is_empty() {
        out.push('\n');
    }
    for block in &section.blocks {
        match block {
            Block::Table(part) => table(out, part),
            Block::Chart(part) => chart(out, part),
            Block::Lines { caption, lines } => {
                let _ = writeln!(out, "{}:\n", escape(caption));
                for line in lines {
                    let _ = writeln!(out, "- {}", escape(line));
                }
                out.push('\n');
            }
        }
    }
}

fn chart(out: &mut String, chart: &Chart) {
    let (title, name) = (escape(&chart.title), &chart.name);
    let subtitle = escape(&chart.subtitle);
    let numbers = format!("[numbers](charts/{name}.csv)");
    let _ = if cfg!(feature = "charts") {
        writeln!(out, "![{title}](charts/{name}.svg)\n\n{subtitle} ({numbers})\n")
    } else {
        writeln!(out, "{title}: {subtitle} ({numbers})\n")
    };
}

fn table(out: &mut String, table: &Table) {
    let grid = lay_out(table);
    let _ = writeln!(out, "{}:\n", escape(&table.caption));
    let head: Vec<String> = grid.head.iter().map(|head| escape(head)).collect();
    let _ = writeln!(out, "| {} |", head.join(" | "));
    let rule: Vec<&str> = (table.columns.iter())
        .map(|column| if column.unit.is_some() { "---:" } else { "---" })
        .collect();
    let _ = writeln!(out, "|{}|", rule.join("|"));
    for row in &grid.rows {
        let cells: Vec<String> = row
            .iter()
            .map(|cell| {
                let parts = [cell.text.as_str(), &cell.spread, cell.mark];
                let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
                escape(&parts.join(" "))
            })
            .collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    out.push('\n');
}

fn repeat(out: &mut String, command: &str) {
    let command = clean(command);
    // A fence longer than any run of backticks within cannot be closed from within.
    let longest = command.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    let _ = writeln!(out, "## How to repeat this\n\n{fence}sh\n{command}\n{fence}");
}

fn provenance(out: &mut String, report: &Report) {
    let from = &report.provenance;
    repeat(out, &from.command);
    out.push('\n');
    let _ = writeln!(out, "- stormglass {}, semantics {}", escape(&from.version), from.semantics);
    let _ = writeln!(
        out,
        "- scenario {}, SHA-256 {}",
        escape(&from.scenario),
        escape(&from.scenario_sha256)
    );
    let _ = writeln!(out, "- seeds {}", escape(&from.seeds));
    for alteration in &from.alterations {
        let _ = writeln!(out, "- altered: {}", escape(alteration));
    }
}

/// `text` in one line that Markdown shows as it is, in a table or out of it.
pub(super) fn escape(text: &str) -> String {
    let cleaned = clean(text);
    let chars: Vec<char> = cleaned.chars().collect();
    let is_word = |index: Option<usize>| {
        index.and_then(|index| chars.get(index)).is_some_and(|c| c.is_alphanumeric())
    };
    let mut escaped = String::with_capacity(cleaned.len());
    for (index, &c) in chars.iter().enumerate() {
        match c {
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '&' => escaped.push_str("&amp;"),
            // An underscore within a word is one; so `virtual_nodes` stays readable.
            '_' if is_word(index.checked_sub(1)) && is_word(Some(index + 1)) => escaped.push('_'),
            '\\' | '`' | '*' | '_' | '|' | '[' | ']' | '~' | '$' => {
                escaped.push('\\');
                escaped.push(c);
            }
            // At the beginning of a line these would make a heading, a list or a rule.
            '#' | '+' | '-' | '=' if index == 0 => {
                escaped.push('\\');
                escaped.push(c);
            }
            '.' | ')'
                if 0 < index
                    && chars[..index].iter().all(char::is_ascii_digit)
                    && chars.get(index + 1).is_none_or(|c| *c == ' ') =>
            {
                escaped.push('\\');
                escaped.push(c);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[cfg(feature = "charts")]
    #[test]
    fn the_report_as_markdown() {
        let report = sample::report_of(&sample::records(12), sample::verdicts());
        insta::assert_snapshot!(markdown(&report));
    }

    #[test]
    fn markup_in_names_is_shown_and_not_obeyed() {
        for (text, shown) in [
            ("ring{virtual_nodes=100}", "ring{virtual_nodes=100}"),
            ("a|b", "a\\|b"),
            ("`rm`", "\\`rm\\`"),
            ("<script>&", "&lt;script&gt;&amp;"),
            ("_x_ *y*", "\\_x\\_ \\*y\\*"),
            ("# no heading\n# nor this", "\\# no heading # nor this"),
            ("1. no list", "1\\. no list"),
            ("1.05", "1.05"),
            ("![x](y)", "!\\[x\\](y)"),
            ("\u{1b}[2J", "\\\\u{1b}\\[2J"),
        ] {
            assert_eq!(escape(text), shown);
        }
    }
}
