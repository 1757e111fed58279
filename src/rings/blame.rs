//! Is it the ring, or one hot key? What makes the busiest node busy.
//!
//! A key has to be somewhere: a node with the hottest one has its share of the requests at least,
//! whatever places it. So of a measured skew there is a part that no placement can avoid, and the
//! rest is the placement's.

use crate::model::placement::{Key, MemberId, Membership, Placement};

/// Why requests are spread unevenly.
#[derive(Clone, Debug, PartialEq)]
pub struct Blame {
    /// The load of the busiest node, in units of its fair share of the requests.
    pub request_skew: f64,
    /// The least that any placement of these keys on these nodes leaves: 1, or the hottest key's
    /// share of the requests over the largest fair share.
    pub floor: f64,
    /// The most keys that a node has, in units of its fair number.
    pub key_skew: f64,
    /// The busiest node; of equals the first.
    pub busiest: MemberId,
    /// Its fair share of the requests.
    pub busiest_fair: f64,
    /// Its number of keys, in units of its fair number.
    pub busiest_keys: f64,
    /// Its heaviest keys, the heaviest first: their places in the list, and their shares of all
    /// requests.
    pub heaviest: Vec<(usize, f64)>,
    /// So many of its heaviest keys have to go until it has no more than its fair share: the keys
    /// that make the skew. As many as [`heaviest`](Self::heaviest) holds where those are not
    /// enough.
    pub makers: usize,
    /// The hottest of all keys: its place in the list, and its share.
    pub hottest: (usize, f64),
    /// What is to blame.
    pub verdict: Verdict,
}

/// What is to blame for a skew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The busiest node has less than a tenth above its fair share.
    Even,
    /// One key: half or more of what is above a fair share no placement can avoid.
    HotKey,
    /// A few heavy keys that met on one node; another seed would part them.
    Meeting,
    /// The ring: the busiest node has too many keys.
    Ring,
}

impl Blame {
    /// What `placement` does with `keys` and their weights, of which `listed` heaviest ones are
    /// told. `None` where there is no key, or the weights come to nothing.
    pub fn of(
        placement: &dyn Placement,
        members: &Membership,
        keys: &[(&[u8], f64)],
        listed: usize,
    ) -> Option<Self> {
        let total: f64 = keys.iter().map(|(_, weight)| weight).sum();
        if !total.is_finite() || total <= 0.0 {
            return None;
        }
        let mut loads = vec![(0_u64, 0.0); members.id_bound()];
        let mut owners = Vec::with_capacity(keys.len());
        let mut some = Vec::new();
        for batch in keys.chunks(1024) {
            let asked: Vec<Key<'_>> = batch.iter().map(|(key, _)| placement.key(key)).collect();
            placement.locate_all(&asked, &mut some);
            owners.extend_from_slice(&some);
        }
        for ((_, weight), owner) in keys.iter().zip(&owners) {
            let load: &mut (u64, f64) = &mut loads[owner.index()];
            load.0 += 1;
            load.1 += weight;
        }
        let all = members.weight_total();
        let relative = |id: MemberId, weight: f64| {
            let (count, requests) = loads[id.index()];
            let fair = weight / all;
            (requests / total / fair, count as f64 / keys.len() as f64 / fair)
        };
        let (mut request_skew, mut key_skew) = (0.0, 0.0_f64);
        let (mut busiest, mut busiest_fair, mut busiest_keys) = (MemberId(0), 1.0, 0.0);
        for (id, member) in members.iter() {
            let (requests, count) = relative(id, member.weight);
            key_skew = key_skew.max(count);
            if request_skew < requests {
                (request_skew, busiest) = (requests, id);
                (busiest_fair, busiest_keys) = (member.weight / all, count);
            }
        }
        let widest = members.iter().map(|(_, member)| member.weight / all).fold(0.0, f64::max);
        let heavier = |a: &(usize, f64), b: &(usize, f64)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
        let shares = || keys.iter().map(|(_, weight)| weight / total).enumerate();
        let hottest = shares().min_by(heavier)?;
        let floor = (hottest.1 / widest).max(1.0);
        let mut heaviest: Vec<(usize, f64)> = shares()
            .zip(&owners)
            .filter(|(_, owner)| **owner == busiest)
            .map(|(key, _)| key)
            .collect();
        heaviest.sort_by(heavier);
        heaviest.truncate(listed);
        let mut left = request_skew;
        let mut makers = 0;
        while 1.0 < left && makers < heaviest.len() {
            left -= heaviest[makers].1 / busiest_fair;
            makers += 1;
        }
        let verdict = if request_skew < 1.1 {
            Verdict::Even
        } else if (request_skew - 1.0) / 2.0 <= floor - 1.0 {
            Verdict::HotKey
        } else if left <= 1.0 && busiest_keys - 1.0 < (request_skew - 1.0) / 2.0 {
            Verdict::Meeting
        } else {
            Verdict::Ring
        };
        Some(Self {
            request_skew,
            floor,
            key_skew,
            busiest,
            busiest_fair,
            busiest_keys,
            heaviest,
            makers,
            hottest,
            verdict,
        })
    }

    /// The part of the skew that is the placement's.
    pub fn ring_part(&self) -> f64 {
        (self.request_skew - self.floor).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::choice::Choice;
    use crate::rings::{HashKind, Hasher, build};

    /// Keys that are their own numbers, modulo 4 nodes: key i goes to node i mod 4.
    fn blame(weights: &[f64]) -> Option<Blame> {
        let members = Membership::uniform(4);
        let hasher = Hasher::new(HashKind::Identity, 0);
        let placement = build(&Choice::named("modulo"), &members, hasher).unwrap();
        let names: Vec<String> = (0..weights.len()).map(|index| index.to_string()).collect();
        let keys: Vec<(&[u8], f64)> =
            names.iter().map(String::as_bytes).zip(weights.iter().copied()).collect();
        Blame::of(placement.as_ref(), &members, &keys, 10)
    }

    #[test]
    fn a_hot_key_is_blamed_for_what_no_placement_avoids() {
        let mut weights = vec![1.0; 100];
        weights[5] = 101.0;
        let blame = blame(&weights).unwrap();
        assert_eq!((blame.verdict, blame.makers), (Verdict::HotKey, 1));
        assert_eq!((blame.busiest, blame.hottest), (MemberId(1), (5, 101.0 / 200.0)));
        // 125 of 200 requests on one of four nodes, and 101 of them are one key.
        assert!((blame.request_skew - 2.5).abs() < 1e-12);
        assert!((blame.floor - 2.02).abs() < 1e-12);
        assert!((blame.ring_part() - 0.48).abs() < 1e-12);
        assert!((blame.key_skew - 1.0).abs() < 1e-12);
    }

    #[test]
    fn heavy_keys_that_meet_are_told_from_a_node_with_too_many_keys() {
        // Four keys of 30 meet on node 2; each alone would fit a fair share of 54.
        let mut weights = vec![1.0; 100];
        for key in [2, 6, 10, 14] {
            weights[key] = 30.0;
        }
        let meeting = blame(&weights).unwrap();
        assert_eq!((meeting.verdict, meeting.makers), (Verdict::Meeting, 3));
        // Node 3 has twice its share, of twenty keys that are all alike.
        let weights: Vec<f64> = (0..80).map(|i| if i % 4 == 3 { 1.0 } else { 0.3 }).collect();
        assert_eq!(blame(&weights).unwrap().verdict, Verdict::Ring);
    }

    #[test]
    fn an_even_load_has_nobody_to_blame() {
        let blame = blame(&[1.0; 40]).unwrap();
        assert_eq!((blame.verdict, blame.floor, blame.makers), (Verdict::Even, 1.0, 0));
    }

    #[test]
    fn without_weight_there_is_nothing_to_explain() {
        assert_eq!(blame(&[]), None);
        assert_eq!(blame(&[0.0, 0.0]), None);
    }
}
