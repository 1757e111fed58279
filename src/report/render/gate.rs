//! What `check` judged, in the forms that a pipeline reads: JUnit XML, a GitHub step summary,
//! annotations of file and line.

use std::fmt::Write as _;

use super::markdown::escape as markdown;
use super::reasons;
use super::text::clean;
use crate::record::claims::{Level, Outcome};
use crate::report::Report;
use crate::report::kept::ChangeOutcome;

/// A scenario that was judged.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    /// What came of it.
    pub report: &'a Report,
    /// Its file, as the user gave it.
    pub file: &'a str,
    /// The lines that its claims stand in.
    pub claim_lines: &'a [u32],
}

/// One thing that was judged.
struct Item {
    name: String,
    verdict: Word,
    /// What it rests on.
    lines: Vec<String>,
    /// The command that shows it.
    command: String,
    line: u32,
    /// `claim` or `baseline`.
    kind: &'static str,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Word {
    Passed,
    Failed,
    Unknown,
    Warning,
    Notice,
}

impl Word {
    const fn text(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Notice => "note",
        }
    }
}

impl Judged<'_> {
    fn items(&self) -> Vec<Item> {
        let command = &self.report.provenance.command;
        let lines = self.claim_lines.iter().copied().chain(std::iter::repeat(1));
        let mut items: Vec<Item> = (self.report.verdicts.iter().zip(lines))
            .map(|(verdict, line)| Item {
                name: verdict.claim.clone(),
                verdict: match (verdict.outcome, &verdict.level) {
                    (Outcome::Passed, _) => Word::Passed,
                    (Outcome::Failed, Level::Error) => Word::Failed,
                    (Outcome::Unknown, Level::Error) => Word::Unknown,
                    (Outcome::Failed | Outcome::Unknown, Level::Warn) => Word::Warning,
                },
                lines: reasons(verdict),
                command: command.clone(),
                line,
                kind: "claim",
            })
            .collect();
        if let Some(kept) = &self.report.kept {
            items.extend(kept.changes.iter().map(|change| Item {
                name: change.figure.clone(),
                verdict: match change.outcome {
                    ChangeOutcome::Failed => Word::Failed,
                    ChangeOutcome::Better | ChangeOutcome::New => Word::Notice,
                },
                lines: vec![change.text.clone()],
                command: change.command.clone(),
                line: change.line,
                kind: "baseline",
            }));
            if 0 < kept.held {
                items.push(Item {
                    name: format!("{} figures are as in the baseline", kept.held),
                    verdict: Word::Passed,
                    lines: Vec::new(),
                    command: command.clone(),
                    line: 1,
                    kind: "baseline",
                });
            }
        }
        items
    }
}

/// JUnit XML: a suite for each scenario, a case for each claim and each figure that moved.
pub fn junit(all: &[Judged<'_>]) -> String {
    let suites: Vec<(&Judged<'_>, Vec<Item>)> = all.iter().map(|one| (one, one.items())).collect();
    let count = |items: &[Item], word: Word| items.iter().filter(|i| i.verdict == word).count();
    let total = |word| suites.iter().map(|(_, items)| count(items, word)).sum::<usize>();
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let tests: usize = suites.iter().map(|(_, items)| items.len()).sum();
    let _ = writeln!(
        xml,
        "<testsuites name=\"stormglass check\" tests=\"{tests}\" failures=\"{}\" errors=\"{}\">",
        total(Word::Failed),
        total(Word::Unknown)
    );
    for (judged, items) in &suites {
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"0\">",
            escape(&judged.report.title),
            items.len(),
            count(items, Word::Failed),
            count(items, Word::Unknown)
        );
        for item in items {
            case(&mut xml, judged, item);
        }
        xml.push_str("  </testsuite>\n");
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn case(xml: &mut String, judged: &Judged<'_>, item: &Item) {
    let file = escape(judged.file);
    let _ = write!(
        xml,
        "    <testcase classname=\"{}.{}\" name=\"{}\" file=\"{file}\" line=\"{}\"",
        escape(&judged.report.title),
        item.kind,
        escape(&item.name),
        item.line
    );
    let tag = match item.verdict {
        Word::Passed => {
            xml.push_str("/>\n");
            return;
        }
        Word::Failed => "failure",
        Word::Unknown => "error",
        // JUnit knows no warning: the case passes, and what it says is kept.
        Word::Warning | Word::Notice => "system-out",
    };
    let text = format!("{}\n{}", item.lines.join("\n"), item.command);
    let message = item.lines.first().map_or(String::new(), |line| escape(line));
    let attributes = match item.verdict {
        Word::Failed | Word::Unknown => format!(" type=\"{}\" message=\"{message}\"", item.kind),
        Word::Passed | Word::Warning | Word::Notice => String::new(),
    };
    let text: Vec<String> = text.lines().map(escape).collect();
    let _ =
        writeln!(xml, ">\n      <{tag}{attributes}>{}</{tag}>\n    </testcase>", text.join("\n"));
}

/// Markdown for a GitHub step summary: what failed comes first, what passed is counted.
pub fn summary(all: &[Judged<'_>]) -> String {
    let mut text = String::new();
    for judged in all {
        let items = judged.items();
        let _ = writeln!(
            text,
            "### {}\n\n**{}**\n",
            markdown(&judged.report.title),
            markdown(&judged.report.bottom_line.text)
        );
        let told: Vec<&Item> = items.iter().filter(|item| item.verdict != Word::Passed).collect();
        if !told.is_empty() {
            text.push_str("| outcome | what | evidence | command |\n|---|---|---|---|\n");
        }
        for item in told.iter().take(ROWS_MAX) {
            let evidence: Vec<String> = item.lines.iter().map(|line| markdown(line)).collect();
            let _ = writeln!(
                text,
                "| {} | {} | {} | `{}` |",
                item.verdict.text(),
                markdown(&item.name),
                evidence.join("<br>"),
                clean(&item.command).replace('`', "'").replace('|', "\\|")
            );
        }
        if ROWS_MAX < told.len() {
            let _ = writeln!(text, "\nand {} more", told.len() - ROWS_MAX);
        }
        if !told.is_empty() {
            text.push('\n');
        }
    }
    text
}

/// A step summary may have a megabyte.
const ROWS_MAX: usize = 200;
/// GitHub shows ten annotations of a kind and step.
const ANNOTATIONS_MAX: usize = 10;

/// Workflow commands that mark lines of the scenarios: one a line.
pub fn annotations(all: &[Judged<'_>]) -> String {
    let mut text = String::new();
    for judged in all {
        let items = judged.items();
        let told = items.iter().filter(|item| item.verdict != Word::Passed);
        for item in told.take(ANNOTATIONS_MAX) {
            let level = match item.verdict {
                Word::Failed | Word::Unknown => "error",
                Word::Warning => "warning",
                Word::Passed | Word::Notice => "notice",
            };
            let message = format!("{}\n{}\n{}", item.name, item.lines.join("\n"), item.command);
            let message: Vec<String> = message.lines().map(|line| data(&clean(line))).collect();
            let _ = writeln!(
                text,
                "::{level} file={},line={},title={}::{}",
                property(judged.file),
                item.line,
                property(&format!("{}: {}", item.kind, judged.report.title)),
                message.join("%0A")
            );
        }
    }
    text
}

/// Escapes as GitHub's own toolkit does (actions/toolkit, packages/core/src/command.ts).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(&clean(text)).replace(':', "%3A").replace(',', "%2C")
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for c in clean(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::kept::{Change, Kept};
    use crate::report::sample;

    fn report() -> Report {
        let mut report = sample::report_of(&sample::records(3), sample::verdicts());
        report.hold_against(Kept {
            sentence: "1 of 9 figures moved from the baseline".into(),
            changes: vec![Change {
                outcome: ChangeOutcome::Failed,
                figure: "rings <ring>: key_remap at \"add\"".into(),
                text: "9.50 % before, 9.51 % now (seed 3), floor 9.50 %; allowed: no change".into(),
                command: "stormglass run scenarios/quickstart.toml --seeds 3..4".into(),
                line: 14,
            }],
            held: 8,
        });
        report
    }

    fn judged(report: &Report) -> [Judged<'_>; 1] {
        [Judged { report, file: "scenarios/a,b.toml", claim_lines: &[30, 40] }]
    }

    #[test]
    fn junit_is_xml_with_a_case_for_each_claim_and_change() {
        let report = report();
        let xml = junit(&judged(&report));
        let tree = roxmltree::Document::parse(&xml).unwrap();
        let of = |name| tree.descendants().filter(|node| node.has_tag_name(name)).count();
        assert_eq!((of("testcase"), of("failure"), of("error")), (4, 2, 0), "{xml}");
        let root = tree.root_element();
        assert_eq!((root.attribute("tests"), root.attribute("failures")), (Some("4"), Some("2")));
        let failure = tree.descendants().rfind(|n| n.has_tag_name("failure")).unwrap();
        let told = failure.text().unwrap();
        assert!(told.contains("floor 9.50 %") && told.contains("--seeds 3..4"), "{told}");
        assert_eq!(failure.parent().unwrap().attribute("line"), Some("14"));
    }

    #[test]
    fn annotations_mark_the_line_and_escape_what_would_end_them() {
        let report = report();
        let text = annotations(&judged(&report));
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.starts_with("::error file=scenarios/a%2Cb.toml,line=40,title="), "{text}");
        assert!(text.contains("9.50 %25 before, 9.51 %25 now"), "{text}");
    }

    #[test]
    fn the_step_summary_tells_what_failed_and_how_to_see_it() {
        let report = report();
        let text = summary(&judged(&report));
        assert!(text.contains("| FAILED | rings &lt;ring&gt;"), "{text}");
        assert!(text.contains("`stormglass run scenarios/quickstart.toml --seeds 3..4`"), "{text}");
        assert!(!text.contains("modulo spreads keys evenly"), "what passed is not told: {text}");
    }
}
