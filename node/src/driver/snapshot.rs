//! A shard's rows as they are at one seq, from the primary to a learner whose log is too far behind.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod received;

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use kv_proto::v1::{self, replica_client::ReplicaClient};
use kv_replication::{apply::Machine, core::Input};
use kv_storage::{Batch, Direction, Space, rows};
use kv_types::{EntryId, Epoch, EpochHistory, KeyRange, ShardId, VolumeId};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{info, warn};

use received::{Received, Taken};

use super::{
    peers::{connect, wire},
    replica::{Replica, State},
    shared::Shared,
    state_machine::load_sessions,
    unapplied::Unapplied,
};

/// Version of the rows' encoding; a learner takes no newer one.
const FORMAT: u32 = 1;
/// Bytes after which a chunk is closed.
const CHUNK_BYTES: usize = 256 << 10;
/// Chunks that wait for the network.
const CHUNKS: usize = 8;
/// How long a chunk may take.
const CHUNK_LIMIT: Duration = Duration::from_secs(30);

/// The first byte of a row's key on the wire.
const DATA: u8 = b'd';
const SESSION: u8 = b's';
const RESULT: u8 = b'r';

type Chunk = Result<v1::SnapshotChunk, Status>;

/// The chunks of a shard's snapshot.
#[allow(clippy::result_large_err, reason = "tonic's own error")]
pub(super) fn serve(
    shared: &Arc<Shared>,
    request: &v1::SnapshotRequest,
) -> Result<impl Stream<Item = Chunk> + Send + use<>, Status> {
    let shard = ShardId(request.shard);
    let own = wire::decode_volume(&request.to).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let Some(replica) = shared.replica(shard, own) else {
        return Err(Status::not_found(format!("no copy of shard {shard} is on volume {own}")));
    };
    let state = replica.lock();
    if !state.core.leads() {
        return Err(Status::failed_precondition(format!("this copy of shard {shard} is not the primary")));
    }
    let range = state.core.config().map_or_else(KeyRange::all, |config| config.range.clone());
    let header = v1::SnapshotHeader {
        format_version: FORMAT,
        epoch: request.epoch,
        lineage: state.core.lineage().0,
        base_epoch: state.applied.epoch.0,
        base_seq: state.applied.seq.0,
        history: Some(wire::encode_history(&state.core.applied_history())),
    };
    let space = state.space;
    let snapshot = replica.volume.volume.table().snapshot();
    drop(state);
    let (sender, receiver) = mpsc::channel::<Chunk>(CHUNKS);
    tokio::task::spawn_blocking(move || {
        let mut writer = Writer::new(header, sender);
        let [sessions, results] = rows::duplicate_table(space, shard);
        let ranges = [rows::data_range(space, &range), sessions, results];
        for row in ranges.iter().flat_map(|range| snapshot.scan(range, Direction::Forward)) {
            let written = match row {
                Ok((key, value)) => to_wire(&key).map_or(Ok(()), |key| writer.row(key, value)),
                Err(error) => {
                    let _ = writer.sender.blocking_send(Err(Status::data_loss(error.to_string())));
                    return;
                }
            };
            if written.is_err() {
                return;
            }
        }
        let _ = writer.finish();
    });
    Ok(ReceiverStream::new(receiver))
}

struct Writer {
    chunk: v1::SnapshotChunk,
    bytes: usize,
    rows: u64,
    checksum: u32,
    sender: mpsc::Sender<Chunk>,
}

/// The learner does not listen any more.
struct Gone;

impl Writer {
    fn new(header: v1::SnapshotHeader, sender: mpsc::Sender<Chunk>) -> Self {
        let chunk = v1::SnapshotChunk { header: Some(header), ..v1::SnapshotChunk::default() };
        Self { chunk, bytes: 0, rows: 0, checksum: 0, sender }
    }

    fn row(&mut self, key: Bytes, value: Bytes) -> Result<(), Gone> {
        self.checksum = crc32c::crc32c_append(crc32c::crc32c_append(self.checksum, &key), &value);
        self.rows += 1;
        self.bytes += key.len() + value.len();
        self.chunk.rows.push(v1::SnapshotRow { key, value });
        if self.bytes >= CHUNK_BYTES { self.send() } else { Ok(()) }
    }

    fn send(&mut self) -> Result<(), Gone> {
        self.bytes = 0;
        self.sender.blocking_send(Ok(std::mem::take(&mut self.chunk))).map_err(|_| Gone)
    }

    fn finish(mut self) -> Result<(), Gone> {
        self.chunk.trailer = Some(v1::SnapshotTrailer { rows: self.rows, checksum: self.checksum });
        self.send()
    }
}

/// A row's key without what differs between volumes; `None` for rows that the learner makes itself.
fn to_wire(row: &Bytes) -> Option<Bytes> {
    let mut key = BytesMut::with_capacity(row.len());
    if let Some(user_key) = rows::user_key(row) {
        key.put_u8(DATA);
        key.put_slice(&user_key);
    } else {
        let session = rows::parse_session(row)?;
        let number = rows::parse_result_number(row);
        key.put_u8(if number.is_some() { RESULT } else { SESSION });
        key.put_slice(&session.to_bytes());
        if let Some(number) = number {
            key.put_u64(number);
        }
    }
    Some(key.freeze())
}

/// Fetches the shard's snapshot from its primary into the copy, which is empty.
pub(super) fn fetch(shared: Arc<Shared>, replica: Arc<Replica>, from: VolumeId, epoch: Epoch) {
    tokio::spawn(async move {
        info!(shard = %replica.shard, folder = %replica.volume.folder, "fetching a snapshot");
        let input = match install(&shared, &replica, from, epoch).await {
            Ok((base, history)) => {
                info!(shard = %replica.shard, folder = %replica.volume.folder, ?base, "snapshot is installed");
                Input::SnapshotInstalled { epoch, base, history }
            }
            Err(error) => {
                warn!(shard = %replica.shard, error, "snapshot was not installed");
                Input::SnapshotFailed { epoch }
            }
        };
        replica.step(&shared, input);
    });
}

async fn install(
    shared: &Arc<Shared>,
    replica: &Arc<Replica>,
    from: VolumeId,
    epoch: Epoch,
) -> Result<(EntryId, EpochHistory), String> {
    let space = replica.lock().space;
    let chunks = if shared.volume(from).is_some() {
        let request = request(replica, from, epoch);
        serve(shared, &request).map_err(|status| status.to_string())?.boxed()
    } else {
        let address = shared.peers.address_of(from).ok_or("the primary's address is not known")?;
        let channel = connect(&address, CHUNK_LIMIT).await?;
        let mut client = ReplicaClient::new(channel).max_decoding_message_size(64 << 20);
        let chunks = client.snapshot(request(replica, from, epoch)).await.map_err(|status| status.to_string())?;
        chunks.into_inner().boxed()
    };
    take_in(shared, replica, space, chunks).await
}

/// Puts the snapshot's rows into `space`, as long as it is the copy's.
async fn take_in(
    shared: &Arc<Shared>,
    replica: &Arc<Replica>,
    space: Space,
    mut chunks: impl Stream<Item = Chunk> + Unpin,
) -> Result<(EntryId, EpochHistory), String> {
    let shard = replica.shard;
    let lineage = replica.lock().core.lineage();
    let mut received = Received::new(shard, space, lineage);
    let (base, history) = loop {
        let chunk = timeout(CHUNK_LIMIT, chunks.next()).await.map_err(|_| "the primary fell silent")?;
        let chunk = chunk.ok_or("the snapshot ended early")?.map_err(|status| status.to_string())?;
        let Taken { batch, end } = received.take(chunk)?;
        write_into(replica, space, batch)?;
        // A snapshot may be much larger than memory: the table has to keep up.
        while replica.volume.volume.table().pressure() == kv_storage::Pressure::Stop {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if let Some(end) = end {
            break end;
        }
    };
    let table = replica.volume.volume.table();
    let mut batch = Batch::default();
    batch.put(rows::applied_key(shard), rows::encode_applied(base, space));
    write_into(replica, space, batch)?;
    let flushing = Arc::clone(table);
    // The log starts anew after the snapshot, so all of it must be on the disk.
    let flushed = tokio::task::spawn_blocking(move || flushing.flush()).await.map_err(|error| error.to_string())?;
    flushed.map_err(|error| error.to_string())?;
    let sessions = load_sessions(&**table, space, shard).map_err(|error| error.to_string())?;
    let mut state = replica.lock();
    check_space(&state, space)?;
    state.machine = Machine::new(shard, shared.limits, sessions);
    state.applied = base;
    state.unapplied = Unapplied::default();
    state.events.restart(base.seq);
    Ok((base, history))
}

/// Writes rows into the copy's space if it is its space still. One step, under the lock that a copy gives its space up
/// under: what is written before that is found and deleted, and nothing is written after it. The lock is held for a write
/// into memory, which does not wait for the disk.
fn write_into(replica: &Replica, space: Space, batch: Batch) -> Result<(), String> {
    let state = replica.lock();
    check_space(&state, space)?;
    replica.volume.volume.table().write(batch).map(drop).map_err(|error| error.to_string())
}

/// Whether rows may still come into `space`: the copy has not started over, and nobody has made it anew.
fn check_space(state: &State, space: Space) -> Result<(), String> {
    if let Some(why) = &state.broken {
        return Err(format!("the copy was given up meanwhile: {why}"));
    }
    if state.space != space {
        return Err("the copy has started over meanwhile".to_owned());
    }
    Ok(())
}

fn request(replica: &Replica, from: VolumeId, epoch: Epoch) -> v1::SnapshotRequest {
    v1::SnapshotRequest {
        shard: replica.shard.0,
        from: wire::encode_volume(replica.volume.id),
        to: wire::encode_volume(from),
        epoch: epoch.0,
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use prost::Message as _;

    use super::*;
    use crate::driver::{
        fixture::{self, SHARD},
        manager::empty_volume,
    };

    const ROWS: u64 = 2000;

    /// Chunk `number` of `of`, with rows of its own.
    fn chunk(number: u64, of: u64) -> v1::SnapshotChunk {
        let value: Bytes =
            rows::ValueRow { value: "v".into(), revision: 1, expires_at_millis: 0 }.encode_to_vec().into();
        let row = |at: u64| {
            let key = [&[DATA][..], &(number * ROWS + at).to_be_bytes()].concat();
            v1::SnapshotRow { key: key.into(), value: value.clone() }
        };
        let header = v1::SnapshotHeader { format_version: FORMAT, base_epoch: 1, base_seq: 9, ..Default::default() };
        v1::SnapshotChunk {
            header: (number == 0).then_some(header),
            rows: (0..ROWS).map(row).collect(),
            trailer: (number + 1 == of).then(v1::SnapshotTrailer::default),
        }
    }

    fn rows_left(replica: &Replica, space: Space) -> usize {
        replica.volume.volume.table().scan(&rows::space_range(space), Direction::Forward).count()
    }

    /// What is deleted in the background is gone soon; what was written after it never.
    async fn is_empty_soon(replica: &Replica, space: Space) -> bool {
        for _ in 0..200 {
            if rows_left(replica, space) == 0 {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        false
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_of_a_snapshot_comes_into_a_copy_that_was_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let replica = shared.make_empty(SHARD, &shared.volumes[0], false);
        let space = replica.lock().space;
        let (of, given_up) = (Arc::clone(&shared), Arc::clone(&replica));
        let chunks = stream::iter(0..2).map(move |number| {
            if number == 1 {
                empty_volume(&of, &given_up, "dropped");
            }
            Ok(chunk(number, 3))
        });
        let taken = take_in(&shared, &replica, space, chunks).await;
        assert_eq!(taken.map(drop), Err("the copy was given up meanwhile: dropped".to_owned()));
        assert!(is_empty_soon(&replica, space).await, "{} rows stay", rows_left(&replica, space));
        assert_eq!(replica.volume.volume.table().get(&rows::applied_key(SHARD)).expect("is read"), None);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn nothing_of_a_snapshot_is_left_in_a_space_that_was_given_up_meanwhile() {
        let folder = tempfile::tempdir().expect("a folder");
        let (shared, _) = fixture::open(folder.path());
        let replica = shared.make_empty(SHARD, &shared.volumes[0], false);
        for round in 0..60_u64 {
            let space = replica.lock().space;
            let (of, starting_over) = (Arc::clone(&shared), Arc::clone(&replica));
            let mut started = None;
            let chunks = stream::iter(0..4).map(|number| {
                if number == 1 {
                    let (of, replica) = (Arc::clone(&of), Arc::clone(&starting_over));
                    // At a time of its own, so that it meets the writes at different places.
                    started = Some(tokio::task::spawn_blocking(move || {
                        std::thread::sleep(Duration::from_micros(round * 50));
                        replica.lock().start_over(&of, &replica);
                    }));
                }
                Ok(chunk(number, 8))
            });
            let chunks = chunks.chain(stream::iter([Err(Status::cancelled("cut"))]));
            let taken = take_in(&shared, &replica, space, chunks).await;
            assert!(taken.is_err(), "the snapshot is cut");
            started.expect("began").await.expect("ends");
            assert!(is_empty_soon(&replica, space).await, "round {round}: {} rows stay", rows_left(&replica, space));
        }
    }
}
