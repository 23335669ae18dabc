use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use kv_proto::v1::WatchEvent;
use kv_types::KeyRange;
use tokio::time::sleep;

use super::source::{Source, Trouble};
use crate::{
    driver::Position,
    server::{edge::Edge, status::ErrorAnswer},
};

/// Between two attempts to find the primary; doubled each time. There is no end to them: the client ends its watch.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// Follows the changes of one part of a watch, wherever its shard is served.
pub(super) struct Follower {
    edge: Arc<Edge>,
    range: KeyRange,
    position: Option<Position>,
    /// `None`: for another node, which looks elsewhere by itself.
    passing_on: Option<PassingOn>,
    source: Option<Source>,
    pause: Duration,
}

/// How a follower finds its shard at other nodes.
#[derive(Clone)]
pub(super) struct PassingOn {
    /// Which of the connections to each.
    pub(super) lane: usize,
    /// Why it was not found the last time.
    pub(super) trouble: Arc<Mutex<Option<ErrorAnswer>>>,
}

/// What a follower came to.
pub(super) enum Step {
    /// Nothing but these changes up to this position. The first one after the shard was found has no changes.
    Moved(Vec<WatchEvent>, Position),
    /// The part is of two shards, of which the second begins here.
    Divided(Bytes),
    /// It ends.
    Failed(ErrorAnswer),
}

impl Follower {
    pub(super) fn new(
        edge: &Arc<Edge>,
        range: KeyRange,
        position: Option<Position>,
        passing_on: Option<PassingOn>,
    ) -> Self {
        Self { edge: Arc::clone(edge), range, position, passing_on, source: None, pause: FIRST_PAUSE }
    }

    /// The first key of its part.
    pub(super) fn start(&self) -> &Bytes {
        &self.range.start
    }

    /// Leaves the keys from `at` on to another follower, which is returned.
    pub(super) fn divide(&mut self, at: &Bytes) -> Self {
        let rest = KeyRange { start: at.clone(), end: self.range.end.replace(at.clone()) };
        Self::new(&self.edge, rest, self.position, self.passing_on.clone())
    }

    /// Waits for the next step.
    pub(super) async fn step(&mut self) -> Step {
        loop {
            let trouble = match self.advance().await {
                Ok(step) => return step,
                Err(Trouble::Lasting(answer)) => return Step::Failed(answer),
                Err(Trouble::Passing(answer)) => answer,
            };
            self.source = None;
            let Some(PassingOn { trouble: last, .. }) = &self.passing_on else { return Step::Failed(trouble) };
            *last.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
            sleep(self.pause).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn advance(&mut self) -> Result<Step, Trouble> {
        let (events, position) = match &mut self.source {
            Some(source) => {
                let next = source.next(&self.edge).await?;
                self.pause = FIRST_PAUSE;
                next
            }
            None => {
                if let Some(at) = self.open().await? {
                    return Ok(Step::Divided(at));
                }
                match &mut self.source {
                    Some(Source::Local(subscription)) => (Vec::new(), subscription.position()),
                    Some(source) => source.next(&self.edge).await?,
                    None => return Err(ErrorAnswer::fault("a watch was opened nowhere").into()),
                }
            }
        };
        self.position = Some(position);
        Ok(Step::Moved(events, position))
    }

    /// Finds who serves the part. Returns a key if from there on another shard does.
    async fn open(&mut self) -> Result<Option<Bytes>, Trouble> {
        let Self { edge, range, position, .. } = self;
        let unavailable = |text: String| Trouble::Passing(ErrorAnswer::unavailable(text));
        if edge.driver.is_ceased() {
            return Err(unavailable(cut_off(edge)));
        }
        let Some(route) = edge.driver.locate(Some(&range.start)) else {
            return Err(unavailable("no shard is known for the key: the cluster may still be starting".into()));
        };
        let inner_end = route.config.range.end.clone().filter(|end| range.split(end).is_some());
        self.source = match (inner_end, &self.passing_on) {
            (Some(at), Some(_)) => return Ok(Some(at)),
            (None, _) if route.local => Some(Source::local(edge, &route, range, *position)?),
            (None, Some(PassingOn { lane, .. })) => Some(Source::remote(edge, *lane, &route, range, *position).await?),
            (_, None) => return Err(unavailable(format!("this node does not serve {range}"))),
        };
        Ok(None)
    }
}

/// Of a node that has ceased to serve.
pub(super) fn cut_off(edge: &Edge) -> String {
    format!("{} is cut off from the cluster and has ceased to serve", edge.driver.node())
}
