use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use kv_client::{Change, ChangeKind, Client, Error, Watch};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use crate::history::{History, Told};

/// Pause before a watch that was refused is begun anew.
const AGAIN: Duration = Duration::from_millis(200);
/// How often is looked whether the last changes have been told.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// A watch of all keys, in the background, which is begun anew when it ends.
#[derive(Debug)]
pub struct Watcher {
    told: Arc<Mutex<Vec<Stretch>>>,
    task: JoinHandle<()>,
}

/// What was told between a watch's beginning and its end.
#[derive(Clone, Debug, Default)]
pub struct Stretch {
    /// Changes that were asked for later than this have to be told, in nanoseconds of the history.
    pub since: u64,
    /// In the order in which they were told.
    pub changes: Vec<Change>,
    /// Why it ended, and changes were missed.
    pub ended: Option<Ended>,
}

/// Why a watch ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was told that changes are not kept any more.
    Compacted,
    /// It could not be resumed, or was cut before its first token.
    Cut(String),
    /// By an error that has no place in a watch.
    Refused(String),
}

impl Watcher {
    /// Begins. `hops`: it goes on by its token through a new watch after each such time.
    #[must_use]
    pub fn start(client: Client, history: Arc<History>, hops: Option<Duration>) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let task = tokio::spawn(follow(client, history, Arc::clone(&told), hops));
        Self { told, task }
    }

    /// Waits until the last change of each of these keys has been told, at most until `deadline`, and ends.
    pub async fn finish(self, last: &[Bytes], deadline: Instant) -> Vec<Stretch> {
        while Instant::now() < deadline {
            let all = {
                let told = lock(&self.told);
                let changes = told.iter().flat_map(|stretch| &stretch.changes);
                let keys: BTreeSet<_> = changes.map(|change| &change.entry.key).collect();
                last.iter().all(|key| keys.contains(key))
            };
            if all {
                break;
            }
            sleep(LOOK_EVERY).await;
        }
        self.task.abort();
        std::mem::take(&mut lock(&self.told))
    }
}

async fn follow(client: Client, history: Arc<History>, told: Arc<Mutex<Vec<Stretch>>>, hops: Option<Duration>) {
    let mut token = Bytes::new();
    loop {
        let watch = if token.is_empty() { Watch::all() } else { Watch::all().from_token(token.clone()) };
        let opened = client.watch(watch).await;
        if token.is_empty() {
            // Accepted by now, or the same is tried anew.
            lock(&told).push(Stretch { since: history.now(), ..Stretch::default() });
        }
        let mut stream = match opened {
            Ok(stream) => stream,
            Err(error) => {
                end(&told, &mut token, error);
                sleep(AGAIN).await;
                continue;
            }
        };
        let hop = hops.map(|hops| Instant::now() + hops);
        loop {
            let next = stream.next();
            let changes = match hop {
                None => next.await,
                // Dropping the future loses none.
                Some(hop) => match tokio::time::timeout_at(hop, next).await {
                    Ok(changes) => changes,
                    Err(_) if stream.token().is_empty() => continue,
                    Err(_) => {
                        token = stream.token().clone();
                        break;
                    }
                },
            };
            match changes {
                Ok(changes) => lock(&told).last_mut().into_iter().for_each(|stretch| {
                    stretch.changes.extend(changes.changes.iter().cloned());
                }),
                Err(error) => {
                    token = stream.token().clone();
                    end(&told, &mut token, error);
                    break;
                }
            }
        }
    }
}

/// What comes of an error: the watch goes on by its token, or begins anew.
fn end(told: &Mutex<Vec<Stretch>>, token: &mut Bytes, error: Error) {
    let why = match error {
        Error::Compacted { .. } => Ended::Compacted,
        // Only that nobody could be reached: the token is still good.
        Error::Unavailable(_) | Error::Exhausted(_) | Error::ClusterDead if !token.is_empty() => return,
        Error::Unavailable(_) | Error::Exhausted(_) | Error::ClusterDead => Ended::Cut(error.to_string()),
        other => Ended::Refused(other.to_string()),
    };
    *token = Bytes::new();
    if let Some(stretch) = lock(told).last_mut() {
        stretch.ended = Some(why);
    }
}

fn lock(told: &Mutex<Vec<Stretch>>) -> MutexGuard<'_, Vec<Stretch>> {
    told.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is wrong with what a watcher was told, given what was acknowledged: changes of a key out of order or twice, a change
/// with another value than the one acknowledged under its revision, and acknowledged writes that were not told.
#[must_use]
pub fn judge(stretches: &[Stretch], acknowledged: &[Told]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut last: BTreeMap<&Bytes, u64> = BTreeMap::new();
    let mut told: BTreeMap<(&Bytes, u64), Option<&Bytes>> = BTreeMap::new();
    for change in stretches.iter().flat_map(|stretch| &stretch.changes) {
        let (key, revision) = (&change.entry.key, change.entry.revision);
        if let Some(before) = last.insert(key, revision).filter(|before| *before >= revision) {
            wrong.push(format!("revision {revision} of {} was told after {before}", key.escape_ascii()));
        }
        told.insert((key, revision), (change.kind == ChangeKind::Put).then_some(&change.entry.value));
    }
    for write in acknowledged {
        let Told { key, value, revision, call, ret } = write;
        match told.get(&(key, *revision)) {
            Some(told) if *told != value.as_ref() => {
                let key = key.escape_ascii();
                wrong.push(format!("revision {revision} of {key} was told as {told:?}, acknowledged as {value:?}"));
            }
            Some(_) => {}
            // One that was asked for before a stretch begins, or acknowledged after it has ended, may be missing.
            None => {
                let missed = stretches.iter().any(|stretch| stretch.ended.is_none() && *call > stretch.since);
                if missed {
                    let (key, call, ret) = (key.escape_ascii(), call / 1_000_000, ret / 1_000_000);
                    wrong.push(format!("{key} at revision {revision} ({call} to {ret} ms) was never told"));
                }
            }
        }
    }
    let refused = stretches.iter().filter_map(|stretch| match &stretch.ended {
        Some(Ended::Refused(why)) => Some(format!("a watch was refused: {why}")),
        _ => None,
    });
    wrong.extend(refused);
    wrong
}

#[cfg(test)]
mod tests {
    use kv_client::Entry;

    use super::*;

    fn put(key: &'static str, revision: u64) -> Change {
        let entry = Entry { key: key.into(), value: revision.to_string().into(), revision, expires_at_millis: None };
        Change { kind: ChangeKind::Put, entry }
    }

    fn acknowledged(key: &'static str, revision: u64, call: u64) -> Told {
        Told { key: key.into(), value: Some(revision.to_string().into()), revision, call, ret: call + 1 }
    }

    fn whole(changes: &[Change]) -> Stretch {
        Stretch { since: 10, changes: changes.to_vec(), ended: None }
    }

    #[test]
    fn what_is_told_in_order_and_complete_is_right() {
        let writes = [acknowledged("a", 1, 11), acknowledged("b", 2, 12), acknowledged("a", 3, 13)];
        assert!(judge(&[whole(&[put("b", 2), put("a", 1), put("a", 3)])], &writes).is_empty());
        assert!(judge(&[whole(&[put("b", 2), put("a", 3)])], &writes).iter().any(|wrong| wrong.contains("never told")));
        assert_eq!(judge(&[whole(&[put("b", 2), put("a", 3), put("a", 1)])], &writes).len(), 1);
        assert_eq!(judge(&[whole(&[put("b", 2), put("b", 2), put("a", 1), put("a", 3)])], &writes).len(), 1);
        let other = [Told { value: None, ..acknowledged("a", 1, 11) }];
        assert!(judge(&[whole(&[put("a", 1)])], &other)[0].contains("acknowledged as"));
    }

    #[test]
    fn what_was_compacted_may_be_missing_and_nothing_after_it() {
        let compacted = Stretch { ended: Some(Ended::Compacted), ..whole(&[put("a", 1)]) };
        let after = Stretch { since: 20, ..whole(&[]) };
        let writes = [acknowledged("a", 1, 11), acknowledged("a", 2, 15)];
        assert!(judge(&[compacted.clone(), after.clone()], &writes).is_empty());
        let late = [acknowledged("a", 5, 21)];
        assert_eq!(judge(&[compacted, after], &late).len(), 1);
        let refused = Stretch { ended: Some(Ended::Refused("no".into())), ..whole(&[]) };
        assert_eq!(judge(&[refused], &[]).len(), 1);
    }

    #[test]
    fn what_was_asked_for_before_the_beginning_may_be_missing() {
        assert!(judge(&[whole(&[])], &[acknowledged("a", 1, 9)]).is_empty());
    }
}
