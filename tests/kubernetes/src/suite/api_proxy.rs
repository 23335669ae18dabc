use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::State,
    http::{Method, Request, Response, StatusCode},
};
use kube::Client;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

/// Stands between an operator and the API server: counts what it writes, and may end the operator's life at a write.
pub struct ApiProxy {
    /// Where it listens, on all addresses of this host.
    pub port: u16,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// When an operator's life ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// At this write, counted from 0, before the API server has seen it.
    Before(usize),
    /// At this write, after the API server has carried it out.
    After(usize),
}

struct Shared {
    client: Client,
    writes: AtomicUsize,
    log: Mutex<Vec<String>>,
    death: Mutex<Option<Death>>,
    dead: watch::Sender<bool>,
}

impl ApiProxy {
    /// Forwards with an administrator's client.
    pub async fn start(client: Client) -> Self {
        let shared = Arc::new(Shared {
            client,
            writes: AtomicUsize::new(0),
            log: Mutex::default(),
            death: Mutex::default(),
            dead: watch::channel(false).0,
        });
        let listener = TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], 0))).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let router = Router::new().fallback(forward).with_state(shared.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.expect("the proxy serves") });
        Self { port, shared, server }
    }

    /// A new life begins, which ends as `death` says; none: it doesn't.
    pub fn live(&self, death: Option<Death>) {
        self.shared.writes.store(0, Ordering::SeqCst);
        *self.shared.death.lock().unwrap_or_else(PoisonError::into_inner) = death;
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.dead.send_replace(false);
    }

    /// Waits until the life has ended.
    pub async fn died(&self) {
        let mut dead = self.shared.dead.subscribe();
        dead.wait_for(|dead| *dead).await.expect("the proxy lives");
    }

    /// Writes of this life, but those of the Lease: what, and of which object.
    #[must_use]
    pub fn writes(&self) -> Vec<String> {
        self.shared.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn forward(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    if *shared.dead.borrow() {
        return refuse();
    }
    let path = request.uri().path().to_owned();
    let is_write = request.method() != Method::GET && !path.contains("/leases");
    let number = if is_write {
        let line = format!("{} {path}", request.method());
        shared.log.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        Some(shared.writes.fetch_add(1, Ordering::SeqCst))
    } else {
        None
    };
    let death = *shared.death.lock().unwrap_or_else(PoisonError::into_inner);
    if number.is_some() && death == number.map(Death::Before) {
        shared.dead.send_replace(true);
        return refuse();
    }
    let (mut parts, body) = request.into_parts();
    // The administrator speaks, whoever asked; and the connection is another one.
    for header in ["authorization", "host", "connection"] {
        parts.headers.remove(header);
    }
    let Ok(body) = axum::body::to_bytes(body, usize::MAX).await else { return refuse() };
    let answer = shared.client.send(Request::from_parts(parts, kube::client::Body::from(body.to_vec()))).await;
    if number.is_some() && death == number.map(Death::After) {
        shared.dead.send_replace(true);
        return refuse();
    }
    answer.map_or_else(|_| refuse(), |answer| answer.map(Body::new))
}

fn refuse() -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}
