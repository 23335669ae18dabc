use std::{
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

use crate::error::{Error, Result};

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

/// What a [`Proxy`] does with the connections that it carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Carries them.
    #[default]
    Pass,
    /// Has closed them, and refuses new ones.
    Cut,
    /// Keeps them, and carries nothing: what is sent arrives when this ends. New ones are accepted, and wait.
    Blackhole,
    /// Each burst of bytes arrives so much later; what is sent meanwhile is the next burst.
    Delay(Duration),
}

/// A TCP proxy on loopback that can be cut without root.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    mode: Mode,
    changes: mpsc::Sender<Change>,
    task: AbortHandle,
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
        let listen = |source| Error::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let (changes, receiver) = mpsc::channel(MAX_CHANGES);
        let task = tokio::spawn(run(listener, address, upstreams.into(), receiver)).abort_handle();
        Ok(Self { address, mode: Mode::Pass, changes, task })
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

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    listener: TcpListener,
    address: SocketAddr,
    upstreams: Arc<[SocketAddr]>,
    mut changes: mpsc::Receiver<Change>,
) {
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
                    let (upstreams, turn) = (Arc::clone(&upstreams), Arc::clone(&turn));
                    connections.spawn(carry(near, upstreams, turn, mode.subscribe()));
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

async fn carry(near: TcpStream, upstreams: Arc<[SocketAddr]>, turn: Arc<AtomicUsize>, mut mode: watch::Receiver<Mode>) {
    if mode.wait_for(|mode| *mode != Mode::Blackhole).await.is_err() {
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
    let there = pump(near_read, far_write, mode.clone());
    let back = pump(far_read, near_write, mode);
    let _ = tokio::try_join!(there, back);
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

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        let arrived = Instant::now();
        loop {
            let now = *mode.borrow_and_update();
            match now {
                Mode::Pass => break,
                Mode::Delay(delay) => {
                    sleep_until(arrived + delay).await;
                    break;
                }
                // A cut aborts this task: until it does, nothing passes.
                Mode::Blackhole | Mode::Cut => mode.changed().await.map_err(io::Error::other)?,
            }
        }
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
    }
}
