use std::{
    fs::{self, File, OpenOptions},
    io::{self, IoSlice, Write as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::io::{Errno, ReadWriteFlags, pwritev2};

use super::{Disk, DiskFile};

/// Zeros are written in pieces of this many bytes.
const ZEROS: usize = 1 << 20;

/// A folder of the file system.
pub(crate) struct RealDisk {
    folder: PathBuf,
}

struct RealFile {
    file: File,
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
        let file = OpenOptions::new().read(true).write(true).open(self.folder.join(name))?;
        Ok(Arc::new(RealFile { file, dsync: AtomicBool::new(true) }))
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

/// Makes names in `folder` durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn write_zeros(file: &mut File, mut len: u64) -> io::Result<()> {
    let zeros = vec![0; ZEROS];
    while len > 0 {
        let piece = zeros.len().min(usize::try_from(len).unwrap_or(ZEROS));
        file.write_all(&zeros[..piece])?;
        len -= piece as u64;
    }
    Ok(())
}
