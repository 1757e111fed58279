//! Faults: what a scenario asks for, and the plan that is drawn from it before a run.
//!
//! A fault is scripted (`at`, `every`), or generated (`rate`, `[nemesis]`); either way the seed
//! decides it before the first event, so that every variant of a scenario meets the same faults
//! and the plan can be printed. One kind waits for the protocol instead: `on` a point that a node
//! comes to, such as `checked`, between a lock client's check and its write.

use std::fmt;
use std::str::FromStr;

use serde_json::{Value as Json, json};

use crate::choice::About;
use crate::config;
use crate::config::{Config, Place, Problems, Rate, Value, ValueKind, nearest, printable};
use crate::kernel::rng::{Probability, Seed};
use crate::kernel::time::{SimDuration, SimTime};

use super::clock::ClockRate;
use super::directory::Directory;
use super::dist::{Dist, Sampler};
use super::network::{Cut, Effect};
use super::node::{NodeId, Signal};

/// One `[[fault]]` of a scenario: when, for how long, and what.
#[derive(Clone, Debug, PartialEq)]
pub struct FaultConfig {
    /// When it strikes.
    pub when: WhenConfig,
    /// How long it lasts; left out, it is not undone.
    pub lasts: Option<Dist>,
    /// The experiments of the file that it strikes; empty is all in which its targets exist.
    pub only: Vec<String>,
    /// What happens.
    pub action: FaultAction,
    /// Where it stands in the file.
    pub place: Place,
}

config! {
    /// When a fault strikes.
    pub struct WhenConfig {
        /// At this instant; with `every` or `rate`, not before it.
        pub at: Option<SimDuration> = None,
        /// Again and again, this far apart.
        pub every: Option<SimDuration> = None,
        /// Again and again, at random, this often on average.
        pub rate: Option<Rate> = None,
        /// No more from this instant on; for `every` and `rate`.
        pub until: Option<SimDuration> = None,
        /// When a node comes to a point of its protocol.
        pub on: Option<PointConfig> = None,
    }
}

config! {
    /// A point of a protocol that a fault waits for.
    pub struct PointConfig {
        /// The node, by name.
        pub node: String,
        /// The point, such as `checked`.
        pub point: String,
        /// Which time that it comes there.
        pub count: u32 = 1 => 1..=1_000_000,
    }
}

config! {
    /// Faults at random: each time one of several actions, all alike.
    pub struct NemesisConfig {
        /// How often on average.
        pub rate: Rate,
        /// Not before this instant.
        pub from: SimDuration = SimDuration::ZERO,
        /// No more from this instant on, so that the system can heal; left out, to the end.
        pub until: Option<SimDuration> = None,
        /// How long each lasts.
        pub r#for: Dist,
        /// What may happen.
        pub actions: Vec<FaultAction>,
        /// The experiments of the file that it strikes; empty is all.
        pub only: Vec<String> = Vec::new(),
    }
}

config! {
    /// What happens to the world.
    pub enum FaultAction {
        /// The process stops and later goes on where it was: a long garbage collection, SIGSTOP,
        /// a virtual machine that is moved. Time passes, buffers fill, timers fall due.
        "pause" => Pause(TargetConfig),
        /// The process dies: memory is lost, connections close at once, what the operating system
        /// has taken survives. With `for`, it starts again after that.
        "crash_process" => CrashProcess(TargetConfig),
        /// The machine dies: what was not synced is lost, and peers hear nothing.
        "crash_machine" => CrashMachine(TargetConfig),
        /// A process or machine that is down starts.
        "restart" => Restart(TargetConfig),
        /// Everything on the node takes longer.
        "slow" => Slow(SlowConfig),
        /// The wall clock is set forward or back.
        "clock_step" => ClockStep(ClockStepConfig),
        /// Both clocks run fast or slow.
        "clock_rate" => ClockRate(ClockRateConfig),
        /// The network splits.
        "partition" => Partition(PartitionConfig),
        /// One node, or each of several, is cut off from all others.
        "isolate" => Isolate(TargetConfig),
        /// Packets take longer.
        "link_delay" => LinkDelay(LinkDelayConfig),
        /// Packets are lost.
        "link_loss" => LinkLoss(LinkLossConfig),
        /// Messages come twice: a library, a proxy or a person sends the same thing again.
        "link_duplicate" => LinkDuplicate(LinkDuplicateConfig),
        /// Connections break at once, and both sides learn of it; what is under way on them is
        /// lost: a proxy that restarts, a firewall that forgets.
        "link_reset" => LinkReset(LinkResetConfig),
        /// The process is asked to end in good order (SIGTERM).
        "terminate" => Terminate(TargetConfig),
        /// One of the process's pool children is killed.
        "kill_child" => KillChild(TargetConfig),
    }
}

config! {
    /// Whom a fault strikes.
    pub struct TargetConfig {
        /// A node's name, a group (`clients`), `all`, or one of a group at random (`any:client`).
        pub target: String,
    }
}

config! {
    /// Whom a fault slows down, and how much.
    pub struct SlowConfig {
        /// Whom.
        pub target: String,
        /// How many times longer everything takes.
        pub factor: f64 => 0.001..=1_000_000.0,
    }
}

config! {
    /// Whose wall clock is set, and by how much.
    pub struct ClockStepConfig {
        /// Whose.
        pub target: String,
        /// By how much: `+3s` or `-3s`.
        pub by: Step,
    }
}

config! {
    /// Whose clocks run at another rate.
    pub struct ClockRateConfig {
        /// Whose.
        pub target: String,
        /// How fast, 1 being right; 1.0001 gains 0.36 s an hour.
        pub rate: f64 => 0.0..=1000.0,
    }
}

config! {
    /// How the network splits. A node on no side still reaches everyone: a partial partition.
    pub struct PartitionConfig {
        /// The sides, each a list of names and groups.
        pub sides: Vec<Vec<String>>,
        /// Only packets from the first side to the second are stopped.
        pub one_way: bool = false,
    }
    check Self::check;
}

config! {
    /// Which packets take longer.
    pub struct LinkDelayConfig {
        /// From whom.
        pub from: String,
        /// To whom.
        pub to: String,
        /// How much longer.
        pub add: Dist,
        /// Only messages of this kind.
        pub kind: Option<String> = None,
        /// Only that many.
        pub count: Option<u32> = None,
    }
}

config! {
    /// Which packets are lost.
    pub struct LinkLossConfig {
        /// From whom.
        pub from: String,
        /// To whom.
        pub to: String,
        /// How likely each.
        pub chance: Probability = Probability::ONE,
        /// Only messages of this kind.
        pub kind: Option<String> = None,
        /// Only that many.
        pub count: Option<u32> = None,
    }
}

config! {
    /// Which messages come twice.
    pub struct LinkDuplicateConfig {
        /// From whom.
        pub from: String,
        /// To whom.
        pub to: String,
        /// How long after the first the second comes.
        pub after: Dist,
        /// Only messages of this kind.
        pub kind: Option<String> = None,
        /// Only that many.
        pub count: Option<u32> = None,
    }
}

config! {
    /// Whose connections break.
    pub struct LinkResetConfig {
        /// Between whom.
        pub from: String,
        /// And whom.
        pub to: String,
    }
}

/// How far a wall clock is set, forward or back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Step {
    /// In nanoseconds.
    pub ns: i64,
}

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected a signed duration, such as \"+3s\" or \"-250ms\"".to_owned();
        let (sign, rest) = match text.as_bytes().first() {
            Some(b'+') => (1, &text[1..]),
            Some(b'-') => (-1, &text[1..]),
            _ => return Err(wrong()),
        };
        let length: SimDuration = rest.parse().map_err(|_| wrong())?;
        i64::try_from(length.as_ns()).map(|ns| Self { ns: sign * ns }).map_err(|_| wrong())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.ns < 0 { '-' } else { '+' };
        write!(f, "{sign}{}", SimDuration::from_ns(self.ns.unsigned_abs()))
    }
}

impl Config for Step {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let wrong = match &value.kind {
            ValueKind::Text(text) => match text.parse() {
                Ok(step) => return Some(step),
                Err(wrong) => wrong,
            },
            _ => "expected a signed duration, such as \"+3s\"".into(),
        };
        problems.add(value.place, format!("found {}, {wrong}", value.describe()));
        None
    }

    fn schema() -> Json {
        json!({ "type": "string", "pattern": r"^[+-]\d+(\.\d+)?\s*(ns|us|µs|ms|s|m|min|h|d)$" })
    }

    fn write(&self) -> Json {
        json!(self.to_string())
    }
}

/// The fields of a `[[fault]]` that are not its action.
const WHEN_FIELDS: &[&str] = &["at", "every", "rate", "until", "on", "for", "only"];

impl Config for FaultConfig {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        let ValueKind::Table(table) = &value.kind else {
            problems.add(value.place, format!("found {}, expected a table", value.describe()));
            return None;
        };
        let (mut when, mut actions) = (config::Table::default(), Vec::new());
        let (mut lasts, mut only) = (Some(None), Some(Vec::new()));
        for entry in &table.entries {
            match entry.key.as_str() {
                "for" => lasts = Dist::read(&entry.value, problems).map(Some),
                "only" => only = Vec::read(&entry.value, problems),
                key if WHEN_FIELDS.contains(&key) => when.entries.push(entry.clone()),
                _ => actions.push(entry),
            }
        }
        let when_value = Value { kind: ValueKind::Table(when), place: value.place };
        let when = WhenConfig::read(&when_value, problems);
        if let Some(when) = &when {
            when.check(value, problems);
        }
        let action = match actions.as_slice() {
            [entry] => read_action(entry, problems),
            [] => {
                problems.add_with_help(
                    value.place,
                    "this fault does nothing: expected one action",
                    "for example pause = { target = \"any:client\" }",
                );
                None
            }
            [_, others @ ..] => {
                for other in others {
                    let name = printable(&other.key);
                    problems.add(
                        other.key_place,
                        format!(
                            "a second action or an unknown field `{name}`: a fault has one action"
                        ),
                    );
                }
                None
            }
        };
        Some(Self { when: when?, lasts: lasts?, only: only?, action: action?, place: value.place })
    }

    fn schema() -> Json {
        let mut schema = WhenConfig::schema();
        let mut properties = schema["properties"].take();
        properties["for"] = Dist::schema();
        properties["only"] = Vec::<String>::schema();
        for case in FaultAction::schema()["oneOf"].as_array().into_iter().flatten() {
            for (name, action) in case["properties"].as_object().into_iter().flatten() {
                let mut action = action.clone();
                action["description"] = case["description"].clone();
                properties[name.as_str()] = action;
            }
        }
        json!({
            "type": "object",
            "description": "A fault: when, for how long, and one action.",
            "properties": properties,
            "additionalProperties": false,
        })
    }

    fn write(&self) -> Json {
        let mut table = self.when.write();
        if let Some(fields) = table.as_object_mut() {
            fields.retain(|_, value| !value.is_null());
        }
        if let Some(lasts) = &self.lasts {
            table["for"] = lasts.write();
        }
        if let Json::Object(action) = self.action.write() {
            for (name, content) in action {
                table[name.as_str()] = content;
            }
        }
        table
    }
}

/// Reads a fault's action; a name that is none is held against all fields of a fault.
fn read_action(entry: &config::Entry, problems: &mut Problems) -> Option<FaultAction> {
    let is_action = CATALOGUE.iter().any(|about| about.name == entry.key);
    if !is_action {
        let near = nearest(&entry.key, WHEN_FIELDS);
        if let Some(near) = near {
            let name = printable(&entry.key);
            problems.add_with_help(
                entry.key_place,
                format!("unknown field `{name}`"),
                format!("did you mean `{near}`?"),
            );
            return None;
        }
    }
    let table = config::Table { entries: vec![entry.clone()] };
    FaultAction::read(&Value { kind: ValueKind::Table(table), place: entry.key_place }, problems)
}

impl WhenConfig {
    fn check(&self, value: &Value, problems: &mut Problems) {
        let ways = [
            self.every.is_some(),
            self.rate.is_some(),
            self.on.is_some(),
            self.at.is_some() && self.every.is_none() && self.rate.is_none(),
        ];
        if ways.iter().filter(|&&is_given| is_given).count() != 1 {
            problems.add_with_help(
                value.place,
                "when does this fault strike? expected one of `at`, `every`, `rate` and `on`",
                "for example at = \"5s\"",
            );
        }
        if self.every == Some(SimDuration::ZERO) {
            problems.add(value.place, "`every` must be longer than nothing");
        }
    }
}

impl PartitionConfig {
    fn check(&self, value: &Value, problems: &mut Problems) {
        if !(2..=200).contains(&self.sides.len()) || (self.one_way && self.sides.len() != 2) {
            let expected = if self.one_way { "2 sides" } else { "at least 2 sides" };
            problems
                .add(value.place, format!("found {} sides, expected {expected}", self.sides.len()));
        }
    }
}

/// What `list faults` tells.
pub const CATALOGUE: &[About] = &[
    about("pause", "a process stops and later goes on where it was"),
    about("crash_process", "a process dies; what the operating system has taken survives"),
    about("crash_machine", "a machine dies; only what was synced survives, and peers hear nothing"),
    about("restart", "a process or machine that is down starts"),
    about("slow", "everything on a node takes longer"),
    about("clock_step", "a wall clock is set forward or back"),
    about("clock_rate", "both clocks of a node run fast or slow"),
    about("partition", "the network splits: symmetric, one-way or partial"),
    about("isolate", "a node is cut off from all others"),
    about("link_delay", "packets of a link, or of one kind on it, take longer"),
    about("link_loss", "packets of a link, or of one kind on it, are lost"),
    about("link_duplicate", "messages of a link, or of one kind on it, come twice"),
    about("link_reset", "connections break, both sides learn of it, what is under way is lost"),
    about("terminate", "a process is asked to end in good order (SIGTERM)"),
    about("kill_child", "one of a process's pool children is killed (SIGKILL)"),
];

const fn about(name: &'static str, summary: &'static str) -> About {
    About { name, summary, source: "model/fault.rs", version: "" }
}

/// A fault that is going to happen.
#[derive(Clone, Debug)]
pub struct PlannedFault {
    /// When.
    pub trigger: Trigger,
    /// For how long; `None` is not undone.
    pub lasts: Option<SimDuration>,
    /// What it is, for a reader: "pause client-1".
    pub label: String,
    pub(super) strike: Strike,
}

/// When a planned fault strikes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Trigger {
    /// At this instant.
    At(SimTime),
    /// When this node comes to this point for the `count`-th time.
    On {
        /// The node.
        node: NodeId,
        /// The point.
        point: String,
        /// Which time; `None` is every time.
        count: Option<u32>,
    },
}

/// What a fault does, with everything drawn and every name resolved.
#[derive(Clone, Debug)]
pub(super) enum Strike {
    Pause(Vec<NodeId>),
    CrashProcess(Vec<NodeId>),
    CrashMachine(Vec<NodeId>),
    Restart(Vec<NodeId>),
    Slow(Vec<NodeId>, u64),
    ClockStep(Vec<NodeId>, i64),
    ClockRate(Vec<NodeId>, ClockRate),
    Cut { side: Vec<u8>, one_way: bool },
    Effect(Box<Effect>),
    Signal(Vec<NodeId>, Signal),
    Reset(Vec<NodeId>, Vec<NodeId>),
}

/// The faults of one run, in the order in which they were drawn.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    /// The faults.
    pub faults: Vec<PlannedFault>,
}

/// More faults than this in one run are refused: the scenario has a wrong unit.
pub const FAULT_COUNT_MAX: usize = 1_000_000;

impl FaultPlan {
    /// Draws the plan of a run that ends at `horizon`.
    ///
    /// # Errors
    /// Where there would be more than [`FAULT_COUNT_MAX`] faults.
    pub fn draw(
        faults: &[FaultConfig],
        nemesis: Option<&NemesisConfig>,
        directory: &Directory,
        horizon: SimTime,
        seed: Seed,
    ) -> Result<Self, String> {
        let mut plan = Self::default();
        for (index, fault) in faults.iter().enumerate() {
            let mut times = seed.stream("fault times", &index.to_string());
            let lasts = fault.lasts.as_ref().map(Dist::sampler);
            for trigger in triggers(&fault.when, directory, horizon, &mut times)? {
                let lasts = lasts.as_ref().map(|lasts| lasts.draw(&mut times));
                plan.add(trigger, lasts, &fault.action, directory, seed)?;
            }
        }
        if let Some(nemesis) = nemesis.filter(|nemesis| !nemesis.actions.is_empty()) {
            let mut rng = seed.stream("nemesis", "");
            let lasts = nemesis.r#for.sampler();
            let until = nemesis.until.map_or(horizon, |until| SimTime::ZERO + until).min(horizon);
            let start = SimTime::ZERO + nemesis.from;
            for at in poisson(nemesis.rate, start, until, &mut rng)? {
                let action = &nemesis.actions[rng.below(nemesis.actions.len() as u64) as usize];
                let lasts = Some(lasts.draw(&mut rng));
                plan.add(Trigger::At(at), lasts, action, directory, seed)?;
            }
        }
        Ok(plan)
    }

    /// Whenever `node` comes to `point`, its process crashes, and starts again after `lasts`; left
    /// out, it does not.
    pub fn crash_whenever(
        &mut self,
        node: NodeId,
        point: &str,
        lasts: Option<SimDuration>,
        label: String,
    ) {
        let trigger = Trigger::On { node, point: point.to_owned(), count: None };
        let strike = Strike::CrashProcess(vec![node]);
        self.faults.push(PlannedFault { trigger, lasts, label, strike });
    }

    fn add(
        &mut self,
        trigger: Trigger,
        lasts: Option<SimDuration>,
        action: &FaultAction,
        directory: &Directory,
        seed: Seed,
    ) -> Result<(), String> {
        if FAULT_COUNT_MAX <= self.faults.len() {
            return Err(too_many());
        }
        let number = self.faults.len() as u32;
        let (strike, label) = action.strike(number, directory, seed);
        self.faults.push(PlannedFault { trigger, lasts, label, strike });
        Ok(())
    }
}

fn too_many() -> String {
    format!("the plan has more than {FAULT_COUNT_MAX} faults")
}

fn triggers(
    when: &WhenConfig,
    directory: &Directory,
    horizon: SimTime,
    rng: &mut crate::kernel::rng::Rng,
) -> Result<Vec<Trigger>, String> {
    if let Some(on) = &when.on {
        let node = directory.resolve(&on.node, rng).expect("a fault's targets were checked")[0];
        return Ok(vec![Trigger::On { node, point: on.point.clone(), count: Some(on.count) }]);
    }
    let start = SimTime::ZERO + when.at.or(when.every).unwrap_or(SimDuration::ZERO);
    let until = when.until.map_or(horizon, |until| SimTime::ZERO + until).min(horizon);
    let times = match (when.every, when.rate) {
        (Some(every), _) => {
            if FAULT_COUNT_MAX as u64 <= until.since(start).as_ns() / every.as_ns() {
                return Err(too_many());
            }
            let mut times = Vec::new();
            let mut at = start;
            while at < until {
                times.push(at);
                at = at + every;
            }
            times
        }
        (None, Some(rate)) => poisson(rate, start, until, rng)?,
        (None, None) => vec![start],
    };
    Ok(times.into_iter().map(Trigger::At).collect())
}

fn poisson(
    rate: Rate,
    start: SimTime,
    until: SimTime,
    rng: &mut crate::kernel::rng::Rng,
) -> Result<Vec<SimTime>, String> {
    let mut times = Vec::new();
    if rate.as_per_second() <= 0.0 {
        return Ok(times);
    }
    let mean_ns = 1e9 / rate.as_per_second();
    let mut at = start;
    loop {
        at = at + SimDuration::from_ns_f64(mean_ns * rng.exponential());
        if until <= at {
            return Ok(times);
        }
        if FAULT_COUNT_MAX <= times.len() {
            return Err(too_many());
        }
        times.push(at);
    }
}

impl FaultAction {
    /// Holds the nodes that the action names against those that there are.
    pub fn check_targets(&self, place: Place, directory: &Directory, problems: &mut Problems) {
        for target in self.targets() {
            directory.check(target, place, problems);
        }
    }

    /// Every node or group that the action names.
    pub fn targets(&self) -> Vec<&str> {
        match self {
            Self::Pause(t)
            | Self::CrashProcess(t)
            | Self::CrashMachine(t)
            | Self::Restart(t)
            | Self::Isolate(t)
            | Self::Terminate(t)
            | Self::KillChild(t) => vec![&t.target],
            Self::Slow(slow) => vec![&slow.target],
            Self::ClockStep(step) => vec![&step.target],
            Self::ClockRate(rate) => vec![&rate.target],
            Self::Partition(split) => split.sides.iter().flatten().map(String::as_str).collect(),
            Self::LinkDelay(delay) => vec![&delay.from, &delay.to],
            Self::LinkLoss(loss) => vec![&loss.from, &loss.to],
            Self::LinkDuplicate(copy) => vec![&copy.from, &copy.to],
            Self::LinkReset(link) => vec![&link.from, &link.to],
        }
    }

    fn strike(&self, number: u32, directory: &Directory, seed: Seed) -> (Strike, String) {
        let mut rng = seed.stream("fault targets", &number.to_string());
        let mut resolve = |target: &str| {
            directory.resolve(target, &mut rng).expect("a fault's targets were checked")
        };
        let names = |nodes: &[NodeId]| {
            const SHOWN: usize = 3;
            let mut names: Vec<&str> =
                nodes.iter().take(SHOWN).map(|&id| directory.name(id)).collect();
            let more = format!("{} more", nodes.len().saturating_sub(SHOWN));
            if SHOWN < nodes.len() {
                names.push(&more);
            }
            names.join(", ")
        };
        let mask = |nodes: &[NodeId]| {
            let mut mask = vec![false; directory.len()];
            for node in nodes {
                mask[node.index()] = true;
            }
            mask
        };
        let mut link = |from: &str, to: &str| {
            let (from, to) = (resolve(from), resolve(to));
            let label = format!("{} to {}", names(&from), names(&to));
            (mask(&from), mask(&to), label)
        };
        let effect_rng = seed.stream("fault effect", &number.to_string());
        match self {
            Self::Pause(t) => {
                let nodes = resolve(&t.target);
                let label = format!("pause {}", names(&nodes));
                (Strike::Pause(nodes), label)
            }
            Self::CrashProcess(t) => {
                let nodes = resolve(&t.target);
                let label = format!("crash {}", names(&nodes));
                (Strike::CrashProcess(nodes), label)
            }
            Self::CrashMachine(t) => {
                let nodes = resolve(&t.target);
                let label = format!("power off {}", names(&nodes));
                (Strike::CrashMachine(nodes), label)
            }
            Self::Restart(t) => {
                let nodes = resolve(&t.target);
                let label = format!("restart {}", names(&nodes));
                (Strike::Restart(nodes), label)
            }
            Self::Terminate(t) => {
                let nodes = resolve(&t.target);
                let label = format!("terminate {}", names(&nodes));
                (Strike::Signal(nodes, Signal::Terminate), label)
            }
            Self::KillChild(t) => {
                let nodes = resolve(&t.target);
                let label = format!("kill a child of {}", names(&nodes));
                (Strike::Signal(nodes, Signal::ChildKilled), label)
            }
            Self::Slow(slow) => {
                let nodes = resolve(&slow.target);
                let label = format!("slow {} x{}", names(&nodes), slow.factor);
                (Strike::Slow(nodes, (slow.factor * 1000.0 + 0.5) as u64), label)
            }
            Self::ClockStep(step) => {
                let nodes = resolve(&step.target);
                let label = format!("clock of {} {}", names(&nodes), step.by);
                (Strike::ClockStep(nodes, step.by.ns), label)
            }
            Self::ClockRate(rate) => {
                let nodes = resolve(&rate.target);
                let label = format!("clocks of {} x{}", names(&nodes), rate.rate);
                (Strike::ClockRate(nodes, ClockRate((rate.rate * 1e6 + 0.5) as u32)), label)
            }
            Self::Partition(split) => {
                let mut side = vec![0; directory.len()];
                let mut labels = Vec::new();
                for (index, targets) in split.sides.iter().enumerate() {
                    let nodes: Vec<NodeId> = targets.iter().flat_map(|t| resolve(t)).collect();
                    for node in &nodes {
                        side[node.index()] = index as u8 + 1;
                    }
                    labels.push(names(&nodes));
                }
                let arrow = if split.one_way { " -x " } else { " | " };
                let label = format!("partition {}", labels.join(arrow));
                (Strike::Cut { side, one_way: split.one_way }, label)
            }
            Self::Isolate(t) => {
                let nodes = resolve(&t.target);
                let mut side = vec![1; directory.len()];
                for (index, node) in nodes.iter().enumerate() {
                    // Each on a side of its own; more than the sides there are share the last.
                    side[node.index()] = u8::try_from(index + 2).unwrap_or(u8::MAX);
                }
                (Strike::Cut { side, one_way: false }, format!("isolate {}", names(&nodes)))
            }
            Self::LinkDelay(delay) => {
                let (from, to, link) = link(&delay.from, &delay.to);
                let label = format!("delay {}", with_kind(&link, delay.kind.as_deref()));
                let effect = Effect {
                    fault: number,
                    from,
                    to,
                    kind: delay.kind.clone(),
                    left: delay.count,
                    delay: Some(delay.add.sampler()),
                    loss: Probability::ZERO,
                    copy_after: None,
                    rng: effect_rng,
                };
                (Strike::Effect(Box::new(effect)), label)
            }
            Self::LinkLoss(loss) => {
                let (from, to, link) = link(&loss.from, &loss.to);
                let label = format!("loss {}", with_kind(&link, loss.kind.as_deref()));
                let effect = Effect {
                    fault: number,
                    from,
                    to,
                    kind: loss.kind.clone(),
                    left: loss.count,
                    delay: None::<Sampler>,
                    loss: loss.chance,
                    copy_after: None,
                    rng: effect_rng,
                };
                (Strike::Effect(Box::new(effect)), label)
            }
            Self::LinkReset(link) => {
                let (from, to) = (resolve(&link.from), resolve(&link.to));
                let label = format!("reset {} to {}", names(&from), names(&to));
                (Strike::Reset(from, to), label)
            }
            Self::LinkDuplicate(copy) => {
                let (from, to, link) = link(&copy.from, &copy.to);
                let label = format!("duplicate {}", with_kind(&link, copy.kind.as_deref()));
                let effect = Effect {
                    fault: number,
                    from,
                    to,
                    kind: copy.kind.clone(),
                    left: copy.count,
                    delay: None::<Sampler>,
                    loss: Probability::ZERO,
                    copy_after: Some(copy.after.sampler()),
                    rng: effect_rng,
                };
                (Strike::Effect(Box::new(effect)), label)
            }
        }
    }
}

fn with_kind(link: &str, kind: Option<&str>) -> String {
    kind.map_or_else(|| link.to_owned(), |kind| format!("{kind} {link}"))
}

impl Strike {
    pub(super) fn as_cut(&self, fault: u32) -> Option<Cut> {
        match self {
            Self::Cut { side, one_way } => {
                Some(Cut { fault, side: side.clone(), one_way: *one_way })
            }
            _ => None,
        }
    }
}
