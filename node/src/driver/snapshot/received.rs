use bytes::Bytes;
use kv_proto::v1;
use kv_storage::{Batch, Space, rows};
use kv_types::{EntryId, EpochHistory, Lineage, SessionId, ShardId};
use prost::Message as _;

use super::{DATA, FORMAT, RESULT, SESSION};
use crate::driver::peers::wire;

/// Takes the chunks of a snapshot in, one after the other: what they say for the table of this copy.
pub(super) struct Received {
    shard: ShardId,
    space: Space,
    lineage: Lineage,
    header: Option<v1::SnapshotHeader>,
    rows: u64,
    checksum: u32,
}

/// What a chunk comes to.
pub(super) struct Taken {
    pub(super) batch: Batch,
    /// After the last one: the last entry that is in the snapshot, and the log up to there.
    pub(super) end: Option<(EntryId, EpochHistory)>,
}

impl Received {
    /// Of a copy of `shard` and `lineage`, whose rows go to `space`.
    pub(super) const fn new(shard: ShardId, space: Space, lineage: Lineage) -> Self {
        Self { shard, space, lineage, header: None, rows: 0, checksum: 0 }
    }

    /// Nothing that was taken counts before the end has come.
    pub(super) fn take(&mut self, chunk: v1::SnapshotChunk) -> Result<Taken, String> {
        if let Some(header) = chunk.header {
            self.check(&header)?;
            self.header = Some(header);
        }
        let mut batch = Batch::with_capacity(chunk.rows.len());
        for v1::SnapshotRow { key, value } in chunk.rows {
            self.checksum = crc32c::crc32c_append(crc32c::crc32c_append(self.checksum, &key), &value);
            self.rows += 1;
            put_row(self.shard, self.space, &key, value, &mut batch)?;
        }
        let end = chunk.trailer.map(|trailer| self.finish(&trailer)).transpose()?;
        Ok(Taken { batch, end })
    }

    fn check(&self, header: &v1::SnapshotHeader) -> Result<(), String> {
        if header.format_version > FORMAT {
            return Err(format!("the snapshot has format {}, this node reads up to {FORMAT}", header.format_version));
        }
        let lineage = self.lineage.0;
        if header.lineage != lineage {
            return Err(format!("the snapshot is of lineage {}, this copy of {lineage}", header.lineage));
        }
        Ok(())
    }

    fn finish(&mut self, trailer: &v1::SnapshotTrailer) -> Result<(EntryId, EpochHistory), String> {
        if (trailer.rows, trailer.checksum) != (self.rows, self.checksum) {
            let count = self.rows;
            return Err(format!("{count} rows came, {} were sent, or their checksums differ", trailer.rows));
        }
        let header = self.header.take().ok_or("the snapshot has no header")?;
        let base = EntryId::new(header.base_epoch, header.base_seq);
        let history = wire::decode_history(header.history).map_err(|error| error.to_string())?;
        Ok((base, history))
    }
}

fn put_row(shard: ShardId, space: Space, key: &Bytes, value: Bytes, batch: &mut Batch) -> Result<(), String> {
    let session = |bytes: &[u8]| SessionId::from_bytes(bytes).ok_or_else(|| "a session row is malformed".to_owned());
    match key.split_first() {
        Some((&DATA, user_key)) => {
            let row = rows::ValueRow::decode(value.clone()).map_err(|error| error.to_string())?;
            if row.expires_at_millis != 0 {
                batch.put(rows::ttl_key(space, row.expires_at_millis, user_key), Bytes::new());
            }
            batch.put(rows::data_key(space, user_key), value);
        }
        Some((&SESSION, id)) => batch.put(rows::session_key(shard, session(id)?), value),
        Some((&RESULT, rest)) if rest.len() == SessionId::BYTES + 8 => {
            let (id, number) = rest.split_at(SessionId::BYTES);
            let number = u64::from_be_bytes(number.try_into().map_err(|_| "a result row is malformed")?);
            batch.put(rows::result_key(shard, session(id)?, number), value);
        }
        _ => return Err("a row of an unknown kind".into()),
    }
    Ok(())
}
