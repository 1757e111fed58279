//! Who is in a cluster: nodes by name, in groups and zones.
//!
//! A wing makes the directory of an experiment from its set-up alone, before any node is built:
//! so a scenario's faults and links can be held against it when the file is read.

use crate::config::{Place, Problems, unknown};
use crate::kernel::rng::Rng;

use super::node::NodeId;

/// The nodes of a cluster, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Directory {
    entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq)]
struct Entry {
    name: String,
    group: &'static str,
    // From the widest to the narrowest, with `/` between; empty where it is not known.
    zone: String,
}

impl Directory {
    /// Adds `count` nodes `group-1`, `group-2`, ... ; one alone is called `group`.
    pub fn add_group(&mut self, group: &'static str, count: u32) -> Vec<NodeId> {
        (1..=count)
            .map(|number| {
                let name = if count == 1 { group.to_owned() } else { format!("{group}-{number}") };
                self.add(name, group)
            })
            .collect()
    }

    /// Adds a node of this name to `group`.
    pub fn add(&mut self, name: String, group: &'static str) -> NodeId {
        self.add_in_zone(name, group, "")
    }

    /// Adds a node of this name, which stands in `zone`, to `group`: `eu/rack-3` is in `eu` too.
    pub fn add_in_zone(&mut self, name: String, group: &'static str, zone: &str) -> NodeId {
        let id = NodeId(u32::try_from(self.entries.len()).expect("a limit on nodes was checked"));
        self.entries.push(Entry { name, group, zone: zone.to_owned() });
        id
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no node.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The name of a node.
    pub fn name(&self, id: NodeId) -> &str {
        &self.entries[id.index()].name
    }

    /// All nodes of a group.
    pub fn group(&self, group: &str) -> Vec<NodeId> {
        self.ids().filter(|id| self.entries[id.index()].group == group).collect()
    }

    /// All nodes.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.entries.len() as u32).map(NodeId)
    }

    /// The nodes that `target` names: a node's name, `NAMEs` or `NAME` for a whole group, a zone,
    /// `all`, or `any:GROUP` for one of a group or zone, drawn from `rng`.
    pub fn resolve(&self, target: &str, rng: &mut Rng) -> Option<Vec<NodeId>> {
        match target.strip_prefix("any:") {
            Some(group) => {
                let members = self.resolve_all(group)?;
                let chosen = rng.below(members.len() as u64) as usize;
                Some(vec![members[chosen]])
            }
            None => self.resolve_all(target),
        }
    }

    /// Tells `problems` where `target` names nobody.
    pub fn check(&self, target: &str, place: Place, problems: &mut Problems) {
        let sought = target.strip_prefix("any:").unwrap_or(target);
        if self.resolve_all(sought).is_none() {
            const SHOWN: usize = 12;
            let mut known: Vec<&str> = vec!["all"];
            for entry in &self.entries {
                if !known.contains(&entry.group) {
                    known.push(entry.group);
                }
            }
            let names = self.entries.iter().map(|entry| entry.name.as_str());
            known.extend(names.filter(|name| !self.is_group(name)).take(SHOWN));
            unknown(place, "target", target, &known, problems);
        }
    }

    fn is_group(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.group == name)
    }

    fn resolve_all(&self, target: &str) -> Option<Vec<NodeId>> {
        let singular = target.strip_suffix('s').unwrap_or(target);
        let found: Vec<NodeId> = self
            .ids()
            .filter(|id| {
                let entry = &self.entries[id.index()];
                target == "all"
                    || entry.name == target
                    || entry.group == target
                    || entry.group == singular
                    || is_within(&entry.zone, target)
            })
            .collect();
        (!found.is_empty()).then_some(found)
    }
}

/// Whether `zone` is `wider`, or a part of it.
fn is_within(zone: &str, wider: &str) -> bool {
    let rest = zone.strip_prefix(wider);
    !wider.is_empty() && rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::rng::Seed;

    #[test]
    fn a_target_is_a_node_a_group_or_one_of_a_group() {
        let mut directory = Directory::default();
        let servers = directory.add_group("server", 2);
        let resource = directory.add_group("resource", 1);
        let mut rng = Seed(1).stream("test", "directory");
        assert_eq!(directory.resolve("server-2", &mut rng), Some(vec![servers[1]]));
        assert_eq!(directory.resolve("servers", &mut rng), Some(servers.clone()));
        assert_eq!(directory.resolve("resource", &mut rng), Some(resource));
        assert_eq!(directory.resolve("any:server", &mut rng).map(|found| found.len()), Some(1));
        assert_eq!(directory.resolve("all", &mut rng).map(|found| found.len()), Some(3));
        assert_eq!(directory.resolve("client-9", &mut rng), None);
    }

    #[test]
    fn a_zone_is_a_target_with_all_that_stands_in_it() {
        let mut directory = Directory::default();
        let zones = ["eu/rack-1", "eu/rack-2", "us", "europe"];
        let ids: Vec<NodeId> = (zones.iter().enumerate())
            .map(|(number, zone)| directory.add_in_zone(format!("n{number}"), "node", zone))
            .collect();
        let mut rng = Seed(1).stream("test", "directory");
        assert_eq!(directory.resolve("eu", &mut rng), Some(vec![ids[0], ids[1]]));
        assert_eq!(directory.resolve("eu/rack-2", &mut rng), Some(vec![ids[1]]));
        assert_eq!(directory.resolve("eu/rack", &mut rng), None);
        assert_eq!(directory.resolve("", &mut rng), None);
    }
}
