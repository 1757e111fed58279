//! Maglev: a table of a prime number of entries, filled by the members in turns.
//!
//! Each member has a permutation of the table, and takes in its turn the first entry of it that
//! is still free. Loads differ by an entry or so, a look-up is one read, and a change of
//! membership moves a few entries between members that stay (0.5 to 4 %: the table is no promise
//! of minimal disruption).
//!
//! Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI 2016,
//! section 3.4. Weights as turns (facebookincubator/katran, commit 19f08fe, `MaglevHashV2`; Envoy
//! does the same) or as entries of the first round (its `MaglevHash`). A change fills the table
//! anew: O(M log M) steps for M entries of 4 bytes.

use crate::choice::About;
use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
use crate::rings::hash::{Hasher, Tail, murmur3_x64_128};
use crate::rings::modulus::Modulus;
use crate::rings::ring::shares_of;
use crate::rings::{Capabilities, Cost, Ring, Unfit};

crate::config! {
    /// Where a member's permutation comes from.
    pub(super) enum Permutation {
        /// Two salted hashes of its name.
        "salted" => Salted,
        /// The halves of one hash of its name: dgryski/go-maglev, commit 8961b9b.
        "go" => Go,
        /// MurmurHash3 of the hash of its name and two constants, in 32-bit arithmetic: katran.
        "katran" => Katran,
    }
}

crate::config! {
    /// What a weight does.
    pub(super) enum Turns {
        /// A member has as many turns as its weight, against the largest.
        "weighted" => Weighted,
        /// A member takes as many entries as its weight in the first round, and one in each later.
        "first_round" => FirstRound,
    }
}

crate::config! {
    /// Parameters of `maglev`.
    pub(super) struct MaglevParams {
        /// Entries of the table: a prime, and a hundred times the members or more.
        pub table_size: u32 = 65_537 => 2..=100_000_000,
        /// Where a member's permutation comes from.
        pub permutation: Permutation = Permutation::Salted,
        /// What a weight does.
        pub turns: Turns = Turns::Weighted,
    }
}

/// Maglev.
#[derive(Debug)]
pub(super) struct Maglev {
    hasher: Hasher,
    permutation: Permutation,
    turns: Turns,
    /// In the order of ids, which is that of their turns.
    members: Vec<Player>,
    table: Vec<u32>,
    size: Modulus,
}

#[derive(Clone, Debug)]
struct Player {
    id: u32,
    weight: f64,
    offset: u32,
    skip: u32,
}

impl Maglev {
    fn player(&self, id: MemberId, member: &Member) -> Player {
        let size = self.table.len() as u64;
        let name = member.name.as_bytes();
        let (offset, skip) = match self.permutation {
            Permutation::Salted => (self.hasher.salted(name, 1), self.hasher.salted(name, 2)),
            Permutation::Go => {
                let hash = self.hasher.salted(name, GO_KEY);
                (hash >> 32, hash & 0xffff_ffff)
            }
            Permutation::Katran => {
                let hash = self.hasher.of(name);
                let pair = |constant: u64, seed| {
                    let mut bytes = [0; 16];
                    bytes[..8].copy_from_slice(&hash.to_le_bytes());
                    bytes[8..].copy_from_slice(&constant.to_le_bytes());
                    murmur3_x64_128(&bytes, seed, Tail::Unsigned).0
                };
                (pair(42, 0), pair(2_718_281_828, 2307))
            }
        };
        let (offset, skip) = ((offset % size) as u32, (skip % (size - 1)) as u32 + 1);
        Player { id: id.0, weight: member.weight, offset, skip }
    }

    /// Fills the table by turns.
    fn fill(&mut self) {
        assert!(!self.members.is_empty(), "the last member never leaves");
        self.table.fill(FREE);
        let heaviest = self.members.iter().map(|player| player.weight).fold(0.0, f64::max);
        let mut hands = vec![Hand::default(); self.members.len()];
        let mut free = self.table.len();
        for round in 0_u64.. {
            for (player, hand) in self.members.iter().zip(&mut hands) {
                let entries = match self.turns {
                    Turns::FirstRound if round == 0 => (player.weight + 0.5) as u64,
                    Turns::FirstRound => 1,
                    Turns::Weighted => {
                        hand.credit += player.weight;
                        let has_turn = heaviest <= hand.credit;
                        hand.credit -= if has_turn { heaviest } else { 0.0 };
                        u64::from(has_turn)
                    }
                };
                for _ in 0..entries {
                    let entry = hand.next_free(player, &self.table, &self.permutation);
                    self.table[entry] = player.id;
                    free -= 1;
                    if free == 0 {
                        return;
                    }
                }
            }
        }
    }
}

/// How far a player is.
#[derive(Clone, Debug, Default)]
struct Hand {
    /// The next place of the permutation.
    next: u64,
    /// The weight that is not played out yet.
    credit: f64,
}

impl Hand {
    fn next_free(&mut self, player: &Player, table: &[u32], permutation: &Permutation) -> usize {
        let size = table.len() as u64;
        loop {
            let place = u64::from(player.offset) + self.next * u64::from(player.skip);
            self.next += 1;
            let entry = match permutation {
                // Wraps at 2³², as there.
                Permutation::Katran => (place & 0xffff_ffff) % size,
                _ => place % size,
            };
            if table[entry as usize] == FREE {
                return entry as usize;
            }
            // A table that is no prime, or the wrap at 2³², may hide the free entries.
            if 4 * size < self.next {
                let free = table.iter().position(|&owner| owner == FREE);
                return free.expect("there is a free entry");
            }
        }
    }
}

impl Ring for Maglev {
    const ABOUT: About = About {
        name: "maglev",
        summary: "Maglev: a table filled in turns; even, one read a look-up, moves a few entries \
                  more than it must",
        source: "Eisenbud et al., NSDI 2016",
        version: "",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: false,
        weights: true,
        replicas: true,
        bounded: false,
        minimal_disruption: false,
        history_free: true,
    };
    type Params = MaglevParams;

    fn fits(params: &MaglevParams, members: &Membership) -> Result<(), Unfit> {
        Unfit::unless(members.len() <= params.table_size as usize, || {
            format!("a table of {} entries for {} members", params.table_size, members.len())
        })
    }

    fn cost(params: &MaglevParams, member_count: u32) -> Cost {
        let size = u64::from(params.table_size);
        Cost {
            table_bytes: 4 * size,
            build_steps: size * u64::from(size.ilog2()) + u64::from(member_count),
            lookup_steps: 1.0,
        }
    }

    fn build(params: &MaglevParams, members: &Membership, hasher: Hasher) -> Self {
        let mut maglev = Self {
            hasher,
            permutation: params.permutation.clone(),
            turns: params.turns.clone(),
            members: Vec::new(),
            table: vec![FREE; params.table_size as usize],
            size: Modulus::new(params.table_size.into()),
        };
        maglev.members = members.iter().map(|(id, m)| maglev.player(id, m)).collect();
        maglev.fill();
        maglev
    }
}

impl Placement for Maglev {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        MemberId(self.table[self.size.of(key.hash) as usize])
    }

    fn replicas(
        &self,
        key: Key<'_>,
        count: usize,
        out: &mut Vec<MemberId>,
    ) -> Result<(), Unsupported> {
        out.clear();
        let (before, behind) = self.table.split_at(self.size.of(key.hash) as usize);
        let wanted = count.min(self.members.len());
        for &id in behind.iter().chain(before) {
            if out.len() == wanted {
                break;
            }
            if !out.contains(&MemberId(id)) {
                out.push(MemberId(id));
            }
        }
        Ok(())
    }

    fn add(&mut self, id: MemberId, member: &Member) -> Result<(), Unsupported> {
        if self.members.len() == self.table.len() {
            return Err(Unsupported::because("its table has an entry for each member already"));
        }
        let index = self.members.partition_point(|player| player.id < id.0);
        self.members.insert(index, self.player(id, member));
        self.fill();
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        self.members.retain(|player| player.id != id.0);
        self.fill();
        Ok(())
    }

    fn reweight(&mut self, id: MemberId, weight: f64) -> Result<(), Unsupported> {
        let player = self.members.iter_mut().find(|player| player.id == id.0);
        player.expect("only a member is weighed").weight = weight;
        self.fill();
        Ok(())
    }

    fn table_bytes(&self) -> usize {
        size_of_val(self.table.as_slice())
    }

    fn shares(&self) -> Option<Vec<(MemberId, f64)>> {
        Some(shares_of(&self.table))
    }
}

const FREE: u32 = u32::MAX;
/// go-maglev's key for SipHash.
const GO_KEY: u64 = 0xdead_beef_cafe_babe;
