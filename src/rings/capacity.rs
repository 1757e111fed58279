//! How many buckets a placement sets aside for members that may come.

use crate::rings::Unfit;

crate::config! {
    /// The buckets that are set aside: an upper bound on the members.
    pub(super) enum Capacity {
        /// So many for each member at the start.
        "times" => Times(f64),
        /// So many.
        "buckets" => Buckets(u32),
    }
}

impl Capacity {
    /// For `count` members: at least as many.
    pub(super) fn buckets(&self, count: u32) -> u32 {
        match self {
            // A cast from float saturates, the same everywhere.
            Self::Times(times) => (f64::from(count) * times) as u32,
            Self::Buckets(buckets) => *buckets,
        }
    }

    /// Whether `count` members fit.
    pub(super) fn fits(&self, count: usize) -> Result<(), Unfit> {
        let buckets = self.buckets(u32::try_from(count).unwrap_or(u32::MAX));
        Unfit::unless(count <= buckets as usize, || {
            format!("a capacity of {buckets} buckets is too small for {count} members")
        })?;
        Unfit::unless(buckets <= BUCKETS_MAX, || {
            format!("a capacity of {buckets} buckets is more than {BUCKETS_MAX}")
        })
    }
}

const BUCKETS_MAX: u32 = 100_000_000;
