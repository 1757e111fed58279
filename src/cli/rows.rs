//! Keys, nodes and assignments in files that may be larger than memory: line by line, each with
//! its number, so that a mistake in any is told with its place.
//!
//! A file is CSV with a header, or, where the user says so, a bare list with one key a line. Both
//! may end their lines as Windows does and begin with a byte order mark; blank lines are passed
//! over. Nothing else is altered: a key is bytes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use crate::config::{nearest, printable};

use super::Failure;

/// The longest line that is read: whatever is longer is no list of keys.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// How a file is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Layout {
    /// Comma-separated, with a header.
    Csv,
    /// One value a line, as it stands: no header, no quotes.
    List,
}

/// A file that is read line by line.
pub(super) struct Rows {
    name: String,
    source: Box<dyn BufRead>,
    layout: Layout,
    columns: Vec<Column>,
    header_length: usize,
    line_number: u64,
    line: Vec<u8>,
    fields: Fields,
    is_done: bool,
}

#[derive(Debug)]
struct Column {
    name: &'static str,
    index: Option<usize>,
}

/// The fields of one line, one behind the other.
#[derive(Debug, Default)]
struct Fields {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Fields {
    fn get(&self, index: usize) -> &[u8] {
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..self.ends[index]]
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rows({}:{})", self.name, self.line_number)
    }
}

impl Rows {
    /// The file at `path`, or standard input for `-`. Its header has the `required` columns and
    /// may have the `optional` ones; others are passed over. A list has the first column alone.
    pub(super) fn open(
        path: &Path,
        layout: Layout,
        required: &[&'static str],
        optional: &[&'static str],
    ) -> Result<Self, Failure> {
        let (name, source): (String, Box<dyn Read>) = if path == Path::new("-") {
            ("standard input".to_owned(), Box::new(io::stdin()))
        } else {
            let name = path.display().to_string();
            let file = File::open(path).map_err(|error| unreadable(&name, &error))?;
            (name, Box::new(file))
        };
        let source = BufReader::with_capacity(1 << 16, source);
        Self::of(name, Box::new(source), layout, required, optional)
    }

    fn of(
        name: String,
        source: Box<dyn BufRead>,
        layout: Layout,
        required: &[&'static str],
        optional: &[&'static str],
    ) -> Result<Self, Failure> {
        let mut rows = Self {
            name,
            source,
            layout,
            columns: Vec::new(),
            header_length: 1,
            line_number: 0,
            line: Vec::new(),
            fields: Fields::default(),
            is_done: false,
        };
        if layout == Layout::List {
            let names = required.iter().chain(optional).enumerate();
            rows.columns =
                names.map(|(i, name)| Column { name, index: (i == 0).then_some(0) }).collect();
            return Ok(rows);
        }
        let expected = required.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>();
        let expected = format!("expected a header with {}", expected.join(" and "));
        if !rows.read_line()? {
            return Err(Failure::Usage(format!("{} is empty, {expected}", rows.name)));
        }
        rows.split()?;
        rows.header_length = rows.fields.ends.len();
        let found: Vec<String> = (0..rows.header_length)
            .map(|index| String::from_utf8_lossy(rows.fields.get(index)).trim().to_owned())
            .collect();
        for (place, &name) in required.iter().chain(optional).enumerate() {
            let index = found.iter().position(|found| found == name);
            if index.is_none() && place < required.len() {
                let shown = printable(&found.join(","));
                let known: Vec<&str> = found.iter().map(String::as_str).collect();
                let near = match nearest(name, &known) {
                    Some(near) => format!("; is `{}` the column `{name}`?", printable(near)),
                    None => String::new(),
                };
                return Err(rows.wrong(&format!("found `{shown}`, {expected}{near}")));
            }
            let twice = found.iter().filter(|found| *found == name).count();
            if 1 < twice {
                return Err(rows.wrong(&format!("the column `{name}` stands {twice} times")));
            }
            rows.columns.push(Column { name, index });
        }
        Ok(rows)
    }

    /// Goes to the next line. Whether there is one.
    pub(super) fn advance(&mut self) -> Result<bool, Failure> {
        if !self.read_line()? {
            return Ok(false);
        }
        match self.layout {
            Layout::List => {
                self.fields.bytes.clone_from(&self.line);
                self.fields.ends.clear();
                self.fields.ends.push(self.line.len());
            }
            Layout::Csv => self.split()?,
        }
        let (found, expected) = (self.fields.ends.len(), self.header_length);
        if found != expected {
            let fields = if found == 1 { "field" } else { "fields" };
            let message = format!("found {found} {fields}, expected {expected} as in the header");
            return Err(self.wrong(&message));
        }
        self.is_done = true;
        Ok(true)
    }

    /// Whether the file has the column at `column`, counted as they were asked for.
    pub(super) fn has(&self, column: usize) -> bool {
        self.columns[column].index.is_some()
    }

    /// A field of the line, as bytes; empty where the file does not have the column.
    pub(super) fn bytes(&self, column: usize) -> &[u8] {
        self.columns[column].index.map_or(&[], |index| self.fields.get(index))
    }

    /// A field of the line as a name: text, not empty.
    pub(super) fn name_in(&self, column: usize) -> Result<&str, Failure> {
        let name = self.columns[column].name;
        match std::str::from_utf8(self.bytes(column)) {
            Ok("") => Err(self.wrong(&format!("the {name} is empty"))),
            Ok(text) if text.contains(char::is_control) => {
                let shown = printable(text);
                Err(self
                    .wrong(&format!("found the {name} `{shown}`, expected no control character")))
            }
            Ok(text) => Ok(text),
            Err(_) => Err(self.wrong(&format!("the {name} is not UTF-8"))),
        }
    }

    /// A field of the line as a number that is not negative; 1 where the file lacks the column.
    pub(super) fn number(&self, column: usize) -> Result<f64, Failure> {
        if !self.has(column) {
            return Ok(1.0);
        }
        let text = String::from_utf8_lossy(self.bytes(column));
        match text.trim().parse::<f64>() {
            Ok(number) if number.is_finite() && 0.0 <= number => Ok(number),
            _ => {
                let (name, shown) = (self.columns[column].name, printable(&text));
                Err(self.wrong(&format!("found the {name} `{shown}`, expected a number from 0 on")))
            }
        }
    }

    /// The number of the line, counted from 1.
    pub(super) const fn line_number(&self) -> u64 {
        self.line_number
    }

    /// What messages call the file.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// `message` about the line.
    pub(super) fn wrong(&self, message: &str) -> Failure {
        Failure::Usage(format!("{}:{}: {message}", self.name, self.line_number))
    }

    /// That the file ended without a row, where it did.
    pub(super) fn expect_rows(&self) -> Result<(), Failure> {
        if self.is_done {
            return Ok(());
        }
        let what = match self.layout {
            Layout::Csv => "has no rows below its header",
            Layout::List => "is empty",
        };
        Err(Failure::Usage(format!("{} {what}, expected one at least", self.name)))
    }

    /// Reads a line that is not blank, without its end. Whether there is one.
    fn read_line(&mut self) -> Result<bool, Failure> {
        loop {
            self.line.clear();
            let mut limited = (&mut self.source).take(LINE_BYTES_MAX);
            let length = limited
                .read_until(b'\n', &mut self.line)
                .map_err(|error| unreadable(&self.name, &error))?;
            if length == 0 {
                return Ok(false);
            }
            self.line_number += 1;
            if self.line.last() == Some(&b'\n') {
                self.line.pop();
                if self.line.last() == Some(&b'\r') {
                    self.line.pop();
                }
            } else if length as u64 == LINE_BYTES_MAX {
                return Err(self.wrong(&format!("the line is longer than {LINE_BYTES_MAX} bytes")));
            }
            if self.line_number == 1 {
                if self.line.starts_with(b"\xff\xfe") || self.line.starts_with(b"\xfe\xff") {
                    return Err(self.wrong("the file is UTF-16, expected UTF-8"));
                }
                if self.line.starts_with(b"\xef\xbb\xbf") {
                    self.line.drain(..3);
                }
            }
            if !self.line.is_empty() {
                return Ok(true);
            }
        }
    }

    /// Makes fields of the line. One line is one record: a line break in quotes is refused, for
    /// then no number of a line could be trusted.
    fn split(&mut self) -> Result<(), Failure> {
        self.fields.bytes.clear();
        self.fields.ends.clear();
        if !self.line.contains(&b'"') {
            for field in self.line.split(|&byte| byte == b',') {
                self.fields.bytes.extend_from_slice(field);
                self.fields.ends.push(self.fields.bytes.len());
            }
            return Ok(());
        }
        let mut record = csv::ByteRecord::new();
        // What stands behind the line shows whether a quote was left open: it is swallowed then.
        let mut sentinel = csv::ByteRecord::new();
        let text = [self.line.as_slice(), b"\n-\n"].concat();
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(text.len())
            .from_reader(text.as_slice());
        let both = reader
            .read_byte_record(&mut record)
            .and_then(|first| Ok(first && reader.read_byte_record(&mut sentinel)?));
        match both {
            Ok(true) => (),
            Ok(false) => return Err(self.wrong("a quote is opened and not closed on this line")),
            Err(error) => return Err(self.wrong(&format!("not a line of CSV: {error}"))),
        }
        for field in &record {
            self.fields.bytes.extend_from_slice(field);
            self.fields.ends.push(self.fields.bytes.len());
        }
        Ok(())
    }
}

/// A key in a message.
pub(super) fn shown(key: &[u8]) -> String {
    format!("`{}`", printable(&String::from_utf8_lossy(key)))
}

/// That a file is not there is the user's mistake; that a disk fails is not.
fn unreadable(name: &str, error: &io::Error) -> Failure {
    let message = format!("cannot read {name}: {error}");
    match error.kind() {
        io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::IsADirectory
        | io::ErrorKind::InvalidFilename => Failure::Usage(message),
        _ => Failure::Io(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8], layout: Layout) -> Result<Rows, Failure> {
        let source = Box::new(io::Cursor::new(text.to_vec()));
        Rows::of("f.csv".into(), source, layout, &["key", "node"], &["weight"])
    }

    fn all(text: &[u8]) -> Result<Vec<(u64, String)>, Failure> {
        let mut rows = rows(text, Layout::Csv)?;
        let mut found = Vec::new();
        while rows.advance()? {
            let fields: Vec<_> =
                (0..3).map(|column| String::from_utf8_lossy(rows.bytes(column))).collect();
            found.push((rows.line_number(), fields.join("|")));
        }
        rows.expect_rows()?;
        Ok(found)
    }

    #[test]
    fn lines_are_read_with_their_numbers_however_they_end() {
        for text in [
            "node,key,note,weight\na,x,,2\n\nb,\"y,\"\"z\",n,3\n",
            "node,key,note,weight\r\na,x,,2\r\n\r\nb,\"y,\"\"z\",n,3\r\n",
            "\u{feff}node,key,note,weight\na,x,,2\n\nb,\"y,\"\"z\",n,3",
        ] {
            let found = all(text.as_bytes()).unwrap();
            assert_eq!(found, [(2, "x|a|2".to_owned()), (4, "y,\"z|b|3".to_owned())], "{text:?}");
        }
    }

    #[test]
    fn keys_of_a_list_are_bytes_as_they_stand() {
        let source = Box::new(io::Cursor::new(b"\"a\",1\n\xff \r\nkey".to_vec()));
        let mut rows = Rows::of("l".into(), source, Layout::List, &["key"], &["weight"]).unwrap();
        let mut found = Vec::new();
        while rows.advance().unwrap() {
            found.push(rows.bytes(0).to_owned());
            assert!(!rows.has(1));
        }
        assert_eq!(found, [b"\"a\",1".to_vec(), b"\xff ".to_vec(), b"key".to_vec()]);
    }

    #[test]
    fn what_is_wrong_is_told_with_file_and_line() {
        for (text, message) in [
            (&b""[..], "f.csv is empty, expected a header with `key` and `node`"),
            (b"\n\n", "f.csv is empty, expected a header with `key` and `node`"),
            (b"key,node\n", "f.csv has no rows below its header, expected one at least"),
            (
                b"keys,node\na,b\n",
                "f.csv:1: found `keys,node`, expected a header with `key` and `node`; is `keys` the column `key`?",
            ),
            (
                b"user:1,cache-7\n",
                "f.csv:1: found `user:1,cache-7`, expected a header with `key` and `node`",
            ),
            (b"key,node,key\n", "f.csv:1: the column `key` stands 2 times"),
            (b"key,node\na\n", "f.csv:2: found 1 field, expected 2 as in the header"),
            (b"key,node\n\na,b,c\n", "f.csv:3: found 3 fields, expected 2 as in the header"),
            (b"key,node\n\"a\nb\",c\n", "f.csv:2: a quote is opened and not closed on this line"),
            (b"\xff\xfek\0e\0y\0\n\0", "f.csv:1: the file is UTF-16, expected UTF-8"),
        ] {
            match all(text) {
                Err(Failure::Usage(found)) => assert_eq!(found, message),
                other => panic!("{other:?}, expected {message}"),
            }
        }
    }

    #[test]
    fn names_are_text_and_numbers_are_not_negative() {
        let mut rows =
            rows(b"key,node,weight\na,,-1\na,\xff,x\na,b\tc,NaN\na,b,1e3\n", Layout::Csv).unwrap();
        let mut messages = Vec::new();
        while rows.advance().unwrap() {
            for outcome in [rows.name_in(1).map(|_| ()), rows.number(2).map(|_| ())] {
                messages.extend(outcome.err().map(|failure| failure.message()));
            }
        }
        assert_eq!(
            messages,
            [
                "error: f.csv:2: the node is empty\n",
                "error: f.csv:2: found the weight `-1`, expected a number from 0 on\n",
                "error: f.csv:3: the node is not UTF-8\n",
                "error: f.csv:3: found the weight `x`, expected a number from 0 on\n",
                "error: f.csv:4: found the node `b\\tc`, expected no control character\n",
                "error: f.csv:4: found the weight `NaN`, expected a number from 0 on\n",
            ]
        );
    }
}
