//! Placement rings: which member of a cluster owns a key.
//!
//! [`CATALOGUE`] lists every variant. A new one is a file beside this one with its idea, its
//! source and its cost on top, an `impl` of [`Ring`], its `mod` line and its row. `list`, help,
//! documentation, the scenario reader and the laws in `tests/ring_laws.rs` read the catalogue.
//!
//! [`measure`](measure::measure) is the wing's testbed: it needs no virtual time.

mod anchor;
pub mod assignment;
mod binomial;
pub mod blame;
mod bounded_load;
mod capacity;
mod choose_k;
mod copies;
pub mod crush;
mod crush_text;
mod dx;
mod external;
mod flip;
pub mod hash;
mod jump;
mod jump_back;
mod jump_back_anchor;
mod ketama;
mod local_rendezvous;
mod maglev;
pub mod measure;
mod memento;
mod modulo;
mod modulus;
pub mod motion;
mod multi_probe;
mod numbered;
mod partitions;
mod power;
mod racks;
mod rendezvous;
mod ring;
mod script;
mod slot_table;
mod slots;
mod straw2;
pub mod table;
mod weighted_rendezvous;

use std::fmt;

use serde_json::Value as Json;

use crate::choice::{About, Choice, Listed};
use crate::config::{Config, Problem, Problems};

pub use crate::model::placement::{Key, Member, MemberId, Membership, Placement, Unsupported};
pub use flip::flip;
pub use hash::{HashKind, Hasher};
pub use jump::jump;
pub use numbered::Buckets;
use numbered::{Bare, BucketFunction, Numbered};
pub use power::power;

/// Every placement of this crate.
pub const CATALOGUE: &[Entry] = &[
    Entry::numbered::<modulo::Modulo>(),
    Entry::of::<ring::VirtualNodes>(),
    Entry::numbered::<jump::Jump>(),
    Entry::numbered::<jump_back::JumpBack>(),
    Entry::numbered::<flip::Flip>(),
    Entry::numbered::<power::Power>(),
    Entry::numbered::<binomial::Binomial>(),
    Entry::of::<rendezvous::Rendezvous>(),
    Entry::of::<weighted_rendezvous::WeightedRendezvous>(),
    Entry::of::<multi_probe::MultiProbe>(),
    Entry::of::<maglev::Maglev>(),
    Entry::of::<ketama::Ketama>(),
    Entry::of::<local_rendezvous::LocalRendezvous>(),
    Entry::of::<bounded_load::BoundedLoad>(),
    Entry::of::<slots::Slots>(),
    Entry::of::<partitions::Partitions>(),
    Entry::of::<racks::Racks>(),
    Entry::of::<straw2::Straw2>(),
    Entry::of::<choose_k::ChooseK>(),
    Entry::of::<anchor::Anchor>(),
    Entry::of::<dx::Dx>(),
    Entry::of::<memento::Memento>(),
    Entry::of::<jump_back_anchor::JumpBackAnchor>(),
];

/// All that a scenario can name: the catalogue and, behind it, a program of the user's.
pub const VARIANTS: &[Entry] = &{
    let mut all = [external::ENTRY; CATALOGUE.len() + 1];
    let mut index = 0;
    while index < CATALOGUE.len() {
        all[index] = CATALOGUE[index];
        index += 1;
    }
    all
};

/// What a variant can do with its default parameters. Each is a law that a test holds it to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "a row of a table of yes and no")]
pub struct Capabilities {
    /// Any member may leave, and only its own keys move.
    pub arbitrary_removal: bool,
    /// A member's share of the keys follows its weight.
    pub weights: bool,
    /// It ranks several members for a key.
    pub replicas: bool,
    /// No member owns more than a bound above its fair share.
    pub bounded: bool,
    /// A member that joins takes keys, and no key moves between the others.
    pub minimal_disruption: bool,
    /// The answer depends on who the members are, not on how it came to be so.
    pub history_free: bool,
}

/// What a variant costs in theory; its file says how that is counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Bytes of its tables.
    pub table_bytes: u64,
    /// Steps to build them: hashes, draws and comparisons.
    pub build_steps: u64,
    /// Expected hashes, draws and table reads of a look-up that follow one after the other,
    /// without the hash of the key.
    pub lookup_steps: f64,
}

/// A placement with a name and parameters: what a scenario can ask for.
pub trait Ring: Placement + Sized + 'static {
    /// What it says of itself.
    const ABOUT: About;
    /// What it can do.
    const CAPABILITIES: Capabilities;
    /// Its parameters.
    type Params: Config;

    /// Whether parameters and members go together.
    ///
    /// # Errors
    /// In a sentence, where they do not.
    fn fits(params: &Self::Params, members: &Membership) -> Result<(), Unfit>;

    /// What it costs for that many members.
    fn cost(params: &Self::Params, member_count: u32) -> Cost;

    /// Builds it for `members`, of whom there is one at least, and whom `params` fit.
    fn build(params: &Self::Params, members: &Membership, hasher: Hasher) -> Self;
}

/// How a row builds its placement.
pub type Build = fn(&Choice, &Membership, Hasher) -> Result<Box<dyn Placement>, BuildError>;

/// How a row builds its bare function from keys to numbers.
pub type BuildBuckets = fn(&Choice, Hasher) -> Result<Box<dyn Buckets>, BuildError>;

/// A row of the catalogue.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// What the variant says of itself.
    pub about: About,
    /// What it can do.
    pub capabilities: Capabilities,
    /// Tells all that is wrong with a choice for these members.
    pub check: fn(&Choice, &Membership, &mut Problems),
    /// What the choice costs for so many members; `None` where the choice is wrong.
    pub cost: fn(&Choice, u32) -> Option<Cost>,
    /// Builds the placement that a scenario asks for.
    pub build: Build,
    /// The bare function from keys to numbers, where the variant has one.
    pub buckets: Option<BuildBuckets>,
    /// The JSON Schema of its parameters.
    pub params_schema: fn() -> Json,
}

/// Why parameters and members do not go together: one line, lower case, no full stop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unfit(pub String);

/// Why a placement could not be built.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum BuildError {
    /// The choice names no variant, or its parameters are wrong.
    Choice(Vec<Problem>),
    /// The variant cannot place these members.
    Unfit(Unfit),
}

impl Entry {
    /// The row of `R`.
    pub const fn of<R: Ring>() -> Self {
        Self {
            about: R::ABOUT,
            capabilities: R::CAPABILITIES,
            check: |choice, members, problems| {
                let Some(params) = choice.params::<R::Params>(problems) else { return };
                if let Err(unfit) = fits::<R>(&params, members) {
                    problems.add(choice.place, format!("`{}`: {unfit}", R::ABOUT.name));
                }
            },
            cost: |choice, member_count| {
                let params = choice.params::<R::Params>(&mut Problems::default())?;
                Some(R::cost(&params, member_count))
            },
            build: |choice, members, hasher| {
                let params = params::<R>(choice)?;
                fits::<R>(&params, members).map_err(BuildError::Unfit)?;
                Ok(Box::new(R::build(&params, members, hasher)))
            },
            buckets: None,
            params_schema: R::Params::schema,
        }
    }

    const fn numbered<F: BucketFunction>() -> Self {
        let mut entry = Self::of::<Numbered<F>>();
        entry.buckets = Some(|choice, hasher| {
            let function = F::new(&params::<Numbered<F>>(choice)?);
            Ok(Box::new(Bare { function, hasher }))
        });
        entry
    }
}

fn params<R: Ring>(choice: &Choice) -> Result<R::Params, BuildError> {
    let mut problems = Problems::default();
    choice.params(&mut problems).ok_or_else(|| BuildError::Choice(problems.into_sorted()))
}

impl Listed for Entry {
    fn about(&self) -> &About {
        &self.about
    }

    fn params_schema(&self) -> Json {
        (self.params_schema)()
    }
}

/// The row of the [`VARIANTS`] that `choice` names.
///
/// # Errors
/// Where there is none.
pub fn find(choice: &Choice) -> Result<&'static Entry, BuildError> {
    let mut problems = Problems::default();
    let found = choice.find("ring", VARIANTS, &mut problems);
    found.ok_or_else(|| BuildError::Choice(problems.into_sorted()))
}

/// Builds the placement that `choice` names among the [`VARIANTS`].
///
/// # Errors
/// Where there is no such variant, its parameters are wrong, or it cannot place these members.
pub fn build(
    choice: &Choice,
    members: &Membership,
    hasher: Hasher,
) -> Result<Box<dyn Placement>, BuildError> {
    (find(choice)?.build)(choice, members, hasher)
}

/// The bare function from keys to numbers that `choice` names in the [`CATALOGUE`].
///
/// # Errors
/// Where there is no such variant, its parameters are wrong, or it does not number its buckets.
pub fn buckets(choice: &Choice, hasher: Hasher) -> Result<Box<dyn Buckets>, BuildError> {
    match find(choice)?.buckets {
        Some(build) => build(choice, hasher),
        None => Err(BuildError::Unfit(Unfit(format!("`{}` numbers no buckets", choice.name)))),
    }
}

fn fits<R: Ring>(params: &R::Params, members: &Membership) -> Result<(), Unfit> {
    if members.is_empty() {
        return Err(Unfit("there is no member to place keys on".into()));
    }
    let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
    let bytes = R::cost(params, count).table_bytes;
    if TABLE_BYTES_MAX < bytes {
        return Err(Unfit(format!(
            "its tables for {count} members would take {bytes} bytes, and {TABLE_BYTES_MAX} are \
             the most"
        )));
    }
    R::fits(params, members)
}

impl Unfit {
    /// `Err(Unfit(reason))` where `holds` is false.
    fn unless(holds: bool, reason: impl FnOnce() -> String) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(Self(reason())) }
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Choice(problems) => {
                for (index, problem) in problems.iter().enumerate() {
                    let gap = if index == 0 { "" } else { "; " };
                    write!(f, "{gap}{}", problem.message)?;
                }
                Ok(())
            }
            Self::Unfit(unfit) => unfit.fmt(f),
        }
    }
}

impl std::error::Error for BuildError {}

/// No placement may take more memory than this: 4 GiB.
const TABLE_BYTES_MAX: u64 = 4 << 30;
