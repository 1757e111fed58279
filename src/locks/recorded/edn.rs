//! A reader of EDN, the notation in which Jepsen writes histories (github.com/edn-format/edn):
//! into JSON values, since a history has nothing that JSON cannot say. Keywords and symbols become
//! texts without their colon, sets and lists become arrays, tags are read over.
//!
//! Own, because the crates that read EDN tell no line, and one map a line is all that is needed.

use serde_json::{Map, Number, Value as Json};

/// A value and the line on which it begins, counted from 1.
pub(super) struct Placed {
    pub(super) line: usize,
    pub(super) value: Json,
}

/// Reads all values of `text`. One vector or list of maps counts as the maps in it.
///
/// # Errors
/// With the line of the first mistake, and what is wrong there.
pub(super) fn read(text: &str) -> Result<Vec<Placed>, (usize, String)> {
    let mut reader = Reader { rest: text, line: 1, depth: 0 };
    let mut values = Vec::new();
    loop {
        reader.skip()?;
        if reader.rest.is_empty() {
            return Ok(values);
        }
        match reader.rest.chars().next() {
            // A whole history in brackets: its maps keep their own lines.
            Some('[' | '(') if values.is_empty() => reader.list(&mut values)?,
            _ => {
                let line = reader.line;
                values.push(Placed { line, value: reader.value()? });
            }
        }
    }
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    depth: usize,
}

/// Deeper than this nothing sensible is nested.
const DEPTH_MAX: usize = 100;

impl Reader<'_> {
    fn wrong<T>(&self, what: impl Into<String>) -> Result<T, (usize, String)> {
        Err((self.line, what.into()))
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.line += usize::from(c == '\n');
        Some(c)
    }

    /// Goes over space, commas, comments and discarded values.
    fn skip(&mut self) -> Result<(), (usize, String)> {
        loop {
            match self.rest.chars().next() {
                Some(c) if c.is_whitespace() || c == ',' => {
                    self.next();
                }
                Some(';') => while self.next().is_some_and(|c| c != '\n') {},
                Some('#') if self.rest.starts_with("#_") => {
                    self.rest = &self.rest[2..];
                    self.value()?;
                }
                _ => return Ok(()),
            }
        }
    }

    fn list(&mut self, values: &mut Vec<Placed>) -> Result<(), (usize, String)> {
        let end = if self.next() == Some('[') { ']' } else { ')' };
        loop {
            self.skip()?;
            let line = self.line;
            match self.rest.chars().next() {
                Some(c) if c == end => {
                    self.next();
                    return Ok(());
                }
                Some(_) => values.push(Placed { line, value: self.value()? }),
                None => return self.wrong(format!("the file ends before its `{end}`")),
            }
        }
    }

    fn value(&mut self) -> Result<Json, (usize, String)> {
        self.depth += 1;
        if DEPTH_MAX < self.depth {
            return self.wrong("nested too deeply");
        }
        self.skip()?;
        let value = match self.rest.chars().next() {
            None => self.wrong("the file ends where a value was expected"),
            Some('{') => self.map(),
            Some('[') => self.sequence(']'),
            Some('(') => self.sequence(')'),
            Some('"') => self.text(),
            Some('#') if self.rest.starts_with("#{") => {
                self.next();
                self.sequence('}')
            }
            Some('#') => {
                // A tag, such as `#jepsen.history.Op{...}` or `#inst "..."`: its value is what
                // follows.
                self.next();
                self.word();
                self.value()
            }
            Some(c) if "})]".contains(c) => self.wrong(format!("`{c}` closes nothing")),
            Some(_) => Ok(self.atom()),
        };
        self.depth -= 1;
        value
    }

    fn sequence(&mut self, end: char) -> Result<Json, (usize, String)> {
        let mut values = Vec::new();
        self.next();
        loop {
            self.skip()?;
            match self.rest.chars().next() {
                Some(c) if c == end => {
                    self.next();
                    return Ok(Json::Array(values));
                }
                Some(_) => values.push(self.value()?),
                None => return self.wrong(format!("the file ends before its `{end}`")),
            }
        }
    }

    fn map(&mut self) -> Result<Json, (usize, String)> {
        let mut map = Map::new();
        self.next();
        loop {
            self.skip()?;
            if self.rest.starts_with('}') {
                self.next();
                return Ok(Json::Object(map));
            }
            let key = match self.value()? {
                Json::String(key) => key,
                other => other.to_string(),
            };
            self.skip()?;
            if self.rest.starts_with('}') {
                return self.wrong(format!("the key `{key}` has no value"));
            }
            map.insert(key, self.value()?);
        }
    }

    fn text(&mut self) -> Result<Json, (usize, String)> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                Some('"') => return Ok(Json::String(text)),
                Some('\\') => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some(c) => text.push(c),
                    None => return self.wrong("the file ends within a text"),
                },
                Some(c) => text.push(c),
                None => return self.wrong("the file ends within a text"),
            }
        }
    }

    /// What goes up to the next space or bracket.
    fn word(&mut self) -> String {
        let is_end = |c: char| c.is_whitespace() || ",;{}[]()\"".contains(c);
        let length = self.rest.find(is_end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(length);
        self.rest = rest;
        word.to_owned()
    }

    fn atom(&mut self) -> Json {
        let word = self.word();
        // `12N` and `1.5M` are Clojure's large numbers.
        let number = word.trim_end_matches(['N', 'M']);
        match word.as_str() {
            "nil" => Json::Null,
            "true" => Json::Bool(true),
            "false" => Json::Bool(false),
            _ => {
                let starts = number.trim_start_matches(['+', '-']);
                let parsed: Option<Number> = Some(number.trim_start_matches('+'))
                    .filter(|_| starts.starts_with(|c: char| c.is_ascii_digit()))
                    .and_then(|number| number.parse().ok());
                match parsed {
                    Some(number) => Json::Number(number),
                    None => Json::String(word.trim_start_matches(':').to_owned()),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values(text: &str) -> Vec<(usize, Json)> {
        read(text).unwrap().into_iter().map(|placed| (placed.line, placed.value)).collect()
    }

    #[test]
    fn a_history_of_jepsen_is_read_with_its_lines() {
        let text = "{:type :invoke, :f :acquire, :value nil, :process 0, :time 12}\n\
                    ; a comment\n\
                    #jepsen.history.Op{:type :ok, :value {:fence 3N}, :process :nemesis}\n";
        assert_eq!(
            values(text),
            [
                (
                    1,
                    json!({"type": "invoke", "f": "acquire", "value": null, "process": 0, "time": 12})
                ),
                (3, json!({"type": "ok", "value": {"fence": 3}, "process": "nemesis"})),
            ]
        );
        assert_eq!(
            values("[{:a [1 -2.5 \"x\\ny\"]}\n #_ {:b 1} {:c #{:d}}]"),
            [(1, json!({"a": [1, -2.5, "x\ny"]})), (2, json!({"c": ["d"]}))]
        );
    }

    #[test]
    fn a_mistake_is_told_with_its_line() {
        for (text, line, told) in [
            ("{:a 1}\n{:a", 2, "the file ends where a value was expected"),
            ("\n{:a}", 2, "the key `a` has no value"),
            ("{:a 1}\n]", 2, "`]` closes nothing"),
            ("{:a \"x", 1, "the file ends within a text"),
        ] {
            let (found, what) = read(text).err().unwrap();
            assert_eq!((found, what.as_str()), (line, told), "{text}");
        }
        let deep = "[".repeat(1000);
        assert!(read(&format!("{{:a {deep}")).is_err());
    }
}
