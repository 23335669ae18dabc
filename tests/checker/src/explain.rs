//! Makes a violation small enough to be read.

use crate::{
    Action, Expected, Operation, Outcome,
    search::{Found, search},
};

/// Operations beyond which nothing is taken away one by one.
const MAX_TO_THIN: usize = 400;

/// Of operations that no order explains, a small part that none explains either.
pub(crate) fn smallest<'a>(operations: &[&'a Operation], budget: u64) -> Vec<&'a Operation> {
    let mut kept = shortest_prefix(operations, budget);
    if kept.len() > MAX_TO_THIN {
        return kept;
    }
    // Reads first: a write may go when no read speaks of it any more.
    for reads in [true, false] {
        let mut at = 0;
        while at < kept.len() {
            let mut fewer = kept.clone();
            let gone = fewer.remove(at);
            if gone.is_get() == reads && may_go(gone, &fewer) && search(&fewer, budget) == Found::Nothing {
                kept = fewer;
            } else {
                at += 1;
            }
        }
    }
    kept
}

/// Whether a history stays as good as it was without `gone`: what nobody has spoken of.
fn may_go(gone: &Operation, others: &[&Operation]) -> bool {
    let Action::Put(value) = &gone.action else { return gone.is_get() };
    let told = match gone.outcome {
        Outcome::Done { revision, .. } => revision,
        _ => None,
    };
    !others.iter().any(|other| {
        let read = matches!(&other.outcome, Outcome::Found(Some(found)) if found.value == *value);
        let named = match &other.expected {
            Some(Expected::Value(expected)) => expected.as_ref() == Some(value),
            Some(Expected::Revision(expected)) => told.is_none() || told == Some(*expected),
            None => false,
        };
        let felt = matches!(other.outcome, Outcome::Mismatch { .. } | Outcome::Done { existed: Some(_), .. });
        read || named || felt
    })
}

/// A prefix in time of a linearizable history is linearizable: so there is a shortest that is not.
fn shortest_prefix<'a>(operations: &[&'a Operation], budget: u64) -> Vec<&'a Operation> {
    let mut ends: Vec<u64> = operations.iter().filter_map(|operation| operation.ret).collect();
    ends.sort_unstable();
    ends.dedup();
    // What was answered after the end must have no answer in the prefix; only what was answered by then is kept, and
    // writes under way, whose effect may have been seen.
    let fails = |end: u64| {
        let (done, open): (Vec<&Operation>, Vec<&Operation>) = operations
            .iter()
            .copied()
            .filter(|operation| operation.call <= end)
            .partition(|operation| operation.ret.is_some_and(|ret| ret <= end));
        let open: Vec<Operation> = open
            .into_iter()
            .map(|operation| Operation { ret: None, outcome: Outcome::Unknown, ..operation.clone() })
            .collect();
        let all: Vec<&Operation> = done.into_iter().chain(&open).collect();
        search(&all, budget) == Found::Nothing
    };
    let first = ends.partition_point(|end| !fails(*end));
    let Some(end) = ends.get(first) else { return operations.to_vec() };
    // Shown as they were: later answers of writes under way only add to what is known.
    let mut prefix: Vec<&Operation> = operations.iter().copied().filter(|operation| operation.call <= *end).collect();
    prefix.sort_by_key(|operation| operation.call);
    if search(&prefix, budget) == Found::Nothing { prefix } else { operations.to_vec() }
}
