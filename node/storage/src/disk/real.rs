use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Write as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::{
    fs::OFlags,
    io::{Errno, ReadWriteFlags, pwritev2},
};

use super::{Disk, DiskFile};

/// Zeros are written in pieces of this many bytes.
const ZEROS: usize = 1 << 20;
/// So many bytes of zeros are synced at a time: a sync of the log waits behind what the disk was given before.
const ZEROS_AT_ONCE: usize = 4 << 20;
/// What offset, length and memory of a write past the page cache are multiples of: no disk asks for more.
const ALIGNMENT: usize = 4096;

/// A folder of the file system.
pub(crate) struct RealDisk {
    folder: PathBuf,
}

struct RealFile {
    file: File,
    path: PathBuf,
    /// The same file past the page cache, opened with the first write; `None`: the file system doesn't have that. What is written so is
    /// neither copied nor looked for again when it is synced: a third less processor time for each sync.
    direct: OnceLock<Option<File>>,
    /// Whether the file system takes writes past the page cache, once it has taken the file.
    takes_direct: AtomicBool,
    /// Whether the file system takes `RWF_DSYNC`; if not, each write is followed by an fdatasync.
    dsync: AtomicBool,
}

impl RealDisk {
    /// Makes the folder if it is not there.
    pub(crate) fn open(folder: &Path) -> io::Result<Self> {
        if !folder.is_dir() {
            fs::create_dir(folder)?;
            if let Some(parent) = folder.parent() {
                sync_folder(parent)?;
            }
        }
        Ok(Self { folder: folder.to_owned() })
    }
}

impl Disk for RealDisk {
    fn create(&self, name: &str, start: &[u8], len: u64) -> io::Result<()> {
        let unfinished = self.folder.join(format!("{name}.new"));
        let written = (|| {
            let mut file = File::create(&unfinished)?;
            file.write_all(start)?;
            write_zeros(&mut file, len.saturating_sub(start.len() as u64))?;
            file.sync_all()?;
            fs::rename(&unfinished, self.folder.join(name))?;
            sync_folder(&self.folder)
        })();
        if written.is_err() {
            // Gives back what a full disk needs most; the error that counts is the first one.
            let _ = fs::remove_file(&unfinished);
        }
        written
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.folder.join(name);
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let (takes_direct, dsync) = (AtomicBool::new(true), AtomicBool::new(true));
        Ok(Arc::new(RealFile { file, path, direct: OnceLock::new(), takes_direct, dsync }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.folder.join(name))
    }
}

impl DiskFile for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buffer, offset)
    }

    fn write_durably(&self, mut offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        let written = self.write_directly(offset, bytes)?;
        offset += written as u64;
        bytes = &bytes[written..];
        while self.dsync.load(Ordering::Relaxed) && !bytes.is_empty() {
            match pwritev2(&self.file, &[IoSlice::new(bytes)], offset, ReadWriteFlags::DSYNC) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    offset += written as u64;
                    bytes = &bytes[written..];
                }
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.dsync.store(false, Ordering::Relaxed);
                }
                Err(error) => return Err(error.into()),
            }
        }
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(bytes, offset)?;
        self.file.sync_data()
    }

    fn resize(&self, len: u64) -> io::Result<()> {
        let old = self.len()?;
        if len < old {
            self.file.set_len(len)?;
        } else {
            let zeros = vec![0; ZEROS];
            let mut at = old;
            while at < len {
                let piece = zeros.len().min(usize::try_from(len - at).unwrap_or(ZEROS));
                self.file.write_all_at(&zeros[..piece], at)?;
                at += piece as u64;
            }
        }
        self.file.sync_all()
    }
}

impl RealFile {
    /// Writes past the page cache, durably, as far as that goes: how many bytes are on the disk now.
    fn write_directly(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let aligned = bytes.len().is_multiple_of(ALIGNMENT) && offset.is_multiple_of(ALIGNMENT as u64);
        if !aligned || !self.takes_direct.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let open = || {
            let flags = OFlags::DIRECT.bits().cast_signed();
            OpenOptions::new().write(true).custom_flags(flags).open(&self.path).ok()
        };
        let Some(file) = self.direct.get_or_init(open) else { return Ok(0) };
        let mut memory = Vec::<u8>::with_capacity(bytes.len() + ALIGNMENT);
        let start = memory.as_ptr().align_offset(ALIGNMENT);
        if start >= ALIGNMENT {
            return Ok(0);
        }
        memory.resize(start, 0);
        memory.extend_from_slice(bytes);
        loop {
            match pwritev2(file, &[IoSlice::new(&memory[start..])], offset, ReadWriteFlags::DSYNC) {
                Ok(written) => return Ok(written),
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                    self.takes_direct.store(false, Ordering::Relaxed);
                    return Ok(0);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Makes names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn write_zeros(file: &mut File, mut len: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    let mut unsynced = 0;
    while len > 0 {
        let piece = zeros.len().min(usize::try_from(len).unwrap_or(ZEROS));
        file.write_all(&zeros[..piece])?;
        len -= piece as u64;
        unsynced += piece;
        if unsynced >= ZEROS_AT_ONCE {
            file.sync_data()?;
            unsynced = 0;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_past_the_page_cache_is_what_is_read_through_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let disk = RealDisk::open(folder.path()).expect("is opened");
        let block = ALIGNMENT as u64;
        disk.create("file", &[1; ALIGNMENT], 4 * block).expect("is made");
        let file = disk.open("file").expect("is opened");
        let read = |offset, len| {
            let mut bytes = vec![0; len];
            file.read(offset, &mut bytes).expect("is read");
            bytes
        };
        assert_eq!(read(block, ALIGNMENT), [0; ALIGNMENT]);
        file.write_durably(block, &[2; 2 * ALIGNMENT]).expect("is written");
        // Of no whole blocks, or not at the start of one: by the page cache.
        file.write_durably(2 * block + 7, b"seven").expect("is written");
        file.write_durably(3 * block, &[3; ALIGNMENT]).expect("is written");
        file.write_durably(2 * block, &[4; ALIGNMENT]).expect("is written");
        assert_eq!(read(0, ALIGNMENT), [1; ALIGNMENT]);
        assert_eq!(read(block, ALIGNMENT), [2; ALIGNMENT]);
        assert_eq!(read(2 * block, ALIGNMENT), [4; ALIGNMENT]);
        assert_eq!(read(3 * block, ALIGNMENT), [3; ALIGNMENT]);
    }
}
