//! One run as a trace for <https://ui.perfetto.dev> and `chrome://tracing`: the JSON form of
//! "Trace Event Format" (Google, 2016). Times are virtual, in microseconds.
//!
//! Process 0 are the faults, process 1 the numbers over time, and each lane is a process of its
//! own. What lasts is an asynchronous pair, because two of one lane may overlap and events that
//! nest may not.

use serde_json::{Value as Json, json};

use super::text::clean;
use crate::kernel::time::SimTime;
use crate::record::summary;
use crate::record::{Record, SpanKind};

const FAULTS: usize = 0;
const NUMBERS: usize = 1;
const FIRST_LANE: usize = 2;

/// The run that left `record`, an event a line.
pub fn trace(record: &Record) -> String {
    let mut names: Vec<&str> = Vec::new();
    for span in &record.spans {
        if !names.contains(&span.lane.as_str()) {
            names.push(&span.lane);
        }
    }
    let mut events = vec![named(FAULTS, "faults"), named(NUMBERS, "numbers over time")];
    events.extend((FIRST_LANE..).zip(&names).map(|(lane, name)| named(lane, name)));
    let mut timed: Vec<(SimTime, Json)> = Vec::new();
    for (id, fault) in record.faults.iter().enumerate() {
        let label = clean(&fault.label);
        timed.extend(lasting(FAULTS, "fault", &label, id, fault.from, fault.until));
    }
    for (id, span) in record.spans.iter().enumerate() {
        let lane = names.iter().position(|name| *name == span.lane).unwrap_or(0);
        let kind = span.kind.name();
        let label = if span.label.is_empty() { kind.to_owned() } else { clean(&span.label) };
        let lane = FIRST_LANE + lane;
        match span.kind {
            SpanKind::Belief => {
                timed.extend(lasting(lane, kind, &label, id, span.from, span.until));
            }
            SpanKind::Accepted | SpanKind::Refused => {
                timed.push((span.from, instant(lane, kind, &label, span.from)));
            }
        }
    }
    for curve in &record.curves {
        let at = if curve.at.is_empty() { String::new() } else { format!(", {}", curve.at) };
        let name = clean(&format!("{}{at}", curve.metric.title));
        let mut from = SimTime::ZERO;
        for value in &curve.values {
            if value.is_finite() {
                let unit = curve.metric.unit.name();
                let count = json!({
                    "ph": "C", "pid": NUMBERS, "ts": us(from), "name": name, "args": { unit: value },
                });
                timed.push((from, count));
            }
            from = from + curve.step;
        }
    }
    // Stable: what was so first at an instant stays first.
    timed.sort_by_key(|(at, _)| *at);
    events.extend(timed.into_iter().map(|(_, event)| event));
    let lines: Vec<String> = events.iter().map(Json::to_string).collect();
    let about = json!({
        "subject": record.subject.name(),
        "variant": clean(&summary::label(&record.variant, &record.point)),
        "seed": record.seed.0.to_string(),
        "fingerprint": format!("{:016x}", record.fingerprint),
    });
    format!(
        "{{\"displayTimeUnit\":\"ms\",\"otherData\":{about},\"traceEvents\":[\n{}\n]}}\n",
        lines.join(",\n")
    )
}

fn named(pid: usize, name: &str) -> Json {
    json!({ "ph": "M", "pid": pid, "name": "process_name", "args": { "name": clean(name) } })
}

fn us(time: SimTime) -> f64 {
    time.as_ns() as f64 / 1000.0
}

fn instant(pid: usize, kind: &str, name: &str, at: SimTime) -> Json {
    json!({ "ph": "i", "s": "p", "pid": pid, "tid": 0, "cat": kind, "name": name, "ts": us(at) })
}

/// The beginning and the end of something; what takes no time is one instant.
fn lasting(
    pid: usize,
    kind: &str,
    name: &str,
    id: usize,
    from: SimTime,
    until: SimTime,
) -> Vec<(SimTime, Json)> {
    if until <= from {
        return vec![(from, instant(pid, kind, name, from))];
    }
    let end = |phase: &str, at: SimTime| {
        let event = json!({
            "ph": phase, "pid": pid, "tid": 0, "cat": kind, "name": name,
            "id": format!("{kind}-{id}"), "ts": us(at),
        });
        (at, event)
    };
    vec![end("b", from), end("e", until)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::record::Span;
    use crate::report::sample;

    fn traced() -> Vec<Json> {
        let mut record = sample::records(1).into_iter().find(|r| !r.curves.is_empty()).unwrap();
        let span = |kind, label: &str, from, until| Span {
            lane: "client-1".into(),
            kind,
            label: label.into(),
            from: SimTime::from_ms(from),
            until: SimTime::from_ms(until),
        };
        record.spans = vec![
            span(SpanKind::Belief, "token 1", 0, 20),
            span(SpanKind::Belief, "token 2", 10, 30),
            span(SpanKind::Refused, "writes \u{1b}3", 15, 15),
        ];
        let read: Json = serde_json::from_str(&trace(&record)).unwrap();
        read["traceEvents"].as_array().unwrap().clone()
    }

    #[test]
    fn every_event_has_what_its_phase_needs_and_time_does_not_run_back() {
        let mut last = 0.0;
        let mut phases = BTreeMap::new();
        for event in traced() {
            let phase = event["ph"].as_str().unwrap().to_owned();
            assert!(event["pid"].is_u64() && event["name"].is_string(), "{event}");
            if phase != "M" {
                let ts = event["ts"].as_f64().unwrap();
                assert!(last <= ts, "{event} after {last}");
                last = ts;
            }
            assert_eq!(event["args"].is_object(), phase == "M" || phase == "C", "{event}");
            *phases.entry(phase).or_insert(0) += 1;
        }
        assert_eq!(phases["b"], phases["e"]);
        // Two beliefs and three faults that last; one fault and one operation that do not.
        assert_eq!((phases["b"], phases["i"]), (5, 2));
    }

    #[test]
    fn what_begins_ends_under_the_same_name_in_the_same_process() {
        let mut open = BTreeMap::new();
        for event in traced() {
            let id = event["id"].as_str().unwrap_or_default().to_owned();
            let whose = (event["pid"].clone(), event["name"].clone());
            match event["ph"].as_str() {
                Some("b") => assert!(open.insert(id, whose).is_none(), "{event} begins twice"),
                Some("e") => assert_eq!(open.remove(&id), Some(whose), "{event}"),
                _ => (),
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
