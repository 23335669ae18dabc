use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, sleep_until, timeout},
};

use crate::{
    callers::Callers,
    error::{Error, Result},
};

/// Connections through one proxy at a time; more are closed at once.
const MAX_CONNECTIONS: usize = 4_096;
/// What is carried at a time, in each direction of a connection.
const BUFFER: usize = 64 * 1024;
/// How long one upstream may take to accept.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// Pause after a failed accept (no descriptors left, say).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Changes that may wait for the proxy's task.
const MAX_CHANGES: usize = 8;

/// What a [`Proxy`] does with the connections that it carries. Ordered: of two that hold at once the greater one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// Carries them.
    #[default]
    Pass,
    /// Each burst of bytes arrives so much later; what is sent meanwhile is the next burst.
    Delay(Duration),
    /// Keeps them, and carries nothing: what is sent arrives when this ends. New ones are accepted, and wait.
    Blackhole,
    /// Has closed them, and refuses new ones.
    Cut,
}

/// A TCP proxy on loopback that can be cut without root.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: Mode,
    changes: mpsc::Sender<Change>,
    links: watch::Sender<Links>,
    task: AbortHandle,
}

/// What happens to what single callers send, beside what happens to all.
type Links = BTreeMap<usize, Mode>;

/// What holds for one connection.
#[derive(Clone)]
struct Modes {
    all: watch::Receiver<Mode>,
    links: watch::Receiver<Links>,
    caller: Option<usize>,
}

#[derive(Debug)]
struct Change {
    mode: Mode,
    done: oneshot::Sender<io::Result<()>>,
}

impl Proxy {
    /// Listens on `address` and carries each connection to the first of `upstreams` that accepts it, beginning with
    /// another one each time.
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub async fn start(address: SocketAddr, upstreams: Vec<SocketAddr>) -> Result<Self> {
        Self::start_for(address, upstreams, Arc::default()).await
    }

    /// As [`Proxy::start`]; it tells `callers` apart, for [`Proxy::set_link`].
    ///
    /// # Errors
    /// [`Error::Listen`].
    pub async fn start_for(address: SocketAddr, upstreams: Vec<SocketAddr>, callers: Arc<Callers>) -> Result<Self> {
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (changes, receiver) = mpsc::channel(MAX_CHANGES);
        let links = watch::Sender::new(Links::new());
        let near = Near { listener, address, callers, links: links.subscribe() };
        let task = tokio::spawn(run(near, upstreams.into(), receiver)).abort_handle();
        Ok(Self { address, mode: Mode::Pass, changes, links, task })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it does.
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// Changes what it does; in effect when this returns.
    ///
    /// # Errors
    /// [`Error::Listen`] if it can't listen again after a cut; then it stays cut.
    pub async fn set(&mut self, mode: Mode) -> Result<()> {
        let listen = |source| Error::Listen { address: self.address, source };
        let gone = || listen(io::Error::other("the proxy has ended"));
        let (done, outcome) = oneshot::channel();
        self.changes.send(Change { mode, done }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?.map_err(listen)?;
        self.mode = mode;
        Ok(())
    }
}

impl Proxy {
    /// Changes what it does with connections that one caller opened; the others' go on. New connections of a caller that is
    /// cut are accepted and closed.
    pub fn set_link(&self, caller: usize, mode: Mode) {
        self.links.send_modify(|links| {
            links.insert(caller, mode);
        });
    }
}

impl Modes {
    fn now(&mut self) -> Mode {
        let link = self.caller.and_then(|caller| self.links.borrow_and_update().get(&caller).copied());
        (*self.all.borrow_and_update()).max(link.unwrap_or_default())
    }

    /// Fails when the proxy has ended.
    async fn changed(&mut self) -> io::Result<()> {
        tokio::select! {
            changed = self.all.changed() => changed,
            changed = self.links.changed() => changed,
        }
        .map_err(io::Error::other)
    }

    async fn until(&mut self, wanted: impl Fn(Mode) -> bool) -> io::Result<()> {
        while !wanted(self.now()) {
            self.changed().await?;
        }
        Ok(())
    }
}

/// The side that connections come from.
struct Near {
    listener: TcpListener,
    address: SocketAddr,
    callers: Arc<Callers>,
    links: watch::Receiver<Links>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(near: Near, upstreams: Arc<[SocketAddr]>, mut changes: mpsc::Receiver<Change>) {
    let Near { listener, address, callers, links } = near;
    let mut listener = Some(listener);
    let mode = watch::Sender::new(Mode::Pass);
    let turn = Arc::new(AtomicUsize::new(0));
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            change = changes.recv() => {
                let Some(Change { mode: next, done }) = change else { return };
                let outcome = if next == Mode::Cut {
                    listener = None;
                    connections.shutdown().await;
                    Ok(())
                } else if listener.is_none() {
                    TcpListener::bind(address).await.map(|bound| listener = Some(bound))
                } else {
                    Ok(())
                };
                if outcome.is_ok() {
                    mode.send_replace(next);
                }
                // Whoever asked may have been dropped: the change holds all the same.
                let _ = done.send(outcome);
            }
            Some(_) = connections.join_next() => {}
            accepted = accept(listener.as_ref()) => match accepted {
                Ok(near) if connections.len() < MAX_CONNECTIONS => {
                    let (upstreams, turn, callers) = (Arc::clone(&upstreams), Arc::clone(&turn), Arc::clone(&callers));
                    let modes = Modes { all: mode.subscribe(), links: links.clone(), caller: None };
                    connections.spawn(carry(near, upstreams, turn, callers, modes));
                }
                Ok(_) => tracing::warn!(%address, bound = MAX_CONNECTIONS, "too many connections"),
                Err(error) => {
                    tracing::warn!(%address, %error, "can't accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(stream, _)| stream),
        None => std::future::pending().await,
    }
}

async fn carry(
    near: TcpStream,
    upstreams: Arc<[SocketAddr]>,
    turn: Arc<AtomicUsize>,
    callers: Arc<Callers>,
    mut modes: Modes,
) {
    if let (Ok(from), Ok(to)) = (near.peer_addr(), near.local_addr()) {
        modes.caller = tokio::task::spawn_blocking(move || callers.who(from, to)).await.ok().flatten();
    }
    if modes.until(|mode| mode != Mode::Blackhole).await.is_err() || modes.now() == Mode::Cut {
        return;
    }
    let Some(far) = connect(&upstreams, &turn).await else {
        return;
    };
    // Small messages must not wait for each other, or the proxy would slow down what it stands for.
    if near.set_nodelay(true).is_err() || far.set_nodelay(true).is_err() {
        return;
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    // An end of one direction is passed on, the other goes on; a failure ends both.
    let there = pump(near_read, far_write, modes.clone());
    let back = pump(far_read, near_write, modes.clone());
    tokio::select! {
        _ = async { tokio::try_join!(there, back) } => {}
        _ = modes.until(|mode| mode == Mode::Cut) => {}
    }
}

async fn connect(upstreams: &[SocketAddr], turn: &AtomicUsize) -> Option<TcpStream> {
    let first = turn.fetch_add(1, Ordering::Relaxed);
    for offset in 0..upstreams.len() {
        let upstream = upstreams[(first + offset) % upstreams.len()];
        if let Ok(Ok(stream)) = timeout(CONNECT_WITHIN, TcpStream::connect(upstream)).await {
            return Some(stream);
        }
    }
    None
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut modes: Modes) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        let arrived = Instant::now();
        loop {
            match modes.now() {
                Mode::Pass => break,
                Mode::Delay(delay) => {
                    sleep_until(arrived + delay).await;
                    break;
                }
                // A cut aborts this task: until it does, nothing passes.
                Mode::Blackhole | Mode::Cut => modes.changed().await?,
            }
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
