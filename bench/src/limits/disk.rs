use std::{
    fs::File,
    io::{Seek as _, SeekFrom, Write as _},
    panic::resume_unwind,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use super::MESSAGE_BYTES;
use crate::{
    error::Result,
    report::{Bound, Limit, Resource},
    system::NODES,
    workload::Operation,
};

const BLOCK: usize = 4096;
/// A file that is written before, as this store's log prepares its segments. At its end it is begun anew.
const PREPARED_BYTES: usize = 16 << 20;

/// One for each of the nodes' volumes, and in how many of them each put is written.
const LOGS: usize = 2 * NODES;
const LOGS_OF_A_PUT: usize = 2;

/// Blocks.
pub(super) fn measure(directory: &Path, in_flight: &[usize], each: Duration) -> Result<Vec<Limit>> {
    let mut limits = vec![append(directory, each)?, overwrite(directory, each)?];
    for records in in_flight {
        limits.push(group(directory, *records, each)?);
    }
    for records in in_flight {
        limits.push(side_by_side(directory, *records, each)?);
    }
    Ok(limits)
}

/// A file that grows: each sync also makes its new length durable.
fn append(directory: &Path, each: Duration) -> Result<Limit> {
    let mut file = tempfile::tempfile_in(directory).map_err(kv_local::Error::file("write in", directory))?;
    let rate = syncs(&mut file, BLOCK, usize::MAX, each)?;
    let name = "4 KiB appended to a file that grows, by one writer".to_owned();
    Ok(Limit { name, rate, unit: "syncs".to_owned(), bound: None })
}

/// A file that has its length: only data is synced.
fn overwrite(directory: &Path, each: Duration) -> Result<Limit> {
    let mut file = prepared(directory)?;
    let rate = syncs(&mut file, BLOCK, PREPARED_BYTES, each)?;
    let name = "4 KiB in a prepared file, by one writer".to_owned();
    Ok(Limit { name, rate, unit: "syncs".to_owned(), bound: None })
}

/// As the log writes: all that waits, in one write and one sync.
fn group(directory: &Path, records: usize, each: Duration) -> Result<Limit> {
    let mut file = prepared(directory)?;
    let rate = syncs(&mut file, records * MESSAGE_BYTES, PREPARED_BYTES, each)? * records as f64;
    let name = format!("records of {MESSAGE_BYTES} bytes in a prepared file, {records} to a sync");
    let bound = Bound { operation: Operation::Put, in_flight: records, resource: Resource::Disk };
    Ok(Limit { name, rate, unit: "records".to_owned(), bound: Some(bound) })
}

/// As three nodes on one disk write: several logs at once, each with its share of what is in flight.
fn side_by_side(directory: &Path, in_flight: usize, each: Duration) -> Result<Limit> {
    let written = in_flight * LOGS_OF_A_PUT;
    let logs = LOGS.min(written);
    let records = written.div_ceil(logs);
    let syncs_of_all = thread::scope(|scope| {
        let writer = || syncs(&mut prepared(directory)?, records * MESSAGE_BYTES, PREPARED_BYTES, each);
        let writers: Vec<_> = (0..logs).map(|_| scope.spawn(writer)).collect();
        let joined = writers.into_iter().map(|writer| writer.join().unwrap_or_else(|panic| resume_unwind(panic)));
        joined.sum::<Result<f64>>()
    })?;
    let rate = syncs_of_all * records as f64 / LOGS_OF_A_PUT as f64;
    let name = format!(
        "puts, a record of {MESSAGE_BYTES} bytes in each of two of {logs} such files at once, {in_flight} in flight"
    );
    Ok(Limit { name, rate, unit: "puts".to_owned(), bound: None })
}

fn prepared(directory: &Path) -> Result<File> {
    let mut file = tempfile::tempfile_in(directory).map_err(kv_local::Error::file("write in", directory))?;
    file.write_all(&vec![0; PREPARED_BYTES])
        .and_then(|()| file.sync_all())
        .map_err(kv_local::Error::file("write in", directory))?;
    file.rewind()?;
    Ok(file)
}

fn syncs(file: &mut File, bytes: usize, room: usize, each: Duration) -> Result<f64> {
    // What is written differs from what is there.
    let block = vec![0xa5; bytes];
    let (mut syncs, mut at) = (0_u32, 0);
    let start = Instant::now();
    while start.elapsed() < each {
        if room - at < bytes {
            at = 0;
            file.seek(SeekFrom::Start(0))?;
        }
        file.write_all(&block)?;
        file.sync_data()?;
        at += bytes;
        syncs += 1;
    }
    Ok(f64::from(syncs) / start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_rate_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        let limits = measure(directory.path(), &[1, 8], Duration::from_millis(20)).expect("it can be measured");
        assert_eq!(limits.len(), 2 + 2 * 2);
        assert!(limits.iter().all(|limit| limit.rate > 0.0), "{limits:?}");
        assert_eq!(std::fs::read_dir(directory.path()).expect("it is there").count(), 0);
    }
}
