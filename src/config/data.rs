//! Data files that a scenario names: key weights, latency matrices, traces.
//!
//! What reads a scenario may not open files. So [`Problems`] carries a [`Library`] that can, lent by
//! whoever loads the scenario; a [`DataFile`] asks it. A data file becomes a source like the
//! scenario itself, so that a mistake in its line 812 is shown as any other.

use std::fmt;
use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::{Config, Launcher, Place, Problems, Value, ValueKind};

/// Opens the data files of one scenario, and says whether its programs may be started.
pub trait Library {
    /// The file at `path`, which is relative to the scenario's folder.
    ///
    /// # Errors
    /// Why it cannot be had: one line, lower case, no full stop.
    fn open(&mut self, path: &str) -> Result<DataFile, String>;

    /// The leave to start programs, and the means; there is none by default.
    fn launcher(&self) -> Option<Launcher> {
        None
    }
}

/// A text file named by a scenario, read in full. Written as its path, relative to the scenario.
#[derive(Clone, Eq, PartialEq)]
pub struct DataFile {
    /// Its path as the scenario writes it.
    pub path: String,
    /// Its number among the sources; see [`Place::source`].
    pub source: u16,
    /// What it holds.
    pub text: Arc<str>,
}

/// One line of a CSV file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// The fields, in the order of the columns that were asked for.
    pub fields: Vec<String>,
    /// Where the line stands.
    pub place: Place,
}

impl DataFile {
    /// Reads the file as CSV whose header names at least `columns`; other columns are passed over.
    /// An empty file, or one without rows, is a mistake.
    pub fn rows(&self, columns: &[&str], problems: &mut Problems) -> Option<Vec<Row>> {
        let before = problems.len();
        let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(self.text.as_bytes());
        let header = match reader.headers() {
            Ok(header) => header.clone(),
            Err(error) => {
                problems.add(self.line_at(0), format!("not a CSV file: {error}"));
                return None;
            }
        };
        let mut indices = Vec::with_capacity(columns.len());
        for &column in columns {
            match header.iter().position(|found| found.trim() == column) {
                Some(index) => indices.push(index),
                None => problems.add(
                    self.line_at(0),
                    format!(
                        "the column `{column}` is missing, expected a header with {}",
                        columns.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>().join(", ")
                    ),
                ),
            }
        }
        if before < problems.len() {
            return None;
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    let at = error.position().map_or(0, csv::Position::byte);
                    problems.add(self.line_at(at), format!("not a line of CSV: {error}"));
                    return None;
                }
            };
            let place = self.line_at(record.position().map_or(0, csv::Position::byte));
            if record.len() == header.len() {
                let fields = indices.iter().map(|&index| record[index].to_owned()).collect();
                rows.push(Row { fields, place });
            } else {
                let (found, expected) = (record.len(), header.len());
                let fields = if found == 1 { "field" } else { "fields" };
                let message =
                    format!("found {found} {fields}, expected {expected} as in the header");
                problems.add(place, message);
            }
        }
        if before < problems.len() {
            return None;
        }
        if rows.is_empty() {
            problems.add(self.line_at(0), "found no rows, expected at least one below the header");
            return None;
        }
        Some(rows)
    }

    /// The place of the line that begins at, or next after, `byte`.
    fn line_at(&self, byte: u64) -> Place {
        let byte = usize::try_from(byte).unwrap_or(usize::MAX).min(self.text.len());
        let rest = &self.text.as_bytes()[byte..];
        let blank = rest.iter().take_while(|&&b| b == b'\n' || b == b'\r').count();
        let start = byte + blank;
        let length = self.text[start..].find(['\n', '\r']).unwrap_or(self.text.len() - start);
        let narrow = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Place { source: self.source, start: narrow(start), end: narrow(start + length) }
    }
}

impl Row {
    /// Field `index` as a finite number that is not negative.
    pub fn number(&self, index: usize, problems: &mut Problems) -> Option<f64> {
        let text = self.fields[index].trim();
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() && 0.0 <= number => Some(number),
            _ => {
                let found = super::printable(text);
                problems.add(
                    self.place,
                    format!("found `{found}`, expected a number that is at least 0"),
                );
                None
            }
        }
    }
}

impl fmt::Debug for DataFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataFile({:?}, {} bytes)", self.path, self.text.len())
    }
}

impl Config for DataFile {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let ValueKind::Text(path) = &value.kind else {
            let message = format!("found {}, expected the path of a file", value.describe());
            problems.add(value.place, message);
            return None;
        };
        match problems.open(path) {
            Ok(file) => Some(file),
            Err(why) => {
                problems.add(value.place, why);
                None
            }
        }
    }

    fn schema() -> Json {
        json!({ "type": "string" })
    }

    fn write(&self) -> Json {
        json!(self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> DataFile {
        DataFile { path: "weights.csv".into(), source: 7, text: text.into() }
    }

    #[test]
    fn rows_come_in_the_asked_order_with_the_place_of_their_line() {
        let text = "key,note,weight\n\"@a,b\",x,1.5\r\n\nc,y,2\n";
        let mut problems = Problems::default();
        let rows = file(text).rows(&["weight", "key"], &mut problems).unwrap();
        assert!(problems.is_empty());
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                let Place { source, start, end } = row.place;
                (row.fields.join("|"), source, &text[start as usize..end as usize])
            })
            .collect();
        assert_eq!(shown, [("1.5|@a,b".into(), 7, "\"@a,b\",x,1.5"), ("2|c".into(), 7, "c,y,2")]);
    }

    #[test]
    fn what_is_wrong_with_a_data_file_is_told_with_its_place() {
        for (text, message) in [
            ("", "the column `key` is missing, expected a header with `key`, `weight`"),
            ("key,weight\n", "found no rows, expected at least one below the header"),
            ("key,weight\na,1\nb\n", "found 1 field, expected 2 as in the header"),
        ] {
            let mut problems = Problems::default();
            assert_eq!(file(text).rows(&["key", "weight"], &mut problems), None);
            assert_eq!(problems.into_sorted()[0].message, message);
        }
    }

    #[test]
    fn numbers_in_rows_are_finite_and_not_negative() {
        let mut problems = Problems::default();
        let rows = file("w\n1e3\nNaN\n-1\ninf\nten\n").rows(&["w"], &mut problems).unwrap();
        let numbers: Vec<_> = rows.iter().map(|row| row.number(0, &mut problems)).collect();
        assert_eq!(numbers, [Some(1000.0), None, None, None, None]);
        assert_eq!(problems.len(), 4);
    }
}
