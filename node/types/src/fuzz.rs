//! What the fuzzers call. A target takes any bytes, says whether it has understood them, and panics if what must hold then
//! does not.

use bytes::Bytes;

use crate::Command;

/// An entry of the log: it survives its encoding, which is no longer than what came.
pub fn log_entry(bytes: &[u8]) -> bool {
    let Ok(command) = Command::decode(Bytes::copy_from_slice(bytes)) else { return false };
    let encoded = command.encode();
    assert!(encoded.len() <= bytes.len(), "{command:?} has grown");
    assert_eq!(Command::decode(encoded), Ok(command));
    true
}

#[cfg(test)]
mod tests {
    use kv_corpus::Seed;

    use super::*;
    use crate::{EntryId, Expiry, Operation, RequestId, SessionId, ShardId, Split, Write};

    #[test]
    fn damaged_entries_of_the_log_are_refused_or_understood() {
        let session = SessionId::opened_by(ShardId(3), EntryId::new(4, 5));
        let request = Some(RequestId { session, number: 7, lowest_unanswered: 6 });
        let operations = vec![Operation::put("a", "b").expecting(0), Operation::delete("c")];
        let commands = [
            Command::Barrier,
            Command::OpenSession,
            Command::Write(Write { request, operations, return_previous: true }),
            Command::Expire(vec![Expiry { key: "k".into(), expires_at_millis: 9 }]),
            Command::Split(Split { child: ShardId(8), at: "m".into() }),
        ];
        let seeds = commands.map(|command| Seed::from(command.encode().to_vec()));
        kv_corpus::check("log_entry", &seeds, log_entry);
    }
}
