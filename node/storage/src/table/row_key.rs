use std::cmp::Ordering;

use bytes::Bytes;

/// Words of a key that lie beside it: the space, the kind of row, and fifteen bytes of what tells rows of a kind apart.
const HEAD: usize = 3;
const WORD: usize = size_of::<u64>();

/// A key of a row as a memtable compares it. Its first bytes lie in the tree itself: nearly every comparison on the way to a row ends with
/// them, without a look at memory that lies elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowKey {
    head: [u64; HEAD],
    key: Bytes,
}

impl RowKey {
    pub(super) const fn bytes(&self) -> &Bytes {
        &self.key
    }
}

impl From<Bytes> for RowKey {
    fn from(key: Bytes) -> Self {
        let mut head = [0; HEAD];
        for (word, bytes) in head.iter_mut().zip(key.chunks(WORD)) {
            // Beyond a short key's end are zeros, which no byte is below.
            let mut padded = [0; WORD];
            padded[..bytes.len()].copy_from_slice(bytes);
            *word = u64::from_be_bytes(padded);
        }
        Self { head, key }
    }
}

impl From<&[u8]> for RowKey {
    fn from(key: &[u8]) -> Self {
        Bytes::copy_from_slice(key).into()
    }
}

/// The order of the bytes.
impl Ord for RowKey {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head).then_with(|| self.key.cmp(&other.key))
    }
}

impl PartialOrd for RowKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_bytes() {
        let lengths = [0, 1, 7, 8, 9, 16, 23, 24, 25, 40];
        let mut keys: Vec<Vec<u8>> = Vec::new();
        for length in lengths {
            for (at, byte) in [(0, 0), (0, 255), (7, 1), (8, 1), (23, 1), (24, 1), (39, 1)] {
                let mut key = vec![0; length];
                if let Some(place) = key.get_mut(at) {
                    *place = byte;
                }
                keys.push(key);
            }
        }
        let row = |key: &[u8]| RowKey::from(key);
        for (a, b) in keys.iter().flat_map(|a| keys.iter().map(move |b| (a, b))) {
            assert_eq!(row(a).cmp(&row(b)), a.cmp(b), "{a:?} {b:?}");
            assert_eq!(row(a) == row(b), a == b, "{a:?} {b:?}");
        }
    }
}
