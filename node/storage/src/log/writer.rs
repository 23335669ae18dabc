use std::{collections::VecDeque, io, sync::Arc, time::Instant};

use super::{
    Events, Record, Ticket,
    front::{self, Front, Written},
    keeper::Keeper,
    replay::Replay,
    replicas::Replicas,
    segment::{BLOCK, Segment},
};
use crate::VolumeEvent;

/// A group is closed at this many bytes, so that those who wait for its beginning don't wait for all that follows.
const MAX_GROUP: usize = 4 << 20;

/// Puts records into segments. All that has come while one group was written is the next group: no lingering.
pub(super) struct Writer {
    front: Arc<Front>,
    keeper: Arc<Keeper>,
    segment: Segment,
    segment_len: u64,
    /// From the last block boundary that is on the disk: the tail block stays in memory, so that nothing is read
    /// before it is written again.
    buffer: Vec<u8>,
    buffer_start: usize,
    /// Where the group being built begins.
    group_start: u32,
    /// As all that is in the segments makes them.
    replicas: Replicas,
    /// Records of the group being built.
    group: Vec<Written>,
    records: usize,
}

impl Writer {
    pub(super) fn open(
        front: Arc<Front>,
        keeper: Arc<Keeper>,
        replay: Replay,
        amendments: Vec<Record>,
    ) -> io::Result<Self> {
        let Replay { replicas, index, rewrite, last_segment, end, cut, .. } = replay;
        *crate::write(&front.index) = index;
        keeper.start_at(last_segment + 1)?;
        let (segment, segment_len) = keeper.take_spare()?.ok_or_else(|| io::Error::other("the log was closed"))?;
        let mut writer = Self {
            front,
            keeper,
            segment,
            segment_len,
            buffer: Vec::new(),
            buffer_start: BLOCK,
            group_start: BLOCK as u32,
            replicas,
            group: Vec::new(),
            records: 0,
        };
        let again: Vec<_> = rewrite.into_iter().chain(amendments).collect();
        writer.begin_segment(end, again.len() as u64, again.iter().map(Record::len).sum())?;
        for record in again {
            writer.put(Ticket(0), record)?;
        }
        // In one write: it counts as a whole or not at all.
        writer.write()?;
        // Only now: until the new segment counts, the old one must stay as it was found.
        if last_segment > 0 {
            writer.keeper.trim(last_segment, cut)?;
        }
        writer.front.recovered(writer.replicas.clone());
        Ok(writer)
    }

    /// Until the log is stopped, or the disk fails.
    pub(super) fn run(mut self, events: &Events) {
        loop {
            let queue = self.front.take();
            if queue.is_empty() {
                return;
            }
            if let Err(error) = self.write_all(queue, events) {
                let why = format!("writing the log failed: {error}");
                tracing::error!(segment = self.segment.number, %error, "writing the log failed");
                self.front.stop(&why);
                events(VolumeEvent::Fatal(why));
                return;
            }
        }
    }

    fn write_all(&mut self, mut queue: VecDeque<(Ticket, Record)>, events: &Events) -> io::Result<()> {
        let mut cost = 0;
        while let Some((ticket, record)) = queue.pop_front() {
            cost += front::queue_cost(&record);
            self.put(ticket, record)?;
            let last_of_ticket = queue.front().is_none_or(|(next, _)| *next > ticket);
            if queue.is_empty() || (last_of_ticket && self.buffer.len() >= MAX_GROUP) {
                self.write()?;
                self.front.done(std::mem::take(&mut cost));
                events(VolumeEvent::Durable(ticket));
            }
        }
        Ok(())
    }

    fn put(&mut self, ticket: Ticket, record: Record) -> io::Result<()> {
        let len = record.len();
        if (self.position() + len) as u64 > self.segment_len {
            self.write()?;
            self.roll(len)?;
        }
        let offset = self.position() as u32;
        record.encode(self.segment.number, self.group_start, &mut self.buffer);
        self.records += 1;
        self.replicas.apply(&record).map_err(io::Error::other)?;
        if let Some((shard, place)) = front::place(&record, self.segment.number, offset) {
            self.group.push(Written { ticket, shard, place });
        }
        Ok(())
    }

    fn position(&self) -> usize {
        self.buffer_start + self.buffer.len()
    }

    /// Puts the group on the disk.
    fn write(&mut self) -> io::Result<()> {
        if self.records == 0 {
            return Ok(());
        }
        let used = self.buffer.len();
        self.buffer.resize(used.next_multiple_of(BLOCK), 0);
        let begun = Instant::now();
        self.segment.file.write_durably(self.buffer_start as u64, &self.buffer)?;
        self.front.counters.synced(self.buffer.len(), self.records, begun.elapsed());
        self.front.written(self.segment.number, (self.buffer_start + used) as u32, &self.group);
        self.group.clear();
        self.records = 0;
        let whole = used / BLOCK * BLOCK;
        self.buffer.truncate(used);
        self.buffer.drain(..whole);
        self.buffer_start += whole;
        self.group_start = self.position() as u32;
        Ok(())
    }

    /// Goes on in the next segment, which has room for `len` bytes. Everything in this one is on the disk.
    fn roll(&mut self, len: usize) -> io::Result<()> {
        let end = self.position() as u32;
        let Some((segment, segment_len)) = self.keeper.take_spare()? else {
            return Err(io::Error::other("the log was closed while its disk was full"));
        };
        (self.segment, self.segment_len) = (segment, segment_len);
        self.begin_segment(end, 0, len)
    }

    /// Begins with a checkpoint, so that older segments can go, and makes sure that `len` bytes have room behind it.
    /// The checkpoint is written with the first group.
    fn begin_segment(&mut self, previous_end: u32, rewritten: u64, len: usize) -> io::Result<()> {
        crate::write(&self.front.index).add_segment(self.segment.clone());
        self.buffer.clear();
        self.buffer_start = BLOCK;
        self.group_start = BLOCK as u32;
        for record in self.replicas.checkpoint(previous_end, rewritten) {
            record.encode(self.segment.number, self.group_start, &mut self.buffer);
            self.records += 1;
        }
        let needed = (self.position() + len).next_multiple_of(BLOCK) as u64;
        if needed > self.segment_len {
            self.segment.file.resize(needed)?;
            self.segment_len = needed;
        }
        Ok(())
    }
}
