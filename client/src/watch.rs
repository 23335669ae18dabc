use std::sync::Arc;

use bytes::Bytes;
use kv_proto::v1::{ErrorReason, RequestContext, WatchEvent, WatchEvents, WatchRequest, watch_event::Kind};
use tokio::time::Instant;
use tonic::Streaming;

use crate::{Client, Entry, Error, Result, backoff::Backoff, failure::Failure};

/// Which changes to follow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Watch(pub(crate) WatchRequest);

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was set.
    Put,
    /// It was deleted.
    Delete,
    /// Its deadline has passed.
    Expire,
}

/// One change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What happened.
    pub kind: ChangeKind,
    /// The key, its new value (empty unless put) and the revision of the change.
    pub entry: Entry,
}

/// Some changes, in order for each key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changes {
    /// At least one.
    pub changes: Vec<Change>,
    /// Resumes the watch after them.
    pub token: Bytes,
}

/// A watch that is under way. It survives failover, handover and splits: it resumes by its token.
#[derive(Debug)]
pub struct WatchStream {
    client: Client,
    request: WatchRequest,
    open: Option<(Arc<str>, Streaming<WatchEvents>)>,
    /// Since when it has been cut.
    cut: Option<Cut>,
}

#[derive(Debug)]
struct Cut {
    since: Instant,
    backoff: Backoff,
    avoided: Option<Arc<str>>,
}

impl Watch {
    /// All keys.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// One key.
    pub fn key(key: impl Into<Bytes>) -> Self {
        let start = key.into();
        let end = [start.as_ref(), &[0]].concat();
        Self::range(start, end)
    }

    /// The keys of `[start, end)`; an empty end means "to the last key".
    pub fn range(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self(WatchRequest { start: start.into(), end: end.into(), ..WatchRequest::default() })
    }

    /// The keys that begin with `prefix`.
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        Self(WatchRequest { prefix: prefix.into(), ..WatchRequest::default() })
    }

    /// From the changes after this token on, instead of from now on.
    #[must_use]
    pub fn from_token(mut self, token: impl Into<Bytes>) -> Self {
        self.0.token = token.into();
        self
    }
}

impl Client {
    /// Begins a watch. When this returns, a node has accepted it.
    ///
    /// # Errors
    /// See [`Error`]; [`Error::Compacted`] if the token is older than the kept log.
    pub async fn watch(&self, watch: Watch) -> Result<WatchStream> {
        let Watch(mut request) = watch;
        let cluster = self.shared.cluster.clone();
        request.context = Some(RequestContext { cluster, ..RequestContext::default() });
        let mut stream = WatchStream { client: self.clone(), request, open: None, cut: None };
        let until = Instant::now() + self.deadline;
        stream.open(until).await?;
        Ok(stream)
    }
}

impl WatchStream {
    /// The next changes. Dropping the future loses none. It waits for as long as nothing changes.
    ///
    /// # Errors
    /// [`Error::Compacted`] if the watch was cut for so long that the changes are not kept any more;
    /// [`Error::Unavailable`] if it could not be resumed within [`crate::ClientOptions::watch_patience`], or was cut
    /// before its first token, so that changes may have been missed.
    pub async fn next(&mut self) -> Result<Changes> {
        loop {
            let Some((address, stream)) = &mut self.open else {
                if self.request.token.is_empty() {
                    return Err(Error::Unavailable(
                        "the watch was cut before its first token: changes may have been missed".into(),
                    ));
                }
                let patience = self.client.shared.options.watch_patience;
                let since = self.cut.get_or_insert_with(Cut::new).since;
                self.open(since + patience).await?;
                continue;
            };
            let failure = match stream.message().await {
                Ok(Some(WatchEvents { events, token })) => {
                    self.cut = None;
                    if !token.is_empty() {
                        self.request.token = token.clone();
                    }
                    if events.is_empty() {
                        continue;
                    }
                    let changes = events.into_iter().map(Change::try_from).collect::<Result<_>>()?;
                    return Ok(Changes { changes, token });
                }
                Ok(None) => Failure::unanswered(format!("{address} ended the watch")),
                Err(status) => Failure::from(status),
            };
            let address = address.clone();
            self.open = None;
            self.judge(failure, address)?;
        }
    }

    /// Resumes the watch after what [`WatchStream::next`] has returned; empty if no node has given one yet.
    #[must_use]
    pub fn token(&self) -> &Bytes {
        &self.request.token
    }

    async fn open(&mut self, until: Instant) -> Result<()> {
        let shared = self.client.shared.clone();
        loop {
            let cut = self.cut.get_or_insert_with(Cut::new);
            let near = if self.request.prefix.is_empty() { &self.request.start } else { &self.request.prefix };
            let now = std::time::Instant::now();
            let route = shared.routing.get(near).map(|route| route.address.clone());
            let route =
                route.filter(|route| cut.avoided.as_ref() != Some(route) && !shared.nodes.is_shunned(route, now));
            let address = route.or_else(|| shared.nodes.any(cut.avoided.as_deref(), now));
            let address = address.ok_or_else(|| Error::Unavailable("no node is known".into()))?;
            let limit = until.min(Instant::now() + shared.options.attempt_timeout);
            let opening = async {
                let connection = shared.pool.get(&address, &shared.options, limit).await?;
                Ok::<_, Failure>(connection.kv().watch(self.request.clone()).await?.into_inner())
            };
            let failure = match tokio::time::timeout_at(limit, opening).await {
                Ok(Ok(stream)) => {
                    self.open = Some((address, stream));
                    return Ok(());
                }
                Ok(Err(failure)) => failure,
                Err(_) => Failure::unanswered(format!("{address} did not open the watch in time")),
            };
            let last = failure.clone();
            self.judge(failure, address)?;
            let pause = self.cut.get_or_insert_with(Cut::new).backoff.pause();
            if Instant::now() + pause >= until {
                return Err(shared.explain(last.into_error()));
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Fails on what trying again does not cure.
    fn judge(&mut self, failure: Failure, address: Arc<str>) -> Result<()> {
        use ErrorReason::{Exhausted, NotAvailable, OutcomeUnknown};
        self.client.shared.take_note(&failure, &address);
        if !matches!(failure.reason(), NotAvailable | Exhausted | OutcomeUnknown) {
            return Err(failure.into_error());
        }
        self.cut.get_or_insert_with(Cut::new).avoided = Some(address);
        Ok(())
    }
}

impl Cut {
    fn new() -> Self {
        Self { since: Instant::now(), backoff: Backoff::new(), avoided: None }
    }
}

impl TryFrom<WatchEvent> for Change {
    type Error = Error;

    fn try_from(event: WatchEvent) -> Result<Self> {
        let kind = match event.kind() {
            Kind::Put => ChangeKind::Put,
            Kind::Delete => ChangeKind::Delete,
            Kind::Expire => ChangeKind::Expire,
            Kind::Unspecified => {
                return Err(Error::Fault(format!("unknown kind of change: {}", event.kind)));
            }
        };
        let entry = event.entry.ok_or_else(|| Error::Fault("a change without its key".into()))?.into();
        Ok(Self { kind, entry })
    }
}
