//! A disk in memory that does what it is asked to, and takes files up to a bound.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use super::{Disk, DiskFile};
use crate::lock;

/// See the module. Clones share their files.
#[derive(Clone)]
pub(crate) struct MemoryDisk {
    files: Files,
    /// Longest file in bytes: who asks for a longer one has believed what is not so.
    bound: u64,
}

type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

struct MemoryFile {
    disk: MemoryDisk,
    name: String,
}

impl MemoryDisk {
    pub(crate) fn new(bound: u64) -> Self {
        Self { files: Files::default(), bound }
    }

    fn check(&self, len: u64) {
        assert!(len <= self.bound, "a file of {len} bytes is asked for, with at most {}", self.bound);
    }
}

impl MemoryFile {
    fn with<T>(&self, then: impl FnOnce(&mut Vec<u8>) -> T) -> io::Result<T> {
        let mut files = lock(&self.disk.files);
        files.get_mut(&self.name).map(then).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for MemoryDisk {
    fn create(&self, name: &str, start: &[u8], len: u64) -> io::Result<()> {
        self.check(len);
        let mut bytes = start.to_vec();
        bytes.resize(len as usize, 0);
        lock(&self.files).insert(name.to_owned(), bytes);
        Ok(())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = MemoryFile { disk: self.clone(), name: name.to_owned() };
        file.with(|_| ())?;
        Ok(Arc::new(file))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(lock(&self.files).keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        lock(&self.files).remove(name).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        self.with(|bytes| bytes.len() as u64)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset = offset as usize;
        let copy =
            |bytes: &mut Vec<u8>| bytes.get(offset..offset + buffer.len()).map(|read| buffer.copy_from_slice(read));
        self.with(copy)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    fn write_durably(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let at = offset as usize;
        self.with(|file| {
            assert!(at + bytes.len() <= file.len(), "a write beyond the end");
            file[at..at + bytes.len()].copy_from_slice(bytes);
        })
    }

    fn resize(&self, len: u64) -> io::Result<()> {
        self.disk.check(len);
        self.with(|file| file.resize(len as usize, 0))
    }
}
