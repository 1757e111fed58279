//! Crush maps as text, as `crushtool -d` writes them.

use std::collections::BTreeMap;

use super::crush::{Bucket, CrushMap, Item, Mode, RuleStep, Tunables};

/// A map with its names.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct NamedMap {
    pub(super) map: CrushMap,
    /// Devices by their names.
    pub(super) devices: BTreeMap<String, i32>,
    /// The steps of each rule, by its id.
    pub(super) rules: BTreeMap<u32, Vec<RuleStep>>,
}

#[derive(Default)]
struct Reader {
    tunables: Tunables,
    devices: BTreeMap<String, i32>,
    levels: BTreeMap<String, u32>,
    /// Buckets by name, once each is complete.
    items: BTreeMap<String, i32>,
    buckets: Vec<Bucket>,
    rules: BTreeMap<u32, Vec<RuleStep>>,
}

impl NamedMap {
    /// Reads a map.
    ///
    /// # Errors
    /// The number of the line that is wrong or beyond what is modelled, and what was expected.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut reader = Reader::default();
        let mut lines = (1..)
            .zip(text.lines())
            .map(|(number, line)| {
                let code = line.split('#').next().unwrap_or_default();
                (number, code.split_whitespace().collect::<Vec<&str>>())
            })
            .filter(|(_, words)| !words.is_empty());
        while let Some((number, words)) = lines.next() {
            let at = |error: String| format!("line {number} of the map: {error}");
            match words.as_slice() {
                ["tunable", name, value] => reader.tunable(name, value).map_err(at)?,
                ["device", id, name, ..] => {
                    let id = number_of(id).map_err(at)?;
                    reader.devices.insert((*name).to_owned(), id);
                }
                ["type", level, name] => {
                    reader.levels.insert((*name).to_owned(), number_of(level).map_err(at)?);
                }
                [head @ .., "{"] => {
                    let mut body = Vec::new();
                    loop {
                        match lines.next() {
                            None => return Err(at("it is not closed".into())),
                            Some((_, words)) if words == ["}"] => break,
                            Some(line) => body.push(line),
                        }
                    }
                    match head {
                        ["rule", ..] => reader.rule(&body)?,
                        [level, name] => reader.bucket(level, name, &body).map_err(at)?,
                        _ => return Err(at("expected a bucket or a rule".into())),
                    }
                }
                _ => return Err(at(format!("cannot read `{}`", words.join(" ")))),
            }
        }
        reader.finish()
    }
}

impl Reader {
    fn tunable(&mut self, name: &str, value: &str) -> Result<(), String> {
        let value: u32 = number_of(value)?;
        match name {
            "choose_total_tries" => self.tunables.choose_total_tries = value,
            "chooseleaf_descend_once" => self.tunables.chooseleaf_descend_once = value != 0,
            "chooseleaf_vary_r" => self.tunables.chooseleaf_vary_r = value,
            "chooseleaf_stable" => self.tunables.chooseleaf_stable = value != 0,
            "choose_local_tries" | "choose_local_fallback_tries" if value == 0 => (),
            "straw_calc_version" | "allowed_bucket_algs" => (),
            _ => return Err(format!("`{name} {value}` is not modelled")),
        }
        Ok(())
    }

    fn bucket(&mut self, level: &str, name: &str, body: &[(i32, Vec<&str>)]) -> Result<(), String> {
        let level = *self.levels.get(level).ok_or_else(|| format!("no type `{level}`"))?;
        let (mut id, mut items) = (None, Vec::new());
        for (_, words) in body {
            match words.as_slice() {
                // A shadow id for a device class.
                ["id", _, "class", _] | ["hash", "0"] | ["alg", "straw2"] => (),
                ["id", number] => id = Some(number_of::<i32>(number)?),
                ["item", item, rest @ ..] => {
                    let of_item = self.devices.get(*item).or_else(|| self.items.get(*item));
                    let id = *of_item.ok_or_else(|| format!("no device or bucket `{item}`"))?;
                    let weight = match rest {
                        ["weight", weight, ..] => fixed(weight)?,
                        _ => 0x1_0000,
                    };
                    items.push(Item { id, weight });
                }
                _ => return Err(format!("`{}` is not modelled", words.join(" "))),
            }
        }
        let id = id.filter(|id| *id < 0).ok_or("a bucket needs a negative id")?;
        self.items.insert(name.to_owned(), id);
        self.buckets.push(Bucket { id, level, items });
        Ok(())
    }

    fn rule(&mut self, body: &[(i32, Vec<&str>)]) -> Result<(), String> {
        let (mut id, mut steps) = (None, Vec::new());
        for (number, words) in body {
            let at = |error: String| format!("line {number} of the map: {error}");
            match words.as_slice() {
                ["id" | "ruleset", number] => id = Some(number_of(number).map_err(at)?),
                ["type" | "min_size" | "max_size", _] => (),
                ["step", step @ ..] => steps.push(self.step(step).map_err(at)?),
                _ => return Err(at(format!("`{}` is not modelled", words.join(" ")))),
            }
        }
        let id = id.ok_or("a rule needs an id")?;
        self.rules.insert(id, steps);
        Ok(())
    }

    fn step(&self, words: &[&str]) -> Result<RuleStep, String> {
        match words {
            ["take", name] => {
                let id = self.items.get(*name).ok_or_else(|| format!("no bucket `{name}`"))?;
                Ok(RuleStep::Take(*id))
            }
            ["emit"] => Ok(RuleStep::Emit),
            ["set_choose_tries", tries] => Ok(RuleStep::SetChooseTries(number_of(tries)?)),
            ["set_chooseleaf_tries", tries] => Ok(RuleStep::SetChooseleafTries(number_of(tries)?)),
            [verb @ ("choose" | "chooseleaf"), mode, count, "type", level] => {
                let level = *self.levels.get(*level).ok_or_else(|| format!("no type `{level}`"))?;
                let mode = match *mode {
                    "firstn" => Mode::FirstN,
                    "indep" => Mode::Indep,
                    _ => return Err(format!("found `{mode}`, expected firstn or indep")),
                };
                let count = number_of(count)?;
                Ok(RuleStep::Choose { count, level, mode, to_leaf: *verb == "chooseleaf" })
            }
            _ => Err(format!("`step {}` is not modelled", words.join(" "))),
        }
    }

    fn finish(mut self) -> Result<NamedMap, String> {
        self.buckets.sort_by_key(|bucket| bucket.id);
        if let Some([one, _]) = self.buckets.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(format!("two buckets have the id {}", one.id));
        }
        let last = self.devices.values().max().copied().unwrap_or(-1);
        if !(0..=DEVICES_MAX).contains(&last) || self.devices.values().any(|id| *id < 0) {
            return Err(format!("expected devices with ids from 0 to {DEVICES_MAX}"));
        }
        let map = CrushMap { buckets: self.buckets, tunables: self.tunables };
        Ok(NamedMap { map, devices: self.devices, rules: self.rules })
    }
}

fn number_of<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("found `{text}`, expected a whole number in range"))
}

/// A decimal number in units of 2⁻¹⁶.
pub(super) fn fixed(text: &str) -> Result<u32, String> {
    let wrong = || format!("found `{text}`, expected a weight");
    let number: f64 = text.parse().map_err(|_| wrong())?;
    // As `crushtool` does it: times 65,536 in single precision, and cut off.
    let scaled = number as f32 * 65_536.0;
    if (0.0..4_294_967_296.0).contains(&scaled) { Ok(scaled as u32) } else { Err(wrong()) }
}

const DEVICES_MAX: i32 = 1_000_000;
