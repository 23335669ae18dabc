use std::{io, sync::Arc};

use crc32c::crc32c;
use kv_types::VolumeId;
use uuid::Uuid;

use crate::disk::{Disk, DiskFile};

/// Unit of writing, and the size of a segment's header.
pub(super) const BLOCK: usize = 4096;

/// Unit in which disks tear writes at worst.
pub(super) const SECTOR: usize = 512;

/// Version of the log's segments and their records.
pub const FORMAT: u32 = 1;

const MAGIC: [u8; 8] = *b"KVSEGMNT";

/// A file of the log, and its number: they ascend by one, and later ones hold later records.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) file: Arc<dyn DiskFile>,
}

/// What the first block of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// That it is this volume's segment of this number and a known format.
    Valid,
    /// A later format.
    Newer(u32),
    /// Another volume.
    Foreign(VolumeId),
    /// Nothing that can be believed.
    Corrupt,
}

pub(super) fn name(number: u64) -> String {
    format!("{number:016x}.log")
}

pub(super) fn number(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok()
}

/// Makes segment `number`, of `len` bytes rounded up to whole blocks, but not below two.
pub(super) fn create(disk: &dyn Disk, number: u64, volume: VolumeId, len: u64) -> io::Result<()> {
    let len = len.max(2 * BLOCK as u64).next_multiple_of(BLOCK as u64);
    disk.create(&name(number), &header(number, volume), len)
}

impl Segment {
    pub(super) fn open(disk: &dyn Disk, number: u64) -> io::Result<Self> {
        Ok(Self { number, file: disk.open(&name(number))? })
    }

    /// The whole content.
    pub(super) fn read(&self) -> io::Result<Vec<u8>> {
        let len = usize::try_from(self.file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        self.file.read(0, &mut bytes)?;
        Ok(bytes)
    }
}

pub(super) fn header(number: u64, volume: VolumeId) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(FORMAT.to_le_bytes());
    bytes.extend(number.to_le_bytes());
    bytes.extend(volume.0.as_bytes());
    bytes.extend(crc32c(&bytes).to_le_bytes());
    bytes.resize(BLOCK, 0);
    bytes
}

impl Header {
    pub(super) fn of(bytes: &[u8], number: u64, volume: VolumeId) -> Self {
        let Some(found) = bytes.get(..BLOCK) else { return Self::Corrupt };
        if found == header(number, volume) {
            return Self::Valid;
        }
        let checked = found[36..40] == crc32c(&found[..36]).to_le_bytes() && found[..8] == MAGIC;
        if !checked {
            return Self::Corrupt;
        }
        let format = u32::from_le_bytes([found[8], found[9], found[10], found[11]]);
        if format > FORMAT {
            return Self::Newer(format);
        }
        match Uuid::from_slice(&found[20..36]).map(VolumeId) {
            Ok(other) if other != volume => Self::Foreign(other),
            _ => Self::Corrupt,
        }
    }
}
