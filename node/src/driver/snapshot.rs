//! A shard's rows as they are at one seq, from the primary to a learner whose log is too far behind.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod received;

use std::{sync::Arc, time::Duration};

use bytes::{BufMut as _, Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use kv_proto::v1::{self, replica_client::ReplicaClient};
use kv_replication::{apply::Machine, core::Input};
use kv_storage::{Batch, Direction, rows};
use kv_types::{EntryId, Epoch, EpochHistory, KeyRange, ShardId, VolumeId};
use tokio::{sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;
use tracing::{info, warn};

use received::{Received, Taken};

use super::{
    peers::{connect, wire},
    replica::Replica,
    shared::Shared,
    state_machine::load_sessions,
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
        let ranges = [rows::data_range(space, &range), rows::session_range(shard), rows::result_range(shard, None)];
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
    let (space, shard) = (replica.lock().space, replica.shard);
    let mut chunks = if shared.volume(from).is_some() {
        let request = request(replica, from, epoch);
        serve(shared, &request).map_err(|status| status.to_string())?.boxed()
    } else {
        let address = shared.peers.address_of(from).ok_or("the primary's address is not known")?;
        let channel = connect(&address, CHUNK_LIMIT).await?;
        let mut client = ReplicaClient::new(channel).max_decoding_message_size(64 << 20);
        let chunks = client.snapshot(request(replica, from, epoch)).await.map_err(|status| status.to_string())?;
        chunks.into_inner().boxed()
    };
    let lineage = replica.lock().core.lineage();
    let mut received = Received::new(shard, space, lineage);
    let (base, history) = loop {
        let chunk = timeout(CHUNK_LIMIT, chunks.next()).await.map_err(|_| "the primary fell silent")?;
        let chunk = chunk.ok_or("the snapshot ended early")?.map_err(|status| status.to_string())?;
        let Taken { batch, end } = received.take(chunk)?;
        if replica.lock().space != space {
            return Err("the copy has started over meanwhile".into());
        }
        replica.volume.volume.table().write(batch).map_err(|error| error.to_string())?;
        // A snapshot may be much larger than memory: the table has to keep up.
        while replica.volume.volume.table().pressure() == kv_storage::Pressure::Stop {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        if let Some(end) = end {
            break end;
        }
    };
    let table = replica.volume.volume.table();
    {
        // Under the lock: a copy that starts over meanwhile takes the applied position back.
        let state = replica.lock();
        if state.space != space {
            return Err("the copy has started over meanwhile".into());
        }
        let mut batch = Batch::default();
        batch.put(rows::applied_key(shard), rows::encode_applied(base, space));
        table.write(batch).map_err(|error| error.to_string())?;
    }
    let flushing = Arc::clone(table);
    // The log starts anew after the snapshot, so all of it must be on the disk.
    let flushed = tokio::task::spawn_blocking(move || flushing.flush()).await.map_err(|error| error.to_string())?;
    flushed.map_err(|error| error.to_string())?;
    let sessions = load_sessions(&**table, shard).map_err(|error| error.to_string())?;
    let mut state = replica.lock();
    if state.space != space {
        return Err("the copy has started over meanwhile".into());
    }
    state.machine = Machine::new(shard, shared.limits, sessions);
    state.applied = base;
    state.events.restart(base.seq);
    Ok((base, history))
}

fn request(replica: &Replica, from: VolumeId, epoch: Epoch) -> v1::SnapshotRequest {
    v1::SnapshotRequest {
        shard: replica.shard.0,
        from: wire::encode_volume(replica.volume.id),
        to: wire::encode_volume(from),
        epoch: epoch.0,
    }
}
