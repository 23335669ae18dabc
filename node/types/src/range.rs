use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// A contiguous range of keys, `[start, end)`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyRange {
    /// The first key; empty means "from the first key of all".
    pub start: Bytes,
    /// The first key that is not of the range; `None` means "to the last key of all".
    pub end: Option<Bytes>,
}

impl KeyRange {
    /// All keys.
    #[must_use]
    pub const fn all() -> Self {
        Self { start: Bytes::new(), end: None }
    }

    /// Whether `key` is of this range.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        self.start <= key && self.end.as_ref().is_none_or(|end| key < end.as_ref())
    }

    /// Whether the range can hold no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }

    /// The keys that are of both ranges.
    #[must_use]
    pub fn intersection(&self, other: &Self) -> Self {
        let start = self.start.clone().max(other.start.clone());
        let end = match (&self.end, &other.end) {
            (Some(a), Some(b)) => Some(a.clone().min(b.clone())),
            (a, b) => a.clone().or_else(|| b.clone()),
        };
        Self { start, end }
    }

    /// The keys that are of this range and not of `other`, in up to two ranges.
    #[must_use]
    pub fn without(&self, other: &Self) -> Vec<Self> {
        let below = Self { start: Bytes::new(), end: Some(other.start.clone()) };
        let above = other.end.clone().map(|end| Self { start: end, end: None });
        let rest = [Some(below), above].into_iter().flatten().map(|part| self.intersection(&part));
        rest.filter(|part| !part.is_empty()).collect()
    }

    /// The two halves `[start, at)` and `[at, end)`; `None` unless both can hold a key.
    #[must_use]
    pub fn split(&self, at: &Bytes) -> Option<(Self, Self)> {
        let inside = self.start < *at && self.contains(at);
        inside.then(|| {
            (
                Self { start: self.start.clone(), end: Some(at.clone()) },
                Self { start: at.clone(), end: self.end.clone() },
            )
        })
    }

    /// The keys that begin with `prefix`.
    #[must_use]
    pub fn prefix(prefix: &[u8]) -> Self {
        let last = prefix.iter().rposition(|byte| *byte != 0xff);
        let end = last.map(|last| {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            Bytes::from(end)
        });
        Self { start: Bytes::copy_from_slice(prefix), end }
    }
}

/// `[start, end)` with every byte that is not printable ASCII as `\xNN`.
impl fmt::Display for KeyRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, ", self.start.escape_ascii())?;
        match &self.end {
            Some(end) => write!(f, "{})", end.escape_ascii()),
            None => f.write_str("∞)"),
        }
    }
}

/// In znodes keys are hexadecimal: any byte string, readable enough, without a crate more.
#[derive(Serialize, Deserialize)]
struct Text {
    start: String,
    end: Option<String>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Bytes> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some((digit(*high)? * 16 + digit(*low)?) as u8));
    rest.is_empty().then(|| bytes.collect::<Option<Vec<u8>>>().map(Bytes::from)).flatten()
}

impl Serialize for KeyRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Text { start: hex(&self.start), end: self.end.as_deref().map(hex) }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for KeyRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Text::deserialize(deserializer)?;
        let key = |text: &str| unhex(text).ok_or_else(|| D::Error::custom(format!("key {text:?} is not hexadecimal")));
        let end = text.end.as_deref().map(key).transpose()?;
        Ok(Self { start: key(&text.start)?, end })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &'static str, end: &'static str) -> KeyRange {
        KeyRange { start: start.into(), end: (!end.is_empty()).then(|| end.into()) }
    }

    #[test]
    fn a_range_splits_only_strictly_inside() {
        let (low, high) = range("a", "m").split(&"c".into()).expect("c is inside");
        assert_eq!((low, high), (range("a", "c"), range("c", "m")));
        assert_eq!(range("a", "m").split(&"a".into()), None);
        assert_eq!(range("a", "m").split(&"m".into()), None);
    }

    #[test]
    fn a_range_without_another_is_what_lies_below_and_above() {
        assert_eq!(range("b", "m").without(&range("d", "f")), [range("b", "d"), range("f", "m")]);
        assert_eq!(range("b", "m").without(&range("a", "f")), [range("f", "m")]);
        assert_eq!(range("b", "").without(&range("f", "")), [range("b", "f")]);
        assert_eq!(range("b", "m").without(&range("x", "z")), [range("b", "m")]);
        assert_eq!(range("b", "m").without(&KeyRange::all()), []);
    }

    #[test]
    fn a_prefix_of_ff_reaches_the_last_key() {
        assert_eq!(KeyRange::prefix(b"a\xff").end, Some(Bytes::from_static(b"b")));
        assert_eq!(KeyRange::prefix(b"\xff").end, None);
        assert_eq!(KeyRange::prefix(b"").end, None);
    }
}
