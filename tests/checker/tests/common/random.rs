//! Random histories, from a seed: of a register that is right, and the same with one thing changed.

use kv_checker::{Action, Expected, Operation, Outcome, Versioned};

/// SplitMix64.
struct Rng(u64);

impl Rng {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// One key of the register; revision 0: it is not there.
#[derive(Clone, Debug, Default)]
struct Key {
    value: Option<Vec<u8>>,
    revision: u64,
}

#[derive(Debug, Default)]
struct Register {
    keys: [Key; 2],
    /// The last entry of the log, which all keys share.
    seq: u64,
}

impl Register {
    /// Carries an operation out; the answer says everything that can be said.
    fn apply(&mut self, operation: &Operation) -> Outcome {
        let key = &mut self.keys[usize::from(operation.key[0] - b'a')];
        let holds = match &operation.expected {
            None => true,
            Some(Expected::Revision(revision)) => key.revision == *revision,
            Some(Expected::Value(value)) => key.value == *value,
        };
        if operation.action != Action::Get {
            self.seq += 1;
        }
        let existed = Some(key.value.is_some());
        match &operation.action {
            Action::Get => {
                Outcome::Found(key.value.clone().map(|value| Versioned { value, revision: Some(key.revision) }))
            }
            _ if !holds => Outcome::Mismatch { actual: Some(key.revision) },
            Action::Put(value) => {
                *key = Key { value: Some(value.clone()), revision: self.seq };
                Outcome::Done { revision: Some(self.seq), existed }
            }
            Action::Delete => {
                *key = Key::default();
                Outcome::Done { revision: None, existed }
            }
        }
    }
}

/// What some clients did to a register that makes no mistakes; some answers are lost, some say less than others.
pub fn correct(seed: u64) -> Vec<Operation> {
    let mut rng = Rng(seed);
    let clients = 2 + rng.below(4);
    let keys = 1 + rng.below(2);
    let (slow, lost) = (1 + rng.below(40), rng.below(30));
    let mut next_call: Vec<u64> = (0..clients).map(|_| rng.below(20)).collect();
    let mut left = 8 + rng.below(28);
    let mut register = Register::default();
    let mut revisions = [0_u64; 2];
    // By the moment at which they take effect; an answer that is lost comes at no time.
    let mut pending: Vec<(u64, Option<u64>, Operation)> = Vec::new();
    let mut history = Vec::new();
    while left > 0 || !pending.is_empty() {
        let call = next_call.iter().copied().enumerate().min_by_key(|(_, at)| *at).filter(|_| left > 0);
        let effect = pending.iter().enumerate().min_by_key(|(_, (at, ..))| *at).map(|(index, (at, ..))| (index, *at));
        if let Some((client, call)) = call
            && effect.is_none_or(|(_, at)| call <= at)
        {
            left -= 1;
            let operation = ask(&mut rng, client, call, keys, history.len() + pending.len(), &revisions);
            let at = call + rng.below(slow);
            let ret = at + rng.below(slow);
            next_call[client] = ret + 1 + rng.below(10);
            if rng.chance(lost) {
                if rng.chance(50) {
                    history.push(operation);
                } else {
                    pending.push((call + rng.below(slow * 4), None, operation));
                }
            } else {
                pending.push((at, Some(ret), operation));
            }
        } else if let Some((index, _)) = effect {
            let (_, ret, mut operation) = pending.swap_remove(index);
            let outcome = register.apply(&operation);
            if ret.is_some() {
                let key = usize::from(operation.key[0] - b'a');
                revisions[key] = register.keys[key].revision;
                operation.outcome = silent(&mut rng, outcome);
                operation.ret = ret;
            }
            history.push(operation);
        }
    }
    history
}

fn ask(rng: &mut Rng, client: usize, call: u64, keys: u64, number: usize, revisions: &[u64; 2]) -> Operation {
    let key = rng.below(keys);
    let value = |rng: &mut Rng| match rng.below(4) {
        0 => format!("shared{}", rng.below(2)).into_bytes(),
        _ => format!("v{number}").into_bytes(),
    };
    let action = match rng.below(10) {
        0..=3 => Action::Get,
        4..=7 => Action::Put(value(rng)),
        8 => Action::Delete,
        _ => Action::Put(b"shared0".to_vec()),
    };
    let expected = match rng.below(8) {
        _ if action == Action::Get => None,
        0 | 1 => Some(Expected::Revision(revisions[key as usize])),
        2 => Some(Expected::Value(rng.chance(50).then(|| b"shared0".to_vec()))),
        _ => None,
    };
    let key = vec![b'a' + key as u8];
    Operation { client: client as u64, key, action, expected, call, ret: None, outcome: Outcome::Unknown }
}

/// Now and then an answer leaves something out.
fn silent(rng: &mut Rng, outcome: Outcome) -> Outcome {
    if rng.chance(75) {
        return outcome;
    }
    match outcome {
        Outcome::Found(found) => Outcome::Found(found.map(|found| Versioned { revision: None, ..found })),
        Outcome::Done { revision, existed } => {
            let (revision, existed) = if rng.chance(50) { (None, existed) } else { (revision, None) };
            Outcome::Done { revision, existed }
        }
        Outcome::Mismatch { .. } => Outcome::Mismatch { actual: None },
        other => other,
    }
}

/// The same with one answer changed; whether that is a violation depends on the others.
pub fn corrupted(seed: u64) -> Vec<Operation> {
    let mut history = correct(seed);
    let mut rng = Rng(seed ^ 0x5555_5555);
    let values: Vec<Vec<u8>> = history
        .iter()
        .filter_map(|operation| match &operation.action {
            Action::Put(value) => Some(value.clone()),
            _ => None,
        })
        .collect();
    let answered: Vec<usize> = (0..history.len()).filter(|at| history[*at].ret.is_some()).collect();
    if answered.is_empty() || values.is_empty() {
        return history;
    }
    let changed = *rng.pick(&answered);
    let near = |rng: &mut Rng, revision: u64| (revision + 3).saturating_sub(rng.below(7));
    let operation = &mut history[changed];
    if rng.chance(20) {
        // It was asked for and answered at another time.
        let by = rng.below(60);
        let later = rng.chance(50);
        let ret = operation.ret.unwrap_or(operation.call);
        let (call, ret) = if later {
            (operation.call + by, ret + by)
        } else {
            (operation.call.saturating_sub(by), ret.saturating_sub(by))
        };
        (operation.call, operation.ret) = (call, Some(ret));
        return history;
    }
    operation.outcome = match operation.outcome.clone() {
        Outcome::Found(Some(found)) if rng.chance(30) => {
            let revision = found.revision.map(|revision| near(&mut rng, revision));
            Outcome::Found(Some(Versioned { revision, ..found }))
        }
        Outcome::Found(Some(_)) if rng.chance(30) => Outcome::Found(None),
        Outcome::Found(_) => Outcome::Found(Some(Versioned { value: rng.pick(&values).clone(), revision: None })),
        Outcome::Done { .. } if operation.expected.is_some() && rng.chance(50) => Outcome::Mismatch { actual: None },
        Outcome::Done { .. } if rng.chance(30) => Outcome::Failed,
        Outcome::Done { revision, existed } => match revision {
            Some(revision) if rng.chance(50) => Outcome::Done { revision: Some(near(&mut rng, revision)), existed },
            revision => Outcome::Done { revision, existed: existed.map(|existed| !existed) },
        },
        Outcome::Mismatch { actual } if rng.chance(50) => {
            Outcome::Mismatch { actual: actual.map(|actual| near(&mut rng, actual)) }
        }
        Outcome::Mismatch { .. } => Outcome::Done { revision: None, existed: None },
        other => other,
    };
    history
}
