use crc32c::crc32c;

use crate::log::record::{ALIGNMENT, BEGIN, END, HEADER, header_crc, record_len};

/// Makes the checksums and marks of all records from `at` on match, wherever one begins.
pub(super) fn seal(segment: u64, bytes: &mut [u8], mut at: usize) {
    while at + HEADER <= bytes.len() {
        at = if bytes[at] == BEGIN { seal_one(segment, bytes, at) } else { at + ALIGNMENT };
    }
}

/// Makes those of the record at `at` match; where the next may begin.
fn seal_one(segment: u64, bytes: &mut [u8], at: usize) -> usize {
    let len = u32::from_le_bytes([bytes[at + 4], bytes[at + 5], bytes[at + 6], bytes[at + 7]]) as usize;
    let body = at + HEADER;
    let end = body.saturating_add(len);
    let whole = end < bytes.len();
    if whole {
        let crc = crc32c(&bytes[body..end]).to_le_bytes();
        bytes[at + 36..at + 40].copy_from_slice(&crc);
        bytes[end] = END;
    }
    let crc = header_crc(segment, &bytes[at..at + 40]).to_le_bytes();
    bytes[at + 40..at + 44].copy_from_slice(&crc);
    bytes[at + 44..body].copy_from_slice(&[0, 0, 0, END]);
    if whole { at + record_len(len) } else { at + ALIGNMENT }
}

/// Makes the checksum of a segment's header match.
pub(super) fn seal_header(header: &mut [u8]) {
    let crc = crc32c(&header[..36]).to_le_bytes();
    header[36..40].copy_from_slice(&crc);
}
