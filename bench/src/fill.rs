//! Keys that are written before something is measured.

use std::ops::Range;

use tokio::{
    task::{JoinError, JoinSet},
    time::timeout,
};

use crate::{
    error::{Error, Result},
    load::{Connection, STUCK_AFTER, value},
};

/// Requests in flight.
const IN_FLIGHT: usize = 256;

/// Writes each of these keys once.
pub(crate) async fn fill<C: Connection>(connections: &[C], keys: Range<u64>, value_bytes: usize) -> Result<()> {
    let value = value(value_bytes);
    let mut writing = JoinSet::new();
    for number in keys {
        if writing.len() >= IN_FLIGHT {
            finished(writing.join_next().await)?;
        }
        let (connection, value) = (connections[number as usize % connections.len()].clone(), value.clone());
        writing.spawn(async move {
            let stuck = |_| Error::request(format!("a write is not answered within {STUCK_AFTER:?}"));
            timeout(STUCK_AFTER, connection.put(number, value)).await.map_err(stuck)?
        });
    }
    while !writing.is_empty() {
        finished(writing.join_next().await)?;
    }
    Ok(())
}

fn finished(outcome: Option<Result<Result<()>, JoinError>>) -> Result<()> {
    match outcome {
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(Error::request(error)),
        None => Ok(()),
    }
}
