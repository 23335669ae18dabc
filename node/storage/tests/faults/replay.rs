//! What was recorded, and what a disk may hold of it after a power failure.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};

const SECTOR: usize = 512;

/// One thing that the process did, or that was said between. See `recorder.c`.
pub(crate) struct Item {
    pub(crate) kind: u8,
    file: u64,
    number: u64,
    pub(crate) text: String,
    pub(crate) data: Vec<u8>,
}

impl Item {
    /// All items of a record; the last may be cut if the process was killed.
    pub(crate) fn read_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut items = Vec::new();
        while let Some(item) = Self::read(&mut bytes) {
            items.push(item);
        }
        items
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut take = |len: usize| {
            let (head, rest) = bytes.split_at_checked(len)?;
            *bytes = rest;
            Some(head)
        };
        let kind = take(1)?[0];
        let file = u64::from_le_bytes(take(8)?.try_into().ok()?);
        let number = u64::from_le_bytes(take(8)?.try_into().ok()?);
        let text_len = u32::from_le_bytes(take(4)?.try_into().ok()?) as usize;
        let text = String::from_utf8_lossy(take(text_len)?).into_owned();
        let data_len = u32::from_le_bytes(take(4)?.try_into().ok()?) as usize;
        let data = take(data_len)?.to_vec();
        Some(Self { kind, file, number, text, data })
    }

    /// Whether the disk may hold something else after it.
    pub(crate) fn has_effect(&self) -> bool {
        matches!(self.kind, b'C' | b'T' | b'W' | b'S' | b'D' | b'R' | b'U' | b'K')
    }
}

/// Files by their path below the root; `None`: a folder.
pub(crate) type Image = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// What of that which was not synced is on the disk after the power failure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Survivors {
    /// Nothing.
    None,
    /// All, but the last write is torn.
    AllButTorn,
    /// Each write for itself: whole, torn at any byte, some of its sectors, or not at all; of each folder's names those up to
    /// some change of them.
    Random,
}

/// A file system at some point of a record.
///
/// What a sync of a file or folder covers is on the disk; all else may be or not. Changes of the names in one folder keep
/// their order, as journals do; between folders and files there is none.
#[derive(Default)]
pub(crate) struct FileSystem {
    files: Vec<File>,
    open: BTreeMap<u64, usize>,
    names: BTreeMap<PathBuf, Node>,
    synced_names: BTreeMap<PathBuf, Node>,
    /// By folder.
    renamed: BTreeMap<PathBuf, Vec<Rename>>,
    root: PathBuf,
}

#[derive(Clone, Copy, PartialEq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Default)]
struct File {
    synced: Vec<u8>,
    unsynced: Vec<Change>,
}

enum Change {
    Write(usize, Vec<u8>),
    Len(usize),
}

enum Rename {
    Add(PathBuf, Node),
    Move(PathBuf, PathBuf),
    Remove(PathBuf),
}

impl FileSystem {
    /// A file system whose `root` holds `image`, all of it synced.
    pub(crate) fn new(root: &Path, image: &Image) -> Self {
        let mut system = Self { root: root.to_owned(), ..Self::default() };
        system.synced_names.insert(PathBuf::new(), Node::Folder);
        for (path, content) in image {
            let node = match content {
                None => Node::Folder,
                Some(bytes) => system.add_file(bytes.clone()),
            };
            system.synced_names.insert(path.clone(), node);
        }
        system.names = system.synced_names.clone();
        system
    }

    fn add_file(&mut self, synced: Vec<u8>) -> Node {
        self.files.push(File { synced, unsynced: Vec::new() });
        Node::File(self.files.len() - 1)
    }

    fn path(&self, text: &str) -> PathBuf {
        Path::new(text).strip_prefix(&self.root).unwrap().to_owned()
    }

    fn note(&mut self, rename: Rename) {
        rename.carry_out(&mut self.names);
        let (Rename::Add(path, _) | Rename::Move(path, _) | Rename::Remove(path)) = &rename;
        let folder = path.parent().unwrap().to_owned();
        self.renamed.entry(folder).or_default().push(rename);
    }

    pub(crate) fn apply(&mut self, item: &Item) {
        match item.kind {
            b'K' => self.note(Rename::Add(self.path(&item.text), Node::Folder)),
            b'C' => {
                let node = self.add_file(Vec::new());
                self.open.insert(item.file, self.files.len() - 1);
                self.note(Rename::Add(self.path(&item.text), node));
            }
            b'O' => {
                let Some(Node::File(file)) = self.names.get(&self.path(&item.text)) else {
                    panic!("{} was opened and is not known", item.text)
                };
                self.open.insert(item.file, *file);
            }
            b'W' => {
                let file = self.open[&item.file];
                self.files[file].unsynced.push(Change::Write(item.number as usize, item.data.clone()));
            }
            b'T' => {
                let file = self.open[&item.file];
                self.files[file].unsynced.push(Change::Len(item.number as usize));
            }
            b'S' => {
                let File { synced, unsynced } = &mut self.files[self.open[&item.file]];
                unsynced.drain(..).for_each(|change| change.carry_out(synced));
            }
            b'D' => {
                for rename in self.renamed.remove(&self.path(&item.text)).unwrap_or_default() {
                    rename.carry_out(&mut self.synced_names);
                }
            }
            b'R' => {
                let to = self.path(std::str::from_utf8(&item.data).unwrap());
                let from = self.path(&item.text);
                assert_eq!(from.parent(), to.parent(), "a move between folders");
                self.note(Rename::Move(from, to));
            }
            b'U' => self.note(Rename::Remove(self.path(&item.text))),
            _ => {}
        }
    }

    /// What may be on the disk if the power fails now.
    pub(crate) fn image(&self, survivors: Survivors, random: &mut Xoshiro256PlusPlus) -> Image {
        let mut names = self.synced_names.clone();
        for renames in self.renamed.values() {
            let kept = match survivors {
                Survivors::None => 0,
                Survivors::AllButTorn => renames.len(),
                Survivors::Random => random.random_range(0..=renames.len()),
            };
            renames[..kept].iter().for_each(|rename| rename.carry_out(&mut names));
        }
        let mut image = Image::new();
        for (path, node) in &names {
            // What lies in a folder that is not there is not there.
            let reachable = path.ancestors().skip(1).all(|above| names.get(above) == Some(&Node::Folder));
            match node {
                _ if !reachable || path.as_os_str().is_empty() => {}
                Node::Folder => drop(image.insert(path.clone(), None)),
                Node::File(file) => {
                    drop(image.insert(path.clone(), Some(self.files[*file].content(survivors, random))));
                }
            }
        }
        image
    }
}

impl Rename {
    fn carry_out(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Add(path, node) => drop(names.insert(path.clone(), *node)),
            Self::Move(from, to) => {
                if let Some(node) = names.remove(from) {
                    names.insert(to.clone(), node);
                }
            }
            Self::Remove(path) => drop(names.remove(path)),
        }
    }
}

impl Change {
    fn carry_out(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Write(at, data) => put(bytes, *at, data),
            Self::Len(len) => bytes.resize(*len, 0),
        }
    }

    fn tear(&self, bytes: &mut Vec<u8>, random: &mut Xoshiro256PlusPlus) {
        let Self::Write(at, data) = self else {
            if random.random() {
                self.carry_out(bytes);
            }
            return;
        };
        if random.random() {
            return put(bytes, *at, &data[..random.random_range(0..=data.len())]);
        }
        // Sectors lie where the disk has them, not where the write begins.
        let mut from = 0;
        while from < data.len() {
            let to = data.len().min(from + SECTOR - (at + from) % SECTOR);
            if random.random() {
                put(bytes, at + from, &data[from..to]);
            }
            from = to;
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: usize, data: &[u8]) {
    if bytes.len() < at + data.len() {
        bytes.resize(at + data.len(), 0);
    }
    bytes[at..at + data.len()].copy_from_slice(data);
}

impl File {
    fn content(&self, survivors: Survivors, random: &mut Xoshiro256PlusPlus) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let last = self.unsynced.len().saturating_sub(1);
        for (at, change) in self.unsynced.iter().enumerate() {
            match survivors {
                Survivors::None => {}
                Survivors::AllButTorn if at == last => change.tear(&mut bytes, random),
                Survivors::AllButTorn => change.carry_out(&mut bytes),
                Survivors::Random => match random.random_range(0..4) {
                    0 => {}
                    1 => change.tear(&mut bytes, random),
                    _ => change.carry_out(&mut bytes),
                },
            }
        }
        bytes
    }
}

/// Lays `image` out in `folder`, which is empty.
pub(crate) fn lay_out(image: &Image, folder: &Path) -> io::Result<()> {
    for (path, content) in image {
        match content {
            None => fs::create_dir(folder.join(path))?,
            Some(bytes) => fs::write(folder.join(path), bytes)?,
        }
    }
    Ok(())
}

/// The inverse of [`lay_out`].
pub(crate) fn take_up(folder: &Path) -> io::Result<Image> {
    let mut image = Image::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(inner) = folders.pop() {
        for entry in fs::read_dir(folder.join(&inner))? {
            let entry = entry?;
            let path = inner.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                image.insert(path.clone(), None);
                folders.push(path);
            } else {
                image.insert(path, Some(fs::read(entry.path())?));
            }
        }
    }
    Ok(image)
}
