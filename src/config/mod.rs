//! What a user wrote, with its place in the file, and how it becomes a typed value.
//!
//! `serde` stops at the first mistake and forgets the place of what it buffers. A scenario file
//! deserves better: every mistake at once, each with its place. So a file becomes a tree of
//! [`Value`]s that know where they stand, and a type that can be read from one implements
//! [`Config`]. The [`config!`](crate::config!) macro writes that implementation from the type's own
//! declaration, and with it the JSON Schema and the reference documentation, so that fields,
//! defaults, limits and docs stand in one place.

mod data;
mod leaf;
mod macros;
mod program;
mod quantity;
mod value;

use serde_json::{Value as Json, json};

pub use data::{DataFile, Library, Row};
pub use program::{Launcher, Program, Programs};
pub use quantity::{Bytes, Name, Rate};
pub use value::{Entry, Place, Table, Value, ValueKind};

/// A type that a scenario file can hold.
pub trait Config: Sized {
    /// Reads `value`. What is wrong with it is told to `problems`, all of it, and then there is
    /// no value.
    fn read(value: &Value, problems: &mut Problems) -> Option<Self>;

    /// The JSON Schema of what [`read`](Self::read) accepts.
    fn schema() -> Json;

    /// The value as a scenario file would write it.
    fn write(&self) -> Json;
}

/// One mistake in what the user wrote.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where it stands.
    pub place: Place,
    /// What was found and what was expected: one line, lower case, no full stop.
    pub message: String,
    /// What the user may have meant, or what to write instead.
    pub help: Option<String>,
}

/// The mistakes found so far, and the library that opens the data files which are named.
#[derive(Default)]
pub struct Problems {
    found: Vec<Problem>,
    library: Option<Box<dyn Library>>,
}

impl Problems {
    /// No mistakes yet, and data files from `library`.
    pub fn with_library(library: Box<dyn Library>) -> Self {
        Self { found: Vec::new(), library: Some(library) }
    }

    /// Opens a data file; see [`Library::open`].
    fn open(&mut self, path: &str) -> Result<DataFile, String> {
        match &mut self.library {
            Some(library) => library.open(path),
            None => Err("no data files can be read here".into()),
        }
    }

    /// The leave to start programs, where there is one.
    pub fn launcher(&self) -> Option<Launcher> {
        self.library.as_ref().and_then(|library| library.launcher())
    }

    /// Notes a mistake at `place`.
    pub fn add(&mut self, place: Place, message: impl Into<String>) {
        self.found.push(Problem { place, message: message.into(), help: None });
    }

    /// Notes a mistake at `place`, and what would be right.
    pub fn add_with_help(
        &mut self,
        place: Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.found.push(Problem { place, message: message.into(), help: Some(help.into()) });
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// How many mistakes were found so far.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// All mistakes, in the order of their places.
    pub fn into_sorted(mut self) -> Vec<Problem> {
        self.found.sort_by_key(|problem| problem.place);
        self.found.dedup();
        self.found
    }
}

impl std::fmt::Debug for Problems {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.found.fmt(f)
    }
}

/// Reads the fields of one table and tells of those that nobody asked for.
#[derive(Debug)]
pub struct Fields<'a> {
    table: &'a Table,
    place: Place,
}

impl<'a> Fields<'a> {
    /// Begins to read `value`, which must be a table.
    pub fn of(value: &'a Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            ValueKind::Table(table) => Some(Self { table, place: value.place }),
            _ => {
                problems.add(value.place, format!("found {}, expected a table", value.describe()));
                None
            }
        }
    }

    /// The field `name`, which must be there.
    pub fn required<T: Config>(&self, name: &str, problems: &mut Problems) -> Option<T> {
        match self.table.get(name) {
            Some(value) => T::read(value, problems),
            None => {
                problems.add(self.place, format!("the field `{name}` is missing"));
                None
            }
        }
    }

    /// The field `name`, or its default.
    pub fn optional<T: Config>(
        &self,
        name: &str,
        default: impl FnOnce() -> T,
        problems: &mut Problems,
    ) -> Option<T> {
        match self.table.get(name) {
            Some(value) => T::read(value, problems),
            None => Some(default()),
        }
    }

    /// The place of the field `name`, or of the table where it is left out.
    pub fn place_of(&self, name: &str) -> Place {
        self.table.get(name).map_or(self.place, |value| value.place)
    }

    /// Tells of every field that is not in `known`.
    pub fn finish(&self, known: &[&str], problems: &mut Problems) {
        for entry in &self.table.entries {
            if !known.contains(&entry.key.as_str()) {
                unknown(entry.key_place, "field", &entry.key, known, problems);
            }
        }
    }
}

/// Tells that `found` is not one of `known`, and which of them comes near. A long list is left out
/// where one does: it would hide the answer.
pub fn unknown(place: Place, what: &str, found: &str, known: &[&str], problems: &mut Problems) {
    const LISTED_MAX: usize = 12;
    let near = nearest(found, known);
    let mut message = format!("unknown {what} `{}`", printable(found));
    if known.is_empty() {
        message.push_str(", expected none");
    } else if near.is_none() || known.len() <= LISTED_MAX {
        let listed: Vec<String> = known.iter().map(|name| format!("`{name}`")).collect();
        message.push_str(", expected ");
        message.push_str(&listed.join(", "));
    }
    match near {
        Some(near) => problems.add_with_help(place, message, format!("did you mean `{near}`?")),
        None => problems.add(place, message),
    }
}

/// The one of `known` that `found` is most likely a misspelling of.
pub fn nearest<'a>(found: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|&name| (strsim::damerau_levenshtein(found, name), name))
        .filter(|&(distance, name)| distance <= 1 + name.len() / 4)
        .min()
        .map(|(_, name)| name)
}

/// `text` without anything that a terminal would obey or that a reader could not see, and of a
/// length that fits a message.
pub fn printable(text: &str) -> String {
    const LONGEST: usize = 60;
    let mut shown: String = text.chars().take(LONGEST).flat_map(char::escape_debug).collect();
    shown = shown.replace("\\\"", "\"").replace("\\'", "'");
    if LONGEST < text.chars().count() {
        shown.push('…');
    }
    shown
}

/// Checks that `value` lies in `range`; a [`config!`](crate::config!) field with a limit uses it.
pub fn within<T, R>(value: T, range: &R, place: Place, problems: &mut Problems) -> Option<T>
where
    T: PartialOrd + std::fmt::Display,
    R: std::ops::RangeBounds<T>,
{
    use std::ops::Bound;
    if range.contains(&value) {
        return Some(value);
    }
    let low = match range.start_bound() {
        Bound::Included(low) => format!("at least {low}"),
        Bound::Excluded(low) => format!("more than {low}"),
        Bound::Unbounded => String::new(),
    };
    let high = match range.end_bound() {
        Bound::Included(high) => format!("at most {high}"),
        Bound::Excluded(high) => format!("less than {high}"),
        Bound::Unbounded => String::new(),
    };
    let both = if low.is_empty() || high.is_empty() { "" } else { " and " };
    problems.add(place, format!("found {value}, expected {low}{both}{high}"));
    None
}

/// The name of a field as a scenario writes it: `for`, where Rust has to write `r#for`.
#[doc(hidden)]
pub fn bare(field: &'static str) -> &'static str {
    field.strip_prefix("r#").unwrap_or(field)
}

/// The schema of a struct, from its fields' names, docs, schemas and defaults.
#[doc(hidden)]
pub fn schema_of_struct(doc: &str, fields: Vec<(&str, &str, Json, Option<Json>)>) -> Json {
    let mut properties = serde_json::Map::new();
    let mut required = Vec::new();
    for (name, doc, mut schema, default) in fields {
        if let Json::Object(schema) = &mut schema {
            if !doc.is_empty() {
                schema.insert("description".into(), doc.into());
            }
            match default {
                Some(default) => {
                    schema.insert("default".into(), default);
                }
                None => required.push(Json::from(name)),
            }
        }
        properties.insert(name.into(), schema);
    }
    json!({
        "type": "object",
        "description": doc,
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

/// One case of an externally tagged enum, as the file has it.
#[derive(Debug)]
pub struct Case<'a> {
    /// The name of the case; one of those that were asked for.
    pub tag: &'static str,
    content: Option<&'a Value>,
    place: Place,
}

impl<'a> Case<'a> {
    /// Reads which of `tags` stands in `value`: `"tag"` or `{ tag = content }`.
    pub fn of(value: &'a Value, tags: &[&'static str], problems: &mut Problems) -> Option<Self> {
        let (found, place, content) = match &value.kind {
            ValueKind::Text(text) => (text, value.place, None),
            ValueKind::Table(table) if table.entries.len() == 1 => {
                let entry = &table.entries[0];
                (&entry.key, entry.key_place, Some(&entry.value))
            }
            _ => {
                let listed: Vec<String> = tags.iter().map(|tag| format!("`{tag}`")).collect();
                problems.add(
                    value.place,
                    format!(
                        "found {}, expected one name, or a table of one name, out of {}",
                        value.describe(),
                        listed.join(", ")
                    ),
                );
                return None;
            }
        };
        match tags.iter().find(|tag| **tag == found.as_str()) {
            Some(tag) => Some(Self { tag, content, place: value.place }),
            None => {
                unknown(place, "name", found, tags, problems);
                None
            }
        }
    }

    /// What the case holds. A bare name stands for an empty table.
    pub fn content<T: Config>(&self, problems: &mut Problems) -> Option<T> {
        match self.content {
            Some(value) => T::read(value, problems),
            None => T::read(
                &Value { kind: ValueKind::Table(Table::default()), place: self.place },
                problems,
            ),
        }
    }

    /// Checks that the case holds nothing.
    pub fn no_content(&self, problems: &mut Problems) -> Option<()> {
        match self.content {
            None => Some(()),
            Some(Value { kind: ValueKind::Table(table), .. }) if table.entries.is_empty() => {
                Some(())
            }
            Some(value) => {
                problems.add_with_help(
                    value.place,
                    format!("`{}` takes nothing, found {}", self.tag, value.describe()),
                    format!("write \"{}\"", self.tag),
                );
                None
            }
        }
    }
}

/// The schema of one case of an externally tagged enum.
#[doc(hidden)]
pub fn schema_of_case(doc: &str, tag: &str, content: Option<Json>) -> Json {
    match content {
        Some(content) => json!({
            "type": "object",
            "description": doc,
            "properties": { tag: content },
            "required": [tag],
            "additionalProperties": false,
        }),
        None => json!({ "const": tag, "description": doc }),
    }
}
