use rand::{RngExt as _, rngs::Xoshiro256PlusPlus};

/// Longest piece that is taken out or put in.
const PIECE: usize = 200;

/// Changes some bytes: single bits, numbers as small and as large as they get, pieces taken out, doubled, put in from
/// `other`.
pub(crate) fn mutate(bytes: &mut Vec<u8>, other: &[u8], random: &mut Xoshiro256PlusPlus) {
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let to = (at + random.random_range(0..PIECE)).min(bytes.len());
        match random.random_range(0..9) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            2 if at < bytes.len() => bytes[at] = random.random(),
            // The longest number of a protocol buffer.
            3 => drop(bytes.splice(at..at, [0xff; 9].into_iter().chain([1]))),
            4 => number(bytes, at, random),
            5 => drop(bytes.drain(at..to)),
            6 => {
                let piece = bytes[at..to].to_vec();
                let place = random.random_range(0..=bytes.len());
                drop(bytes.splice(place..place, piece));
            }
            7 => {
                let from = random.random_range(0..=other.len());
                let piece = &other[from..(from + to - at).min(other.len())];
                drop(bytes.splice(at..to, piece.iter().copied()));
            }
            8 if random.random_range(0..4) == 0 => bytes.truncate(at),
            _ => {}
        }
    }
}

/// Overwrites a number of fixed length, and sometimes what looks like one in a text.
fn number(bytes: &mut [u8], at: usize, random: &mut Xoshiro256PlusPlus) {
    let extremes = [0, 1, 2, u64::MAX, u64::MAX - 1, 1 << 31, random.random(), random.random_range(0..50)];
    let value = extremes[random.random_range(0..extremes.len())].to_le_bytes();
    let rest = &mut bytes[at..];
    match random.random_range(0..3) {
        0 if rest.len() >= 8 => rest[..8].copy_from_slice(&value),
        1 if rest.len() >= 4 => rest[..4].copy_from_slice(&value[..4]),
        _ => {
            if let Some(first) = rest.first_mut() {
                *first = b"0123456789[]{},\":-e"[random.random_range(0..19)];
            }
        }
    }
}
