use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};

use super::{MESSAGE_BYTES, relay::Relay};
use crate::{
    error::{Error, Result},
    report::{Bound, Limit, Resource},
    workload::Operation,
};

/// What a read costs at least: from the client to a node and back.
pub(super) async fn there(ring: &[Relay], in_flight: usize, each: Duration) -> Result<Limit> {
    let addresses: Vec<_> = ring.iter().map(|relay| relay.echo).collect();
    let name = format!("{MESSAGE_BYTES} bytes to one of {} processes and back, {in_flight} in flight", ring.len());
    limit(name, Operation::Get, &addresses, in_flight, each).await
}

/// What a write costs at least: the node has heard from another one before it answers.
pub(super) async fn through(ring: &[Relay], in_flight: usize, each: Duration) -> Result<Limit> {
    let addresses: Vec<_> = ring.iter().map(|relay| relay.pass).collect();
    let number = ring.len();
    let name =
        format!("{MESSAGE_BYTES} bytes to one of {number} processes, on to another and back, {in_flight} in flight");
    limit(name, Operation::Put, &addresses, in_flight, each).await
}

async fn limit(
    name: String,
    operation: Operation,
    addresses: &[SocketAddr],
    in_flight: usize,
    each: Duration,
) -> Result<Limit> {
    let rate = rate(addresses, in_flight, each).await?;
    let bound = Bound { operation, in_flight, resource: Resource::Wire };
    Ok(Limit { name, rate, unit: "messages".to_owned(), bound: Some(bound) })
}

/// One connection to each node, as a client has, and the messages in flight shared among them.
async fn rate(addresses: &[SocketAddr], in_flight: usize, each: Duration) -> Result<f64> {
    let connections = addresses.len().min(in_flight);
    let mut asking = JoinSet::new();
    for (at, address) in addresses.iter().take(connections).enumerate() {
        let share = in_flight / connections + usize::from(at < in_flight % connections);
        asking.spawn(ask(*address, share, each));
    }
    let mut rate = 0.0;
    while let Some(asked) = asking.join_next().await {
        rate += asked.map_err(Error::request)??;
    }
    Ok(rate)
}

/// Every answer is followed by another message, those that arrived together by as many at once.
async fn ask(address: SocketAddr, in_flight: usize, each: Duration) -> Result<f64> {
    let mut stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; MESSAGE_BYTES * in_flight];
    stream.write_all(&buffer).await?;
    let (mut answered, mut begun) = (0, 0);
    let start = Instant::now();
    while start.elapsed() < each {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
        }
        begun += read;
        let whole = begun / MESSAGE_BYTES;
        begun %= MESSAGE_BYTES;
        answered += whole;
        stream.write_all(&buffer[..whole * MESSAGE_BYTES]).await?;
    }
    Ok(answered as f64 / start.elapsed().as_secs_f64())
}
