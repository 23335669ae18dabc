//! Messages between replicas, to and from the wire.

#[cfg(any(test, fuzzing))]
pub mod fuzz;

use bytes::Bytes;
use kv_proto::v1::{self, replica_message::Body as WireBody};
use kv_replication::core::{Body, Grant, Message, Time};
use kv_types::{Entry, EntryId, Epoch, EpochHistory, Lineage, Seq, ShardId, VolumeId};
use uuid::Uuid;

/// A message that can't be read, with the reason. It is dropped, as if lost.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed message between nodes: {0}")]
pub struct Malformed(&'static str);

/// The wire's form of `message`.
#[must_use]
pub fn encode(shard: ShardId, message: Message) -> v1::ReplicaMessage {
    let Message { from, to, incarnation, epoch, lineage, body } = message;
    let body = match body {
        Body::Follow { history, void } => {
            WireBody::Follow(v1::Follow { history: Some(encode_history(&history)), void })
        }
        Body::Append { previous, entries, commit } => WireBody::Append(v1::Append {
            previous_epoch: previous.epoch.0,
            previous_seq: previous.seq.0,
            entries: entries
                .into_iter()
                .map(|Entry { id, payload }| v1::LogEntry { epoch: id.epoch.0, seq: id.seq.0, payload })
                .collect(),
            commit: commit.0,
        }),
        Body::AppendAck { matched } => WireBody::AppendAck(v1::AppendAck { matched_seq: matched.0 }),
        Body::Heartbeat { stamp, commit, sent, round } => {
            WireBody::Heartbeat(v1::Heartbeat { stamp: stamp.0, commit: commit.0, sent_seq: sent.0, round })
        }
        Body::HeartbeatAck(Grant { stamp, round, received, matched, void, leaving }) => {
            WireBody::HeartbeatAck(v1::HeartbeatAck {
                stamp: stamp.0,
                round,
                received_seq: received.0,
                matched_seq: matched.0,
                void,
                leaving,
            })
        }
        Body::Reject { promised, history } => {
            WireBody::Reject(v1::Reject { promised_epoch: promised.0, history: Some(encode_history(&history)) })
        }
        Body::SnapshotNeeded { incarnation, needed } => {
            WireBody::SnapshotNeeded(v1::SnapshotNeeded { incarnation, needed_seq: needed.0 })
        }
        Body::Wake => WireBody::Wake(v1::Wake {}),
    };
    v1::ReplicaMessage {
        shard: shard.0,
        from: encode_volume(from),
        to: encode_volume(to),
        epoch: epoch.0,
        lineage: lineage.0,
        incarnation,
        body: Some(body),
    }
}

/// The inverse of [`encode`].
///
/// # Errors
/// [`Malformed`] if a field is missing or breaks an invariant of its type.
pub fn decode(message: v1::ReplicaMessage) -> Result<(ShardId, Message), Malformed> {
    let v1::ReplicaMessage { shard, from, to, incarnation, epoch, lineage, body } = message;
    let body = match body.ok_or(Malformed("its body is missing"))? {
        WireBody::Follow(v1::Follow { history, void }) => Body::Follow { history: decode_history(history)?, void },
        WireBody::Append(v1::Append { previous_epoch, previous_seq, entries, commit }) => {
            let previous = EntryId::new(previous_epoch, previous_seq);
            let entries = decode_entries(previous, entries)?;
            Body::Append { previous, entries, commit: Seq(commit) }
        }
        WireBody::AppendAck(v1::AppendAck { matched_seq }) => Body::AppendAck { matched: Seq(matched_seq) },
        WireBody::Heartbeat(v1::Heartbeat { stamp, commit, sent_seq, round }) => {
            Body::Heartbeat { stamp: Time(stamp), commit: Seq(commit), sent: Seq(sent_seq), round }
        }
        WireBody::HeartbeatAck(v1::HeartbeatAck { stamp, round, received_seq, matched_seq, void, leaving }) => {
            let (received, matched) = (Seq(received_seq), Seq(matched_seq));
            Body::HeartbeatAck(Grant { stamp: Time(stamp), round, received, matched, void, leaving })
        }
        WireBody::Reject(v1::Reject { promised_epoch, history }) => {
            Body::Reject { promised: Epoch(promised_epoch), history: decode_history(history)? }
        }
        WireBody::SnapshotNeeded(v1::SnapshotNeeded { incarnation, needed_seq }) => {
            Body::SnapshotNeeded { incarnation, needed: Seq(needed_seq) }
        }
        WireBody::Wake(v1::Wake {}) => Body::Wake,
    };
    let (from, to) = (decode_volume(&from)?, decode_volume(&to)?);
    Ok((ShardId(shard), Message { from, to, incarnation, epoch: Epoch(epoch), lineage: Lineage(lineage), body }))
}

/// Entries follow `previous` without gaps, and epochs never go back: the core relies on it.
fn decode_entries(previous: EntryId, entries: Vec<v1::LogEntry>) -> Result<Vec<Entry>, Malformed> {
    let mut last = previous;
    let mut decoded = Vec::with_capacity(entries.len());
    for v1::LogEntry { epoch, seq, payload } in entries {
        let id = EntryId::new(epoch, seq);
        // The highest seq is nobody's: nothing could follow it.
        if id.seq != last.seq.next() || seq == u64::MAX || id.epoch < last.epoch || epoch == 0 {
            return Err(Malformed("its entries do not follow each other"));
        }
        last = id;
        decoded.push(Entry { id, payload });
    }
    Ok(decoded)
}

/// A volume's 16 bytes.
#[must_use]
pub fn encode_volume(volume: VolumeId) -> Bytes {
    Bytes::copy_from_slice(volume.0.as_bytes())
}

/// The inverse of [`encode_volume`].
///
/// # Errors
/// If there are not 16 bytes.
pub fn decode_volume(bytes: &[u8]) -> Result<VolumeId, Malformed> {
    Uuid::from_slice(bytes).map(VolumeId).map_err(|_| Malformed("a volume id has not 16 bytes"))
}

/// The wire's form of an epoch history.
#[must_use]
pub fn encode_history(history: &EpochHistory) -> v1::EpochHistory {
    let start = |id: &EntryId| v1::EpochStart { epoch: id.epoch.0, seq: id.seq.0 };
    v1::EpochHistory { starts: history.starts().iter().map(start).collect(), last_seq: history.last().seq.0 }
}

/// The inverse of [`encode_history`].
///
/// # Errors
/// If it is missing or does not ascend.
pub fn decode_history(history: Option<v1::EpochHistory>) -> Result<EpochHistory, Malformed> {
    let v1::EpochHistory { starts, last_seq } = history.ok_or(Malformed("its history is missing"))?;
    let starts = starts.into_iter().map(|start| EntryId::new(start.epoch, start.seq)).collect();
    EpochHistory::new(starts, Seq(last_seq)).ok_or(Malformed("its history does not ascend"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survives(body: Body) {
        let volume = |n| VolumeId(Uuid::from_u128(n));
        let message =
            Message { from: volume(1), to: volume(2), incarnation: 7, epoch: Epoch(3), lineage: Lineage(1), body };
        assert_eq!(decode(encode(ShardId(4), message.clone())), Ok((ShardId(4), message)));
    }

    #[test]
    fn every_message_survives_the_wire() {
        let history = EpochHistory::new(vec![EntryId::new(1, 1), EntryId::new(3, 5)], Seq(9)).expect("ascends");
        let entry = |epoch, seq| Entry { id: EntryId::new(epoch, seq), payload: "x".into() };
        survives(Body::Follow { history: history.clone(), void: true });
        survives(Body::Append {
            previous: EntryId::new(1, 4),
            entries: vec![entry(1, 5), entry(2, 6)],
            commit: Seq(3),
        });
        survives(Body::AppendAck { matched: Seq(5) });
        survives(Body::Heartbeat { stamp: Time(1), commit: Seq(2), sent: Seq(3), round: 4 });
        survives(Body::HeartbeatAck(Grant {
            stamp: Time(1),
            round: 2,
            received: Seq(3),
            matched: Seq(4),
            void: true,
            leaving: true,
        }));
        survives(Body::Reject { promised: Epoch(4), history });
        survives(Body::SnapshotNeeded { incarnation: 7, needed: Seq(3) });
        survives(Body::Wake);
    }

    #[test]
    fn entries_with_a_gap_are_malformed() {
        let entry = |epoch, seq| v1::LogEntry { epoch, seq, payload: Bytes::new() };
        for entries in [vec![entry(1, 6)], vec![entry(1, 5), entry(1, 7)], vec![entry(2, 5), entry(1, 6)]] {
            assert!(decode_entries(EntryId::new(1, 4), entries).is_err());
        }
        for previous in [u64::MAX, u64::MAX - 1] {
            assert!(decode_entries(EntryId::new(1, previous), vec![entry(1, u64::MAX)]).is_err());
        }
    }
}
