//! Keys of measured loads: what `kvctl bench` and `make bench` write and read.

use bytes::{BufMut as _, Bytes, BytesMut};
use rand::{RngExt as _, rngs::SmallRng};
use rand_distr::{Distribution as _, Zipf};

use crate::{Error, Result};

/// Bytes of each key that [`spread`] makes.
pub const KEY_BYTES: usize = 16;

/// The key of a number. Neighbours make keys that lie far apart, so that they are spread evenly over any shards.
#[must_use]
pub fn spread(number: u64) -> Bytes {
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

/// Chooses which key each request is about, by its number.
#[derive(Clone, Debug)]
pub struct KeyChoice {
    number: u64,
    /// `None`: each key as often as any other.
    zipf: Option<Zipf<f64>>,
}

impl KeyChoice {
    /// Each of `number` keys (at least one) as often as any other.
    #[must_use]
    pub fn uniform(number: u64) -> Self {
        Self { number: number.max(1), zipf: None }
    }

    /// Few of `number` keys (at least one) often, most rarely, by Zipf's law.
    ///
    /// # Errors
    /// [`Error::Invalid`] if `exponent` is not above 0 and finite.
    pub fn zipf(number: u64, exponent: f64) -> Result<Self> {
        let number = number.max(1);
        let invalid = |error| Error::Invalid(format!("the exponent of Zipf's law is {exponent}: {error}"));
        Ok(Self { number, zipf: Some(Zipf::new(number as f64, exponent).map_err(invalid)?) })
    }

    /// How many keys there are.
    #[must_use]
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The number of a key, from 0.
    pub fn choose(&self, random: &mut SmallRng) -> u64 {
        match &self.zipf {
            // Ranks are counted from 1.
            Some(zipf) => (zipf.sample(random) as u64).clamp(1, self.number) - 1,
            None => random.random_range(0..self.number),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rand::SeedableRng as _;

    use super::*;

    const CHOICES: usize = 200_000;
    const EXPONENT: f64 = 0.99;

    fn counts(choice: &KeyChoice) -> Vec<f64> {
        let mut random = SmallRng::seed_from_u64(1);
        let mut counts = vec![0.0; 10_000];
        for _ in 0..CHOICES {
            counts[usize::try_from(choice.choose(&mut random)).expect("small")] += 1.0;
        }
        counts
    }

    #[test]
    fn few_keys_are_chosen_often_by_zipfs_law() {
        let counts = counts(&KeyChoice::zipf(10_000, EXPONENT).expect("valid"));
        // The sum of 1/rank^0.99 over 10,000 ranks is 10.22, so the first key has 9.8 % of all.
        let first = counts[0] / CHOICES as f64;
        assert!((0.09..0.107).contains(&first), "{first}");
        let ratio = counts[0] / counts[9];
        let expected = 10_f64.powf(EXPONENT);
        assert!((ratio / expected - 1.0).abs() < 0.1, "{ratio} instead of {expected}");
        let upper_half: f64 = counts[5_000..].iter().sum();
        assert!(upper_half > 0.0 && upper_half < CHOICES as f64 / 10.0, "{upper_half}");
        assert!(KeyChoice::zipf(10, -1.0).is_err());
    }

    #[test]
    fn uniform_uses_all_keys_alike() {
        let counts = counts(&KeyChoice::uniform(10_000));
        assert!(counts.iter().all(|count| (1.0..60.0).contains(count)));
    }

    #[test]
    fn keys_are_spread_over_the_whole_range() {
        let first_bytes: HashSet<_> = (0..1_000).map(|number| spread(number)[0] / 16).collect();
        assert_eq!(first_bytes.len(), 16);
    }
}
