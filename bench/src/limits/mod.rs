//! What the machine can do without any store: logs on its disk, bare messages between its processes. They say how near a store comes.

mod disk;
mod relay;
mod wire;

use std::{path::Path, time::Duration};

pub use relay::relay;

use crate::{
    error::{Error, Result},
    report::Limit,
    system::NODES,
};

/// Bytes of a message and of a record: a put of 100 bytes with its key and what a protocol puts around them, about.
const MESSAGE_BYTES: usize = 160;

/// Measures each for about `each`, with so many in flight. `program` is what has the job `relay`.
pub(crate) async fn measure(
    directory: &Path,
    program: &Path,
    in_flight: &[usize],
    each: Duration,
) -> Result<Vec<Limit>> {
    let (folder, depths) = (directory.to_owned(), in_flight.to_vec());
    let disk = tokio::task::spawn_blocking(move || disk::measure(&folder, &depths, each));
    let mut limits = disk.await.map_err(Error::request)??;
    let ring = relay::Relay::ring(program, NODES)?;
    for in_flight in in_flight {
        limits.push(wire::through(&ring, *in_flight, each).await?);
    }
    for in_flight in in_flight {
        limits.push(wire::there(&ring, *in_flight, each).await?);
    }
    Ok(limits)
}
