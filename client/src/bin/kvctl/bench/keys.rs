use bytes::{Bytes, BytesMut};
use clap::ValueEnum;
use kv_client::keys::{KeyChoice, spread};
use rand::rngs::SmallRng;

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
    prefix: Option<Bytes>,
    choice: KeyChoice,
    in_order: bool,
}

impl Keys {
    pub fn new(arguments: &BenchArguments) -> Result<Self, String> {
        let keys = Self { in_order: false, ..Self::in_order(arguments) };
        if arguments.distribution == Distribution::Uniform {
            return Ok(keys);
        }
        let zipf = KeyChoice::zipf(arguments.keys.get(), arguments.zipf_exponent);
        Ok(Self { choice: zipf.map_err(|error| format!("--zipf-exponent: {error}"))?, ..keys })
    }

    /// Each key once.
    pub fn in_order(arguments: &BenchArguments) -> Self {
        let prefix = arguments.prefix.clone().map(Bytes::from);
        Self { prefix, choice: KeyChoice::uniform(arguments.keys.get()), in_order: true }
    }

    /// The key of the `request`th request.
    pub fn choose(&self, request: u64, random: &mut SmallRng) -> Bytes {
        self.key(if self.in_order { request % self.choice.number() } else { self.choice.choose(random) })
    }

    fn key(&self, number: u64) -> Bytes {
        let Some(prefix) = &self.prefix else { return spread(number) };
        let mut key = BytesMut::with_capacity(prefix.len() + 10);
        key.extend_from_slice(prefix);
        key.extend_from_slice(format!("{number:010}").as_bytes());
        key.freeze()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::SeedableRng as _;

    use super::*;

    fn counts(choice: KeyChoice, in_order: bool, prefix: Option<Bytes>) -> HashMap<Bytes, u32> {
        let keys = Keys { prefix, choice, in_order };
        let mut random = SmallRng::seed_from_u64(1);
        let mut counts = HashMap::new();
        for request in 0..10_000 {
            *counts.entry(keys.choose(request, &mut random)).or_default() += 1;
        }
        counts
    }

    #[test]
    fn keys_in_order_are_used_alike_and_others_as_they_are_chosen() {
        let zipf = counts(KeyChoice::zipf(100, 0.99).expect("valid"), false, None);
        assert!(zipf.len() <= 100 && zipf.values().max() > Some(&1000));
        assert!(counts(KeyChoice::uniform(100), true, None).values().all(|count| *count == 100));
    }

    #[test]
    fn a_prefix_is_followed_by_ten_digits() {
        let prefixed = counts(KeyChoice::uniform(100), true, Some("user:".into()));
        assert!(prefixed.contains_key(&b"user:0000000042"[..]));
    }
}
