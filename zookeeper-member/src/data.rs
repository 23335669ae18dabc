use std::{
    fs::{self, File},
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

use crate::membership::parse_version;

/// The folder below `dataDir` and `dataLogDir` that ZooKeeper writes to.
pub const VERSION_FOLDER: &str = "version-2";
/// What a log begins with: `ZKLG`.
const LOG_MAGIC: [u8; 4] = *b"ZKLG";
const LOG_HEADER_BYTES: u64 = 16;
/// Before each transaction: its checksum and its length.
const FRAME_BYTES: usize = 12;
/// Of a transaction: client id (8), number within the session (4), zxid (8).
const TRANSACTION_BYTES: usize = 20;
/// Bytes of one transaction, at most; ZooKeeper's own bound is some 1 MiB.
const MAX_TRANSACTION_BYTES: i32 = 64 * 1024 * 1024;
const END_OF_TRANSACTION: u8 = b'B';

/// What lies in the data folders of a claim.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// The highest zxid of a snapshot or in a log. 0: an ensemble that was begun and has changed nothing, or what a marker
    /// has left.
    pub zxid: u64,
    /// The epoch that it has followed or led last.
    pub epoch: i64,
    /// The epoch that it has promised last.
    pub accepted_epoch: i64,
}

impl Data {
    /// What lies there; none without any snapshot or log.
    ///
    /// # Errors
    /// If something can't be read; what is only torn counts as far as it is whole.
    pub fn look(data: &Path, datalog: &Path) -> io::Result<Option<Self>> {
        let mut found: Option<u64> = None;
        for folder in [data, datalog] {
            let folder = folder.join(VERSION_FOLDER);
            for name in names(&folder)? {
                let zxid = if let Some(zxid) = name.strip_prefix("snapshot.") {
                    // Behind the zxid there may be the name of a compression.
                    parse_version(zxid.split('.').next().unwrap_or_default()).unwrap_or(0)
                } else if name.starts_with("log.") {
                    last_zxid(&folder.join(name))?
                } else {
                    continue;
                };
                found = Some(found.unwrap_or(0).max(zxid));
            }
        }
        let Some(zxid) = found else { return Ok(None) };
        let epoch = epoch_in(&data.join(VERSION_FOLDER).join("currentEpoch"))?;
        let accepted_epoch = epoch_in(&data.join(VERSION_FOLDER).join("acceptedEpoch"))?;
        Ok(Some(Self { zxid, epoch, accepted_epoch }))
    }

    /// Whether anything may have been written to the ensemble.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.zxid == 0
    }
}

/// The names in a folder, which may be missing.
pub(crate) fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut names =
        entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

/// -1 without one: such a member has never followed anybody.
fn epoch_in(path: &Path) -> io::Result<i64> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().parse().unwrap_or(-1)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(-1),
        Err(error) => Err(error),
    }
}

/// The zxid of the last whole transaction; 0 without one. The rest of the file is zeros, or what a crash has torn.
fn last_zxid(path: &Path) -> io::Result<u64> {
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut reader = BufReader::new(file);
    let mut magic = [0; LOG_MAGIC.len()];
    if length < LOG_HEADER_BYTES || reader.read_exact(&mut magic).is_err() || magic != LOG_MAGIC {
        return Ok(0);
    }
    reader.seek(SeekFrom::Start(LOG_HEADER_BYTES))?;
    let (mut at, mut last) = (LOG_HEADER_BYTES, 0);
    loop {
        let mut frame = [0; FRAME_BYTES + TRANSACTION_BYTES];
        if length - at < frame.len() as u64 {
            return Ok(last);
        }
        reader.read_exact(&mut frame)?;
        let size = i32::from_be_bytes([frame[8], frame[9], frame[10], frame[11]]);
        let next = at + FRAME_BYTES as u64 + u64::try_from(size).unwrap_or(0) + 1;
        if !(TRANSACTION_BYTES as i32..=MAX_TRANSACTION_BYTES).contains(&size) || next > length {
            return Ok(last);
        }
        reader.seek_relative(i64::from(size) - TRANSACTION_BYTES as i64)?;
        let mut end = [0];
        reader.read_exact(&mut end)?;
        if end[0] != END_OF_TRANSACTION {
            return Ok(last);
        }
        let zxid = &frame[FRAME_BYTES + 12..];
        last = zxid.iter().fold(0, |zxid, byte| zxid << 8 | u64::from(*byte));
        at = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transaction(zxid: u64, body: usize) -> Vec<u8> {
        let mut bytes = vec![0; 8];
        bytes.extend((TRANSACTION_BYTES as i32 + body as i32).to_be_bytes());
        bytes.extend([0; 12]);
        bytes.extend(zxid.to_be_bytes());
        bytes.extend(vec![7; body]);
        bytes.push(END_OF_TRANSACTION);
        bytes
    }

    #[test]
    fn the_highest_zxid_is_that_of_the_last_whole_transaction() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.1");
        let mut log = [&LOG_MAGIC[..], &[0; 12]].concat();
        log.extend(transaction(0x1_0000_0001, 30));
        log.extend(transaction(0x1_0000_0002, 0));
        let whole = log.len();
        log.extend(transaction(0x1_0000_0003, 40));
        for (cut, expected) in [
            (log.len(), 0x1_0000_0003),
            (log.len() - 1, 0x1_0000_0002),
            (whole + 5, 0x1_0000_0002),
            (16, 0),
            (3, 0),
            (0, 0),
        ] {
            fs::write(&path, &log[..cut]).expect("written");
            assert_eq!(last_zxid(&path).expect("read"), expected, "cut at {cut}");
            // Logs are made larger than what they hold.
            fs::write(&path, [&log[..cut], &[0; 4096]].concat()).expect("written");
            assert_eq!(last_zxid(&path).expect("read"), expected, "cut at {cut}, with zeros behind");
        }
    }

    #[test]
    fn folders_without_snapshot_and_log_hold_nothing_whatever_else_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let (data, datalog) = (folder.path().join("data"), folder.path().join("datalog"));
        assert_eq!(Data::look(&data, &datalog).expect("read"), None);
        let version = data.join(VERSION_FOLDER);
        fs::create_dir_all(&version).expect("made");
        fs::write(version.join("acceptedEpoch"), "-1").expect("written");
        assert_eq!(Data::look(&data, &datalog).expect("read"), None);
        fs::write(version.join("snapshot.0"), "").expect("written");
        let empty = Data::look(&data, &datalog).expect("read").expect("a snapshot");
        assert!(empty.is_empty() && empty.epoch == -1);
        fs::write(version.join("snapshot.20000000b"), "").expect("written");
        fs::write(version.join("currentEpoch"), "2\n").expect("written");
        let expected = Data { zxid: 0x2_0000_000b, epoch: 2, accepted_epoch: -1 };
        assert_eq!(Data::look(&data, &datalog).expect("read"), Some(expected));
    }
}
