use bytes::Bytes;
use kv_proto::v1::LinkFrame;
use kv_replication::core::Body;
use kv_types::{EpochHistory, Seq};
use prost::Message as _;

use super::{decode, encode};

/// A frame of a link between two nodes. Each message that is understood survives its encoding, is no longer then, and
/// keeps to what the core relies on: entries follow each other, and histories ascend.
pub fn peer_frame(bytes: &[u8]) -> bool {
    let Ok(frame) = LinkFrame::decode(Bytes::copy_from_slice(bytes)) else { return false };
    let sizes = crate::driver::peers::heartbeat::sizes(frame.heartbeat.as_ref());
    assert!(sizes.count() <= bytes.len());
    let mut understood = false;
    for wire in frame.messages {
        let came = wire.encoded_len();
        let Ok((shard, message)) = decode(wire) else { continue };
        understood = true;
        match &message.body {
            Body::Follow { history, .. } | Body::Reject { history, .. } => check_history(history),
            Body::Append { previous, entries, .. } => {
                let mut last = *previous;
                for entry in entries {
                    assert_eq!(Some(entry.id.seq.0), last.seq.0.checked_add(1), "after {last:?}");
                    assert!(entry.id.epoch >= last.epoch, "{:?} after {last:?}", entry.id);
                    assert!(entry.id.seq.next() > entry.id.seq, "nothing can follow {:?}", entry.id);
                    last = entry.id;
                }
            }
            _ => {}
        }
        let again = encode(shard, message.clone());
        assert!(again.encoded_len() <= came, "{message:?} has grown");
        assert_eq!(decode(again), Ok((shard, message)));
    }
    understood
}

/// A history agrees with itself from end to end, and names the epoch of its last entry.
fn check_history(history: &EpochHistory) {
    let last = history.last();
    let agrees = if history.starts().is_empty() { Seq(0) } else { last.seq };
    assert_eq!(history.common_prefix(history), agrees, "{history:?}");
    assert!(history.starts().is_empty() || history.contains(last), "{history:?}");
    assert!(last.seq.next() > last.seq, "nothing can follow {history:?}");
}

#[cfg(test)]
mod tests {
    use kv_corpus::Seed;
    use kv_proto::v1::{Follow, LogEntry, NodeHeartbeat, NodeHello, ShardSize, replica_message::Body as WireBody};
    use kv_replication::core::{Grant, Message, Time};
    use kv_types::{Entry, EntryId, Epoch, Lineage, ShardId, VolumeId};
    use uuid::Uuid;

    use super::*;

    fn messages() -> Vec<Body> {
        let history = EpochHistory::new(vec![EntryId::new(1, 1), EntryId::new(3, 5)], Seq(9)).expect("ascends");
        let entry = |epoch, seq| Entry { id: EntryId::new(epoch, seq), payload: "x".into() };
        let (stamp, received, matched) = (Time(1), Seq(3), Seq(4));
        vec![
            Body::Follow { history: history.clone(), void: true },
            Body::Append { previous: EntryId::new(1, 4), entries: vec![entry(1, 5), entry(2, 6)], commit: Seq(3) },
            Body::AppendAck { matched },
            Body::Heartbeat { stamp, commit: Seq(2), sent: Seq(3), round: 4 },
            Body::HeartbeatAck(Grant { stamp, round: 2, received, matched, void: true, leaving: true }),
            Body::Reject { promised: Epoch(4), history },
            Body::SnapshotNeeded { incarnation: 7, needed: Seq(3) },
            Body::Wake,
        ]
    }

    #[test]
    fn damaged_frames_between_nodes_are_refused_or_understood() {
        let volume = |n| VolumeId(Uuid::from_u128(n));
        let frame = |body| {
            let (epoch, lineage) = (Epoch(3), Lineage(1));
            let message = Message { from: volume(1), to: volume(2), incarnation: 7, epoch, lineage, body };
            LinkFrame { messages: vec![encode(ShardId(4), message)], ..LinkFrame::default() }
        };
        let mut frames: Vec<_> = messages().into_iter().map(frame).collect();
        let mut first = frames[0].clone();
        let node = "demo-0".to_owned();
        first.hello =
            Some(NodeHello { wire_version: 1, node, data_volume: vec![1; 16].into(), ..NodeHello::default() });
        let sizes = vec![ShardSize { shard: 1, bytes: 1 << 20 }];
        first.heartbeat = Some(NodeHeartbeat { zookeeper_age_millis: 3, sizes, ..NodeHeartbeat::default() });
        frames.push(first);
        let mut seeds: Vec<_> = frames.iter().map(|frame| Seed::from(frame.encode_to_vec())).collect();
        let mut early = frames[0].clone();
        if let Some(WireBody::Follow(Follow { history: Some(history), .. })) = &mut early.messages[0].body {
            history.starts[0].seq = 0;
        }
        seeds.push(Seed::find("early-epoch", early.encode_to_vec()));
        let mut highest = frame(Body::Append { previous: EntryId::new(1, 4), entries: Vec::new(), commit: Seq(3) });
        if let Some(WireBody::Append(append)) = &mut highest.messages[0].body {
            append.previous_seq = u64::MAX;
            append.entries.push(LogEntry { epoch: 1, seq: u64::MAX, ..LogEntry::default() });
        }
        seeds.push(Seed::find("highest-seq", highest.encode_to_vec()));
        kv_corpus::check("peer_frame", &seeds, peer_frame);
    }
}
