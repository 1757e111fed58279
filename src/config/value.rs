//! The tree that a scenario file becomes: values that know where they stand.

use super::Problems;

/// A stretch of text: which source it is in (0 is the scenario file, 1 and up are the `--set`
/// arguments in their order), and its bytes there.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Place {
    /// Which source.
    pub source: u16,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// A value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Value {
    /// What it is.
    pub kind: ValueKind,
    /// Where it stands.
    pub place: Place,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum ValueKind {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A number with a fraction. Finite.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// A list.
    List(Vec<Value>),
    /// A table.
    Table(Table),
    /// Something that no scenario uses: a date.
    Other(&'static str),
}

/// Named values in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// The entries; keys are unique.
    pub entries: Vec<Entry>,
}

/// One entry of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its key.
    pub key: String,
    /// Where the key stands.
    pub key_place: Place,
    /// Its value.
    pub value: Value,
}

impl Table {
    /// The value under `key`.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
    }

    /// The value under `key`, to alter it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.entries.iter_mut().find(|entry| entry.key == key).map(|entry| &mut entry.value)
    }
}

impl Value {
    /// Parses TOML that is source number `source`. Mistakes are told to `problems`; what could be
    /// parsed all the same is returned.
    pub fn parse(text: &str, source: u16, problems: &mut Problems) -> Value {
        let place = |span: std::ops::Range<usize>| Place {
            source,
            start: u32::try_from(span.start).unwrap_or(u32::MAX),
            end: u32::try_from(span.end).unwrap_or(u32::MAX),
        };
        let (document, errors) = toml::de::DeTable::parse_recoverable(text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            problems.add(place(span), error.message().replace('\n', ", "));
        }
        let whole = place(document.span());
        Value { kind: table(document.get_ref(), &place, problems), place: whole }
    }

    /// The value on one line and without quotes, as labels of variants and points have it.
    pub fn short(&self) -> String {
        match &self.kind {
            ValueKind::Text(text) => text.clone(),
            ValueKind::Integer(number) => number.to_string(),
            ValueKind::Float(number) => number.to_string(),
            ValueKind::Bool(truth) => truth.to_string(),
            ValueKind::List(items) => {
                format!("[{}]", items.iter().map(Self::short).collect::<Vec<_>>().join(","))
            }
            ValueKind::Table(table) => {
                let entries = table.entries.iter();
                let inner: Vec<String> =
                    entries.map(|entry| format!("{}={}", entry.key, entry.value.short())).collect();
                format!("{{{}}}", inner.join(","))
            }
            ValueKind::Other(what) => (*what).to_owned(),
        }
    }

    /// What the value is, in a few words, for a message.
    pub fn describe(&self) -> String {
        match &self.kind {
            ValueKind::Text(text) => format!("the string \"{}\"", super::printable(text)),
            ValueKind::Integer(number) => format!("the number {number}"),
            ValueKind::Float(number) => format!("the number {number}"),
            ValueKind::Bool(truth) => format!("{truth}"),
            ValueKind::List(_) => "a list".into(),
            ValueKind::Table(_) => "a table".into(),
            ValueKind::Other(what) => (*what).into(),
        }
    }
}

type Placer<'a> = &'a dyn Fn(std::ops::Range<usize>) -> Place;

fn table(source: &toml::de::DeTable<'_>, place: Placer<'_>, problems: &mut Problems) -> ValueKind {
    let mut entries: Vec<Entry> = source
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            key_place: place(key.span()),
            value: convert(value, place, problems),
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_place);
    ValueKind::Table(Table { entries })
}

fn convert(
    source: &toml::Spanned<toml::de::DeValue<'_>>,
    place: Placer<'_>,
    problems: &mut Problems,
) -> Value {
    use toml::de::DeValue;
    let at = place(source.span());
    let kind = match source.get_ref() {
        DeValue::String(text) => ValueKind::Text(text.to_string()),
        DeValue::Integer(number) => {
            match i64::from_str_radix(&number.as_str().replace('_', ""), number.radix()) {
                Ok(number) => ValueKind::Integer(number),
                Err(_) => {
                    problems.add(at, "this number is out of the range of a 64-bit integer");
                    ValueKind::Integer(0)
                }
            }
        }
        DeValue::Float(number) => match number.as_str().replace('_', "").parse::<f64>() {
            Ok(number) if number.is_finite() => ValueKind::Float(number),
            _ => {
                problems.add(at, format!("`{}` is not a finite number", number.as_str()));
                ValueKind::Float(0.0)
            }
        },
        DeValue::Boolean(truth) => ValueKind::Bool(*truth),
        DeValue::Datetime(_) => ValueKind::Other("a date"),
        DeValue::Array(items) => {
            ValueKind::List(items.iter().map(|item| convert(item, place, problems)).collect())
        }
        DeValue::Table(inner) => table(inner, place, problems),
    };
    Value { kind, place: at }
}
