//! A path to a field, as `--set`, `--param` and `[sweep]` write it: `rings.node_count`,
//! `network.delay`, `rings.variants.ring.virtual_nodes`, `fault.0.for`.

use crate::config::{Entry, Place, Problems, Table, Value, ValueKind, printable, unknown};

/// A path to a field, in full: `experiment.rings.node_count`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct FieldPath {
    segments: Vec<String>,
}

/// What a path may begin with, so that the short forms can be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Vocabulary {
    /// The fields at the top of a scenario.
    pub(super) top: Vec<String>,
    /// The experiments that the scenario has, each with the fields that it may have.
    pub(super) experiments: Vec<(String, Vec<String>)>,
}

impl Vocabulary {
    /// Everything that a path may begin with.
    fn all(&self) -> Vec<&str> {
        let names = self.experiments.iter().map(|(name, _)| name);
        let fields = self.experiments.iter().flat_map(|(_, fields)| fields);
        let mut all: Vec<&str> = Vec::new();
        for name in self.top.iter().chain(names).chain(fields).map(String::as_str) {
            if !all.contains(&name) {
                all.push(name);
            }
        }
        all
    }
}

impl FieldPath {
    /// Reads a path. Short forms are completed: a wing's name stands for its experiment, and a
    /// field that only one experiment of the scenario has needs no more than its own name.
    pub(super) fn parse(
        text: &str,
        place: Place,
        vocabulary: &Vocabulary,
        problems: &mut Problems,
    ) -> Option<Self> {
        let mut segments: Vec<String> =
            text.trim().split('.').map(|s| s.trim().to_owned()).collect();
        let is_segment = |s: &String| {
            !s.is_empty() && s.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
        };
        if !segments.iter().all(is_segment) {
            problems.add_with_help(
                place,
                format!("found `{}`, expected the path of a field", printable(text)),
                "a path is names and list positions with dots between, such as `network.loss`",
            );
            return None;
        }
        let first = segments[0].clone();
        let owners: Vec<&str> = vocabulary
            .experiments
            .iter()
            .filter(|(_, fields)| fields.contains(&first))
            .map(|(name, _)| name.as_str())
            .collect();
        if !vocabulary.top.contains(&first) {
            match owners.as_slice() {
                _ if vocabulary.experiments.iter().any(|(name, _)| *name == first) => {
                    segments.insert(0, "experiment".into());
                }
                [owner] => drop(segments.splice(0..0, ["experiment".into(), (*owner).to_owned()])),
                [one, .., other] => {
                    problems.add_with_help(
                        place,
                        format!("`{first}` is a field of several experiments"),
                        format!("write `{one}.{}` or `{other}.{}`", text.trim(), text.trim()),
                    );
                    return None;
                }
                [] => {
                    unknown(place, "field", &first, &vocabulary.all(), problems);
                    return None;
                }
            }
        }
        Some(Self { segments })
    }

    /// Puts `value` where the path leads. What is on the way and not there yet is made: should no
    /// such field exist, whoever reads the tree will say so, and point at `place`.
    pub(super) fn set(
        &self,
        tree: &mut Value,
        value: Value,
        place: Place,
        problems: &mut Problems,
    ) {
        let mut at = tree;
        for (depth, segment) in self.segments.iter().enumerate() {
            match step(at, segment, place) {
                Some(next) => at = next,
                None => {
                    let so_far = self.segments[..depth].join(".");
                    let message = format!("`{so_far}` has no `{segment}` that could be set");
                    problems.add(place, message);
                    return;
                }
            }
        }
        *at = value;
    }

    /// The experiment that the path leads into; `None` where it concerns all of them.
    pub(super) fn experiment(&self) -> Option<&str> {
        match self.segments.as_slice() {
            [top, name, ..] if top == "experiment" => Some(name),
            _ => None,
        }
    }

    /// The variant, by name or by position in the list, whose parameter the path leads to.
    pub(super) fn variant(&self) -> Option<&str> {
        match self.segments.as_slice() {
            [top, _, list, name, ..] if top == "experiment" && list == "variants" => Some(name),
            _ => None,
        }
    }

    /// Where it leads within the variant, the experiment or the scenario: what reports call it.
    pub(super) fn short(&self) -> String {
        let skipped = match (self.experiment(), self.variant()) {
            (Some(_), Some(_)) => 4,
            (Some(_), None) => 2,
            (None, _) => 0,
        };
        let skipped = if skipped < self.segments.len() { skipped } else { 0 };
        self.segments[skipped..].join(".")
    }

    /// The first segment.
    pub(super) fn top(&self) -> &str {
        &self.segments[0]
    }

    /// Whether the path leads to a list of variants, and not into it.
    pub(super) fn is_variant_list(&self) -> bool {
        matches!(self.segments.as_slice(), [top, _, list] if top == "experiment" && list == "variants")
    }
}

/// One step down, from `at` to what is called `segment` in it.
fn step<'a>(at: &'a mut Value, segment: &str, place: Place) -> Option<&'a mut Value> {
    // A bare name is short for a table of that name which holds nothing.
    if matches!(&at.kind, ValueKind::Text(text) if text == segment) {
        let empty = Value { kind: ValueKind::Table(Table::default()), place: at.place };
        let entry = Entry { key: segment.to_owned(), key_place: at.place, value: empty };
        at.kind = ValueKind::Table(Table { entries: vec![entry] });
    }
    match &mut at.kind {
        ValueKind::Table(table) => {
            let index = table.entries.iter().position(|entry| entry.key == segment);
            let index = index.unwrap_or_else(|| {
                let value = Value { kind: ValueKind::Table(Table::default()), place };
                table.entries.push(Entry { key: segment.to_owned(), key_place: place, value });
                table.entries.len() - 1
            });
            Some(&mut table.entries[index].value)
        }
        ValueKind::List(items) => {
            let index = match segment.parse::<usize>() {
                Ok(index) => index,
                Err(_) => items.iter().position(|item| variant_called(item, segment).is_some())?,
            };
            let item = items.get_mut(index)?;
            // By its own name or by what the scenario calls it: the parameters are meant.
            match variant_called(item, segment) {
                Some(name) => step(item, &name, place),
                None => Some(item),
            }
        }
        _ => None,
    }
}

/// The name of the variant that `item` chooses (`"name"`, `{ name = ... }`, or
/// `{ name = ..., as = "label" }`), if `called` is its name or its label.
fn variant_called(item: &Value, called: &str) -> Option<String> {
    match &item.kind {
        ValueKind::Text(text) => (text == called).then(|| text.clone()),
        ValueKind::Table(table) => {
            let mut names = table.entries.iter().filter(|entry| entry.key != "as");
            let (Some(entry), None) = (names.next(), names.next()) else { return None };
            let label = table.get("as").map(|label| &label.kind);
            let is_label = matches!(label, Some(ValueKind::Text(text)) if text == called);
            (entry.key == called || is_label).then(|| entry.key.clone())
        }
        _ => None,
    }
}

/// Reads `path=value` that is source `source`: where the path stands, what it says, and the value.
/// The value is TOML, or else a string as it stands: `20ms` needs no quotes.
pub(super) fn assignment<'a>(
    text: &'a str,
    source: u16,
    problems: &mut Problems,
) -> Option<(&'a str, Place, Value)> {
    let whole = Place { source, start: 0, end: text.len() as u32 };
    let Some((path, value)) = text.split_once('=').filter(|(path, _)| !path.is_empty()) else {
        problems.add(whole, format!("found `{}`, expected path=value", printable(text)));
        return None;
    };
    let path_place = Place { end: path.len() as u32, ..whole };
    let value_place = Place { start: path.len() as u32 + 1, ..whole };
    Some((path, path_place, toml_or_text(value, value_place)))
}

/// Reads `path=a,b,c` that is source `source`, as [`assignment`] reads one value.
pub(super) fn enumeration<'a>(
    text: &'a str,
    source: u16,
    problems: &mut Problems,
) -> Option<(&'a str, Place, Vec<Value>)> {
    let (path, path_place, whole) = assignment(text, source, problems)?;
    let value_text = &text[path.len() + 1..];
    let listed = toml_or_text(&format!("[{value_text}]"), whole.place);
    let values = match listed.kind {
        // The bracket that was put in front moved every place by one.
        ValueKind::List(mut items) => {
            for item in &mut items {
                move_left(item, 1);
            }
            items
        }
        _ => {
            let mut start = whole.place.start;
            let mut items = Vec::new();
            for item in value_text.split(',') {
                let place = Place { start, end: start + item.len() as u32, ..whole.place };
                items.push(toml_or_text(item, place));
                start = place.end + 1;
            }
            items
        }
    };
    Some((path, path_place, values))
}

fn move_left(value: &mut Value, by: u32) {
    value.place.start = value.place.start.saturating_sub(by);
    value.place.end = value.place.end.saturating_sub(by);
    match &mut value.kind {
        ValueKind::List(items) => {
            for item in items {
                move_left(item, by);
            }
        }
        ValueKind::Table(table) => {
            for entry in &mut table.entries {
                entry.key_place.start = entry.key_place.start.saturating_sub(by);
                entry.key_place.end = entry.key_place.end.saturating_sub(by);
                move_left(&mut entry.value, by);
            }
        }
        _ => (),
    }
}

/// `text`, which stands at `place`, as a TOML value, or as a string where it is none.
fn toml_or_text(text: &str, place: Place) -> Value {
    // A key of just the length that puts the value where it stands in its source.
    let key = "x".repeat((place.start as usize).saturating_sub(1).max(1));
    let mut mistakes = Problems::default();
    let parsed = Value::parse(&format!("{key}={text}"), place.source, &mut mistakes);
    if let (true, ValueKind::Table(Table { mut entries })) = (mistakes.is_empty(), parsed.kind)
        && entries.len() == 1
        && let Some(entry) = entries.pop()
        && entry.key == key
    {
        return entry.value;
    }
    Value { kind: ValueKind::Text(text.to_owned()), place }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> Value {
        let mut problems = Problems::default();
        let tree = Value::parse(text, 0, &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        tree
    }

    fn vocabulary() -> Vocabulary {
        let fields = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Vocabulary {
            top: fields(&["schema", "experiment", "network", "fault"]),
            experiments: vec![
                ("rings".into(), fields(&["variants", "node_count"])),
                ("locks".into(), fields(&["variants", "hold"])),
            ],
        }
    }

    fn full(text: &str) -> Result<String, String> {
        let mut problems = Problems::default();
        let path = FieldPath::parse(text, Place::default(), &vocabulary(), &mut problems);
        path.map(|path| path.segments.join("."))
            .ok_or_else(|| problems.into_sorted()[0].message.clone())
    }

    #[test]
    fn short_paths_are_completed_where_only_one_field_can_be_meant() {
        for (short, long) in [
            ("node_count", "experiment.rings.node_count"),
            ("rings.node_count", "experiment.rings.node_count"),
            ("experiment.rings.node_count", "experiment.rings.node_count"),
            ("network.loss", "network.loss"),
        ] {
            assert_eq!(full(short), Ok(long.into()));
        }
        assert_eq!(full("variants"), Err("`variants` is a field of several experiments".into()));
        assert!(full("nod_count").unwrap_err().starts_with("unknown field `nod_count`"));
        assert!(full("a..b").is_err());
        assert!(full("a b").is_err());
    }

    /// `text` with 7 at `path`.
    fn with_seven(text: &str, path: &str) -> String {
        let mut value = tree(text);
        let mut problems = Problems::default();
        let path = FieldPath::parse(path, Place::default(), &vocabulary(), &mut problems).unwrap();
        let seven = Value { kind: ValueKind::Integer(7), place: Place::default() };
        path.set(&mut value, seven, Place::default(), &mut problems);
        assert!(problems.is_empty(), "{problems:?}");
        value.short()
    }

    #[test]
    fn set_reaches_fields_list_items_and_parameters_of_variants() {
        let before = "experiment.rings = { variants = ['modulo', 'ring', { jump = { a = 1 } }] }";
        let labelled = "experiment.rings = { variants = [{ ring = {}, as = 'few' }, 'ring'] }";
        let few = with_seven(labelled, "rings.variants.few.v");
        assert_eq!(few, "{experiment={rings={variants=[{ring={v=7},as=few},ring]}}}");
        for (path, expected) in [
            ("node_count", "{variants=[modulo,ring,{jump={a=1}}],node_count=7}"),
            ("rings.variants.ring.v", "{variants=[modulo,{ring={v=7}},{jump={a=1}}]}"),
            ("rings.variants.jump.a", "{variants=[modulo,ring,{jump={a=7}}]}"),
            ("rings.variants.0", "{variants=[7,ring,{jump={a=1}}]}"),
        ] {
            assert_eq!(with_seven(before, path), format!("{{experiment={{rings={expected}}}}}"));
        }
    }

    #[test]
    fn a_path_into_what_has_no_parts_is_a_mistake() {
        let mut value = tree("network.loss = '1%'");
        for text in ["network.loss.rate", "network.loss.0"] {
            let mut problems = Problems::default();
            let path =
                FieldPath::parse(text, Place::default(), &vocabulary(), &mut problems).unwrap();
            path.set(&mut value, tree(""), Place::default(), &mut problems);
            assert_eq!(problems.len(), 1, "{text}");
        }
    }

    #[test]
    fn values_are_toml_or_else_text_and_know_where_they_stand() {
        for (argument, shown, stands) in [
            ("a=7", "7", "7"),
            ("a.b.c=20ms", "20ms", "20ms"),
            ("a=\"20ms\"", "20ms", "\"20ms\""),
            ("a=[1, 2]", "[1,2]", "[1, 2]"),
            ("a={x='y'}", "{x=y}", "{x='y'}"),
            ("a=[1", "[1", "[1"),
            ("a=1\nb=2", "1\nb=2", "1\nb=2"),
            ("a=", "", ""),
        ] {
            let mut problems = Problems::default();
            let (_, _, value) = assignment(argument, 3, &mut problems).unwrap();
            let Place { source, start, end } = value.place;
            assert_eq!((value.short().as_str(), source), (shown, 3), "{argument}");
            assert_eq!(&argument[start as usize..end as usize], stands);
        }
    }

    #[test]
    fn enumerations_split_at_commas_that_part_values() {
        for (argument, parts) in [
            ("ab=1,20", vec!["1", "20"]),
            ("ab=10ms,2s", vec!["10ms", "2s"]),
            ("a=[1,2],[3]", vec!["[1,2]", "[3]"]),
            ("a=\"x,y\",'z'", vec!["\"x,y\"", "'z'"]),
        ] {
            let mut problems = Problems::default();
            let (_, _, values) = enumeration(argument, 1, &mut problems).unwrap();
            let stand: Vec<&str> = values
                .iter()
                .map(|value| &argument[value.place.start as usize..value.place.end as usize])
                .collect();
            assert_eq!(stand, parts);
        }
    }
}
