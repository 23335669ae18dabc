use std::sync::Arc;

use bytes::Bytes;
use kv_proto::v1::{
    ErrorReason, Location, OpenSessionRequest, OpenSessionResponse, RequestContext, pipeline_request::Request,
    pipeline_response::Response,
};
use tokio::time::{Instant, timeout_at};

use crate::{
    Client, Error, Result,
    backoff::Backoff,
    client::{Shared, unexpected},
    failure::Failure,
    retry::{Kind, Progress, Verdict},
    session::{Number, Session},
};

impl Client {
    /// A request that changes nothing, sent again until it is answered or the deadline has passed.
    pub(crate) async fn read(&self, key: &Bytes, request: Request) -> Result<Response> {
        self.call(key, Kind::Harmless, request, Instant::now() + self.deadline).await
    }

    /// A write, sent again only where that is free or applied once.
    pub(crate) async fn write(&self, key: &Bytes, request: Request) -> Result<Response> {
        let kind = if self.sessions { Kind::Once } else { Kind::Plain };
        self.call(key, kind, request, Instant::now() + self.deadline).await
    }

    async fn call(&self, key: &Bytes, kind: Kind, request: Request, deadline: Instant) -> Result<Response> {
        let shared = &self.shared;
        let mut progress = Progress::new(kind);
        let mut number: Option<Number> = None;
        let mut avoided: Option<Arc<str>> = None;
        let mut backoff: Option<Backoff> = None;
        loop {
            if kind == Kind::Once && number.is_none() {
                number = Some(self.number(key, deadline).await?);
            }
            let attempt_deadline = match kind {
                Kind::Plain => deadline,
                Kind::Harmless | Kind::Once => deadline.min(Instant::now() + shared.options.attempt_timeout),
            };
            let mut attempt = request.clone();
            set_context(&mut attempt, context(&shared.cluster, number.as_ref(), attempt_deadline));
            let failure = match shared.attempt(key, attempt, attempt_deadline, &mut avoided).await {
                Ok(response) => return Ok(response),
                Err(failure) => failure,
            };
            match progress.judge(&failure) {
                Verdict::Again if !shared.options.retries => return Err(shared.explain(progress.give_up(&failure))),
                Verdict::Again => {}
                Verdict::NewSession => {
                    if let Some(number) = number.take() {
                        shared.sessions.remove(number.session());
                    }
                }
                Verdict::Fail(error) => return Err(shared.explain(error)),
            }
            let wake = Instant::now() + backoff.get_or_insert_with(Backoff::new).pause();
            if wake >= deadline {
                return Err(shared.explain(progress.give_up(&failure)));
            }
            tokio::time::sleep_until(wake).await;
        }
    }

    /// The next number of the session of the key's shard, which is opened first if need be.
    async fn number(&self, key: &Bytes, deadline: Instant) -> Result<Number> {
        if let Some(session) = self.shared.sessions.get(key)
            && let Some(number) = session.take_number()
        {
            return Ok(number);
        }
        let taking = async {
            let session = self.session(key, deadline).await?;
            Ok(session.next_number().await)
        };
        match timeout_at(deadline, taking).await {
            Ok(result) => result,
            Err(_) => Err(Error::Unavailable("no session of the shard was free in time".into())),
        }
    }

    async fn session(&self, key: &Bytes, deadline: Instant) -> Result<Arc<Session>> {
        let shared = &self.shared;
        if let Some(session) = shared.sessions.get(key) {
            return Ok(session);
        }
        let shard = shared.routing.get(key).map(|route| route.shard);
        let _opening = shared.sessions.opening(shard, key).await;
        if let Some(session) = shared.sessions.get(key) {
            return Ok(session);
        }
        let request = Request::OpenSession(OpenSessionRequest { context: None, key: key.clone() });
        // Boxed, since opening a session is itself a call. One that is opened twice does no harm: the shard evicts it.
        let answer = Box::pin(self.call(key, Kind::Harmless, request, deadline)).await?;
        let Response::OpenSession(OpenSessionResponse { session, location }) = answer else {
            return Err(Error::Fault(unexpected(&answer)));
        };
        let (start, end) = match (location, shared.routing.get(key)) {
            (Some(Location { start, end, .. }), _) => (start, end),
            (None, Some(route)) => (route.start.clone(), route.end.clone()),
            // The shard's range is not known: the session serves this key alone.
            (None, None) => (key.clone(), [key.as_ref(), &[0]].concat().into()),
        };
        let session = Session::new(session);
        shared.sessions.insert(start, end, session.clone());
        Ok(session)
    }
}

impl Shared {
    /// Sends a request once: to the node that is said to serve its key, or to any.
    async fn attempt(
        self: &Arc<Self>,
        key: &[u8],
        request: Request,
        deadline: Instant,
        avoided: &mut Option<Arc<str>>,
    ) -> Result<Response, Failure> {
        let now = std::time::Instant::now();
        let route = self
            .routing
            .get(key)
            .filter(|route| avoided.as_ref() != Some(&route.address) && !self.nodes.is_shunned(&route.address, now));
        let address = match &route {
            Some(route) => route.address.clone(),
            None => self.nodes.any(avoided.as_deref(), now).ok_or_else(|| Failure::not_sent("no node is known"))?,
        };
        let result = match self.pool.get(&address, &self.options, deadline).await {
            Ok(connection) => connection.send(request, deadline).await,
            Err(failure) => Err(failure),
        };
        match result {
            Ok(mut response) => {
                if let Some(location) = take_location(&mut response) {
                    self.learn(location);
                }
                Ok(response)
            }
            Err(failure) => {
                tracing::debug!(%address, error = %failure.info().message, "attempt failed");
                self.take_note(&failure, &address);
                if failure.unanswered || failure.reason() == ErrorReason::NotAvailable {
                    if let Some(route) = &route {
                        self.routing.forget(route);
                    }
                    *avoided = Some(address);
                }
                if let Some(location) = failure.info().location.clone() {
                    self.learn(location);
                    *avoided = None;
                }
                Err(failure)
            }
        }
    }

    /// Remembers of a node that it did not answer.
    pub fn take_note(self: &Arc<Self>, failure: &Failure, address: &str) {
        if failure.unanswered {
            self.nodes.shun(address, std::time::Instant::now());
            self.routing.forget_address(address);
            self.look_up_nodes();
        }
    }
}

/// What every request carries: with a number it is applied at most once.
pub(crate) fn context(cluster: &str, number: Option<&Number>, deadline: Instant) -> RequestContext {
    let left = deadline.saturating_duration_since(Instant::now());
    RequestContext {
        cluster: cluster.to_owned(),
        session: number.map(Number::session_id).unwrap_or_default(),
        request: number.map_or(0, Number::get),
        lowest_unanswered: number.map_or(0, Number::lowest_unanswered),
        hops: 0,
        timeout_millis: u32::try_from(left.as_millis()).unwrap_or(u32::MAX).max(1),
    }
}

fn set_context(request: &mut Request, context: RequestContext) {
    let place = match request {
        Request::Get(request) => &mut request.context,
        Request::Put(request) => &mut request.context,
        Request::Delete(request) => &mut request.context,
        Request::Batch(request) => &mut request.context,
        Request::OpenSession(request) => &mut request.context,
        Request::Scan(request) => &mut request.context,
    };
    *place = Some(context);
}

/// The location of an answer. A session's stays in place: it says which keys the session is for.
fn take_location(response: &mut Response) -> Option<Location> {
    match response {
        Response::Get(answer) => answer.location.take(),
        Response::Put(answer) => answer.location.take(),
        Response::Delete(answer) => answer.location.take(),
        Response::Batch(answer) => answer.location.take(),
        Response::OpenSession(answer) => answer.location.clone(),
        Response::Scan(_) | Response::Error(_) => None,
    }
}
