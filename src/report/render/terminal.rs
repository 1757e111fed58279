//! The short report for a terminal: the bottom line, then a table a subject.

use std::fmt::Write as _;

use super::text::{clean, width, wrap};
use super::{Grid, LEGEND, Shown, lay_out, reasons, word};
use crate::record::claims::{Level, Outcome, Verdict};
use crate::report::kept::{ChangeOutcome, Kept};
use crate::report::{Block, Report, Section, Sheet, Table, Tone};

/// What the terminal can show.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Screen {
    /// Columns; text is broken and tables are split to fit, down to 40.
    pub columns: usize,
    /// Whether to colour.
    pub is_coloured: bool,
}

/// So many figures that moved are told one by one.
const CHANGES_SHOWN_MAX: usize = 20;

impl Default for Screen {
    /// Eighty columns in plain text: what a pipe gets.
    fn default() -> Self {
        Self { columns: 80, is_coloured: false }
    }
}

/// `report` for a terminal. Ends with a line break.
pub fn terminal(report: &Report, screen: Screen) -> String {
    let mut pen = Pen { out: String::new(), screen };
    pen.bottom_line(report);
    for verdict in &report.verdicts {
        pen.verdict(verdict);
    }
    if let Some(kept) = &report.kept {
        pen.kept(kept);
    }
    for section in &report.sections {
        pen.section(section, &report.provenance.command);
    }
    if !report.sections.is_empty() {
        pen.out.push('\n');
        pen.paragraph(LEGEND, "", Style::Faint);
    }
    pen.out
}

/// `sheet` for a terminal. Ends with a line break.
pub(super) fn sheet(sheet: &Sheet, screen: Screen) -> String {
    let mut pen = Pen { out: String::new(), screen };
    pen.paragraph(&sheet.title, "", Style::Strong);
    for words in &sheet.words {
        pen.paragraph(words, "", Style::Plain);
    }
    for section in &sheet.sections {
        let heading = pen.styled(&clean(&section.heading), Style::Strong);
        let _ = writeln!(pen.out, "\n{heading}");
        for finding in &section.findings {
            pen.paragraph(finding, "  ", Style::Plain);
        }
        for block in &section.blocks {
            match block {
                Block::Table(table) => pen.table(table),
                Block::Lines { caption, lines } => {
                    pen.paragraph(&format!("{caption}:"), "  ", Style::Plain);
                    for line in lines {
                        pen.paragraph(line, "    ", Style::Plain);
                    }
                }
                Block::Chart(_) => (),
            }
        }
    }
    pen.out.push('\n');
    pen.paragraph(&format!("repeat: {}", sheet.command), "", Style::Faint);
    pen.out
}

#[derive(Clone, Copy)]
enum Style {
    Plain,
    Strong,
    Faint,
    Green,
    Yellow,
    Red,
}

impl Style {
    /// The code that begins it (ECMA-48, select graphic rendition).
    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Strong => "\u{1b}[1m",
            Self::Faint => "\u{1b}[2m",
            Self::Green => "\u{1b}[1;32m",
            Self::Yellow => "\u{1b}[1;33m",
            Self::Red => "\u{1b}[1;31m",
        }
    }
}

struct Pen {
    out: String,
    screen: Screen,
}

impl Pen {
    fn columns(&self) -> usize {
        self.screen.columns.max(40)
    }

    fn styled(&self, text: &str, style: Style) -> String {
        let code = if self.screen.is_coloured { style.code() } else { "" };
        if code.is_empty() { text.to_owned() } else { format!("{code}{text}\u{1b}[0m") }
    }

    /// Text broken into lines; those after the first are indented by two more.
    fn paragraph(&mut self, text: &str, indent: &str, style: Style) {
        let room = self.columns() - indent.len() - 2;
        for (index, line) in wrap(&clean(text), room).iter().enumerate() {
            let more = if index == 0 { "" } else { "  " };
            let line = self.styled(line, style);
            let _ = writeln!(self.out, "{indent}{more}{line}");
        }
    }

    fn bottom_line(&mut self, report: &Report) {
        let style = match report.bottom_line.tone {
            Tone::Good => Style::Green,
            Tone::Warning | Tone::Unknown => Style::Yellow,
            Tone::Bad => Style::Red,
        };
        self.paragraph(&report.bottom_line.text, "", style);
        if !report.question.is_empty() {
            self.paragraph(&report.question, "", Style::Plain);
        }
        for note in &report.notes {
            self.paragraph(&format!("note: {note}"), "", Style::Yellow);
        }
    }

    fn verdict(&mut self, verdict: &Verdict) {
        let style = match (verdict.outcome, &verdict.level) {
            (Outcome::Passed, _) => Style::Green,
            (Outcome::Failed, Level::Error) => Style::Red,
            (Outcome::Failed, Level::Warn) | (Outcome::Unknown, _) => Style::Yellow,
        };
        self.paragraph(&format!("{}: {}", word(verdict), verdict.claim), "  ", style);
        if verdict.outcome != Outcome::Passed {
            for line in reasons(verdict) {
                self.paragraph(&line, "    ", Style::Plain);
            }
        }
    }

    fn kept(&mut self, kept: &Kept) {
        for change in kept.changes.iter().take(CHANGES_SHOWN_MAX) {
            let style = match change.outcome {
                ChangeOutcome::Failed => Style::Red,
                ChangeOutcome::Better => Style::Green,
                ChangeOutcome::New => Style::Yellow,
            };
            self.paragraph(&format!("{}: {}", change.outcome.word(), change.figure), "  ", style);
            self.paragraph(&change.text, "    ", Style::Plain);
            if change.outcome == ChangeOutcome::Failed {
                self.paragraph(&change.command, "    ", Style::Faint);
            }
        }
        if CHANGES_SHOWN_MAX < kept.changes.len() {
            let more = kept.changes.len() - CHANGES_SHOWN_MAX;
            self.paragraph(&format!("and {more} more"), "  ", Style::Plain);
        }
    }

    fn section(&mut self, section: &Section, command: &str) {
        let heading = self.styled(&clean(&section.heading), Style::Strong);
        let _ = writeln!(self.out, "\n{heading}");
        for finding in &section.findings {
            self.paragraph(finding, "  ", Style::Plain);
        }
        let is_wanted = |block: &&Block| matches!(block, Block::Table(table) if !table.is_detail);
        for block in section.blocks.iter().filter(is_wanted) {
            if let Block::Table(table) = block {
                self.table(table);
            }
        }
        self.paragraph(&format!("repeat: {command}"), "  ", Style::Faint);
    }

    fn table(&mut self, table: &Table) {
        let grid = lay_out(table);
        let columns: Vec<Aligned> = (0..grid.head.len()).map(|index| align(&grid, index)).collect();
        let Some((names, numbers)) = columns.split_first() else { return };
        let room = self.columns().saturating_sub(2 + names.width);
        // Where the columns do not fit beside each other they follow in further rows of columns,
        // each with the names in front.
        let mut rest = numbers;
        loop {
            let mut taken = 0;
            let mut used = 0;
            for column in rest {
                used += 2 + column.width;
                if 0 < taken && room < used {
                    break;
                }
                taken += 1;
            }
            let (shown, later) = rest.split_at(taken);
            self.columns_beside(names, shown);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
    }

    fn columns_beside(&mut self, names: &Aligned, numbers: &[Aligned]) {
        let all = || std::iter::once(names).chain(numbers);
        let head_height = all().map(|column| column.head.len()).max().unwrap_or(0);
        for line in 0..head_height {
            // Heads stand on the line below them.
            let of = |column: &Aligned| {
                let missing = head_height - column.head.len();
                line.checked_sub(missing).map_or("", |index| &column.head[index]).to_owned()
            };
            let cells: Vec<String> = all().map(|column| column.pad(&of(column))).collect();
            let cells = self.styled(cells.join("  ").trim_end(), Style::Faint);
            let _ = writeln!(self.out, "  {cells}");
        }
        for row in 0..names.cells.len() {
            let cells: Vec<String> = all().map(|column| column.pad(&column.cells[row])).collect();
            let _ = writeln!(self.out, "  {}", cells.join("  ").trim_end());
        }
    }
}

/// A column whose cells are aligned among themselves.
struct Aligned {
    head: Vec<String>,
    cells: Vec<String>,
    width: usize,
    is_number: bool,
}

impl Aligned {
    fn pad(&self, text: &str) -> String {
        let gap = " ".repeat(self.width.saturating_sub(width(text)));
        if self.is_number { format!("{gap}{text}") } else { format!("{text}{gap}") }
    }
}

fn align(grid: &Grid, index: usize) -> Aligned {
    let shown: Vec<&Shown> = grid.rows.iter().map(|row| &row[index]).collect();
    let is_number = shown.iter().any(|cell| cell.is_number);
    let mean_width = shown.iter().map(|cell| width(&cell.text)).max().unwrap_or(0);
    let spread_width = shown.iter().map(|cell| width(&cell.spread)).max().unwrap_or(0);
    let mark_width = shown.iter().map(|cell| width(cell.mark)).max().unwrap_or(0);
    let cell = |cell: &&Shown| {
        if !is_number {
            return clean(&cell.text);
        }
        // Means end, spreads begin and marks stand under each other.
        let mut text = format!("{}{}", " ".repeat(mean_width - width(&cell.text)), cell.text);
        if 0 < spread_width {
            let gap = " ".repeat(spread_width - width(&cell.spread));
            let _ = write!(text, " {}{gap}", cell.spread);
        }
        if 0 < mark_width {
            let gap = " ".repeat(mark_width - width(cell.mark));
            let _ = write!(text, " {}{gap}", cell.mark);
        }
        text
    };
    let cells: Vec<String> = shown.iter().map(cell).collect();
    let cells_width = cells.iter().map(|cell| width(cell)).max().unwrap_or(0);
    let head = clean(&grid.head[index]);
    let longest_word = head.split(' ').map(width).max().unwrap_or(0);
    let head = wrap(&head, cells_width.max(longest_word).max(12));
    let head_width = head.iter().map(|line| width(line)).max().unwrap_or(0);
    Aligned { head, cells, width: cells_width.max(head_width), is_number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn three_short_tables_in_a_hundred_columns() {
        let report = sample::report_of(&sample::records(12), sample::verdicts());
        insta::assert_snapshot!(terminal(&report, Screen { columns: 100, is_coloured: false }));
    }

    #[test]
    fn in_forty_columns_tables_are_split_and_nothing_is_lost() {
        let report = sample::report_of(&sample::records(1), Vec::new());
        let text = terminal(&report, Screen { columns: 10, is_coloured: false });
        insta::assert_snapshot!(text);
    }

    #[test]
    fn lines_fit_the_screen_but_for_words_that_cannot_be_broken() {
        let report = sample::report_of(&sample::records(12), sample::verdicts());
        for columns in [60, 80, 120, 200] {
            let text = terminal(&report, Screen { columns, is_coloured: false });
            for line in text.lines() {
                assert!(width(line) <= columns, "{columns}: {line}");
            }
        }
    }

    #[test]
    fn colour_is_only_where_it_is_asked_for_and_changes_no_text() {
        let report = sample::report_of(&sample::records(2), sample::verdicts());
        let plain = terminal(&report, Screen { columns: 80, is_coloured: false });
        let mut coloured = terminal(&report, Screen { columns: 80, is_coloured: true });
        assert!(!plain.contains('\u{1b}'));
        assert!(coloured.contains("\u{1b}[1;31mFAILED"));
        for code in
            ["\u{1b}[1m", "\u{1b}[2m", "\u{1b}[1;32m", "\u{1b}[1;33m", "\u{1b}[1;31m", "\u{1b}[0m"]
        {
            coloured = coloured.replace(code, "");
        }
        assert_eq!(plain, coloured);
    }
}
