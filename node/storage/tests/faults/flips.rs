//! Where bits are flipped in a file: in each byte of what gives it its structure, and in a sample of all else.
//!
//! A bit of a value is like all others of it: one checksum stands over all of them. What tells where something begins and
//! ends, of what kind it is and what it is checked by is different at each byte.

use std::{collections::BTreeSet, ops::Range, path::Path};

use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};

/// Files of at most so many bytes are all structure.
const SMALL: usize = 512;
/// Bytes of the header of a log's segment that say something; the rest of its block is zeros.
const SEGMENT_HEADER: usize = 64;
/// Where the first record of a segment is.
const FIRST_RECORD: usize = 4096;
/// Length of a record's header, and what a record's length is a multiple of.
const RECORD_HEADER: usize = 48;
const ALIGNMENT: usize = 8;
/// The first byte of a record.
const BEGIN: u8 = 0xA7;
/// What other files have at their beginning and end: blocks with their headers, trailers, what points to them.
const HEAD: usize = 64;
const TAIL: usize = 256;
/// Flips of each file in what is not structure.
const CONTENT: usize = 200;
/// Flips of each file in a sample.
const SAMPLE: usize = 60;

/// A bit of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Flip {
    pub(crate) byte: usize,
    pub(crate) bit: u8,
}

impl Flip {
    /// Flips it; again, and it is as before.
    pub(crate) fn apply(self, content: &mut [u8]) {
        content[self.byte] ^= 1 << self.bit;
    }
}

/// The bits to flip in a file: all that is described above, or a sample.
pub(crate) fn flips(path: &Path, content: &[u8], is_full: bool, random: &mut Xoshiro256PlusPlus) -> Vec<Flip> {
    // Of a preallocated file what is written.
    let written = content.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
    let mut bytes = BTreeSet::new();
    if is_full {
        bytes.extend(structure(path, &content[..written]));
        bytes.extend((0..CONTENT).map(|_| random.random_range(0..written)));
    } else {
        let structure: Vec<_> = structure(path, &content[..written]).into_iter().collect();
        bytes.extend((0..SAMPLE / 2).map(|_| structure[random.random_range(0..structure.len())]));
        bytes.extend((0..SAMPLE / 2).map(|_| random.random_range(0..written)));
    }
    bytes.into_iter().map(|byte| Flip { byte, bit: random.random_range(0..8) }).collect()
}

fn structure(path: &Path, written: &[u8]) -> BTreeSet<usize> {
    if written.len() <= SMALL {
        return (0..written.len()).collect();
    }
    if path.extension().is_some_and(|extension| extension == "log") {
        return of_segment(written);
    }
    (0..HEAD).chain(written.len() - TAIL..written.len()).collect()
}

fn of_segment(written: &[u8]) -> BTreeSet<usize> {
    let mut bytes: BTreeSet<usize> = (0..SEGMENT_HEADER.min(written.len())).collect();
    for record in records(written) {
        bytes.extend(record.start..record.start + RECORD_HEADER);
        // The body's last byte and the mark after it.
        bytes.extend(record.end - 2..record.end);
    }
    bytes
}

/// The records of a segment, each up to and with the mark after its body. The storage has the layout.
fn records(written: &[u8]) -> Vec<Range<usize>> {
    let (mut found, mut at) = (Vec::new(), FIRST_RECORD);
    while written.get(at) == Some(&BEGIN) && at + RECORD_HEADER < written.len() {
        let body = u32::from_le_bytes(written[at + 4..at + 8].try_into().unwrap()) as usize;
        let end = at + RECORD_HEADER + body + 1;
        if end > written.len() {
            break;
        }
        found.push(at..end);
        at = end.next_multiple_of(ALIGNMENT);
    }
    assert!(!found.is_empty() || written.len() <= FIRST_RECORD, "the layout of records is another one");
    found
}
