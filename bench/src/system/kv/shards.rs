use std::{
    cmp::Reverse,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_client::description::ShardDescription;

use super::{Kv, WHOLE_WITHIN};
use crate::error::{Error, Result};

/// Shards that a cluster can be created with; more come of splits.
pub(super) const MOST_AT_FIRST: usize = 256;
/// From one split to the next: a shard that is being changed refuses, and so does one that was only just made.
const SPLIT_WITHIN: Duration = Duration::from_secs(60);
const AGAIN_AFTER: Duration = Duration::from_millis(50);

impl Kv {
    /// Splits shards in the middle of their ranges, the widest ones first, until there are so many.
    pub(super) async fn split_into(&self, number: usize) -> Result<()> {
        let (mut most, mut deadline) = (0, Instant::now() + SPLIT_WITHIN);
        let mut detail = String::new();
        loop {
            let mut shards = self.shards().await.map_err(Error::request)?;
            if shards.len() >= number {
                return self.wait_shards(WHOLE_WITHIN).await;
            }
            if shards.len() > most {
                (most, deadline) = (shards.len(), Instant::now() + SPLIT_WITHIN);
            } else if Instant::now() > deadline {
                let detail = format!("there are {most} of {number}: {detail}");
                return Err(Error::TimedOut { what: "shards can't be split", within: SPLIT_WITHIN, detail });
            }
            let missing = number - shards.len();
            shards.sort_by_key(|shard| Reverse(width(shard)));
            for shard in shards.iter().take(missing) {
                let middle = first(shard).saturating_add(width(shard) / 2);
                let middle = Bytes::copy_from_slice(&middle.to_be_bytes());
                // Whether one whose outcome is unknown has come to be is seen in the next description.
                if let Err(error) = self.client.split(shard.shard, Some(middle)).await {
                    detail = error.to_string();
                }
            }
            tokio::time::sleep(AGAIN_AFTER).await;
        }
    }
}

/// The first bytes of its range as a number.
fn first(shard: &ShardDescription) -> u64 {
    number(&shard.start)
}

fn width(shard: &ShardDescription) -> u64 {
    let end = if shard.end.is_empty() { u64::MAX } else { number(&shard.end) };
    end.saturating_sub(first(shard))
}

fn number(key: &[u8]) -> u64 {
    let mut bytes = [0; 8];
    let length = key.len().min(bytes.len());
    bytes[..length].copy_from_slice(&key[..length]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_range_lies_within_it() {
        let shard = |start: &'static [u8], end: &'static [u8]| ShardDescription {
            start: Bytes::from_static(start),
            end: Bytes::from_static(end),
            ..ShardDescription::default()
        };
        assert_eq!((first(&shard(b"", b"")), width(&shard(b"", b""))), (0, u64::MAX));
        let narrow = shard(b"\x10\x00", b"\x10\x02");
        assert_eq!((first(&narrow), width(&narrow)), (0x1000 << 48, 2 << 48));
    }
}
