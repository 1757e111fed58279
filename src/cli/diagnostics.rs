//! Mistakes in a scenario as a compiler would show them: the line, a caret, what would be right.

use std::fmt::Write as _;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::config::{Problem, printable};
use crate::scenario::{ScenarioError, Source, Sources};

/// The most mistakes that are shown; a reader mends the first ones first.
const SHOWN_MAX: usize = 20;
/// The longest line that is shown in full; of a longer one, the surroundings of the mistake.
const LINE_MAX: usize = 160;

/// All that is wrong with a scenario, for a terminal.
pub(super) fn render(error: &ScenarioError) -> String {
    let (sources, problems) = match error {
        ScenarioError::Wrong { sources, problems } => (sources, problems),
        ScenarioError::Io { .. } | ScenarioError::Unreadable { .. } => {
            return format!("error: {}\n", printable_lines(&error.to_string()));
        }
    };
    let mut text = String::new();
    for problem in problems.iter().take(SHOWN_MAX) {
        text.push_str(&one(sources, problem));
        text.push_str("\n\n");
    }
    let more = problems.len().saturating_sub(SHOWN_MAX);
    let file = sources.of(crate::config::Place::default()).map_or("", |source| &source.name);
    let count = match problems.len() {
        1 => "1 mistake".to_owned(),
        count => format!("{count} mistakes"),
    };
    let rest = if more == 0 { String::new() } else { format!(", of which {more} are not shown") };
    let _ = writeln!(text, "error: {} has {count}{rest}", printable(file));
    text
}

fn printable_lines(text: &str) -> String {
    text.chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}

fn one(sources: &Sources, problem: &Problem) -> String {
    let Some(source) = sources.of(problem.place) else {
        return format!("error: {}", problem.message);
    };
    let (line, _) = sources.line_and_column(problem.place);
    let Excerpt { text, start, end } = excerpt(source, problem);
    let name = printable_lines(&source.name);
    let snippet = Snippet::source(text)
        .path(name)
        .line_start(line)
        .annotation(AnnotationKind::Primary.span(start..end));
    let mut group = Level::ERROR.primary_title(problem.message.as_str()).element(snippet);
    if let Some(help) = &problem.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    Renderer::styled().render(&[group])
}

/// The line that a mistake is in, and where it is there.
struct Excerpt<'a> {
    text: &'a str,
    start: usize,
    end: usize,
}

/// Only the first line of what is marked is shown: a whole table would hide what is said of it.
fn excerpt<'a>(source: &'a Source, problem: &Problem) -> Excerpt<'a> {
    let text = &source.text;
    let start = floor(text, problem.place.start as usize);
    let end = floor(text, problem.place.end as usize).max(start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find(['\n', '\r']).map_or(text.len(), |length| start + length);
    let end = end.min(line_end);
    if line_end - line_start <= LINE_MAX {
        let text = &text[line_start..line_end];
        return Excerpt { text, start: start - line_start, end: end - line_start };
    }
    let first = floor(text, start.saturating_sub(LINE_MAX / 2).max(line_start));
    let last = floor(text, (first + LINE_MAX).min(line_end));
    Excerpt { text: &text[first..last], start: start - first, end: end.min(last) - first }
}

/// The start of the character that `byte` is in.
fn floor(text: &str, byte: usize) -> usize {
    let mut byte = byte.min(text.len());
    while !text.is_char_boundary(byte) {
        byte -= 1;
    }
    byte
}
