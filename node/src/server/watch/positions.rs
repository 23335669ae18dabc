//! Up to where a watch has told its changes, and the token that says so.

use std::collections::BTreeMap;

use bytes::Bytes;
use kv_types::{KeyRange, Lineage, Seq};
use tonic_prost::prost::{self, Message as _};

use crate::{driver::Position, server::status::ErrorAnswer};

/// The token on the wire. The first field is its version.
#[derive(Clone, PartialEq, prost::Message)]
struct Token {
    #[prost(uint32, tag = "1")]
    version: u32,
    /// Ascending; each reaches to the start of the next.
    #[prost(message, repeated, tag = "2")]
    parts: Vec<Part>,
    /// Where the last part ends.
    #[prost(bytes = "bytes", optional, tag = "3")]
    end: Option<Bytes>,
}

/// By keys and not by shard: a split's child goes on with its parent's seqs.
#[derive(Clone, PartialEq, prost::Message)]
struct Part {
    #[prost(bytes = "bytes", tag = "1")]
    start: Bytes,
    #[prost(uint64, tag = "2")]
    lineage: u64,
    #[prost(uint64, tag = "3")]
    seq: u64,
}

const VERSION: u32 = 1;
/// Parts of a token at most: more shards than a cluster is made for.
const MAX_PARTS: usize = 65_536;

/// A position for each part of a watch's range. The parts lie side by side and cover all of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Positions {
    parts: BTreeMap<Bytes, Option<Position>>,
    end: Option<Bytes>,
}

impl Positions {
    /// Those of a watch that has not begun.
    pub(super) fn unknown(range: KeyRange) -> Self {
        let KeyRange { start, end } = range;
        Self { parts: BTreeMap::from([(start, None)]), end }
    }

    /// Those of a token, as far as they are of `range`.
    pub(super) fn of_token(token: &Bytes, range: &KeyRange) -> Result<Self, ErrorAnswer> {
        let Token { parts, end, .. } = Token::decode(token.clone())
            .ok()
            .filter(|token| token.version == VERSION)
            .ok_or_else(|| ErrorAnswer::invalid("the token is not one of this version: start the watch anew"))?;
        if parts.is_empty() || parts.len() > MAX_PARTS || !parts.is_sorted_by(|one, next| one.start < next.start) {
            return Err(ErrorAnswer::invalid("the token is malformed: start the watch anew"));
        }
        let told = KeyRange { start: parts[0].start.clone(), end: end.clone() };
        if told.intersection(range) != *range {
            let text = format!("the token is of a watch of {told}, which does not hold all of {range}");
            return Err(ErrorAnswer::invalid(text));
        }
        let mut own = Self { parts: BTreeMap::new(), end: range.end.clone() };
        let mut ends = parts.iter().skip(1).map(|next| Some(next.start.clone())).collect::<Vec<_>>();
        ends.push(end);
        for (Part { start, lineage, seq }, end) in parts.into_iter().zip(ends) {
            let part = KeyRange { start, end }.intersection(range);
            if !part.is_empty() {
                own.parts.insert(part.start, Some(Position { lineage: Lineage(lineage), seq: Seq(seq) }));
            }
        }
        Ok(own)
    }

    /// Resumes the watch from here; `None` as long as not all positions are known.
    pub(super) fn token(&self) -> Option<Bytes> {
        let part = |(start, position): (&Bytes, &Option<Position>)| {
            let Position { lineage, seq } = (*position)?;
            Some(Part { start: start.clone(), lineage: lineage.0, seq: seq.0 })
        };
        let parts = self.parts.iter().map(part).collect::<Option<Vec<_>>>()?;
        let token = Token { version: VERSION, parts, end: self.end.clone() };
        Some(token.encode_to_vec().into())
    }

    /// All parts, in order.
    pub(super) fn parts(&self) -> Vec<(KeyRange, Option<Position>)> {
        let ends = self.parts.keys().skip(1).map(|next| Some(next.clone())).chain([self.end.clone()]);
        let parts = self.parts.iter().zip(ends);
        parts.map(|((start, position), end)| (KeyRange { start: start.clone(), end }, *position)).collect()
    }

    /// The first part whose position is not known.
    pub(super) fn first_unknown(&self) -> Option<&Bytes> {
        self.parts.iter().find(|(_, position)| position.is_none()).map(|(start, _)| start)
    }

    /// The position of a message of one part.
    pub(super) fn only(&self) -> Option<Position> {
        let mut parts = self.parts.values();
        parts.next().copied().flatten().filter(|_| parts.next().is_none())
    }

    /// All of the part at `start` was told up to `position`. Returns whether that is news.
    pub(super) fn advance(&mut self, start: &Bytes, position: Position) -> bool {
        self.parts.insert(start.clone(), Some(position)) != Some(Some(position))
    }

    /// The part that holds `at` becomes two.
    pub(super) fn divide(&mut self, at: &Bytes) {
        if let Some((_, position)) = self.parts.range::<Bytes, _>(..=at).next_back() {
            let position = *position;
            self.parts.insert(at.clone(), position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(start: &'static str, end: &'static str) -> KeyRange {
        KeyRange { start: start.into(), end: (!end.is_empty()).then(|| end.into()) }
    }

    fn at(seq: u64) -> Position {
        Position { lineage: Lineage(1), seq: Seq(seq) }
    }

    /// Of all keys, in three parts.
    fn three() -> Positions {
        let mut positions = Positions::unknown(KeyRange::all());
        for (start, seq) in [("", 10), ("g", 20), ("p", 30)] {
            positions.advance(&start.into(), at(seq));
        }
        positions
    }

    #[test]
    fn a_token_says_where_each_part_is() {
        let token = three().token().expect("all are known");
        assert_eq!(Positions::of_token(&token, &KeyRange::all()), Ok(three()));
        let parts = three().parts();
        assert_eq!(
            parts,
            [(range("", "g"), Some(at(10))), (range("g", "p"), Some(at(20))), (range("p", ""), Some(at(30)))]
        );
    }

    #[test]
    fn there_is_no_token_before_all_positions_are_known() {
        let mut positions = Positions::unknown(range("a", "z"));
        positions.divide(&"m".into());
        positions.advance(&"a".into(), at(1));
        assert_eq!((positions.token(), positions.first_unknown()), (None, Some(&"m".into())));
        positions.advance(&"m".into(), at(2));
        assert!(positions.token().is_some());
    }

    #[test]
    fn both_parts_of_a_divided_one_go_on_from_the_same_place() {
        let mut positions = three();
        positions.divide(&"k".into());
        let parts = positions.parts();
        assert_eq!(parts[1..3], [(range("g", "k"), Some(at(20))), (range("k", "p"), Some(at(20)))]);
        assert!(positions.advance(&"k".into(), at(21)), "news");
        assert!(!positions.advance(&"k".into(), at(21)), "no news");
        assert_eq!(positions.parts()[1].1, Some(at(20)));
    }

    #[test]
    fn a_narrower_watch_takes_what_is_its_own_of_a_token() {
        let token = three().token().expect("all are known");
        let narrow = Positions::of_token(&token, &range("h", "q")).expect("it is within");
        assert_eq!(narrow.parts(), [(range("h", "p"), Some(at(20))), (range("p", "q"), Some(at(30)))]);
        let single = Positions::of_token(&token, &range("a", "b")).expect("it is within");
        assert_eq!(single.only(), Some(at(10)));
        assert_eq!(narrow.only(), None);
    }

    #[test]
    fn foreign_and_narrower_tokens_are_refused() {
        let all = KeyRange::all();
        for garbage in [&b"garbage"[..], b"\x08\x02", b"\x08\x01"] {
            assert!(Positions::of_token(&Bytes::from_static(garbage), &all).is_err());
        }
        let token = Positions::of_token(&three().token().expect("known"), &range("h", "q")).expect("within").token();
        let refused = Positions::of_token(&token.expect("known"), &range("h", "z")).expect_err("q to z is missing");
        assert!(refused.message().contains("[h, q)"), "{refused:?}");
        let unordered = Token {
            version: VERSION,
            parts: ["b", "a"].map(|start| Part { start: start.into(), ..Part::default() }).into(),
            end: None,
        };
        assert!(Positions::of_token(&unordered.encode_to_vec().into(), &range("b", "")).is_err());
    }
}
