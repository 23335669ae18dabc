//! Damaged bytes of what comes from outside: messages between nodes, entries of the log, requests of clients. They are
//! refused or understood, never a panic, and what was understood survives its encoding.

use std::time::{Duration, Instant};

use kv_proto::v1::{LinkFrame, PipelineRequest};
use kv_types::{Command, Expiry, Limits, Operation, RequestId, SessionId, Split, Write};
use prost::Message as _;
use rand::{RngExt as _, SeedableRng as _, rngs::Xoshiro256PlusPlus};

use super::*;
use crate::server::Intake;

/// How long each goes on, in seconds, unless `KV_FUZZ_SECONDS` says otherwise.
const SECONDS: u64 = 2;

/// Changes some bytes: single bits, lengths, numbers as large as they get, pieces of other places.
fn mutate(bytes: &mut Vec<u8>, random: &mut Xoshiro256PlusPlus) {
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=bytes.len());
        let to = (at + random.random_range(0..20)).min(bytes.len());
        match random.random_range(0..7) {
            0 | 1 if at < bytes.len() => bytes[at] ^= 1 << random.random_range(0..8),
            2 if at < bytes.len() => bytes[at] = random.random(),
            3 => drop(bytes.splice(at..at, [0xff; 9].into_iter().chain([1]))),
            4 => drop(bytes.drain(at..to)),
            5 => {
                let piece = bytes[at..to].to_vec();
                let place = random.random_range(0..=bytes.len());
                drop(bytes.splice(place..place, piece));
            }
            6 => bytes.truncate(at),
            _ => {}
        }
    }
}

/// Hands damaged seeds to `target`, which says whether it has understood them.
fn fuzz(what: &str, seeds: &[Vec<u8>], target: impl Fn(Bytes) -> bool + std::panic::RefUnwindSafe) {
    let seconds = std::env::var("KV_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SECONDS);
    let end = Instant::now() + Duration::from_secs(seconds);
    assert!(seeds.iter().all(|seed| target(seed.clone().into())), "{what}: a seed is not understood");
    let (mut executions, mut understood) = (0_u64, 0_u64);
    while Instant::now() < end {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(executions);
        let mut bytes = seeds[random.random_range(0..seeds.len())].clone();
        mutate(&mut bytes, &mut random);
        let bytes = Bytes::from(bytes);
        let outcome = std::panic::catch_unwind(|| target(bytes.clone()));
        let hex = || bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        understood += u64::from(outcome.unwrap_or_else(|_| panic!("{what}, execution {executions}: {}", hex())));
        executions += 1;
    }
    println!("{what}: {executions} executions, {understood} understood");
    assert!(understood > 0 && understood < executions);
}

fn messages() -> Vec<Body> {
    let history = EpochHistory::new(vec![EntryId::new(1, 1), EntryId::new(3, 5)], Seq(9)).expect("ascends");
    let entry = |epoch, seq| Entry { id: EntryId::new(epoch, seq), payload: "x".into() };
    let (stamp, received, matched) = (Time(1), Seq(3), Seq(4));
    vec![
        Body::Follow { history: history.clone(), void: true },
        Body::Append { previous: EntryId::new(1, 4), entries: vec![entry(1, 5), entry(2, 6)], commit: Seq(3) },
        Body::AppendAck { matched },
        Body::Heartbeat { stamp, commit: Seq(2), sent: Seq(3), round: 4 },
        Body::HeartbeatAck(Grant { stamp, round: 2, received, matched, void: true, leaving: true }),
        Body::Reject { promised: Epoch(4), history },
        Body::SnapshotNeeded { incarnation: 7, needed: Seq(3) },
        Body::Wake,
    ]
}

#[test]
fn damaged_messages_between_nodes_are_refused_or_understood() {
    let volume = |n| VolumeId(Uuid::from_u128(n));
    let seeds: Vec<_> = messages()
        .into_iter()
        .map(|body| {
            let (epoch, lineage) = (Epoch(3), Lineage(1));
            let message = Message { from: volume(1), to: volume(2), incarnation: 7, epoch, lineage, body };
            LinkFrame { messages: vec![encode(ShardId(4), message)], ..LinkFrame::default() }.encode_to_vec()
        })
        .collect();
    fuzz("messages between nodes", &seeds, |bytes| {
        let Ok(frame) = LinkFrame::decode(bytes) else { return false };
        let decoded: Vec<_> = frame.messages.into_iter().filter_map(|message| decode(message).ok()).collect();
        for (shard, message) in &decoded {
            if let Body::Follow { history, .. } | Body::Reject { history, .. } = &message.body {
                assert!(history.common_prefix(history) <= history.last().seq);
            }
            assert_eq!(decode(encode(*shard, message.clone())), Ok((*shard, message.clone())));
        }
        !decoded.is_empty()
    });
}

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
    let seeds: Vec<_> = commands.iter().map(|command| command.encode().to_vec()).collect();
    fuzz("entries of the log", &seeds, |bytes| {
        let Ok(command) = Command::decode(bytes) else { return false };
        assert_eq!(Command::decode(command.encode()), Ok(command));
        true
    });
}

#[test]
fn damaged_requests_of_clients_are_refused_or_within_their_limits() {
    use kv_proto::v1::{GetRequest, PutRequest, RequestContext, ScanRequest, pipeline_request::Request};
    let context = || {
        let session = SessionId::opened_by(ShardId(3), EntryId::new(4, 5)).to_bytes();
        let session = Bytes::copy_from_slice(&session);
        Some(RequestContext { session, request: 3, lowest_unanswered: 2, ..RequestContext::default() })
    };
    let put =
        PutRequest { context: context(), key: "k".into(), value: "v".into(), ttl_millis: 9, ..PutRequest::default() };
    let scan = ScanRequest { context: context(), page_keys: 10, ..ScanRequest::default() };
    let get = GetRequest { key: "key".into(), ..GetRequest::default() };
    let seeds: Vec<_> = [Request::Put(put), Request::Scan(scan), Request::Get(get)]
        .into_iter()
        .map(|request| PipelineRequest { request: Some(request), ..PipelineRequest::default() }.encode_to_vec())
        .collect();
    let intake = Intake::new(String::new(), Limits::default(), Duration::from_secs(5));
    fuzz("requests of clients", &seeds, |bytes| {
        let Ok(PipelineRequest { request: Some(request), .. }) = PipelineRequest::decode(bytes) else { return false };
        assert!(intake.timeout(&request) <= Duration::from_secs(60));
        intake.check(&request).is_ok()
    });
}
