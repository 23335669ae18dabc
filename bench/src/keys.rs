use bytes::{BufMut as _, Bytes, BytesMut};
use rand::{RngExt as _, rngs::SmallRng};
use rand_distr::{Distribution as _, Zipf};

use crate::{
    error::{Error, Result},
    workload::{Operation, Workload, ZIPF_EXPONENT},
};

/// Bytes of each key, where the system does not give it another form.
pub const KEY_BYTES: usize = 16;

/// Chooses which key each request is about, by its number.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    number: u64,
    /// `None`: each key as often as any other.
    zipf: Option<Zipf<f64>>,
}

impl Keys {
    pub(crate) fn new(workload: &Workload) -> Result<Self> {
        let number = workload.keys();
        let zipf = match workload.operation {
            Operation::Mixed => Some(Zipf::new(number as f64, ZIPF_EXPONENT).map_err(Error::request)?),
            _ => None,
        };
        Ok(Self { number, zipf })
    }

    pub(crate) fn choose(&self, random: &mut SmallRng) -> u64 {
        match &self.zipf {
            // Ranks are counted from 1.
            Some(zipf) => (zipf.sample(random) as u64).clamp(1, self.number) - 1,
            None => random.random_range(0..self.number),
        }
    }
}

/// The key of a number. Neighbours make keys that lie far apart, so that they are spread evenly over any shards.
pub(crate) fn key(number: u64) -> Bytes {
    let mut key = BytesMut::with_capacity(KEY_BYTES);
    key.put_u64(mix(number));
    key.put_u64(number);
    key.freeze()
}

/// SplitMix64: different numbers give different ones.
const fn mix(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng as _;

    use super::*;

    const CHOICES: usize = 200_000;

    fn counts(operation: Operation) -> Vec<f64> {
        let keys = Keys::new(&Workload { operation, value_bytes: 100, in_flight: 1 }).expect("valid");
        let mut random = SmallRng::seed_from_u64(1);
        let mut counts = vec![0.0; 10_000];
        for _ in 0..CHOICES {
            counts[usize::try_from(keys.choose(&mut random)).expect("small")] += 1.0;
        }
        counts
    }

    #[test]
    fn a_mixed_load_follows_zipfs_law() {
        let counts = counts(Operation::Mixed);
        // The sum of 1/rank^0.99 over 10,000 ranks is 10.22, so the first key has 9.8 % of all.
        let first = counts[0] / CHOICES as f64;
        assert!((0.09..0.107).contains(&first), "{first}");
        let ratio = counts[0] / counts[9];
        let expected = 10_f64.powf(ZIPF_EXPONENT);
        assert!((ratio / expected - 1.0).abs() < 0.1, "{ratio} instead of {expected}");
        let upper_half: f64 = counts[5_000..].iter().sum();
        assert!(upper_half > 0.0 && upper_half < CHOICES as f64 / 10.0, "{upper_half}");
    }

    #[test]
    fn all_others_use_all_keys_alike() {
        let counts = counts(Operation::Get);
        assert!(counts.iter().all(|count| (1.0..60.0).contains(count)));
    }

    #[test]
    fn keys_are_spread_over_the_whole_range() {
        let first_bytes: HashSet<_> = (0..1_000).map(|number| key(number)[0] / 16).collect();
        assert_eq!(first_bytes.len(), 16);
    }
}
