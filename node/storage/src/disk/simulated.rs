//! A disk in memory that can be crashed and made to fail at any operation.

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex},
};

use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use super::{Disk, DiskFile};
use crate::lock;

const SECTOR: usize = 512;

#[derive(Clone)]
pub(crate) struct SimulatedDisk {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    files: BTreeMap<String, File>,
    /// Removed, and there again if the power fails before the folder is synced.
    removed: BTreeMap<String, File>,
    operations: u64,
    crash_at: Option<u64>,
    crashed: bool,
    fail: Option<io::ErrorKind>,
    calls: u64,
    fail_at: Option<Failing>,
    /// Creation fails for lack of room.
    full: bool,
    random: Xoshiro256PlusPlus,
}

/// Which call fails, counted from 1, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failing {
    pub(crate) call: u64,
    pub(crate) kind: io::ErrorKind,
    /// All calls after it fail too.
    pub(crate) always: bool,
}

#[derive(Clone, Default)]
struct File {
    on_disk: Vec<u8>,
    /// What reads see: also what a failed sync has left in the page cache.
    cached: Vec<u8>,
}

struct SimulatedFile {
    disk: SimulatedDisk,
    name: String,
}

impl SimulatedDisk {
    pub(crate) fn new(seed: u64) -> Self {
        Self::with_files(BTreeMap::new(), Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    fn with_files(files: BTreeMap<String, File>, random: Xoshiro256PlusPlus) -> Self {
        let inner = Inner {
            files,
            removed: BTreeMap::new(),
            operations: 0,
            crash_at: None,
            crashed: false,
            fail: None,
            calls: 0,
            fail_at: None,
            full: false,
            random,
        };
        Self { inner: Arc::new(Mutex::new(inner)) }
    }

    /// The power fails in the middle of the operation of this number, counted from 1. Each write has two.
    pub(crate) fn crash_at(&self, operation: u64) {
        lock(&self.inner).crash_at = Some(operation);
    }

    pub(crate) fn has_crashed(&self) -> bool {
        lock(&self.inner).crashed
    }

    /// Writes fail from now on; what was written is still read, until the power fails.
    pub(crate) fn fail_writes(&self, kind: io::ErrorKind) {
        lock(&self.inner).fail = Some(kind);
    }

    /// Calls of any kind are counted, and this one fails. A write that fails has got halfway.
    pub(crate) fn fail_at(&self, failing: Failing) {
        lock(&self.inner).fail_at = Some(failing);
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        lock(&self.inner).calls
    }

    pub(crate) fn set_full(&self, full: bool) {
        lock(&self.inner).full = full;
    }

    /// Another process on the same machine: the page cache stays.
    pub(crate) fn restart_process(&self) -> Self {
        let mut inner = lock(&self.inner);
        let random = Xoshiro256PlusPlus::seed_from_u64(inner.random.random());
        Self::with_files(inner.files.clone(), random)
    }

    /// Another process after a power failure. Of what was written and not synced each sector is there or not, in each file
    /// for itself.
    pub(crate) fn restart_machine(&self) -> Self {
        let mut inner = lock(&self.inner);
        let mut files = inner.files.clone();
        let removed = inner.removed.clone();
        files.extend(removed.into_iter().filter(|_| inner.random.random()));
        for File { on_disk, cached } in files.values_mut() {
            let sectors = on_disk.chunks_mut(SECTOR).zip(cached.chunks(SECTOR));
            for (on_disk, cached) in sectors.filter(|(on_disk, cached)| on_disk != cached) {
                if on_disk.len() == cached.len() && inner.random.random() {
                    on_disk.copy_from_slice(cached);
                }
            }
            *cached = on_disk.clone();
        }
        let random = Xoshiro256PlusPlus::seed_from_u64(inner.random.random());
        Self::with_files(files, random)
    }

    pub(crate) fn flip(&self, name: &str, offset: usize, bit: u8) {
        let mut inner = lock(&self.inner);
        let file = inner.files.get_mut(name).unwrap();
        file.on_disk[offset] ^= 1 << bit;
        file.cached = file.on_disk.clone();
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        lock(&self.inner).files[name].on_disk.clone()
    }
}

impl Inner {
    /// Counts an operation; `true` if the power fails in it.
    fn operation(&mut self) -> io::Result<bool> {
        if self.crashed {
            return Err(crash());
        }
        self.operations += 1;
        self.crashed = self.crash_at == Some(self.operations);
        Ok(self.crashed)
    }

    /// Counts a call; an error if it is to fail.
    fn call(&mut self) -> io::Result<()> {
        self.calls += 1;
        match self.fail_at {
            Some(Failing { call, kind, always }) if call == self.calls || (always && call < self.calls) => {
                Err(kind.into())
            }
            _ => Ok(()),
        }
    }

    fn file(&mut self, name: &str) -> io::Result<&mut File> {
        self.files.get_mut(name).or_else(|| self.removed.get_mut(name)).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

fn crash() -> io::Error {
    io::Error::other("the power has failed")
}

impl Disk for SimulatedDisk {
    fn create(&self, name: &str, start: &[u8], len: u64) -> io::Result<()> {
        let mut inner = lock(&self.inner);
        inner.call()?;
        let crashes = inner.operation()?;
        if inner.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let mut bytes = start.to_vec();
        bytes.resize(len as usize, 0);
        let done = !crashes || inner.random.random();
        let name = if done { name.to_owned() } else { format!("{name}.new") };
        inner.removed.remove(&name);
        inner.files.insert(name, File { on_disk: bytes.clone(), cached: bytes });
        if crashes { Err(crash()) } else { Ok(()) }
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut inner = lock(&self.inner);
        inner.call()?;
        inner.file(name)?;
        drop(inner);
        Ok(Arc::new(SimulatedFile { disk: self.clone(), name: name.to_owned() }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        let mut inner = lock(&self.inner);
        inner.call()?;
        Ok(inner.files.keys().cloned().collect())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut inner = lock(&self.inner);
        inner.call()?;
        let crashes = inner.operation()?;
        let file = inner.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        inner.removed.insert(name.to_owned(), file);
        if crashes { Err(crash()) } else { Ok(()) }
    }
}

impl DiskFile for SimulatedFile {
    fn len(&self) -> io::Result<u64> {
        let mut inner = lock(&self.disk.inner);
        inner.call()?;
        Ok(inner.file(&self.name)?.cached.len() as u64)
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let mut inner = lock(&self.disk.inner);
        inner.call()?;
        let bytes = &inner.file(&self.name)?.cached;
        let offset = offset as usize;
        let found = bytes.get(offset..offset + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_durably(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut inner = lock(&self.disk.inner);
        let at = offset as usize..offset as usize + bytes.len();
        if let Err(error) = inner.call() {
            let half = bytes.len() / 2;
            inner.file(&self.name)?.cached[at.start..at.start + half].copy_from_slice(&bytes[..half]);
            return Err(error);
        }
        let torn = inner.operation()?;
        let fail = inner.fail;
        let file = inner.file(&self.name)?;
        assert!(at.end <= file.cached.len(), "a write beyond the end");
        file.cached[at.clone()].copy_from_slice(bytes);
        if let Some(kind) = fail {
            return Err(kind.into());
        }
        if torn {
            let by_sector = inner.random.random();
            let cut = inner.random.random_range(0..=bytes.len());
            let lucky: Vec<bool> = (0..bytes.len().div_ceil(SECTOR)).map(|_| inner.random.random()).collect();
            let file = inner.file(&self.name)?;
            if by_sector {
                for (sector, _) in lucky.iter().enumerate().filter(|(_, lucky)| **lucky) {
                    let part = sector * SECTOR..bytes.len().min((sector + 1) * SECTOR);
                    file.on_disk[at.start + part.start..at.start + part.end].copy_from_slice(&bytes[part]);
                }
            } else {
                file.on_disk[at.start..at.start + cut].copy_from_slice(&bytes[..cut]);
            }
            // What is torn within a sector has no later sectors.
            let file = inner.file(&self.name)?;
            file.cached = file.on_disk.clone();
            return Err(crash());
        }
        let unanswered = inner.operation()?;
        inner.file(&self.name)?.on_disk[at].copy_from_slice(bytes);
        if unanswered { Err(crash()) } else { Ok(()) }
    }

    fn resize(&self, len: u64) -> io::Result<()> {
        let mut inner = lock(&self.disk.inner);
        inner.call()?;
        let crashes = inner.operation()?;
        let done = !crashes || inner.random.random();
        if done {
            let file = inner.file(&self.name)?;
            file.cached.resize(len as usize, 0);
            file.on_disk.resize(len as usize, 0);
        }
        if crashes { Err(crash()) } else { Ok(()) }
    }
}
