//! How numbers, strings, lists and options are read.

use serde_json::{Value as Json, json};

use super::{Config, Problems, Value, ValueKind};

macro_rules! whole_number {
    ($($ty:ty),*) => {$(
        impl Config for $ty {
            fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
                let expected = || format!("a whole number from 0 to {}", <$ty>::MAX.min(i64::MAX as $ty));
                match value.kind {
                    ValueKind::Integer(number) => match <$ty>::try_from(number) {
                        Ok(number) => return Some(number),
                        Err(_) => problems.add(
                            value.place,
                            format!("found {number}, expected {}", expected()),
                        ),
                    },
                    _ => problems.add(
                        value.place,
                        format!("found {}, expected {}", value.describe(), expected()),
                    ),
                }
                None
            }

            fn schema() -> Json {
                json!({ "type": "integer", "minimum": 0 })
            }

            fn write(&self) -> Json {
                json!(self)
            }
        }
    )*};
}

whole_number!(u32, u64);

impl Config for f64 {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match value.kind {
            ValueKind::Integer(number) => Some(number as f64),
            ValueKind::Float(number) => Some(number),
            _ => {
                problems.add(value.place, format!("found {}, expected a number", value.describe()));
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "number" })
    }

    fn write(&self) -> Json {
        json!(self)
    }
}

impl Config for bool {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match value.kind {
            ValueKind::Bool(truth) => Some(truth),
            _ => {
                problems.add(
                    value.place,
                    format!("found {}, expected true or false", value.describe()),
                );
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "boolean" })
    }

    fn write(&self) -> Json {
        json!(self)
    }
}

/// Free text. Control characters and marks that turn the direction of writing are refused: they
/// would corrupt a chart, or show a reader of the file something else than a program reads.
impl Config for String {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let ValueKind::Text(text) = &value.kind else {
            problems.add(value.place, format!("found {}, expected a string", value.describe()));
            return None;
        };
        if text.chars().any(|c| (c.is_control() && c != '\n') || is_bidi_mark(c)) {
            problems.add(
                value.place,
                format!("\"{}\" has a control character", super::printable(text)),
            );
            return None;
        }
        Some(text.clone())
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }

    fn write(&self) -> Json {
        json!(self)
    }
}

fn is_bidi_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl<T: Config> Config for Vec<T> {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let ValueKind::List(items) = &value.kind else {
            problems.add(value.place, format!("found {}, expected a list", value.describe()));
            return None;
        };
        // All items are read before the first failure counts, so that each is told of.
        let read: Vec<Option<T>> = items.iter().map(|item| T::read(item, problems)).collect();
        read.into_iter().collect()
    }

    fn schema() -> Json {
        json!({ "type": "array", "items": T::schema() })
    }

    fn write(&self) -> Json {
        Json::Array(self.iter().map(Config::write).collect())
    }
}

/// A field that may be left out: give it the default `None`.
impl<T: Config> Config for Option<T> {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        T::read(value, problems).map(Some)
    }

    fn schema() -> Json {
        T::schema()
    }

    fn write(&self) -> Json {
        self.as_ref().map_or(Json::Null, Config::write)
    }
}
