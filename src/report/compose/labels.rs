//! Short names: of a variant no more than tells it from the others of a report.

use crate::record::summary::Group;

/// A name for each of `groups`: that of its variant and, where several have the same, the
/// parameters in which they differ. The whole label where that would not tell two apart.
pub(super) fn short(groups: &[&Group<'_>]) -> Vec<String> {
    let taken: Vec<Parts> = groups.iter().map(|group| Parts::of(group)).collect();
    let name = |mine: &Parts| {
        let kin: Vec<&Parts> = taken.iter().filter(|other| other.name == mine.name).collect();
        let differs = |key: &String, value: &String| {
            kin.iter().any(|other| other.value(key) != Some(value.as_str()))
        };
        let kept = mine.parameters.iter().filter(|(key, value)| differs(key, value));
        let kept: Vec<String> = kept.map(|(key, value)| format!("{key}={value}")).collect();
        let inner = if kept.is_empty() { String::new() } else { format!("{{{}}}", kept.join(",")) };
        let varies = |key: &String, value: &String| {
            let of = |other: &Parts| other.point.iter().any(|(k, v)| k == key && v == value);
            taken.iter().any(|other| !of(other))
        };
        let point = mine.point.iter().filter(|(key, value)| varies(key, value));
        let point: String = point.map(|(key, value)| format!(", {key}={value}")).collect();
        format!("{}{inner}{point}", mine.name)
    };
    let names: Vec<String> = taken.iter().map(name).collect();
    let is_taken_twice = |name: &String| 1 < names.iter().filter(|other| *other == name).count();
    let own = |(name, group): (&String, &&Group<'_>)| {
        if is_taken_twice(name) { group.label() } else { name.clone() }
    };
    names.iter().zip(groups).map(own).collect()
}

/// A label taken apart.
struct Parts {
    name: String,
    /// Those of nested tables by their path: `lock.wait.poll`.
    parameters: Vec<(String, String)>,
    point: Vec<(String, String)>,
}

impl Parts {
    fn of(group: &Group<'_>) -> Self {
        let label = group.variant;
        let whole = || (label.to_owned(), Vec::new());
        let (name, parameters) = match label.split_once('{') {
            Some((name, rest)) => match rest.strip_suffix('}') {
                Some(inner) => (name.to_owned(), flat("", inner)),
                None => whole(),
            },
            None => whole(),
        };
        Self { name, parameters, point: group.point.to_vec() }
    }

    fn value(&self, key: &str) -> Option<&str> {
        self.parameters.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }
}

/// `a=1,b={c=2}` as `a=1` and `b.c=2`.
fn flat(path: &str, text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for part in apart(text) {
        let Some((key, value)) = part.split_once('=') else {
            found.push((path.to_owned(), part.to_owned()));
            continue;
        };
        let key = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        match value.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) {
            Some(inner) => found.extend(flat(&key, inner)),
            None => found.push((key, value.to_owned())),
        }
    }
    found
}

/// `text` at the commas that stand in no bracket.
fn apart(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut from) = (Vec::new(), 0_usize, 0);
    for (at, c) in text.char_indices() {
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&text[from..at]);
                from = at + 1;
            }
            _ => (),
        }
    }
    parts.push(&text[from..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;
    use crate::record::summary::{self, tests::measured};

    fn short_of(labels: &[(&str, &str)]) -> Vec<String> {
        let record = |&(variant, nodes): &(&str, &str)| Record {
            point: vec![("nodes".into(), nodes.into())],
            ..measured(variant, 1, "", 1.0)
        };
        let records: Vec<Record> = labels.iter().map(record).collect();
        let groups = summary::groups(&records);
        short(&groups.iter().collect::<Vec<_>>())
    }

    #[test]
    fn a_name_has_what_tells_it_apart_and_no_more() {
        let names = short_of(&[
            ("raft{servers=5,pause=1s}", "3"),
            ("lease{ttl=1s,wait={poll=20ms,cap=[1,2]}}", "3"),
            ("lease{ttl=1s,wait={poll=50ms,cap=[1,2]}}", "3"),
            ("lease", "3"),
        ]);
        let of_lease = "ttl=1s,wait.poll=20ms,wait.cap=[1,2]";
        assert_eq!(names[0], "raft");
        assert_eq!(names[1], format!("lease{{{of_lease}}}"));
        assert_eq!(names[3], "lease");
        let names = short_of(&[("lease{ttl=1s,poll=20ms}", "3"), ("lease{ttl=1s,poll=9ms}", "3")]);
        assert_eq!(names, ["lease{poll=20ms}", "lease{poll=9ms}"]);
    }

    #[test]
    fn points_that_vary_stay_and_names_that_clash_are_whole() {
        assert_eq!(short_of(&[("a{b=1}", "3"), ("a{b=1}", "9")]), ["a, nodes=3", "a, nodes=9"]);
        let order = [("a{b=1,c=2}", "3"), ("a{c=2,b=1}", "3")];
        assert_eq!(short_of(&order), ["a{b=1,c=2}, nodes=3", "a{c=2,b=1}, nodes=3"]);
    }
}
