//! What a scenario varies: lists of values over existing fields, and the points that they span.

use serde_json::{Value as Json, json};

use crate::config::{Config, Fields, Place, Problems, Table, Value, ValueKind};

/// The `[sweep]` table: paths of fields, each with a list of values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct SweepConfig {
    pub(super) axes: Vec<AxisConfig>,
}

/// One line of it. Its path is as it was written: it may be a short form.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AxisConfig {
    pub(super) path: String,
    pub(super) place: Place,
    pub(super) values: Vec<Value>,
}

impl Config for SweepConfig {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        Fields::of(value, problems)?;
        let mut axes = Vec::new();
        collect(value, "", value.place, &mut axes, problems);
        Some(Self { axes })
    }

    fn schema() -> Json {
        json!({
            "type": "object",
            "additionalProperties": {
                "anyOf": [{ "type": "array", "minItems": 1 }, { "type": "object" }],
            },
        })
    }

    fn write(&self) -> Json {
        let axes = self.axes.iter().map(|axis| {
            let values: Vec<String> = axis.values.iter().map(Value::short).collect();
            (axis.path.clone(), json!(values))
        });
        Json::Object(axes.collect())
    }
}

/// Dotted keys make tables of tables; the lists at their ends are the axes.
fn collect(
    value: &Value,
    path: &str,
    place: Place,
    axes: &mut Vec<AxisConfig>,
    problems: &mut Problems,
) {
    match &value.kind {
        ValueKind::Table(Table { entries }) => {
            for entry in entries {
                let dot = if path.is_empty() { "" } else { "." };
                let path = format!("{path}{dot}{}", entry.key);
                collect(&entry.value, &path, entry.key_place, axes, problems);
            }
        }
        ValueKind::List(values) if !values.is_empty() => {
            axes.push(AxisConfig { path: path.to_owned(), place, values: values.clone() });
        }
        ValueKind::List(_) => problems.add(value.place, "found no values, expected at least one"),
        _ => problems.add_with_help(
            value.place,
            format!("found {}, expected a list of values for `{path}`", value.describe()),
            "a sweep varies a field: `node_count = [10, 100]`",
        ),
    }
}

/// All ways to take one of each: `[2, 3]` gives `00 01 02 10 11 12`.
pub(super) fn combinations(lengths: &[usize]) -> Vec<Vec<usize>> {
    lengths.iter().fold(vec![Vec::new()], |so_far, &length| {
        let longer = |taken: &Vec<usize>| {
            let taken = taken.clone();
            (0..length).map(move |next| [taken.as_slice(), &[next]].concat())
        };
        so_far.iter().flat_map(longer).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dotted_keys_and_quoted_paths_are_axes_in_the_order_of_the_file() {
        let mut problems = Problems::default();
        let text = "b.c = [1]\n'a.d' = ['x', 'y']\nb.e = [[1], [2]]";
        let value = Value::parse(text, 0, &mut problems);
        let sweep = SweepConfig::read(&value, &mut problems).unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        let axes: Vec<_> = sweep.axes.iter().map(|a| (a.path.as_str(), a.values.len())).collect();
        assert_eq!(axes, [("b.c", 1), ("b.e", 2), ("a.d", 2)]);
    }

    #[test]
    fn combinations_vary_the_last_axis_fastest() {
        let all: Vec<String> = combinations(&[2, 3])
            .iter()
            .map(|taken| taken.iter().map(usize::to_string).collect())
            .collect();
        assert_eq!(all, ["00", "01", "02", "10", "11", "12"]);
        assert_eq!(combinations(&[]), [Vec::<usize>::new()]);
    }
}
