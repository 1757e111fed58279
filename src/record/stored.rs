//! Records as lines of text, exactly: what is read back equals what was written, bit by bit.
//!
//! A line is a JSON object. Numbers are as precise as memory has them; those that JSON has no
//! literal for are the words `inf`, `-inf` and `nan`. A metric is stored by its name and found
//! again among those that the program knows, so that its definition is the program's own.

use serde_json::{Map, Value as Json, json};

use crate::kernel::rng::Seed;
use crate::kernel::time::{SimDuration, SimTime};

use super::{
    Curve, Distribution, Ending, FaultSpan, Flow, Measure, Metric, Profile, Record, Sample, Span,
    SpanKind, Subject,
};

/// Finds the metric of a subject by its name.
pub type MetricNamed<'a> = &'a dyn Fn(Subject, &str) -> Option<&'static Metric>;

impl Record {
    /// The record as an object on one line.
    pub fn to_json(&self) -> Json {
        let measures = self
            .measures
            .iter()
            .map(|measure| json!([measure.metric.name, measure.at, number(measure.value)]));
        let samples = self.samples.iter().map(|sample| {
            let buckets: Vec<(u64, u64)> = sample.distribution.buckets();
            json!([sample.metric.name, sample.at, buckets])
        });
        let curves = self.curves.iter().map(|curve| {
            let values: Vec<Json> = curve.values.iter().copied().map(number).collect();
            json!([curve.metric.name, curve.at, curve.step.as_ns(), values])
        });
        let profiles = self.profiles.iter().map(|profile| {
            let bars = profile.bars.iter().map(|(name, value)| json!([name, number(*value)]));
            let bars: Vec<Json> = bars.collect();
            json!([profile.metric.name, profile.at, bars, profile.fair.map(number)])
        });
        let faults = self
            .faults
            .iter()
            .map(|fault| json!([fault.label, fault.from.as_ns(), fault.until.as_ns()]));
        let mut object = json!({
            "subject": self.subject.name(),
            "variant": self.variant,
            "point": self.point,
            "seed": self.seed.0,
            "measures": measures.collect::<Vec<Json>>(),
            "samples": samples.collect::<Vec<Json>>(),
            "curves": curves.collect::<Vec<Json>>(),
            "profiles": profiles.collect::<Vec<Json>>(),
            "faults": faults.collect::<Vec<Json>>(),
            "findings": self.findings,
            "incomplete": match &self.ending {
                Ending::Complete => Json::Null,
                Ending::Incomplete(why) => json!(why),
            },
            "events": self.event_count,
            "fingerprint": self.fingerprint,
        });
        // Most runs have none of these.
        if !self.flows.is_empty() {
            let flows = self.flows.iter().map(|flow| {
                let row = |row: &Vec<f64>| row.iter().copied().map(number).collect::<Vec<Json>>();
                let amounts: Vec<Vec<Json>> = flow.amounts.iter().map(row).collect();
                json!([flow.metric.name, flow.at, flow.names, amounts])
            });
            object["flows"] = flows.collect();
        }
        if !self.spans.is_empty() {
            let spans = self.spans.iter().map(|span| {
                let Span { lane, kind, label, from, until } = span;
                json!([lane, kind.name(), label, from.as_ns(), until.as_ns()])
            });
            object["spans"] = spans.collect();
        }
        if let Some((from, until)) = self.window {
            object["window"] = json!([from.as_ns(), until.as_ns()]);
        }
        object
    }

    /// The record that `stored` was made from, with its metrics found by `metric_named`.
    ///
    /// # Errors
    /// Where it is no record, or one of another version: what is wrong, in a few words.
    pub fn from_json(stored: &Json, metric_named: MetricNamed<'_>) -> Result<Self, String> {
        let fields = Fields { object: stored.as_object().ok_or("expected an object")? };
        let name = text(fields.get("subject")?)?;
        let subject = Subject::ALL.into_iter().find(|subject| subject.name() == name);
        let subject = subject.ok_or_else(|| format!("no subject is called `{name}`"))?;
        let metric = |name: &Json| {
            let name = text(name)?;
            metric_named(subject, &name).ok_or_else(|| format!("no metric is called `{name}`"))
        };
        Ok(Self {
            subject,
            variant: text(fields.get("variant")?)?,
            point: fields.each("point", |[name, value]| Ok((text(name)?, text(value)?)))?,
            seed: Seed(whole(fields.get("seed")?)?),
            measures: fields.each("measures", |[name, at, value]| {
                Ok(Measure { metric: metric(name)?, at: text(at)?, value: float(value)? })
            })?,
            samples: fields.each("samples", |[name, at, buckets]| {
                let mut distribution = Distribution::new();
                for bucket in list(buckets)? {
                    let [value, count] = parts(bucket)?;
                    distribution.add_times(whole(value)?, whole(count)?);
                }
                distribution.pack();
                Ok(Sample { metric: metric(name)?, at: text(at)?, distribution })
            })?,
            curves: fields.each("curves", |[name, at, step, values]| {
                let values = list(values)?.iter().map(float).collect::<Result<_, _>>()?;
                let step = SimDuration::from_ns(whole(step)?);
                Ok(Curve { metric: metric(name)?, at: text(at)?, step, values })
            })?,
            profiles: fields.each("profiles", |[name, at, bars, fair]| {
                let bar = |bar: &Json| -> Result<(String, f64), String> {
                    let [name, value] = parts(bar)?;
                    Ok((text(name)?, float(value)?))
                };
                Ok(Profile {
                    metric: metric(name)?,
                    at: text(at)?,
                    bars: list(bars)?.iter().map(bar).collect::<Result<_, _>>()?,
                    fair: if fair.is_null() { None } else { Some(float(fair)?) },
                })
            })?,
            flows: fields.each_if_any("flows", |[name, at, names, amounts]| {
                let row = |row: &Json| list(row)?.iter().map(float).collect::<Result<_, _>>();
                Ok(Flow {
                    metric: metric(name)?,
                    at: text(at)?,
                    names: list(names)?.iter().map(text).collect::<Result<_, _>>()?,
                    amounts: list(amounts)?.iter().map(row).collect::<Result<_, _>>()?,
                })
            })?,
            spans: fields.each_if_any("spans", |[lane, kind, label, from, until]| {
                let name = text(kind)?;
                let kind = SpanKind::named(&name);
                Ok(Span {
                    lane: text(lane)?,
                    kind: kind.ok_or_else(|| format!("no kind of span is called `{name}`"))?,
                    label: text(label)?,
                    from: instant(from)?,
                    until: instant(until)?,
                })
            })?,
            faults: fields.each("faults", |[label, from, until]| {
                let (from, until) = (instant(from)?, instant(until)?);
                Ok(FaultSpan { label: text(label)?, from, until })
            })?,
            findings: list(fields.get("findings")?)?.iter().map(text).collect::<Result<_, _>>()?,
            window: match fields.object.get("window") {
                Some(window) => {
                    let [from, until] = parts(window)?;
                    Some((instant(from)?, instant(until)?))
                }
                None => None,
            },
            ending: match fields.get("incomplete")? {
                Json::Null => Ending::Complete,
                why => Ending::Incomplete(text(why)?),
            },
            event_count: whole(fields.get("events")?)?,
            fingerprint: whole(fields.get("fingerprint")?)?,
        })
    }
}

struct Fields<'a> {
    object: &'a Map<String, Json>,
}

impl<'a> Fields<'a> {
    fn get(&self, name: &str) -> Result<&'a Json, String> {
        self.object.get(name).ok_or_else(|| format!("`{name}` is missing"))
    }

    /// As [`Self::each`], of a list that may be missing.
    fn each_if_any<T, const N: usize>(
        &self,
        name: &str,
        read: impl Fn([&Json; N]) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        if self.object.contains_key(name) { self.each(name, read) } else { Ok(Vec::new()) }
    }

    /// What `read` makes of each item of the list `name`, taken apart into `N`.
    fn each<T, const N: usize>(
        &self,
        name: &str,
        read: impl Fn([&Json; N]) -> Result<T, String>,
    ) -> Result<Vec<T>, String> {
        list(self.get(name)?)?
            .iter()
            .map(|item| read(parts(item)?.each_ref().map(|part| *part)))
            .collect()
    }
}

fn number(value: f64) -> Json {
    if value.is_finite() {
        json!(value)
    } else if value.is_nan() {
        json!("nan")
    } else if value < 0.0 {
        json!("-inf")
    } else {
        json!("inf")
    }
}

fn float(value: &Json) -> Result<f64, String> {
    match value.as_str() {
        Some("inf") => Ok(f64::INFINITY),
        Some("-inf") => Ok(f64::NEG_INFINITY),
        Some("nan") => Ok(f64::NAN),
        _ => value.as_f64().ok_or_else(|| wrong(value, "a number")),
    }
}

fn whole(value: &Json) -> Result<u64, String> {
    value.as_u64().ok_or_else(|| wrong(value, "a whole number"))
}

fn instant(value: &Json) -> Result<SimTime, String> {
    Ok(SimTime::ZERO + SimDuration::from_ns(whole(value)?))
}

fn text(value: &Json) -> Result<String, String> {
    value.as_str().map(str::to_owned).ok_or_else(|| wrong(value, "a text"))
}

fn list(value: &Json) -> Result<&[Json], String> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| wrong(value, "a list"))
}

fn parts<const N: usize>(value: &Json) -> Result<[&Json; N], String> {
    let all: Vec<&Json> = list(value)?.iter().collect();
    all.try_into().map_err(|_| wrong(value, &format!("a list of {N}")))
}

fn wrong(found: &Json, expected: &str) -> String {
    let found: String = found.to_string().chars().take(40).collect();
    format!("found {found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Better, Unit};

    static METRIC: Metric = Metric {
        name: "wait",
        title: "wait",
        unit: Unit::Nanoseconds,
        better: Better::Lower,
        definition: "for a test",
    };

    fn known(_: Subject, name: &str) -> Option<&'static Metric> {
        (name == METRIC.name).then_some(&METRIC)
    }

    fn record() -> Record {
        let mut distribution = Distribution::new();
        for value in [0, 1, 1, 12_345, 987_654_321, u64::MAX / 4] {
            distribution.add(value);
        }
        let (metric, at) = (&METRIC, "leave n3".to_owned());
        Record {
            subject: Subject::Locks,
            variant: "token{ttl=\"1 s\"}".into(),
            point: vec![("clients".into(), "8".into())],
            seed: Seed(u64::MAX),
            measures: [0.1 + 0.2, -0.0, f64::INFINITY, 1e-310, 3.0]
                .map(|value| Measure { metric, at: at.clone(), value })
                .to_vec(),
            samples: vec![Sample { metric, at: at.clone(), distribution }],
            curves: vec![Curve {
                metric,
                at: at.clone(),
                step: SimDuration::from_ns(333_333_333),
                values: vec![1.0 / 3.0, f64::NEG_INFINITY, 0.0],
            }],
            flows: vec![Flow {
                metric,
                at: at.clone(),
                names: vec!["node-1".into(), "node-2".into()],
                amounts: vec![vec![0.0, 1.0 / 3.0], vec![f64::INFINITY, 0.0]],
            }],
            spans: vec![Span {
                lane: "client-1".into(),
                kind: SpanKind::Belief,
                label: "token 7".into(),
                from: SimTime::ZERO,
                until: SimTime::END,
            }],
            profiles: vec![Profile {
                metric,
                at,
                bars: vec![("node-1".into(), 0.7), ("node-2".into(), 0.3)],
                fair: Some(0.5),
            }],
            faults: vec![FaultSpan {
                label: "pause client-1".into(),
                from: SimTime::ZERO + SimDuration::from_ns(7),
                until: SimTime::END,
            }],
            findings: vec!["L1 at 3 s: <&>\n\u{1F512}".into()],
            window: Some((SimTime::from_ms(2), SimTime::from_ms(9))),
            ending: Ending::Incomplete("10 events".into()),
            event_count: 10,
            fingerprint: 0xfedc_ba98_7654_3210,
        }
    }

    #[test]
    fn what_is_read_back_equals_what_was_written_bit_by_bit() {
        let record = record();
        let line = record.to_json().to_string();
        assert_eq!(line.lines().count(), 1);
        let back = Record::from_json(&serde_json::from_str(&line).unwrap(), &known).unwrap();
        assert_eq!(back, record);
        for (measure, other) in back.measures.iter().zip(&record.measures) {
            assert_eq!(measure.value.to_bits(), other.value.to_bits());
        }
        let (one, other) = (&back.samples[0].distribution, &record.samples[0].distribution);
        assert_eq!(one.mean().to_bits(), other.mean().to_bits());
        assert_eq!((one.max(), one.quantile(0.5)), (other.max(), other.quantile(0.5)));
        assert_eq!(back.to_json().to_string(), line);
        let complete = Record { ending: Ending::Complete, ..record };
        assert_eq!(Record::from_json(&complete.to_json(), &known), Ok(complete));
    }

    #[test]
    fn what_is_no_record_is_told() {
        let good = record().to_json();
        let with = |name: &str, value: Json| {
            let mut bad = good.clone();
            bad[name] = value;
            Record::from_json(&bad, &known).unwrap_err()
        };
        assert_eq!(with("seed", json!(-1)), "found -1, expected a whole number");
        assert_eq!(with("subject", json!("cats")), "no subject is called `cats`");
        assert_eq!(with("measures", json!([["x", "", 1]])), "no metric is called `x`");
        assert_eq!(
            with("measures", json!([["wait", 1]])),
            "found [\"wait\",1], expected a list of 3"
        );
        assert_eq!(Record::from_json(&json!({}), &known).unwrap_err(), "`subject` is missing");
    }
}
