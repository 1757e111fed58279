//! A named variant and its parameters, as a scenario writes them: `"jump"`, or
//! `{ ring = { virtual_nodes = 160 } }`, or `{ ring = { virtual_nodes = 160 }, as = "ring-160" }`;
//! and what a catalogue says of its variants.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use crate::config::{Config, Launcher, Name, Place, Problems, Table, Value, ValueKind, unknown};

/// What a variant says of itself: the one source of `list`, help, documentation and reports.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct About {
    /// The name in scenario files.
    pub name: &'static str,
    /// One line, for a human who has to choose.
    pub summary: &'static str,
    /// Where it comes from: authors, venue and year, or the product's file.
    pub source: &'static str,
    /// The version of the product that it models by default; empty where it models none.
    pub version: &'static str,
}

/// A row of a catalogue.
pub trait Listed: 'static {
    /// What it says of itself.
    fn about(&self) -> &About;
    /// The JSON Schema of its parameters.
    fn params_schema(&self) -> Json;
}

/// A variant that a scenario chose.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// The name of the variant.
    pub name: String,
    /// Where the name stands.
    pub place: Place,
    /// Its parameters: always a table.
    pub params: Value,
    /// What reports are to call it, where the scenario says so (`as`).
    pub alias: Option<Name>,
    /// The leave to start programs, for a variant that is one; given with the scenario.
    pub launcher: Option<Launcher>,
}

impl Choice {
    /// The variant `name` with its defaults.
    pub fn named(name: &str) -> Self {
        let place = Place::default();
        let params = Value { kind: ValueKind::Table(Table::default()), place };
        Self { name: name.to_owned(), place, params, alias: None, launcher: None }
    }

    /// Reads its parameters.
    pub fn params<P: Config>(&self, problems: &mut Problems) -> Option<P> {
        P::read(&self.params, problems)
    }

    /// Its row in `catalogue`; what there is instead is told to `problems`.
    pub fn find<'a, E: Listed>(
        &self,
        what: &str,
        catalogue: &'a [E],
        problems: &mut Problems,
    ) -> Option<&'a E> {
        let found = catalogue.iter().find(|row| row.about().name == self.name);
        if found.is_none() {
            let known: Vec<&str> = catalogue.iter().map(|row| row.about().name).collect();
            unknown(self.place, what, &self.name, &known, problems);
        }
        found
    }

    /// How reports call it: `ring`, or `ring{virtual_nodes=160}`, or as the scenario says.
    pub fn label(&self) -> String {
        if let Some(alias) = &self.alias {
            return alias.to_string();
        }
        let ValueKind::Table(table) = &self.params.kind else { return self.name.clone() };
        if table.entries.is_empty() {
            return self.name.clone();
        }
        let mut label = format!("{}{{", self.name);
        for (index, entry) in table.entries.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            let _ = write!(label, "{comma}{}={}", entry.key, brief(entry.value.short()));
        }
        label.push('}');
        label
    }
}

/// `text` as far as a label has room for it: of what is long, such as a whole CRUSH map, the
/// beginning and its length.
fn brief(text: String) -> String {
    const ROOM: usize = 40;
    let line = text.lines().next().unwrap_or_default();
    if line.len() == text.len() && text.chars().count() <= ROOM {
        return text;
    }
    let head: String = line.chars().take(ROOM / 2).collect();
    format!("{}…({} bytes)", head.trim_end(), text.len())
}

impl Config for Choice {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            ValueKind::Text(name) => Some(Self { place: value.place, ..Self::named(name) }),
            ValueKind::Table(table) => {
                let alias = match table.get("as") {
                    Some(alias) => Some(Name::read(alias, problems)?),
                    None => None,
                };
                let mut variants = table.entries.iter().filter(|entry| entry.key != "as");
                match (variants.next(), variants.next()) {
                    (Some(entry), None) if matches!(entry.value.kind, ValueKind::Table(_)) => {
                        Some(Self {
                            name: entry.key.clone(),
                            place: entry.key_place,
                            params: entry.value.clone(),
                            alias,
                            launcher: problems.launcher(),
                        })
                    }
                    _ => wrong(value, problems),
                }
            }
            _ => wrong(value, problems),
        }
    }

    fn schema() -> Json {
        json!({ "description": "a variant's name, or a table of that name with its parameters, and under `as` what reports are to call it" })
    }

    fn write(&self) -> Json {
        json!(self.label())
    }
}

fn wrong(value: &Value, problems: &mut Problems) -> Option<Choice> {
    let message = format!("found {}, expected a variant's name", value.describe());
    problems.add_with_help(
        value.place,
        message,
        "write \"name\" or { name = { ... } } or { name = { ... }, as = \"label\" }",
    );
    None
}
