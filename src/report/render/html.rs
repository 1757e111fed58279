//! The report as one page that needs nothing else: no script, no request, no font to fetch. It can
//! be mailed, attached and printed.

use std::fmt::Write as _;

use super::text::clean;
use super::{Artefact, LEGEND, RenderError, Shown, lay_out, reasons, word};
use crate::record::claims::{Level, Outcome, Verdict};
use crate::report::kept::{ChangeOutcome, Kept};
use crate::report::{Block, Chart, Report, Section, Sheet, Table, Tone};

const STYLE: &str = include_str!("report.css");
/// Nothing may be fetched and nothing may run; the style is the one in the page. The empty icon
/// keeps a browser from asking a server for one.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";

/// Appends a line of formatted text. Writing to a string cannot fail.
macro_rules! put {
    ($page:expr, $($format:tt)*) => {{ let _ = writeln!($page.out, $($format)*); }};
}

/// `report.html`.
pub(super) fn report(report: &Report) -> Result<Artefact, RenderError> {
    let mut page = Page { out: String::new(), ids: 0 };
    page.write(report)?;
    Ok(Artefact { path: "report.html".into(), bytes: page.out.into_bytes() })
}

/// A page with `sheet` on it.
pub(super) fn sheet(sheet: &Sheet) -> Result<String, RenderError> {
    let mut page = Page { out: String::new(), ids: 0 };
    let title = escape(&sheet.title);
    page.open(&title);
    put!(page, "<header>\n<h1>{title}</h1>");
    for words in &sheet.words {
        put!(page, "<p>{}</p>", escape(words));
    }
    page.contents(&[], &sheet.sections);
    put!(page, "</header>\n<main>");
    for (index, section) in sheet.sections.iter().enumerate() {
        page.section(section, index)?;
    }
    page.repeat(&sheet.command);
    put!(page, "</section>\n</main>\n</body>\n</html>");
    Ok(page.out)
}

struct Page {
    out: String,
    /// How many captions were given an id so far.
    ids: usize,
}

impl Page {
    fn write(&mut self, report: &Report) -> Result<(), RenderError> {
        let title = escape(&report.title);
        self.open(&format!("{title}: {}", escape(&report.bottom_line.text)));
        put!(self, "<header>\n<h1>{title}</h1>");
        let tone = match report.bottom_line.tone {
            Tone::Good => "good",
            Tone::Warning => "warning",
            Tone::Bad => "bad",
            Tone::Unknown => "unknown",
        };
        put!(self, "<p class=\"bottom-line {tone}\">{}</p>", escape(&report.bottom_line.text));
        if !report.question.is_empty() {
            put!(self, "<p>{}</p>", escape(&report.question));
        }
        for note in &report.notes {
            put!(self, "<p class=\"note\">Note: {}</p>", escape(note));
        }
        let mut first = Vec::new();
        if !report.verdicts.is_empty() {
            first.push("claims");
        }
        if report.kept.is_some() {
            first.push("baseline");
        }
        self.contents(&first, &report.sections);
        put!(self, "</header>\n<main>");
        self.claims(&report.verdicts);
        if let Some(kept) = &report.kept {
            self.baseline(kept);
        }
        for (index, section) in report.sections.iter().enumerate() {
            self.section(section, index)?;
        }
        if !report.sections.is_empty() {
            put!(self, "<p class=\"quiet\">{}</p>", escape(LEGEND));
        }
        self.provenance(report);
        put!(self, "</main>\n</body>\n</html>");
        Ok(())
    }

    /// Everything up to the body, with `title`, which is escaped.
    fn open(&mut self, title: &str) {
        put!(self, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">");
        put!(self, "<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">");
        put!(self, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
        put!(self, "<meta name=\"color-scheme\" content=\"light dark\">");
        put!(self, "<link rel=\"icon\" href=\"data:,\">");
        put!(self, "<title>{title}</title>");
        put!(self, "<style>\n{STYLE}</style>\n</head>\n<body>");
    }

    /// Links to the parts called `first`, and to those of the subjects.
    fn contents(&mut self, first: &[&str], sections: &[Section]) {
        put!(self, "<nav aria-label=\"Contents\">\n<ul>");
        for part in first {
            put!(self, "<li><a href=\"#{part}\">{part}</a></li>");
        }
        for (index, section) in sections.iter().enumerate() {
            put!(self, "<li><a href=\"#part-{index}\">{}</a></li>", escape(&section.heading));
        }
        put!(self, "<li><a href=\"#repeat\">how to repeat this</a></li>\n</ul>\n</nav>");
    }

    fn claims(&mut self, verdicts: &[Verdict]) {
        if verdicts.is_empty() {
            return;
        }
        put!(self, "<section aria-labelledby=\"claims\">\n<h2 id=\"claims\">Claims</h2>");
        self.open_table("what the scenario claims, and whether the runs bear it out");
        put!(self, "<thead><tr><th scope=\"col\">outcome</th><th scope=\"col\">claim</th>");
        put!(
            self,
            "<th scope=\"col\">evidence</th><th scope=\"col\">why this bound</th></tr></thead>\n<tbody>"
        );
        for verdict in verdicts {
            let class = match (verdict.outcome, &verdict.level) {
                (Outcome::Passed, _) => "good",
                (Outcome::Failed, Level::Error) => "bad",
                (Outcome::Failed, Level::Warn) | (Outcome::Unknown, _) => "warning",
            };
            let evidence: Vec<String> = reasons(verdict).iter().map(|line| escape(line)).collect();
            put!(
                self,
                "<tr><td class=\"{class}\">{}</td><th scope=\"row\" class=\"words\">{}</th>\
                 <td class=\"words\">{}</td><td class=\"words\">{}</td></tr>",
                word(verdict),
                escape(&verdict.claim),
                evidence.join("<br>"),
                escape(&verdict.why)
            );
        }
        self.close_table();
        put!(self, "</section>");
    }

    fn baseline(&mut self, kept: &Kept) {
        put!(self, "<section aria-labelledby=\"baseline\">\n<h2 id=\"baseline\">Baseline</h2>");
        put!(self, "<p>{}</p>", escape(&kept.sentence));
        if !kept.changes.is_empty() {
            self.open_table("figures that are not as in the baseline");
            put!(self, "<thead><tr><th scope=\"col\">outcome</th><th scope=\"col\">figure</th>");
            put!(self, "<th scope=\"col\">what became of it</th></tr></thead>\n<tbody>");
            for change in &kept.changes {
                let class = match change.outcome {
                    ChangeOutcome::Failed => "bad",
                    ChangeOutcome::Better => "good",
                    ChangeOutcome::New => "warning",
                };
                put!(
                    self,
                    "<tr><td class=\"{class}\">{}</td><th scope=\"row\" class=\"words\">{}</th>\
                     <td class=\"words\">{}</td></tr>",
                    change.outcome.word(),
                    escape(&change.figure),
                    escape(&change.text)
                );
            }
            self.close_table();
        }
        put!(self, "</section>");
    }

    fn section(&mut self, section: &Section, index: usize) -> Result<(), RenderError> {
        let heading = escape(&section.heading);
        put!(
            self,
            "<section aria-labelledby=\"part-{index}\">\n<h2 id=\"part-{index}\">{heading}</h2>"
        );
        if !section.findings.is_empty() {
            put!(self, "<ul class=\"findings\">");
            for finding in &section.findings {
                put!(self, "<li>{}</li>", escape(finding));
            }
            put!(self, "</ul>");
        }
        // Charts that follow each other stand side by side where there is room.
        let mut is_among_charts = false;
        for block in &section.blocks {
            let is_chart = cfg!(feature = "charts") && matches!(block, Block::Chart(_));
            if is_chart != is_among_charts {
                put!(self, "{}", if is_chart { "<div class=\"charts\">" } else { "</div>" });
                is_among_charts = is_chart;
            }
            match block {
                Block::Table(table) => self.table(table),
                Block::Chart(chart) => self.chart(chart)?,
                Block::Lines { caption, lines } => {
                    put!(self, "<p>{}:</p>\n<ul>", escape(caption));
                    for line in lines {
                        put!(self, "<li>{}</li>", escape(line));
                    }
                    put!(self, "</ul>");
                }
            }
        }
        if is_among_charts {
            put!(self, "</div>");
        }
        put!(self, "</section>");
        Ok(())
    }

    /// Opens a table in a box of its own that scrolls by itself, also by keyboard.
    fn open_table(&mut self, caption: &str) {
        self.ids += 1;
        let id = self.ids;
        put!(
            self,
            "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"table-{id}\">"
        );
        put!(self, "<table>\n<caption id=\"table-{id}\">{}</caption>", escape(caption));
    }

    fn close_table(&mut self) {
        put!(self, "</tbody>\n</table>\n</div>");
    }

    fn table(&mut self, table: &Table) {
        let grid = lay_out(table);
        self.open_table(&table.caption);
        let class = |index: usize| {
            let is_number = table.columns.get(index).is_some_and(|column| column.unit.is_some());
            if is_number { " class=\"number\"" } else { "" }
        };
        put!(self, "<thead><tr>");
        for (index, head) in grid.head.iter().enumerate() {
            put!(self, "<th scope=\"col\"{}>{}</th>", class(index), escape(head));
        }
        put!(self, "</tr></thead>\n<tbody>");
        for row in &grid.rows {
            let cells: Vec<String> = row
                .iter()
                .enumerate()
                .map(|(index, cell)| match index {
                    0 => format!("<th scope=\"row\">{}</th>", escape(&cell.text)),
                    _ => {
                        let class = match cell.tone {
                            None => class(index),
                            Some(Tone::Good) => " class=\"outcome\"",
                            Some(Tone::Warning | Tone::Unknown) => " class=\"outcome warned\"",
                            Some(Tone::Bad) => " class=\"outcome harmed\"",
                        };
                        format!("<td{class}>{}</td>", show(cell))
                    }
                })
                .collect();
            put!(self, "<tr>{}</tr>", cells.concat());
        }
        self.close_table();
        let defined: Vec<_> =
            table.columns.iter().filter(|column| !column.definition.is_empty()).collect();
        if !defined.is_empty() {
            put!(self, "<details class=\"quiet\">\n<summary>What the columns are</summary>\n<dl>");
            for column in defined {
                let (title, definition) = (escape(&column.title), escape(&column.definition));
                put!(self, "<dt>{title}</dt><dd>{definition}</dd>");
            }
            put!(self, "</dl>\n</details>");
        }
    }

    #[cfg(feature = "charts")]
    fn chart(&mut self, chart: &Chart) -> Result<(), RenderError> {
        let name = &chart.name;
        let picture = super::chart::themed(&super::chart::svg(chart)?);
        put!(
            self,
            "<figure>\n<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-labelledby=\"{name}-title\">"
        );
        put!(self, "{picture}</div>");
        put!(
            self,
            "<figcaption class=\"quiet\">{} as picture (<a href=\"charts/{name}.svg\">SVG</a>{}),",
            escape(&chart.y_label),
            if cfg!(feature = "png") {
                format!(", <a href=\"charts/{name}.png\">PNG</a>")
            } else {
                String::new()
            }
        );
        put!(
            self,
            "<a href=\"charts/{name}.csv\">numbers</a> and\n\
             <a href=\"charts/{name}.vl.json\">Vega-Lite</a></figcaption>\n</figure>"
        );
        Ok(())
    }

    #[cfg(not(feature = "charts"))]
    #[expect(clippy::unnecessary_wraps, reason = "with charts it can fail")]
    fn chart(&mut self, chart: &Chart) -> Result<(), RenderError> {
        put!(
            self,
            "<p>{} (<a href=\"charts/{}.csv\">numbers</a>)</p>",
            escape(&chart.title),
            chart.name
        );
        Ok(())
    }

    /// Opens the section that says how to make this again.
    fn repeat(&mut self, command: &str) {
        put!(
            self,
            "<section aria-labelledby=\"repeat\">\n<h2 id=\"repeat\">How to repeat this</h2>"
        );
        put!(self, "<pre tabindex=\"0\"><code>{}</code></pre>", escape(command));
    }

    fn provenance(&mut self, report: &Report) {
        let from = &report.provenance;
        self.repeat(&from.command);
        put!(self, "<dl>");
        let version = format!("stormglass {}, semantics {}", from.version, from.semantics);
        let mut rows = vec![
            ("program", version),
            ("scenario", from.scenario.clone()),
            ("its SHA-256", from.scenario_sha256.clone()),
            ("seeds", from.seeds.clone()),
        ];
        rows.extend(from.alterations.iter().map(|alteration| ("altered", alteration.clone())));
        for (name, value) in rows {
            put!(self, "<dt>{name}</dt><dd>{}</dd>", escape(&value));
        }
        put!(self, "</dl>\n</section>");
    }
}

fn show(cell: &Shown) -> String {
    let text = escape(&cell.text);
    if !cell.is_number {
        return text;
    }
    let spread = match cell.spread.as_str() {
        "" => String::new(),
        spread => format!(" <span class=\"spread\">{}</span>", escape(spread)),
    };
    let (class, mark) = match cell.mark {
        "*" => (" class=\"best\"", "<abbr title=\"best\">*</abbr>"),
        "=" => ("", "<abbr title=\"level with the best\">=</abbr>"),
        _ => ("", ""),
    };
    format!("<span{class}>{text}</span>{spread} <span class=\"mark\">{mark}</span>")
}

/// `text` in one line, as the content of an element or of a quoted attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in clean(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    fn page() -> String {
        let sample = sample::report_of(&sample::records(3), sample::verdicts());
        String::from_utf8(report(&sample).unwrap().bytes).unwrap()
    }

    #[test]
    fn the_page_asks_for_nothing_and_runs_nothing() {
        let page = page();
        assert!(page.contains("default-src 'none'"));
        for forbidden in
            ["<script", "<link rel=\"style", "@import", "url(", "onload", "javascript:"]
        {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        let addresses = page.matches("://").count();
        let namespaces = page.matches("xmlns=\"http://www.w3.org/2000/svg\"").count();
        assert_eq!(addresses, namespaces);
    }

    #[test]
    fn what_comes_first_is_the_bottom_line() {
        let page = page();
        let place = |text: &str| page.find(text).unwrap();
        let body = place("<body>");
        let line = page[body..].find("FAILED: 1 of 2 claims does not hold").unwrap() + body;
        assert!(line < place("<nav"));
        assert!(line < place("<main>"));
    }

    #[test]
    fn ids_are_unique_and_every_reference_has_its_target() {
        let page = page();
        let values = |name: &str| -> Vec<String> {
            let start = format!(" {name}=\"");
            let parts = page.split(start.as_str()).skip(1);
            parts.map(|part| part.split('"').next().unwrap().to_owned()).collect()
        };
        let mut ids = values("id");
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
        let labels = values("aria-labelledby");
        assert!(!labels.is_empty());
        for label in labels.iter().flat_map(|label| label.split(' ')) {
            assert!(ids.contains(&label.to_owned()), "{label}");
        }
        for link in values("href").iter().filter_map(|link| link.strip_prefix('#')) {
            assert!(ids.contains(&link.to_owned()), "{link}");
        }
    }

    /// WCAG 2.2, 1.4.3: text at least 4.5 to 1.
    #[test]
    fn text_has_contrast_in_light_and_dark() {
        let (light, dark) = STYLE.split_once("@media screen").unwrap();
        for (theme, style) in [("light", light), ("dark", dark.split("\n}\n").next().unwrap())] {
            let luminance = |name: &str| {
                let start = style.find(&format!("--{name}: #")).unwrap() + name.len() + 5;
                let channel = |index: usize| {
                    let hex = &style[start + 2 * index..start + 2 * index + 2];
                    let value = f64::from(u8::from_str_radix(hex, 16).unwrap()) / 255.0;
                    if value <= 0.040_45 {
                        value / 12.92
                    } else {
                        libm::pow((value + 0.055) / 1.055, 2.4)
                    }
                };
                0.2126 * channel(0) + 0.7152 * channel(1) + 0.0722 * channel(2)
            };
            for shade in ["warned", "harmed"] {
                let (a, b) = (luminance("ink"), luminance(shade));
                let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                assert!(4.5 <= contrast, "{theme}: ink on {shade}: {contrast:.2}");
            }
            for text in ["ink", "muted", "link", "good", "warn", "bad"] {
                for ground in ["paper", "panel"] {
                    let (a, b) = (luminance(text), luminance(ground));
                    let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                    assert!(4.5 <= contrast, "{theme}: {text} on {ground}: {contrast:.2}");
                }
            }
        }
    }
}
