//! The one place where connections are accepted, and their bound.

use std::{
    io,
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures::Stream;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tonic::{Extensions, Request, Status, service::Interceptor, transport::server::Connected};

use super::{
    metrics::{Counted, Metrics},
    status::ErrorAnswer,
};

/// Connections beyond the bound on clients: of peers, of probes, and of clients that are to be told of the bound.
const RESERVED: usize = 128;

/// Accepts connections. One that a client's request comes on counts against the bound from then on; those of peers don't,
/// so that clients can't keep the nodes from each other.
pub(crate) struct Connections {
    listener: TcpListener,
    all: Arc<Semaphore>,
    clients: Arc<Semaphore>,
    metrics: Metrics,
}

/// A connection that was accepted.
pub(crate) struct Connection {
    stream: TcpStream,
    place: Place,
    _permit: OwnedSemaphorePermit,
    _counted: Counted,
}

/// A connection's place among those of clients; the same for all requests on it.
#[derive(Clone)]
pub(crate) struct Place {
    clients: Arc<Semaphore>,
    permit: Arc<OnceLock<OwnedSemaphorePermit>>,
}

/// Refuses clients' requests on connections beyond the bound.
#[derive(Clone, Copy)]
pub(crate) struct Admission {
    pub(crate) bound: usize,
}

impl Connections {
    pub(crate) fn new(listener: TcpListener, max_clients: usize, metrics: Metrics) -> Self {
        let all = Arc::new(Semaphore::new(max_clients.saturating_add(RESERVED).min(Semaphore::MAX_PERMITS)));
        let clients = Arc::new(Semaphore::new(max_clients));
        Self { listener, all, clients, metrics }
    }

    fn admit(&self, stream: TcpStream) -> Option<Connection> {
        let Ok(permit) = Arc::clone(&self.all).try_acquire_owned() else {
            self.metrics.refused_connection();
            return None;
        };
        // Without it small answers wait for the client's acknowledgement of the last ones.
        let _ = stream.set_nodelay(true);
        let place = Place { clients: Arc::clone(&self.clients), permit: Arc::default() };
        Some(Connection { stream, place, _permit: permit, _counted: self.metrics.connection() })
    }
}

impl Stream for Connections {
    type Item = io::Result<Connection>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            match self.listener.poll_accept(context) {
                Poll::Ready(Ok((stream, _))) => {
                    if let Some(connection) = self.admit(stream) {
                        return Poll::Ready(Some(Ok(connection)));
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Some(Err(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Place {
    fn take(&self) -> bool {
        if self.permit.get().is_some() {
            return true;
        }
        match Arc::clone(&self.clients).try_acquire_owned() {
            // Another request of the connection may have been first: then this permit goes back at once.
            Ok(permit) => {
                let _ = self.permit.set(permit);
                true
            }
            Err(_) => false,
        }
    }
}

impl Admission {
    /// Whether the request's connection has a place, or gets one.
    pub(crate) fn admit(self, extensions: &Extensions) -> Result<(), Status> {
        match extensions.get::<Place>() {
            Some(place) if !place.take() => {
                let bound = self.bound;
                let text =
                    format!("{bound} connections of clients are open, the bound (--max-connections): close one first");
                Err(ErrorAnswer::exhausted(text).into())
            }
            _ => Ok(()),
        }
    }
}

impl Interceptor for Admission {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        self.admit(request.extensions()).map(|()| request)
    }
}

impl Connected for Connection {
    type ConnectInfo = Place;

    fn connect_info(&self) -> Place {
        self.place.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[tokio::test]
    async fn a_connection_takes_one_place_and_gives_it_back() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("its address");
        let connections = Connections::new(listener, 1, Metrics::new(&mut Registry::default()));
        let accept = || async {
            let client = TcpStream::connect(address).await.expect("connects");
            let (stream, _) = connections.listener.accept().await.expect("accepts");
            (client, connections.admit(stream).expect("within the reserve"))
        };
        let (_client, first) = accept().await;
        let (_client, second) = accept().await;
        let mut admission = Admission { bound: 1 };
        let mut ask = |connection: &Connection| {
            let mut request = Request::new(());
            request.extensions_mut().insert(connection.connect_info());
            admission.call(request).map(drop)
        };
        ask(&first).expect("the only place");
        ask(&first).expect("the same connection");
        let refused = ask(&second).expect_err("no place is left");
        assert_eq!(refused.code(), tonic::Code::ResourceExhausted);
        assert!(refused.message().contains("1 connections"), "{refused}");
        drop(first);
        ask(&second).expect("a place is free");
    }
}
