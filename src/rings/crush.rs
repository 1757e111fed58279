//! CRUSH: a tree of buckets, a rule that walks down it, and straw2 draws at each step.
//!
//! Each item of a bucket draws a straw, ln(u) / weight for a hash u of input, item and attempt;
//! the longest wins. A draw that collides with an earlier replica, or falls on a device that is
//! out, is made again with the next attempt. `firstn` closes up behind a replica that cannot be
//! placed; `indep` leaves its place empty, so that the others keep theirs.
//!
//! Weil, Brandt, Miller and Maltzahn, "CRUSH: Controlled, Scalable, Decentralized Placement of
//! Replicated Data", SC 2006; straw2, the attempts and the logarithm as in Ceph 16.2.15,
//! `src/crush/mapper.c`, `hash.c` and `crush_ln_table.h`.

/// A tree of buckets and what to do with it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct CrushMap {
    /// In the order of their ids, which are negative.
    pub(super) buckets: Vec<Bucket>,
    pub(super) tunables: Tunables,
}

/// A bucket of a tree: its items draw straws.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Bucket {
    /// Negative.
    pub(super) id: i32,
    /// The level: 0 is a device's.
    pub(super) level: u32,
    /// Devices (from 0 on) and buckets (below 0).
    pub(super) items: Vec<Item>,
}

/// An item of a bucket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Item {
    pub(super) id: i32,
    /// In units of 2⁻¹⁶.
    pub(super) weight: u32,
}

/// What may be tuned; the defaults are Ceph's profile "jewel".
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Tunables {
    pub(super) choose_total_tries: u32,
    pub(super) chooseleaf_descend_once: bool,
    pub(super) chooseleaf_vary_r: u32,
    pub(super) chooseleaf_stable: bool,
}

/// A step of a rule.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum RuleStep {
    /// Begins at a bucket.
    Take(i32),
    /// Chooses items of a level below each of those taken so far.
    Choose {
        /// How many; where not positive, so many fewer than are wanted.
        count: i32,
        level: u32,
        mode: Mode,
        /// Whether it goes on down to one device below each item.
        to_leaf: bool,
    },
    /// Overrides `choose_total_tries`.
    SetChooseTries(u32),
    /// Overrides the attempts below an item.
    SetChooseleafTries(u32),
    /// Puts out what was chosen.
    Emit,
}

/// What becomes of the place of a replica that cannot be placed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// The others close up.
    FirstN,
    /// It stays empty.
    Indep,
}

/// How many replicas there can be.
pub(super) const REPLICAS_MAX: usize = 64;
/// A place without a device.
pub(super) const NOTHING: i32 = 0x7fff_ffff;
const UNDECIDED: i32 = 0x7fff_fffe;

impl Default for Tunables {
    fn default() -> Self {
        Self {
            choose_total_tries: 50,
            chooseleaf_descend_once: true,
            chooseleaf_vary_r: 1,
            chooseleaf_stable: true,
        }
    }
}

/// Everything that stays the same during one walk.
struct Walk<'a> {
    map: &'a CrushMap,
    reweights: &'a [u32],
    input: u32,
    tries: u32,
    leaf_tries: Option<u32>,
}

impl CrushMap {
    /// The devices for `input` by the steps of a rule, into `out`, whose length is how many are
    /// wanted; how many there are. `reweights` says for each device what part of its keys it
    /// takes, in units of 2⁻¹⁶. Allocates nothing.
    pub(super) fn place(
        &self,
        steps: &[RuleStep],
        input: u32,
        reweights: &[u32],
        out: &mut [i32],
    ) -> usize {
        let wanted = out.len();
        assert!(wanted <= REPLICAS_MAX, "{wanted} replicas are more than there can be");
        let tries = self.tunables.choose_total_tries + 1;
        let mut walk = Walk { map: self, reweights, input, tries, leaf_tries: None };
        let (mut taken, mut taken_count) = ([0; REPLICAS_MAX], 0);
        let mut placed = 0;
        for step in steps {
            match step {
                RuleStep::Take(id) => (taken[0], taken_count) = (*id, 1),
                RuleStep::SetChooseTries(tries) => walk.tries = *tries,
                RuleStep::SetChooseleafTries(tries) => walk.leaf_tries = Some(*tries),
                RuleStep::Emit => {
                    let count = taken_count.min(wanted - placed);
                    out[placed..placed + count].copy_from_slice(&taken[..count]);
                    placed += count;
                    taken_count = 0;
                }
                RuleStep::Choose { count, level, mode, to_leaf } => {
                    let count = if *count <= 0 { *count + wanted as i32 } else { *count };
                    let (mut found, mut leaves) = ([0; REPLICAS_MAX], [0; REPLICAS_MAX]);
                    let mut found_count = 0;
                    for &id in &taken[..taken_count] {
                        let (Some(bucket), Ok(count)) = (self.bucket(id), usize::try_from(count))
                        else {
                            continue;
                        };
                        let room = wanted - found_count;
                        let places = &mut found[found_count..wanted];
                        let leaves = &mut leaves[found_count..wanted];
                        let leaves = to_leaf.then_some(leaves);
                        let (goal, tries) = (Goal { count, level: *level }, walk.tries);
                        found_count += match mode {
                            Mode::FirstN => {
                                walk.first_n(bucket, goal, places, (0, room), tries, leaves, 0)
                            }
                            Mode::Indep => {
                                let room = room.min(count);
                                walk.indep(bucket, goal, places, (0, room), tries, leaves, 0);
                                room
                            }
                        };
                    }
                    (taken, taken_count) = (if *to_leaf { leaves } else { found }, found_count);
                }
            }
        }
        placed
    }

    fn bucket(&self, id: i32) -> Option<&Bucket> {
        let index = self.buckets.binary_search_by_key(&id, |bucket| bucket.id).ok()?;
        Some(&self.buckets[index])
    }
}

/// What is looked for: how many replicas there are in all, and on which level.
#[derive(Clone, Copy)]
struct Goal {
    count: usize,
    level: u32,
}

/// Where a descent ended.
enum Descent<'a> {
    /// At a device.
    Device(i32),
    /// At a bucket of the level that is looked for.
    Bucket(&'a Bucket),
    /// In an empty bucket: the next attempt may do better.
    Empty,
    /// Nowhere that the level could be below of.
    DeadEnd,
}

impl<'a> Walk<'a> {
    /// Goes down from `bucket` to an item of `level` at the attempt `attempt`.
    fn descend(&self, bucket: &'a Bucket, level: u32, attempt: u32) -> Descent<'a> {
        let mut bucket = bucket;
        // Levels fall on the way down, so it ends.
        loop {
            if bucket.items.is_empty() {
                return Descent::Empty;
            }
            let item = straw2(&bucket.items, self.input, attempt);
            match self.map.bucket(item) {
                None if 0 <= item && level == 0 => return Descent::Device(item),
                Some(below) if below.level == level => return Descent::Bucket(below),
                Some(below) if below.level < bucket.level => bucket = below,
                None | Some(_) => return Descent::DeadEnd,
            }
        }
    }

    fn is_out(&self, device: i32) -> bool {
        let reweight = self.reweights.get(device as usize).copied().unwrap_or(0);
        match reweight {
            0x1_0000.. => false,
            0 => true,
            _ => reweight <= hash2(self.input, device as u32) & 0xffff,
        }
    }

    /// Chooses items into `places`, of which `from` are taken; how many there are then.
    #[expect(clippy::too_many_arguments, reason = "the state of a recursion")]
    fn first_n(
        &self,
        bucket: &'a Bucket,
        goal: Goal,
        places: &mut [i32],
        (from, room): (usize, usize),
        tries: u32,
        mut leaves: Option<&mut [i32]>,
        parent_attempt: u32,
    ) -> usize {
        let tunables = &self.map.tunables;
        let mut placed = from;
        let first = if tunables.chooseleaf_stable { 0 } else { from };
        for replica in first..goal.count {
            if placed == from + room {
                break;
            }
            for failure in 0..tries {
                let attempt = replica as u32 + parent_attempt + failure;
                let (item, below) = match self.descend(bucket, goal.level, attempt) {
                    Descent::Device(device) => (device, None),
                    Descent::Bucket(below) => (below.id, Some(below)),
                    Descent::Empty => continue,
                    Descent::DeadEnd => break,
                };
                if places[..placed].contains(&item) {
                    continue;
                }
                let is_rejected = match (&mut leaves, below) {
                    (Some(leaves), Some(below)) => {
                        let sub_attempt = match tunables.chooseleaf_vary_r {
                            0 => 0,
                            shift => attempt >> (shift - 1),
                        };
                        let count = if tunables.chooseleaf_stable { 1 } else { placed + 1 };
                        let tries =
                            self.leaf_tries.unwrap_or(if tunables.chooseleaf_descend_once {
                                1
                            } else {
                                self.tries
                            });
                        let goal = Goal { count, level: 0 };
                        let room = (placed, from + room - placed);
                        let found =
                            self.first_n(below, goal, leaves, room, tries, None, sub_attempt);
                        found <= placed
                    }
                    (Some(leaves), None) => {
                        leaves[placed] = item;
                        self.is_out(item)
                    }
                    (None, None) => self.is_out(item),
                    (None, Some(_)) => false,
                };
                if !is_rejected {
                    places[placed] = item;
                    placed += 1;
                    break;
                }
            }
        }
        placed
    }

    /// Chooses items into the `room` places from `from` on, each by itself, attempt by attempt.
    #[expect(clippy::too_many_arguments, reason = "the state of a recursion")]
    fn indep(
        &self,
        bucket: &'a Bucket,
        goal: Goal,
        places: &mut [i32],
        (from, room): (usize, usize),
        tries: u32,
        mut leaves: Option<&mut [i32]>,
        parent_attempt: u32,
    ) {
        let range = from..from + room;
        places[range.clone()].fill(UNDECIDED);
        if let Some(leaves) = &mut leaves {
            leaves[range.clone()].fill(UNDECIDED);
        }
        for failure in 0..tries {
            for replica in range.clone() {
                if places[replica] != UNDECIDED {
                    continue;
                }
                let attempt = replica as u32 + parent_attempt + goal.count as u32 * failure;
                let (item, below) = match self.descend(bucket, goal.level, attempt) {
                    Descent::Device(device) => (device, None),
                    Descent::Bucket(below) => (below.id, Some(below)),
                    Descent::Empty => continue,
                    Descent::DeadEnd => {
                        places[replica] = NOTHING;
                        continue;
                    }
                };
                if places[range.clone()].contains(&item) {
                    continue;
                }
                if let Some(leaves) = &mut leaves {
                    match below {
                        None => leaves[replica] = item,
                        Some(below) => {
                            let goal = Goal { count: goal.count, level: 0 };
                            let tries = self.leaf_tries.unwrap_or(1);
                            self.indep(below, goal, leaves, (replica, 1), tries, None, attempt);
                            if leaves[replica] == NOTHING {
                                continue;
                            }
                        }
                    }
                }
                if below.is_none() && self.is_out(item) {
                    continue;
                }
                places[replica] = item;
            }
        }
        for place in places[range.clone()].iter_mut().filter(|place| **place == UNDECIDED) {
            *place = NOTHING;
        }
        if let Some(leaves) = leaves {
            for (leaf, place) in leaves[range.clone()].iter_mut().zip(&places[range]) {
                if *leaf == UNDECIDED || *place == NOTHING {
                    *leaf = NOTHING;
                }
            }
        }
    }
}

/// The item with the longest straw; of equal ones the first.
fn straw2(items: &[Item], input: u32, attempt: u32) -> i32 {
    let mut best = (i64::MIN, items[0].id);
    for (index, item) in items.iter().enumerate() {
        let draw = match item.weight {
            0 => i64::MIN,
            weight => {
                let uniform = hash3(input, item.id as u32, attempt) & 0xffff;
                // Negative; Rust's division truncates toward zero, as C's does.
                (crush_ln(uniform as u16) as i64 - (1 << 48)) / i64::from(weight)
            }
        };
        if index == 0 || best.0 < draw {
            best = (draw, item.id);
        }
    }
    best.1
}

/// 2⁴⁴ · log2(value + 1), as Ceph's tables have it.
pub fn crush_ln(value: u16) -> u64 {
    let mut x = u64::from(value) + 1;
    let mut exponent = 15;
    if x & 0x1_8000 == 0 {
        let shift = u64::from((x as u32 & 0x1_ffff).leading_zeros()) - 16;
        x <<= shift;
        exponent -= shift;
    }
    let index = (x >> 8) as usize - 128;
    let (reciprocal, high) = (RECIPROCALS[index], HIGHS[index]);
    let low = LOWS[((x * reciprocal) >> 48) as usize & 0xff];
    (exponent << 44) + ((high + low) >> 4)
}

/// ceil(2⁴⁸ / (1 + k/128)).
static RECIPROCALS: [u64; 129] = {
    let mut table = [0; 129];
    let mut k = 0;
    while k <= 128 {
        table[k] = (1_u64 << 55).div_ceil(128 + k as u64);
        k += 1;
    }
    table
};

/// floor(2⁴⁸ log2(1 + k/128)).
static HIGHS: [u64; 129] = {
    let mut table = [0; 129];
    let mut k = 0;
    while k < 128 {
        table[k] = log2_48((128 + k as u128) << 119);
        k += 1;
    }
    // Not 2⁴⁸, in Ceph's table.
    table[128] = 0xffff_0000_0000;
    table
};

/// floor(2⁴⁸ log2(1 + i/2¹⁵)), and what Ceph's table has above that: nearly always the same
/// amount, which is an accident that has become the standard.
static LOWS: [u64; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = log2_48((32_768 + i as u128) << 111);
        if 2 <= i {
            table[i] += excess(i);
        }
        i += 1;
    }
    table
};

const fn excess(index: usize) -> u64 {
    match index {
        56 => 0x1_3ed9_b9b0,
        127 => 0x3a4f_4285,
        134 => 0xd5e8_95a5,
        181 => 0xeee4_abc5,
        184 => 0x1_4340_b8bf,
        188 => 0x833e_b34b,
        193 => 0xe43e_ed13,
        198 => 0x95ad_3c32,
        199 => 0x9f2a_5b80,
        200 => 0xe2f4_5e65,
        207 => 0x1_2cba_cd37,
        210 => 0x1_144d_0710,
        212 => 0xdac5_961c,
        225 => 0xbf46_f5f9,
        227 => 0x5a42_d14a,
        228 => 0x9eac_5357,
        229 => 0x217c_fafc,
        231 => 0xd2d5_723c,
        235 => 0x1_21cb_06eb,
        236 => 0x1_3ac6_617a,
        240 => 0x9df6_bfdd,
        241 => 0xfa8d_3579,
        247 => 0x1595_5a58,
        203 | 216 | 222 | 233 | 237..=239 | 243..=246 | 248..=255 => 0,
        _ => 0x1_4770_0000,
    }
}

/// floor(2⁴⁸ log2 x), for x in [1, 2) in units of 2⁻¹²⁶: squaring doubles the logarithm, and what
/// passes 2 is the next binary digit. The truncated bits grow to 2⁻⁷⁸ in 48 rounds.
const fn log2_48(mut x: u128) -> u64 {
    let (mut log, mut round) = (0, 0);
    while round < 48 {
        let (high, low) = (x >> 64, x & 0xffff_ffff_ffff_ffff);
        x = ((high * high) << 2) + ((high * low) >> 61) + ((low * low) >> 126);
        log <<= 1;
        if x >> 127 == 1 {
            log |= 1;
            x >>= 1;
        }
        round += 1;
    }
    log
}

/// Robert Jenkins' mix ("Hash Functions", Dr. Dobb's 1997), as Ceph's `hash.c` uses it.
fn mixed(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for (x, y, z) in [(13, 8, 13), (12, 16, 5), (3, 10, 15)] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> x);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << y);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> z);
    }
    (a, b, c)
}

fn hash2(a: u32, b: u32) -> u32 {
    let hash = HASH_SEED ^ a ^ b;
    let (a, b, hash) = mixed(a, b, hash);
    let (_, _, hash) = mixed(HASH_X, a, hash);
    mixed(b, HASH_Y, hash).2
}

fn hash3(a: u32, b: u32, c: u32) -> u32 {
    let hash = HASH_SEED ^ a ^ b ^ c;
    let (a, b, hash) = mixed(a, b, hash);
    let (c, x, hash) = mixed(c, HASH_X, hash);
    let (y, _, hash) = mixed(HASH_Y, a, hash);
    let (_, _, hash) = mixed(b, x, hash);
    mixed(y, c, hash).2
}

const HASH_SEED: u32 = 1_315_423_911;
const HASH_X: u32 = 231_232;
const HASH_Y: u32 = 1232;
