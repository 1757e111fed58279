//! Ketama: the hash ring of the memcached clients, in the dialects that must not be mixed up.
//!
//! A server stands at the four 32-bit words of MD5 of each of its labels, `host:port-0` and so on;
//! a key belongs to the first point at or after the first word of its own MD5. Every client has
//! its own idea of how many labels a weight makes, in which arithmetic, and of when a port is
//! named; so two clients of one cluster may disagree on a third of the keys.
//!
//! Richard Jones, libketama, last.fm 2007; libmemcached 1.1.4 (`hosts.cc`); spymemcached
//! (`KetamaNodeLocator`), commit fd1447f; PyPI uhashring 2.5; npm hashring 3.2.0. Members are named
//! `host:port`. O(1) expected time after an MD5; 16 bytes a point and 4 to 8 for the index. A
//! change of the weights builds the ring anew, and where they differ it moves other keys too.

use md5::{Digest as _, Md5};

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::Hasher;
use crate::rings::ring::{Circle, Point};
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// Whose ketama it is.
    pub(super) enum KetamaDialect {
        /// libketama.
        "libketama" => Libketama,
        /// libmemcached, `MEMCACHED_BEHAVIOR_KETAMA`: 100 points a server whatever its weight,
        /// one a label, by Jenkins' one-at-a-time.
        "libmemcached" => Libmemcached,
        /// libmemcached, `MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED`; spymemcached's LIBMEMCACHED format.
        "libmemcached_weighted" => LibmemcachedWeighted,
        /// spymemcached with weights: its own format of labels, and libmemcached's arithmetic.
        "spymemcached" => Spymemcached,
        /// Python's uhashring.
        "uhashring" => Uhashring,
        /// The hashring of npm.
        "npm" => Npm,
    }
}

crate::config! {
    /// Parameters of `ketama`.
    pub(super) struct KetamaParams {
        /// Whose ketama it is.
        pub dialect: KetamaDialect = KetamaDialect::Libketama,
    }
}

/// Ketama. The experiment's hash function does not concern it: its own is part of it.
#[derive(Debug)]
pub(super) struct Ketama {
    dialect: KetamaDialect,
    members: Vec<(MemberId, Member)>,
    circle: Circle,
}

impl Ketama {
    fn build_circle(&mut self) {
        let total = self.members.iter().map(|(_, member)| member.weight).sum();
        let count = self.members.len();
        let mut points = Vec::new();
        for (id, member) in &self.members {
            let labels = self.dialect.label_count(member.weight, total, count);
            let name = self.dialect.label(&member.name);
            for label in 0..labels {
                let text = format!("{name}-{label}");
                let ats = self.dialect.points(text.as_bytes());
                points.extend((0..).zip(ats).map(|(number, at)| Point {
                    at: u64::from(at) << 32,
                    owner: id.0,
                    number: 4 * label + number,
                }));
            }
        }
        self.circle = Circle::of(points);
    }
}

impl KetamaDialect {
    /// How many labels a server of this weight has.
    fn label_count(&self, weight: f64, total: f64, count: usize) -> u32 {
        let servers = count as f32;
        // In the arithmetic of each client: its rounding is what makes points come and go.
        match self {
            Self::Libketama => {
                let share = weight as f32 / total as f32;
                (f64::from(share) * 40.0 * f64::from(servers)) as f32 as u32
            }
            Self::Libmemcached => 100,
            Self::LibmemcachedWeighted | Self::Spymemcached => {
                let share = weight as f32 / total as f32;
                let labels = share * 160.0 / 4.0 * servers;
                (f64::from(labels) + 1e-10) as f32 as u32
            }
            Self::Uhashring => ((40 * count as u64) as f64 * weight / total) as u32,
            Self::Npm => (weight / total * 40.0 * count as f64) as u32,
        }
    }

    /// A server's name as its labels begin with it.
    fn label<'a>(&self, name: &'a str) -> &'a str {
        match self {
            Self::Libmemcached | Self::LibmemcachedWeighted => {
                name.strip_suffix(":11211").unwrap_or(name)
            }
            _ => name,
        }
    }

    /// The points of a label.
    fn points(&self, label: &[u8]) -> Vec<u32> {
        match self {
            Self::Libmemcached => vec![one_at_a_time(label)],
            _ => {
                let digest = Md5::digest(label);
                let words = digest.chunks_exact(4);
                words.map(|w| u32::from_le_bytes([w[0], w[1], w[2], w[3]])).collect()
            }
        }
    }

    fn hash(&self, bytes: &[u8]) -> u32 {
        match self {
            Self::Libmemcached => one_at_a_time(bytes),
            _ => {
                let digest = Md5::digest(bytes);
                u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
            }
        }
    }
}

/// Bob Jenkins' one-at-a-time ("A hash function for hash table lookup", Dr. Dobb's 1997).
fn one_at_a_time(bytes: &[u8]) -> u32 {
    let mut hash = 0_u32;
    for byte in bytes {
        hash = hash.wrapping_add(u32::from(*byte));
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

impl Ring for Ketama {
    const ABOUT: About = About {
        name: "ketama",
        summary: "ketama: the MD5 ring of memcached clients, in six dialects, as they are deployed",
        source: "libketama, last.fm 2007; libmemcached; spymemcached; uhashring; npm hashring",
        version: "libketama 0.1.1",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: true,
        weights: true,
        replicas: true,
        bounded: false,
        minimal_disruption: true,
        history_free: true,
    };
    type Params = KetamaParams;

    fn fits(params: &KetamaParams, members: &Membership) -> Result<(), Unfit> {
        let total = members.weight_total();
        let labels =
            |member: &Member| params.dialect.label_count(member.weight, total, members.len());
        let lost = members.iter().find(|(_, member)| labels(member) == 0);
        match lost {
            None => Ok(()),
            Some((_, member)) => Err(Unfit(format!(
                "the weight {} of `{}` is too small: it rounds to no point at all",
                member.weight, member.name
            ))),
        }
    }

    fn cost(_: &KetamaParams, member_count: u32) -> Cost {
        let points = 160 * u64::from(member_count);
        Cost {
            table_bytes: 16 * points + 4 * points.next_power_of_two(),
            build_steps: points * u64::from(points.max(2).ilog2()),
            lookup_steps: 3.0,
        }
    }

    fn build(params: &KetamaParams, members: &Membership, _: Hasher) -> Self {
        let mut ketama = Self {
            dialect: params.dialect.clone(),
            members: members.iter().map(|(id, member)| (id, member.clone())).collect(),
            circle: Circle::default(),
        };
        ketama.build_circle();
        ketama
    }
}

impl Placement for Ketama {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.dialect.hash(bytes).into()
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        MemberId(self.circle.owner(key.hash << 32))
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        self.circle.walk(key.hash << 32, count, out);
        Ok(())
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        self.members.push((id, member.clone()));
        self.build_circle();
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        self.members.retain(|(other, _)| *other != id);
        self.build_circle();
        Ok(())
    }

    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported> {
        let found = self.members.iter_mut().find(|(other, _)| *other == id);
        found.expect("only a member is weighed").1.weight = weight;
        self.build_circle();
        Ok(())
    }

    fn table_bytes(&self) -> usize {
        self.circle.table_bytes()
    }

    fn shares(&self) -> Option<Vec<(MemberId, f64)>> {
        Some(self.circle.shares())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_servers_lose_points_where_the_arithmetic_of_their_client_does() {
        let labels = |dialect: KetamaDialect, servers: usize| {
            dialect.label_count(1.0, servers as f64, servers)
        };
        for servers in 1..=200 {
            assert_eq!(labels(KetamaDialect::Uhashring, servers), 40, "{servers} servers");
        }
        assert_eq!(labels(KetamaDialect::Libketama, 25), 40);
        assert_eq!(labels(KetamaDialect::Libketama, 61), 39);
        // 25 servers of libmemcached have 3,900 points, 7 of npm's hashring 1,092.
        assert_eq!(labels(KetamaDialect::LibmemcachedWeighted, 25), 39);
        assert_eq!(labels(KetamaDialect::LibmemcachedWeighted, 7), 40);
        assert_eq!(labels(KetamaDialect::Npm, 7), 39);
        assert_eq!(labels(KetamaDialect::Npm, 25), 40);
    }
}
