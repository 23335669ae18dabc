use bytes::Bytes;
use kv_proto::v1::WatchRequest;
use kv_types::Limits;
use prost::Message as _;

use super::{asked, positions::Positions};

/// A watch that a client begins or goes on with. The parts lie side by side and cover the range, and the token that they
/// make says the same.
#[allow(clippy::expect_used, reason = "what fails is the finding")]
pub fn watch_request(bytes: &[u8]) -> bool {
    let Ok(request) = WatchRequest::decode(Bytes::copy_from_slice(bytes)) else { return false };
    let limits = Limits { key_bytes: 8, ..Limits::default() };
    let Ok((range, positions)) = asked(&request, &limits) else { return false };
    assert!(!range.is_empty() && range.start.len() <= limits.key_bytes + 1);
    let mut reached = Some(range.start.clone());
    for (part, _) in positions.parts() {
        assert_eq!(Some(&part.start), reached.as_ref(), "{range} is not covered");
        assert!(!part.is_empty(), "{part} holds no key");
        reached = part.end;
    }
    assert_eq!(reached, range.end, "{range} is not covered");
    match positions.token() {
        Some(token) => {
            assert!(token.len() <= request.token.len() + 2 * (limits.key_bytes + 4), "the token has grown");
            assert_eq!(Positions::of_token(&token, &range).expect("it is a token of ours"), positions);
        }
        None => assert!(request.token.is_empty(), "a token says all positions"),
    }
    true
}

#[cfg(test)]
mod tests {
    use kv_corpus::Seed;
    use kv_types::{KeyRange, Lineage, Seq};

    use super::*;
    use crate::driver::Position;

    #[test]
    fn damaged_watches_are_refused_or_understood() {
        let mut positions = Positions::unknown(KeyRange::all());
        for (start, seq) in [("", 10), ("g", 20), ("p", 30)] {
            positions.advance(&start.into(), Position { lineage: Lineage(1), seq: Seq(seq) });
        }
        let token = positions.token().expect("all are known");
        let requests = [
            WatchRequest { prefix: "a".into(), ..WatchRequest::default() },
            WatchRequest { start: "b".into(), end: "x".into(), token: token.clone(), ..WatchRequest::default() },
            WatchRequest { token, ..WatchRequest::default() },
        ];
        let seeds = requests.map(|request| Seed::from(request.encode_to_vec()));
        kv_corpus::check("watch_request", &seeds, watch_request);
    }
}
