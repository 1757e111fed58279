//! The world that a scenario puts around its experiments: links, faults, warm-up.
//!
//! One file may hold experiments with different nodes. A fault strikes those in which its targets
//! exist, or those that it names; a link or a zone concerns those that have such nodes. What
//! concerns none is a mistake.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use crate::config::{Config, Fields, Place, Problems, Value, ValueKind, unknown};
use crate::experiments::{Experiment, Laid};
use crate::kernel::rng::Seed;
use crate::kernel::time::{SimDuration, SimTime};
use crate::model::directory::Directory;
use crate::model::fault::{FaultAction, FaultConfig, NemesisConfig};
use crate::model::network::NetworkConfig;
use crate::model::surroundings::Surroundings;

/// When a run counts as settled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum WarmUp {
    /// After so long.
    Fixed(SimDuration),
    /// When MSER-5 says so of averages over the seeds, in a first round of runs.
    Mser5,
}

impl Config for WarmUp {
    fn read(value: &Value, problems: &mut Problems) -> Option<Self> {
        match &value.kind {
            ValueKind::Text(text) if text == "mser5" => Some(Self::Mser5),
            ValueKind::Text(text) => match text.parse() {
                Ok(after) => Some(Self::Fixed(after)),
                Err(expected) => {
                    let found = value.describe();
                    problems.add(value.place, format!("found {found}, {expected}, or \"mser5\""));
                    None
                }
            },
            _ => SimDuration::read(value, problems).map(Self::Fixed),
        }
    }

    fn schema() -> Json {
        json!({ "anyOf": [{ "const": "mser5" }, SimDuration::schema()] })
    }

    fn write(&self) -> Json {
        match self {
            Self::Fixed(after) => after.write(),
            Self::Mser5 => json!("mser5"),
        }
    }
}

/// What the file says of the world, before it is held against the experiments.
pub(super) struct WorldConfig {
    network: NetworkConfig,
    network_place: Place,
    faults: Vec<FaultConfig>,
    nemesis: Option<NemesisConfig>,
    nemesis_place: Place,
    warm_up: WarmUp,
    warm_up_place: Place,
}

impl WorldConfig {
    pub(super) fn read(fields: &Fields<'_>, problems: &mut Problems) -> Option<Self> {
        let network = fields.optional("network", NetworkConfig::default, problems);
        let faults = fields.optional("fault", Vec::new, problems);
        let nemesis = fields.optional("nemesis", || None, problems);
        let warm_up = fields.optional("warm_up", || WarmUp::Fixed(SimDuration::ZERO), problems);
        Some(Self {
            network: network?,
            network_place: fields.place_of("network"),
            faults: faults?,
            nemesis: nemesis?,
            nemesis_place: fields.place_of("nemesis"),
            warm_up: warm_up?,
            warm_up_place: fields.place_of("warm_up"),
        })
    }

    /// Whether the warm-up is still to be found.
    pub(super) fn finds_warm_up(&self) -> bool {
        self.warm_up == WarmUp::Mser5
    }

    /// Puts the world around `experiments`.
    pub(super) fn surround(
        self,
        experiments: Vec<Box<dyn Laid>>,
        problems: &mut Problems,
    ) -> Vec<Arc<dyn Experiment>> {
        let nodes = Nodes {
            of: experiments
                .iter()
                .map(|laid| (laid.subject().name(), laid.directory().cloned()))
                .collect(),
        };
        let all = self.network.zones.iter().flat_map(|zone| &zone.nodes).map(String::as_str);
        let ends = self.network.links.iter().flat_map(|link| [link.from.as_str(), &link.to]);
        for target in all.chain(ends) {
            nodes.check_somewhere(&[target], self.network_place, problems);
        }
        for fault in &self.faults {
            nodes.check(&targets_of(fault), &fault.only, fault.place, problems);
        }
        let nemesis_targets = self.nemesis.as_ref().map_or(Vec::new(), nemesis_targets);
        if let Some(nemesis) = &self.nemesis {
            nodes.check(&nemesis_targets, &nemesis.only, self.nemesis_place, problems);
        }
        let warm_up = match self.warm_up {
            WarmUp::Fixed(after) => after,
            WarmUp::Mser5 => SimDuration::ZERO,
        };
        for laid in &experiments {
            if let Some(end) = laid.horizon()
                && end <= SimTime::ZERO + warm_up
            {
                let name = laid.subject().name();
                let message =
                    format!("the runs of {name} end at {end}, before anything is measured");
                problems.add(self.warm_up_place, message);
            }
        }
        let surround = |laid: Box<dyn Laid>| {
            let subject = laid.subject().name();
            let Some(directory) = laid.directory() else {
                return laid.within(Surroundings::default());
            };
            let strikes = |only: &[String], targets: &[&str]| {
                (only.is_empty() || only.iter().any(|name| name == subject))
                    && exist(directory, targets)
            };
            let mut network = self.network.clone();
            for zone in &mut network.zones {
                zone.nodes.retain(|node| exist(directory, &[node]));
            }
            network.links.retain(|link| exist(directory, &[&link.from, &link.to]));
            let mut faults = self.faults.clone();
            faults.retain(|fault| strikes(&fault.only, &targets_of(fault)));
            let nemesis =
                self.nemesis.clone().filter(|nemesis| strikes(&nemesis.only, &nemesis_targets));
            laid.within(Surroundings { network, faults, nemesis, warm_up })
        };
        let experiments: Vec<Arc<dyn Experiment>> = experiments.into_iter().map(surround).collect();
        let place = self.faults.first().map_or(self.nemesis_place, |fault| fault.place);
        // Whether there are too many hardly depends on the seed.
        for experiment in &experiments {
            if let Err(why) = experiment.faults(Seed(0)) {
                problems.add(place, why);
            }
        }
        experiments
    }
}

/// Every node or group that a fault names.
fn targets_of(fault: &FaultConfig) -> Vec<&str> {
    let point = fault.when.on.as_ref().map(|on| on.node.as_str());
    fault.action.targets().into_iter().chain(point).collect()
}

fn nemesis_targets(nemesis: &NemesisConfig) -> Vec<&str> {
    nemesis.actions.iter().flat_map(FaultAction::targets).collect()
}

fn exist(directory: &Directory, targets: &[&str]) -> bool {
    let mut problems = Problems::default();
    for target in targets {
        directory.check(target, Place::default(), &mut problems);
    }
    problems.is_empty()
}

/// The experiments of a scenario by name, with their nodes.
struct Nodes {
    of: Vec<(&'static str, Option<Directory>)>,
}

impl Nodes {
    /// Tells where `targets` do not all exist in each experiment of `only`; or, where that is
    /// empty, in any experiment.
    fn check(&self, targets: &[&str], only: &[String], place: Place, problems: &mut Problems) {
        if only.is_empty() {
            return self.check_somewhere(targets, place, problems);
        }
        let known: Vec<&str> = self.of.iter().map(|(name, _)| *name).collect();
        for named in only {
            match self.of.iter().find(|(name, _)| name == named) {
                Some((_, Some(directory))) => {
                    for target in targets {
                        directory.check(target, place, problems);
                    }
                }
                Some((name, None)) => problems.add(place, no_nodes(name)),
                None => unknown(place, "experiment", named, &known, problems),
            }
        }
    }

    fn check_somewhere(&self, targets: &[&str], place: Place, problems: &mut Problems) {
        let mut directories = self.of.iter().filter_map(|(_, directory)| directory.as_ref());
        if directories.clone().any(|directory| exist(directory, targets)) {
            return;
        }
        match directories.next() {
            Some(directory) => {
                for target in targets {
                    directory.check(target, place, problems);
                }
            }
            None => {
                let names: Vec<&str> = self.of.iter().map(|(name, _)| *name).collect();
                problems.add(place, no_nodes(&names.join(", ")));
            }
        }
    }
}

fn no_nodes(name: &str) -> String {
    format!("the experiment {name} has no nodes that a link or a fault could name")
}
