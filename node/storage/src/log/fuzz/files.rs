//! An input, as the files of a log. Each file is: flags, the length of what follows (two bytes, little-endian), and that: its
//! records. The blocks of headers and the zeros behind the records are not in the input.

use super::seal;
use crate::{
    disk::{Disk as _, memory::MemoryDisk},
    log::segment::{BLOCK, header, name},
};

/// Checksums of records match.
pub(super) const SEALED: u8 = 1;
/// The header's bytes come first, in place of a good header's.
const HEADER: u8 = 2;
/// Its checksum matches all the same.
const HEADER_SEALED: u8 = 4;
/// The file ends with its records.
const CUT: u8 = 8;
/// By how much more than one the number is above that of the file before, in two bits.
const GAP: u8 = 0x30;

/// What a header holds before its zeros.
const HEADER_BYTES: usize = 40;
/// Files at most.
const FILES: usize = 8;
/// By how much a record may grow when it is written again, with all that its text leaves out: a state of two bytes.
const GROWTH: u64 = 32;

/// A segment's number and content.
pub(super) struct File {
    pub(super) number: u64,
    pub(super) bytes: Vec<u8>,
}

pub(super) fn files(mut input: &[u8]) -> Vec<File> {
    let mut files: Vec<File> = Vec::new();
    while let Some(([flags, low, high], rest)) = input.split_first_chunk()
        && files.len() < FILES
    {
        let len = usize::from(u16::from_le_bytes([*low, *high]));
        let (own, others) = rest.split_at(len.min(rest.len()));
        let last = files.last().map_or(0, |file| file.number);
        files.push(file(last + 1 + u64::from((flags & GAP) >> 4), *flags, own));
        input = others;
    }
    files
}

fn file(number: u64, flags: u8, mut own: &[u8]) -> File {
    let mut bytes = header(number, super::start::VOLUME);
    if flags & HEADER != 0
        && let Some((given, rest)) = own.split_at_checked(HEADER_BYTES)
    {
        bytes[..HEADER_BYTES].copy_from_slice(given);
        own = rest;
    }
    if flags & HEADER_SEALED != 0 {
        seal::seal_header(&mut bytes);
    }
    bytes.extend_from_slice(own);
    if flags & CUT == 0 {
        bytes.resize(bytes.len().next_multiple_of(BLOCK) + BLOCK, 0);
    }
    if flags & SEALED != 0 {
        seal::seal(number, &mut bytes, BLOCK);
    }
    File { number, bytes }
}

/// A disk with these files.
#[allow(clippy::expect_used, reason = "memory takes all")]
pub(super) fn disk(files: &[File]) -> MemoryDisk {
    let all: usize = files.iter().map(|file| file.bytes.len()).sum();
    let disk = MemoryDisk::new(super::start::SEGMENT_BYTES + GROWTH * all as u64);
    for File { number, bytes } in files {
        disk.create(&name(*number), bytes, bytes.len() as u64).expect("memory takes all");
    }
    disk
}

/// The inverse of [`files`], for files with good headers whose numbers ascend by one.
#[cfg(test)]
pub(super) fn input(flags: u8, files: &[Vec<u8>]) -> Vec<u8> {
    let mut input = Vec::new();
    for bytes in files {
        let own = bytes.get(BLOCK..).unwrap_or_default();
        let own = &own[..own.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
        input.push(flags);
        input.extend(u16::try_from(own.len()).expect("segments of tests are short").to_le_bytes());
        input.extend_from_slice(own);
    }
    input
}
