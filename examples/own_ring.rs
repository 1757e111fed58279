//! A ring of your own, from outside the crate: implement [`Placement`] and [`Ring`], make an
//! [`Entry`] of it, and it stands beside the catalogue's.
//!
//! ```text
//! cargo run --release --example own_ring
//! ```

use std::io::{self, Write};

use stormglass::choice::{About, Choice};
use stormglass::config::Bytes;
use stormglass::kernel::rng::Seed;
use stormglass::rings::measure::{KeyForm, Keys, MadeKeys, NodeCount, Nodes, RingsConfig, Setup};
use stormglass::rings::{
    CATALOGUE, Capabilities, Cost, Entry, HashKind, Hasher, Key, Member, MemberId, Membership,
    Placement, Ring, Unfit, Unsupported, measure,
};

stormglass::config! {
    /// The ring's parameters, as a scenario would write them.
    pub struct TwoChoicesParams {
        /// How many members a key looks at.
        pub choices: u32 = 2 => 1..=8,
    }
}

/// Each key looks at a few members by hash, and takes the one of the lowest id. Not a good
/// ring: see what the measurement says of it.
#[derive(Debug)]
struct TwoChoices {
    hasher: Hasher,
    choices: u32,
    members: Vec<MemberId>,
}

impl Ring for TwoChoices {
    const ABOUT: About = About {
        name: "two_choices",
        summary: "the lowest id of a few candidates: how not to do it",
        source: "this example",
        version: "",
    };
    const CAPABILITIES: Capabilities = Capabilities {
        arbitrary_removal: false,
        weights: false,
        replicas: false,
        bounded: false,
        minimal_disruption: false,
        history_free: true,
    };
    type Params = TwoChoicesParams;

    fn fits(_: &TwoChoicesParams, _: &Membership) -> Result<(), Unfit> {
        Ok(())
    }

    fn cost(params: &TwoChoicesParams, member_count: u32) -> Cost {
        Cost {
            table_bytes: 4 * u64::from(member_count),
            build_steps: member_count.into(),
            lookup_steps: params.choices.into(),
        }
    }

    fn build(params: &TwoChoicesParams, members: &Membership, hasher: Hasher) -> Self {
        let members = members.iter().map(|(id, _)| id).collect();
        Self { hasher, choices: params.choices, members }
    }
}

impl Placement for TwoChoices {
    fn hash(&self, bytes: &[u8]) -> u64 {
        self.hasher.of(bytes)
    }

    fn locate(&self, key: Key<'_>) -> MemberId {
        let candidate = |choice: u32| {
            let hash = self.hasher.again(key.hash, choice.into());
            self.members[(hash % self.members.len() as u64) as usize]
        };
        (0..self.choices).map(candidate).min().expect("a key looks at one member at least")
    }

    fn replicas(&self, _: Key<'_>, _: usize, _: &mut Vec<MemberId>) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows only one member for a key"))
    }

    fn add(&mut self, id: MemberId, _: &Member) -> Result<(), Unsupported> {
        self.members.push(id);
        Ok(())
    }

    fn remove(&mut self, id: MemberId) -> Result<(), Unsupported> {
        self.members.retain(|member| *member != id);
        Ok(())
    }

    fn reweight(&mut self, _: MemberId, _: f64) -> Result<(), Unsupported> {
        Err(Unsupported::because("it knows no weights"))
    }

    fn table_bytes(&self) -> usize {
        4 * self.members.len()
    }
}

fn main() -> io::Result<()> {
    measure_it(&mut io::stdout().lock())
}

/// Measures it beside three of the catalogue, and writes what came of it.
pub(crate) fn measure_it(out: &mut impl Write) -> io::Result<()> {
    let mine = Entry::of::<TwoChoices>();
    let setup = Setup {
        config: RingsConfig {
            variants: Vec::new(),
            nodes: Nodes::Count(NodeCount(10)),
            keys: Keys::Made(MadeKeys { form: KeyForm::Uuid, ..MadeKeys::default() }),
            hash: HashKind::Xxh3,
            events: vec![measure::Event::Scale(NodeCount(11))],
            replicas: 1,
            copy_size: Bytes(1024),
            bandwidth: Bytes(125_000_000),
            motion: None,
        },
        listed: None,
    };
    writeln!(out, "10 nodes, 100000 keys, then an 11th node; perfect is 1, 9.1% and 0%\n")?;
    writeln!(out, "{:<14}{:>10}{:>10}{:>22}", "ring", "max/mean", "moved", "between survivors")?;
    for entry in ["modulo", "ring", "jump"]
        .map(|name| CATALOGUE.iter().find(|entry| entry.about.name == name))
        .into_iter()
        .flatten()
        .chain([&mine])
    {
        let choice = Choice::named(entry.about.name);
        let record = measure::measure_entry(entry, &choice, &setup, Seed(1));
        let record = record.map_err(io::Error::other)?;
        let value = |metric, at| record.value(metric, at).unwrap_or(f64::NAN);
        writeln!(
            out,
            "{:<14}{:>10.3}{:>9.1}%{:>21.1}%",
            entry.about.name,
            value("key_skew", ""),
            100.0 * value("key_remap", "scale 10 to 11"),
            100.0 * value("key_remap_survivors", "scale 10 to 11"),
        )?;
    }
    Ok(())
}
