//! Ranges as clients write them, and the token by which a scan goes on.

use bytes::Bytes;
use kv_proto::v1::ScanRequest;
use kv_types::{KeyRange, Limits};
use tonic_prost::prost::{self, Message as _};

use crate::server::status::ErrorAnswer;

/// What is left of a scan. The first field is its version.
#[derive(Clone, PartialEq, prost::Message)]
struct Token {
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(bytes = "bytes", tag = "2")]
    start: Bytes,
    #[prost(bytes = "bytes", optional, tag = "3")]
    end: Option<Bytes>,
    #[prost(bool, tag = "4")]
    reverse: bool,
    /// Keys; 0: no limit.
    #[prost(uint64, tag = "5")]
    limit: u64,
}

const VERSION: u32 = 1;

/// What a scan has still to read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Remainder {
    pub range: KeyRange,
    /// Keys; `None`: no limit.
    pub limit: Option<u64>,
}

impl Remainder {
    /// Of a request: all of it, or what its token says is left.
    pub(super) fn of(request: &ScanRequest, limits: &Limits) -> Result<Self, ErrorAnswer> {
        let ScanRequest { start, end, prefix, limit, reverse, resume, .. } = request;
        let range = range(start, end, prefix, limits)?;
        let limit = (*limit > 0).then_some(*limit);
        if resume.is_empty() {
            return Ok(Self { range, limit });
        }
        let token = Token::decode(resume.clone()).ok().filter(|token| token.version == VERSION);
        let Some(token) = token else {
            return Err(ErrorAnswer::invalid("the resume token is not one of this version: start the scan anew"));
        };
        if token.reverse != *reverse {
            return Err(ErrorAnswer::invalid(
                "the resume token is of a scan in the other direction: start the scan anew",
            ));
        }
        let left = (token.limit > 0).then_some(token.limit);
        let limit = match (limit, left) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        let range = range.intersection(&KeyRange { start: token.start, end: token.end });
        Ok(Self { range, limit })
    }

    /// The token of what is left after `keys` keys, with `rest` unread; empty if that is nothing.
    pub(super) fn token(&self, keys: usize, rest: Option<KeyRange>, reverse: bool) -> Bytes {
        let left = self.limit.map(|limit| limit.saturating_sub(keys as u64));
        match rest {
            Some(rest) if left != Some(0) && !rest.is_empty() => {
                let KeyRange { start, end } = rest;
                let token = Token { version: VERSION, start, end, reverse, limit: left.unwrap_or(0) };
                token.encode_to_vec().into()
            }
            _ => Bytes::new(),
        }
    }
}

/// The range of a watch.
pub(crate) fn watched_range(
    start: &Bytes,
    end: &Bytes,
    prefix: &Bytes,
    limits: &Limits,
) -> Result<KeyRange, ErrorAnswer> {
    range(start, end, prefix, limits)
}

/// An empty end means "to the last key"; with a prefix both ends are left out.
fn range(start: &Bytes, end: &Bytes, prefix: &Bytes, limits: &Limits) -> Result<KeyRange, ErrorAnswer> {
    for (name, bytes) in [("start", start), ("end", end), ("prefix", prefix)] {
        // A bound of a range may be the key after the longest one.
        let bound = limits.key_bytes + 1;
        if bytes.len() > bound {
            let length = bytes.len();
            return Err(ErrorAnswer::invalid(format!("{name} has {length} bytes: at most {bound} are allowed")));
        }
    }
    if prefix.is_empty() {
        return Ok(KeyRange { start: start.clone(), end: (!end.is_empty()).then(|| end.clone()) });
    }
    if start.is_empty() && end.is_empty() {
        return Ok(KeyRange::prefix(prefix));
    }
    Err(ErrorAnswer::invalid("prefix is given together with start or end: leave one of them out"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(start: &'static str, end: &'static str, limit: u64) -> ScanRequest {
        ScanRequest { start: start.into(), end: end.into(), limit, ..ScanRequest::default() }
    }

    #[test]
    fn a_token_goes_on_where_the_page_ended_with_what_is_left_of_the_limit() {
        let limits = Limits::default();
        let mut request = scan("a", "z", 100);
        let whole = Remainder::of(&request, &limits).expect("valid");
        let rest = KeyRange { start: "k".into(), end: Some("z".into()) };
        request.resume = whole.token(60, Some(rest.clone()), false);
        assert_eq!(Remainder::of(&request, &limits), Ok(Remainder { range: rest.clone(), limit: Some(40) }));
        assert!(whole.token(100, Some(rest), false).is_empty(), "the limit is reached");
        assert!(whole.token(60, None, false).is_empty(), "nothing is left");
    }

    #[test]
    fn a_token_never_leaves_the_asked_range() {
        let limits = Limits::default();
        let all = Remainder::of(&scan("", "", 0), &limits).expect("valid");
        let mut request = scan("c", "d", 0);
        request.resume = all.token(1, Some(KeyRange { start: "a".into(), end: None }), false);
        let range = Remainder::of(&request, &limits).expect("valid").range;
        assert_eq!(range, KeyRange { start: "c".into(), end: Some("d".into()) });
    }

    #[test]
    fn foreign_tokens_and_contradictory_ranges_are_refused() {
        let limits = Limits::default();
        let garbage = ScanRequest { resume: "garbage".into(), ..ScanRequest::default() };
        assert!(Remainder::of(&garbage, &limits).is_err());
        let both = ScanRequest { prefix: "a".into(), ..scan("a", "", 0) };
        assert!(Remainder::of(&both, &limits).is_err());
        let all = Remainder::of(&scan("", "", 0), &limits).expect("valid");
        let resume = all.token(1, Some(KeyRange::all()), false);
        let turned = ScanRequest { resume, reverse: true, ..ScanRequest::default() };
        assert!(Remainder::of(&turned, &limits).is_err());
        let long = ScanRequest { start: vec![b'x'; limits.key_bytes + 2].into(), ..ScanRequest::default() };
        let error = Remainder::of(&long, &limits).expect_err("too long");
        assert!(error.message().contains("4097"), "{error:?}");
    }
}
