use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use kv_proto::v1::{ErrorReason, WatchEvent, WatchEvents};
use kv_types::KeyRange;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};
use tonic::Status;

use super::{
    MESSAGE_BYTES, MESSAGE_EVENTS, QUEUE_MESSAGES,
    follower::{Follower, PassingOn, Step, cut_off},
    positions::Positions,
};
use crate::server::{edge::Edge, status::ErrorAnswer};

/// A watcher that takes no message for so long while its queue is full is too slow.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often a watch looks around: whether its node is cut off, and whether a new token is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long a watch whose changes are gone looks for a place to start anew from.
const ANEW_LIMIT: Duration = Duration::from_secs(3);

/// What the client of a watch is sent.
pub(super) type Message = Result<WatchEvents, Status>;

/// A follower on its next step.
type Following = Pin<Box<dyn Future<Output = (Follower, Step)> + Send>>;

/// One watch: merges what the followers of its parts find.
pub(super) struct Watcher {
    edge: Arc<Edge>,
    range: KeyRange,
    passing_on: Option<PassingOn>,
    positions: Positions,
    followers: FuturesUnordered<Following>,
    /// The last token that was queued.
    token: Bytes,
    /// Positions have changed since.
    moved: bool,
}

impl Watcher {
    /// A watch of `range` at its `positions`. Without `passing_on` what this node does not lead ends it.
    pub(super) fn new(edge: &Arc<Edge>, range: KeyRange, positions: Positions, passing_on: bool) -> Self {
        let passing_on = passing_on.then(|| PassingOn { lane: edge.next_lane(), trouble: Arc::new(Mutex::new(None)) });
        let edge = Arc::clone(edge);
        Self {
            edge,
            range,
            passing_on,
            positions,
            followers: FuturesUnordered::new(),
            token: Bytes::new(),
            moved: false,
        }
    }

    /// Begins, and returns the first token. If the watch is of the changes from now on, then all positions are known after
    /// this: no change that is asked for afterwards is missed.
    pub(super) async fn begin(&mut self, until: Instant) -> Result<Bytes, ErrorAnswer> {
        let parts = self.positions.parts();
        // Another node wants to know at once whether this one serves.
        let wait = self.passing_on.is_none() || self.positions.first_unknown().is_some();
        let mut waiting = if wait { parts.len() } else { 0 };
        for (range, position) in parts {
            self.follow(Follower::new(&self.edge, range, position, self.passing_on.clone()));
        }
        let mut begun = Vec::new();
        while waiting > 0 {
            let Ok(Some((mut follower, step))) = timeout_at(until, self.followers.next()).await else {
                return Err(self.not_begun());
            };
            match step {
                Step::Moved(_, position) => {
                    self.positions.advance(follower.start(), position);
                    waiting -= 1;
                    // It goes on when all have begun: what it finds till then stays where it is.
                    begun.push(follower);
                }
                Step::Divided(at) => {
                    self.divide(&mut follower, &at);
                    self.follow(follower);
                    waiting += 1;
                }
                Step::Failed(answer) => return Err(answer),
            }
        }
        for follower in begun {
            self.follow(follower);
        }
        self.token = self.positions.token().ok_or_else(|| self.not_begun())?;
        Ok(self.token.clone())
    }

    /// Sends what changes, until the client leaves or the watch can't go on.
    pub(super) async fn run(mut self, queue: mpsc::Sender<Message>) {
        let Err(mut answer) = self.pump(&queue).await else { return };
        // What the followers hold is let go before the client takes the last message.
        self.followers.clear();
        if answer.reason() == ErrorReason::Compacted {
            answer = anew(&self.edge, &self.range, self.passing_on.is_some(), &answer).await;
        }
        let _ = queue.send(Err(answer.into())).await;
    }

    /// Returns without an error when the client has left.
    async fn pump(&mut self, queue: &mpsc::Sender<Message>) -> Result<(), ErrorAnswer> {
        let edge = Arc::clone(&self.edge);
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut gathered = Gathered::default();
            tokio::select! {
                () = edge.closing.cancelled() => {
                    let text = format!("{} is closing: go on at another node from the last token", edge.driver.node());
                    return Err(ErrorAnswer::unavailable(text));
                }
                () = queue.closed() => return Ok(()),
                _ = look.tick() => {
                    if edge.driver.is_ceased() {
                        return Err(ErrorAnswer::unavailable(cut_off(&edge)));
                    }
                    if !self.moved {
                        continue;
                    }
                }
                Some((follower, step)) = self.followers.next() => {
                    self.take(follower, step, &mut gathered);
                    // What is ready goes into the same message.
                    while gathered.has_room() {
                        let Some(Some((follower, step))) = self.followers.next().now_or_never() else { break };
                        self.take(follower, step, &mut gathered);
                    }
                    if gathered.events.is_empty() && gathered.failure.is_none() {
                        continue;
                    }
                }
            }
            let Gathered { events, failure, .. } = gathered;
            // Also an end without changes says how far it has come: where the watch goes on, nothing older may be kept.
            if failure.is_none() || !events.is_empty() || self.moved {
                self.send(queue, events).await?;
            }
            if let Some(answer) = failure {
                return Err(answer);
            }
        }
    }

    fn take(&mut self, mut follower: Follower, step: Step, gathered: &mut Gathered) {
        match step {
            Step::Moved(events, position) => {
                self.moved |= self.positions.advance(follower.start(), position);
                gathered.bytes += events.iter().map(size).sum::<usize>();
                gathered.events.extend(events);
                self.follow(follower);
            }
            Step::Divided(at) => {
                self.divide(&mut follower, &at);
                self.follow(follower);
            }
            Step::Failed(answer) => gathered.failure = Some(answer),
        }
    }

    fn divide(&mut self, follower: &mut Follower, at: &Bytes) {
        self.positions.divide(at);
        let other = follower.divide(at);
        self.follow(other);
    }

    fn follow(&mut self, mut follower: Follower) {
        self.followers.push(Box::pin(async move {
            let step = follower.step().await;
            (follower, step)
        }));
    }

    async fn send(&mut self, queue: &mpsc::Sender<Message>, events: Vec<WatchEvent>) -> Result<(), ErrorAnswer> {
        let token = self.positions.token().unwrap_or_else(|| self.token.clone());
        let message = WatchEvents { events, token: token.clone() };
        if timeout(PATIENCE, queue.send(Ok(message))).await.is_err() {
            let text = format!(
                "{QUEUE_MESSAGES} messages wait for the watcher, the bound, and it has taken none for {PATIENCE:?}: go on from the last token"
            );
            return Err(ErrorAnswer::exhausted(text).with_token(self.token.clone()));
        }
        self.token = token;
        self.moved = false;
        Ok(())
    }

    fn not_begun(&self) -> ErrorAnswer {
        let start = self.positions.first_unknown().map(|start| start.escape_ascii().to_string()).unwrap_or_default();
        let trouble = self.passing_on.as_ref().and_then(|passing_on| {
            passing_on
                .trouble
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .as_ref()
                .map(|last| last.message().to_owned())
        });
        let why = trouble.unwrap_or_else(|| "no answer within the time limit".into());
        ErrorAnswer::unavailable(format!("the shard of the keys from {start:?} on can't be watched: {why}"))
    }
}

/// The changes are gone: adds the token of a watch that begins now. If none can, the client is to come again with its old
/// token.
pub(super) async fn anew(edge: &Arc<Edge>, range: &KeyRange, passing_on: bool, gone: &ErrorAnswer) -> ErrorAnswer {
    let mut watcher = Watcher::new(edge, range.clone(), Positions::unknown(range.clone()), passing_on);
    match watcher.begin(Instant::now() + ANEW_LIMIT).await {
        Ok(token) => ErrorAnswer::compacted(gone.message(), token),
        Err(trouble) => trouble,
    }
}

/// What goes into the next message.
#[derive(Default)]
struct Gathered {
    events: Vec<WatchEvent>,
    bytes: usize,
    failure: Option<ErrorAnswer>,
}

impl Gathered {
    fn has_room(&self) -> bool {
        self.failure.is_none() && self.events.len() < MESSAGE_EVENTS && self.bytes < MESSAGE_BYTES
    }
}

fn size(event: &WatchEvent) -> usize {
    event.entry.as_ref().map_or(0, |entry| entry.key.len() + entry.value.len())
}
