use bytes::{BufMut as _, Bytes, BytesMut};
use clap::ValueEnum;
use rand::{RngExt as _, rngs::SmallRng};
use rand_distr::{Distribution as _, Zipf};

use super::BenchArguments;

/// How often each key is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Distribution {
    /// Every key as often as any other.
    #[default]
    Uniform,
    /// Few keys often, most rarely.
    Zipf,
}

/// Chooses the key of each request.
#[derive(Clone, Debug)]
pub struct Keys {
    number: u64,
    prefix: Option<Bytes>,
    choice: Choice,
}

#[derive(Clone, Debug)]
enum Choice {
    InOrder,
    Uniform,
    Zipf(Zipf<f64>),
}

/// Length of a key without a prefix.
const KEY_BYTES: usize = 16;

impl Keys {
    pub fn new(arguments: &BenchArguments) -> Result<Self, String> {
        let choice = match arguments.distribution {
            Distribution::Uniform => Choice::Uniform,
            Distribution::Zipf => {
                let exponent = arguments.zipf_exponent;
                let zipf = Zipf::new(arguments.keys.get() as f64, exponent);
                Choice::Zipf(zipf.map_err(|error| format!("--zipf-exponent {exponent}: {error}"))?)
            }
        };
        Ok(Self { choice, ..Self::in_order(arguments) })
    }

    /// Each key once.
    pub fn in_order(arguments: &BenchArguments) -> Self {
        let prefix = arguments.prefix.clone().map(Bytes::from);
        Self { number: arguments.keys.get(), prefix, choice: Choice::InOrder }
    }

    /// The key of the `request`th request.
    pub fn choose(&self, request: u64, random: &mut SmallRng) -> Bytes {
        self.key(match &self.choice {
            Choice::InOrder => request % self.number,
            Choice::Uniform => random.random_range(0..self.number),
            // Ranks are counted from 1.
            Choice::Zipf(zipf) => (zipf.sample(random) as u64).clamp(1, self.number) - 1,
        })
    }

    /// Neighbouring numbers make keys that lie far apart, so that they are spread evenly over any shards.
    fn key(&self, number: u64) -> Bytes {
        match &self.prefix {
            Some(prefix) => {
                let mut key = BytesMut::with_capacity(prefix.len() + 10);
                key.extend_from_slice(prefix);
                key.extend_from_slice(format!("{number:010}").as_bytes());
                key.freeze()
            }
            None => {
                let mut key = BytesMut::with_capacity(KEY_BYTES);
                key.put_u64(mix(number));
                key.put_u64(number);
                key.freeze()
            }
        }
    }
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
    use std::collections::HashMap;

    use rand::SeedableRng as _;

    use super::*;

    fn counts(choice: Choice, prefix: Option<Bytes>) -> HashMap<Bytes, u32> {
        let keys = Keys { number: 100, prefix, choice };
        let mut random = SmallRng::seed_from_u64(1);
        let mut counts = HashMap::new();
        for request in 0..10_000 {
            *counts.entry(keys.choose(request, &mut random)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn uniform_uses_all_keys_alike_and_zipf_some_more() {
        let uniform = counts(Choice::Uniform, None);
        assert_eq!(uniform.len(), 100);
        assert!(uniform.values().all(|count| (40..250).contains(count)));
        let zipf = counts(Choice::Zipf(Zipf::new(100.0, 0.99).expect("valid")), None);
        assert!(zipf.len() <= 100 && zipf.values().max() > Some(&1000));
        assert!(counts(Choice::InOrder, None).values().all(|count| *count == 100));
    }

    #[test]
    fn keys_without_a_prefix_spread_over_the_whole_range() {
        let first_bytes: std::collections::HashSet<_> =
            counts(Choice::InOrder, None).keys().map(|key| key[0] / 32).collect();
        assert_eq!(first_bytes.len(), 8);
        assert!(counts(Choice::InOrder, Some("user:".into())).contains_key(&b"user:0000000042"[..]));
    }
}
