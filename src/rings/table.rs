//! The catalogue as a table for people: what each variant is, what it can do and what it costs.

use std::fmt::Write as _;

use crate::choice::Choice;
use crate::rings::{CATALOGUE, Capabilities, Entry};

/// The [`CATALOGUE`] in Markdown: what each variant can do, what it costs, and where it comes
/// from. `docs/rings.md` carries it.
pub fn markdown() -> String {
    let mut text = String::new();
    let mut table = |head: &[&str], row: &dyn Fn(&Entry) -> Vec<String>| {
        let _ = writeln!(text, "| {} |", head.join(" | "));
        let _ = writeln!(text, "|{}", "---|".repeat(head.len()));
        for entry in CATALOGUE {
            let _ = writeln!(text, "| {} |", row(entry).join(" | "));
        }
        text.push('\n');
    };
    table(&["ring", "any leaves", "weights", "copies", "bounded", "minimal", "history-free"], &can);
    table(&["ring", "look-up steps", "bytes a node", "build steps"], &costs);
    table(&["ring", "idea", "source", "version"], &tells);
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn name(entry: &Entry) -> String {
    format!("`{}`", entry.about.name)
}

fn can(entry: &Entry) -> Vec<String> {
    let Capabilities {
        arbitrary_removal,
        weights,
        replicas,
        bounded,
        minimal_disruption,
        history_free,
    } = entry.capabilities;
    let all = [arbitrary_removal, weights, replicas, bounded, minimal_disruption, history_free];
    let words = all.map(|can| if can { "yes" } else { "–" }.to_owned());
    std::iter::once(name(entry)).chain(words).collect()
}

/// At 10, 100 and 1000 members.
fn costs(entry: &Entry) -> Vec<String> {
    let choice = Choice::named(entry.about.name);
    let at = |show: &dyn Fn(u32) -> Option<String>| {
        let shown: Option<Vec<String>> = [10, 100, 1000].map(show).into_iter().collect();
        shown.expect("every variant has defaults, and a cost with them").join(" / ")
    };
    let cost = |count| (entry.cost)(&choice, count);
    vec![
        name(entry),
        at(&|count| Some(format!("{:.1}", cost(count)?.lookup_steps))),
        at(&|count| Some((cost(count)?.table_bytes / u64::from(count)).to_string())),
        at(&|count| Some(cost(count)?.build_steps.to_string())),
    ]
}

fn tells(entry: &Entry) -> Vec<String> {
    let about = &entry.about;
    let cells = [about.summary, about.source, about.version];
    let cells = cells.map(|cell| cell.replace('|', "\\|"));
    std::iter::once(name(entry)).chain(cells).collect()
}
