//! Quantities that are written as strings with a unit: durations, chances, rates, sizes; and names.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value as Json, json};

use super::{Config, Problems, Value, ValueKind};
use crate::kernel::decimal::{scaled, split_quantity};
use crate::kernel::rng::Probability;
use crate::kernel::time::SimDuration;

/// How often something happens. Finite and not negative.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate {
    per_second: f64,
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Bytes(pub u64);

/// The name of a node, a zone or a scenario: a letter, then letters, digits, `-` and `_`, all
/// small, at most 64 of them.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Name(String);

impl Rate {
    /// `per_second` times a second. `None` where that is not finite or negative.
    pub fn per_second(per_second: f64) -> Option<Self> {
        (per_second.is_finite() && 0.0 <= per_second).then_some(Self { per_second })
    }

    /// How often a second.
    pub fn as_per_second(self) -> f64 {
        self.per_second
    }
}

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.per_second)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut count, mut unit) = (self.0, "B");
        for next in ["KiB", "MiB", "GiB", "TiB"] {
            if count == 0 || count % 1024 != 0 {
                break;
            }
            (count, unit) = (count / 1024, next);
        }
        write!(f, "{count}{unit}")
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a rate, such as \"250/s\", \"3/min\" or \"1/h\"".to_owned();
        let (number, unit) = text.split_once('/').ok_or_else(wrong)?;
        let seconds = match unit.trim() {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(wrong()),
        };
        let number: f64 = number.trim().parse().map_err(|_| wrong())?;
        Self::per_second(number / seconds).ok_or_else(wrong)
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a size, such as \"512B\", \"16KiB\" or \"2MB\"".to_owned();
        let (whole, fraction, unit) = split_quantity(text).ok_or_else(wrong)?;
        let scale = match unit {
            "B" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            "TiB" => 1 << 40,
            _ => return Err(wrong()),
        };
        scaled(whole, fraction, scale).map(Self).ok_or_else(wrong)
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut chars = text.chars();
        let first_is_letter = chars.next().is_some_and(|c| c.is_ascii_lowercase());
        let rest_is_fine =
            chars.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
        if first_is_letter && rest_is_fine && text.len() <= 64 {
            Ok(Self(text.to_owned()))
        } else {
            Err("expected a name: a small letter, then small letters, digits, - or _, at most 64"
                .into())
        }
    }
}

macro_rules! written_as_string {
    ($ty:ty, $pattern:literal) => {
        impl Config for $ty {
            fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
                let wrong = match &value.kind {
                    ValueKind::Text(text) => match text.parse() {
                        Ok(read) => return Some(read),
                        Err(expected) => expected,
                    },
                    _ => "".parse::<$ty>().err().unwrap_or_default(),
                };
                problems.add(value.place, format!("found {}, {wrong}", value.describe()));
                None
            }

            fn schema() -> Json {
                json!({ "type": "string", "pattern": $pattern })
            }

            fn write(&self) -> Json {
                json!(self.to_string())
            }
        }
    };
}

written_as_string!(SimDuration, r"^\d+(\.\d+)?\s*(ns|us|µs|ms|s|m|min|h|d)$");
written_as_string!(Probability, r"^(\d+/\d+|\d+(\.\d+)?%|[01](\.\d+)?)$");
written_as_string!(Rate, r"^\d+(\.\d+)?/(ms|s|m|min|h|d)$");
written_as_string!(Bytes, r"^\d+(\.\d+)?\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)$");
written_as_string!(Name, r"^[a-z][a-z0-9_-]{0,63}$");
