//! All changes as a watch tells them: whether one was made twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use kv_checker::applied_twice;
use kv_client::{Change, ChangeKind, Client, Watch};
use tokio::task::JoinHandle;

use crate::wait;

/// What means "stuck" for the last events.
const COMES_WITHIN: Duration = Duration::from_secs(30);

/// A watch of all keys, in the background.
#[derive(Debug)]
pub struct Journal {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Seen {
    changes: Vec<Change>,
    error: Option<String>,
}

impl Journal {
    /// Begins: every change from now on is seen.
    ///
    /// # Panics
    /// If no node accepts the watch.
    pub async fn start(client: &Client) -> Self {
        let mut watch = client.watch(Watch::all()).await.expect("a node accepts it");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let sink = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                match watch.next().await {
                    Ok(changes) => lock(&sink).changes.extend(changes.changes),
                    Err(error) => {
                        lock(&sink).error = Some(error.to_string());
                        return;
                    }
                }
            }
        });
        Self { seen, task }
    }

    /// Waits until every acknowledged write has been seen. A node keeps some 1 MiB of changes of a shard for watches:
    /// who writes more at once may be too fast for them.
    ///
    /// # Panics
    /// If one is missing.
    pub async fn until_told(&self, acknowledged: &BTreeMap<Bytes, Bytes>) {
        wait::until("the watch has told every acknowledged write", COMES_WITHIN, async || {
            let seen = lock(&self.seen);
            assert!(seen.error.is_none(), "the watch ended: {:?}", seen.error);
            let told: BTreeSet<_> = seen.changes.iter().map(|change| &change.entry.key).collect();
            match acknowledged.keys().find(|key| !told.contains(key)) {
                None => Ok(()),
                Some(key) => Err(format!("{} was not told", key.escape_ascii())),
            }
        })
        .await;
    }

    /// Waits until every acknowledged write has been seen, and ends.
    ///
    /// # Panics
    /// If one is missing, if a value (no two writes have the same) was set twice, or if a key's revisions don't grow.
    pub async fn finish(self, acknowledged: &BTreeMap<Bytes, Bytes>) -> Vec<Change> {
        self.until_told(acknowledged).await;
        self.task.abort();
        let changes = std::mem::take(&mut lock(&self.seen).changes);
        let puts = changes.iter().filter(|change| change.kind == ChangeKind::Put);
        let twice = applied_twice(puts.map(|change| (change.entry.key.clone(), change.entry.value.clone())));
        assert!(twice.is_empty(), "applied twice: {:?}", twice.first());
        let mut last: BTreeMap<&Bytes, u64> = BTreeMap::new();
        for Change { entry, .. } in &changes {
            let before = last.insert(&entry.key, entry.revision);
            let key = entry.key.escape_ascii();
            assert!(before.is_none_or(|before| before < entry.revision), "{key}: {before:?}, then {}", entry.revision);
        }
        eprintln!("journal: {} changes, none twice", changes.len());
        changes
    }
}

fn lock(seen: &Mutex<Seen>) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}
