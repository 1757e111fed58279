//! Records of a user's own queue: what producers sent and were told, what consumers got and did.
//!
//! `docs/histories.md` tells the format. Order of sends is the order of the producers' lines, order
//! of deliveries that of the consumers'; times are not needed, because no clock is shared by both.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value as Json;

/// A mistake in a record.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mistake {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong there.
    pub text: String,
}

/// What became of one message.
#[derive(Clone, Debug, Default)]
struct Message {
    /// The line of its first send, and its place among first sends.
    sent: Option<(usize, usize)>,
    key: Option<String>,
    is_confirmed: bool,
    is_refused: bool,
    /// Lines of the consumers' record.
    deliveries: Vec<usize>,
    effects: Vec<usize>,
}

/// Both records.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    messages: BTreeMap<String, Message>,
    sent_count: usize,
    /// Ids in the order in which they were delivered, redeliveries too, each with its consumer.
    delivered: Vec<(String, String)>,
    has_effects: bool,
}

/// What a judge says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Opinion {
    /// The judge.
    pub judge: &'static str,
    /// Whether what it watches over was broken.
    pub is_bad: bool,
    /// What it counted, in a sentence.
    pub about: String,
    /// What it found: the record (whether the consumers'), the line, and what is wrong.
    pub findings: Vec<(bool, usize, String)>,
}

/// The judges, in their order.
pub const JUDGES: [&str; 5] = ["lost", "unknown", "duplicates", "redeliveries", "order"];

/// Reads both records: a JSON object a line.
///
/// # Errors
/// All mistakes of the producers' record, and all of the consumers'.
pub fn read(produced: &str, consumed: &str) -> Result<Recorded, (Vec<Mistake>, Vec<Mistake>)> {
    let mut recorded = Recorded::default();
    let producers = lines(produced, |line, event| recorded.produce(line, event));
    let consumers = lines(consumed, |line, event| recorded.consume(line, event));
    // Where nobody wrote down effects, a delivery is all that there is to see of one.
    recorded.has_effects = recorded.messages.values().any(|message| !message.effects.is_empty());
    if producers.is_empty() && consumers.is_empty() {
        Ok(recorded)
    } else {
        Err((producers, consumers))
    }
}

fn lines(text: &str, mut take: impl FnMut(usize, &Json) -> Result<(), String>) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (index, text) in text.lines().enumerate() {
        let line = index + 1;
        if text.trim().is_empty() {
            continue;
        }
        let outcome = serde_json::from_str::<Json>(text)
            .map_err(|error| format!("not a JSON object: {error}"))
            .and_then(|event| take(line, &event));
        if let Err(text) = outcome {
            mistakes.push(Mistake { line, text });
        }
    }
    mistakes
}

/// A field that is a text or a number.
fn name(event: &Json, field: &str) -> Result<Option<String>, String> {
    match &event[field] {
        Json::Null => Ok(None),
        Json::String(text) => Ok(Some(text.clone())),
        Json::Number(number) => Ok(Some(number.to_string())),
        other => Err(format!("`{field}` is {other}, expected a text or a number")),
    }
}

fn id_and_type(event: &Json) -> Result<(String, &str), String> {
    let id = name(event, "id")?.ok_or("`id` is missing: which message?")?;
    let kind = event["type"].as_str().ok_or("`type` is missing: what happened to it?")?;
    Ok((id, kind))
}

impl Recorded {
    fn produce(&mut self, line: usize, event: &Json) -> Result<(), String> {
        let (id, kind) = id_and_type(event)?;
        let key = name(event, "key")?;
        let message = self.messages.entry(id).or_default();
        match kind {
            "send" => {
                if message.sent.is_none() {
                    message.sent = Some((line, self.sent_count));
                    self.sent_count += 1;
                }
                message.key = message.key.take().or(key);
            }
            _ if message.sent.is_none() => return Err(format!("`{kind}` before any `send` of it")),
            "confirm" => message.is_confirmed = true,
            "fail" => message.is_refused = true,
            _ => {
                return Err(format!("`type` is `{kind}`, expected `send`, `confirm` or `fail`"));
            }
        }
        Ok(())
    }

    fn consume(&mut self, line: usize, event: &Json) -> Result<(), String> {
        let (id, kind) = id_and_type(event)?;
        let consumer = name(event, "consumer")?.unwrap_or_default();
        let message = self.messages.entry(id.clone()).or_default();
        match kind {
            "deliver" => {
                message.deliveries.push(line);
                self.delivered.push((id, consumer));
            }
            "effect" => message.effects.push(line),
            "ack" => (),
            _ => {
                return Err(format!("`type` is `{kind}`, expected `deliver`, `effect` or `ack`"));
            }
        }
        Ok(())
    }

    /// How many messages were sent, and how many deliveries there were.
    pub fn counts(&self) -> (usize, usize) {
        (self.sent_count, self.delivered.len())
    }

    fn effects<'a>(&self, message: &'a Message) -> &'a [usize] {
        if self.has_effects { &message.effects } else { &message.deliveries }
    }
}

/// What the judges say of the records.
pub fn judge(recorded: &Recorded) -> Vec<Opinion> {
    let effects = if recorded.has_effects { "effect" } else { "delivery" };
    let (mut lost, mut unconfirmed) = (Vec::new(), 0);
    let (mut unknown, mut duplicates, mut redeliveries) = (Vec::new(), Vec::new(), 0);
    for (id, message) in &recorded.messages {
        let done = recorded.effects(message);
        match message.sent {
            None => {
                let line = *message.deliveries.iter().chain(&message.effects).min().unwrap_or(&1);
                unknown.push((true, line, format!("`{id}` was never sent")));
            }
            Some((line, _)) if done.is_empty() && message.is_confirmed => {
                lost.push((false, line, format!("`{id}` was confirmed and has no {effects}")));
            }
            Some(_) if done.is_empty() && !message.is_refused => unconfirmed += 1,
            Some(_) => (),
        }
        redeliveries += message.deliveries.len().saturating_sub(1);
        if let [_, again @ ..] = message.effects.as_slice() {
            let each = again.iter().map(|&line| (true, line, format!("`{id}` took effect again")));
            duplicates.extend(each);
        }
    }
    let (order, late) = order(recorded);
    let told = |judge, is_bad, about, findings| Opinion { judge, is_bad, about, findings };
    vec![
        told(
            "lost",
            !lost.is_empty(),
            format!(
                "{} confirmed messages without {effects}; {unconfirmed} more that were neither \
                 confirmed nor refused",
                lost.len()
            ),
            lost,
        ),
        told(
            "unknown",
            !unknown.is_empty(),
            format!("{} messages from nowhere", unknown.len()),
            unknown,
        ),
        told(
            "duplicates",
            !duplicates.is_empty(),
            if recorded.has_effects {
                format!("{} effects beyond the first of a message", duplicates.len())
            } else {
                "no effects were written down: see redeliveries".into()
            },
            duplicates,
        ),
        told(
            "redeliveries",
            false,
            format!("{redeliveries} deliveries beyond the first of a message"),
            Vec::new(),
        ),
        told("order", !late.is_empty(), order, late),
    ]
}

/// The reorder distance of first deliveries, by consumer; and, where messages have keys, the effects
/// that came after one of a later message with the same key.
fn order(recorded: &Recorded) -> (String, Vec<(bool, usize, String)>) {
    let place =
        |id: &str| recorded.messages.get(id).and_then(|message| message.sent).map(|at| at.1);
    let mut seen = BTreeSet::new();
    let mut by_consumer: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let mut distance_max = 0;
    for (id, consumer) in &recorded.delivered {
        let is_first = seen.insert((consumer, id));
        let (true, Some(place)) = (is_first, place(id)) else { continue };
        // Sorted: how many later ones this consumer had before is a search away.
        let earlier = by_consumer.entry(consumer).or_default();
        let at = earlier.partition_point(|&other| other < place);
        distance_max = distance_max.max(earlier.len() - at);
        earlier.insert(at, place);
    }
    let mut first_effects: Vec<(usize, &str, &Message)> = recorded
        .messages
        .iter()
        .filter_map(|(id, message)| {
            Some((*recorded.effects(message).first()?, id.as_str(), message))
        })
        .collect();
    first_effects.sort_unstable_by_key(|&(line, _, _)| line);
    let mut latest: BTreeMap<&str, usize> = BTreeMap::new();
    let mut late = Vec::new();
    for (line, id, message) in first_effects {
        let (Some(key), Some((_, place))) = (&message.key, message.sent) else { continue };
        let latest = latest.entry(key).or_insert(place);
        if place < *latest {
            late.push((true, line, format!("`{id}` came after a later message with key `{key}`")));
        }
        *latest = place.max(*latest);
    }
    let about = format!(
        "reorder distance at most {distance_max} at a consumer; {} late by their key",
        late.len()
    );
    (about, late)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opinions(produced: &str, consumed: &str) -> BTreeMap<&'static str, Opinion> {
        let recorded = read(produced, consumed).unwrap();
        judge(&recorded).into_iter().map(|opinion| (opinion.judge, opinion)).collect()
    }

    fn sends(count: usize) -> String {
        (0..count).map(|id| format!("{{\"id\":{id},\"type\":\"send\",\"key\":\"k\"}}\n")).collect()
    }

    fn event(id: usize, kind: &str) -> String {
        format!("{{\"id\":{id},\"type\":\"{kind}\",\"consumer\":\"b\"}}\n")
    }

    #[test]
    fn a_confirmed_message_without_effect_is_lost_and_another_is_not_held_against_anybody() {
        let produced = sends(3) + "{\"id\":1,\"type\":\"confirm\"}\n";
        let found = opinions(&produced, &event(0, "deliver"));
        assert!(found["lost"].is_bad);
        let findings = &found["lost"].findings;
        assert_eq!(findings[..], [(false, 2, "`1` was confirmed and has no delivery".into())]);
        let consumed = event(0, "deliver") + &event(1, "deliver");
        assert!(!opinions(&produced, &consumed)["lost"].is_bad);
    }

    #[test]
    fn a_second_effect_is_a_duplicate_and_a_second_delivery_is_only_told() {
        let consumed = event(0, "deliver") + &event(0, "deliver") + &event(0, "effect");
        let found = opinions(&sends(1), &consumed);
        assert!(!found["duplicates"].is_bad);
        assert_eq!(found["redeliveries"].about, "1 deliveries beyond the first of a message");
        let found = opinions(&sends(1), &(consumed + &event(0, "effect")));
        assert_eq!(found["duplicates"].findings[..], [(true, 4, "`0` took effect again".into())]);
    }

    #[test]
    fn what_was_never_sent_is_from_nowhere() {
        assert!(opinions(&sends(1), &event(7, "deliver"))["unknown"].is_bad);
        assert!(!opinions(&sends(1), &event(0, "deliver"))["unknown"].is_bad);
    }

    #[test]
    fn the_order_after_a_consumers_death_has_distance_four() {
        let consumed: String =
            [4, 5, 6, 7, 0, 1, 2, 3, 8, 9].map(|id| event(id, "deliver")).concat();
        let found = opinions(&sends(10), &consumed);
        assert_eq!(
            found["order"].about,
            "reorder distance at most 4 at a consumer; 4 late by their key"
        );
        assert!(found["order"].is_bad);
        let sorted: String = (0..10).map(|id| event(id, "deliver")).collect();
        assert!(!opinions(&sends(10), &sorted)["order"].is_bad);
    }

    #[test]
    fn all_mistakes_are_told_with_their_lines() {
        let produced = "{\"id\":1,\"type\":\"confirm\"}\nhello\n{\"type\":\"send\"}\n";
        let (producers, consumers) = read(produced, "{\"id\":[],\"type\":\"x\"}").unwrap_err();
        let lines: Vec<usize> = producers.iter().map(|mistake| mistake.line).collect();
        assert_eq!(lines, [1, 2, 3]);
        assert_eq!(producers[0].text, "`confirm` before any `send` of it");
        assert_eq!(consumers[0].text, "`id` is [], expected a text or a number");
    }
}
