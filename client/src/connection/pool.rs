use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::{Instant, timeout_at};

use super::Connection;
use crate::{ClientOptions, failure::Failure};

/// The connections of a client: one to each node that it has asked so far, opened again when lost.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    slots: Mutex<HashMap<Arc<str>, Arc<Slot>>>,
}

#[derive(Debug, Default)]
struct Slot {
    current: Mutex<Option<Arc<Connection>>>,
    /// One at a time connects.
    connecting: tokio::sync::Mutex<Option<Refusal>>,
}

/// The last attempt to connect that failed.
#[derive(Debug)]
struct Refusal {
    at: Instant,
    failure: Failure,
}

impl Pool {
    /// The open connection to a node, or a new one.
    pub async fn get(
        &self,
        address: &Arc<str>,
        options: &ClientOptions,
        deadline: Instant,
    ) -> Result<Arc<Connection>, Failure> {
        let slot = self.slot(address);
        if let Some(connection) = slot.open() {
            return Ok(connection);
        }
        let began = Instant::now();
        let connect = async {
            let mut refusal = slot.connecting.lock().await;
            if let Some(connection) = slot.open() {
                return Ok(connection);
            }
            // Who waited for somebody else's attempt shares its outcome, or a crowd would connect one by one.
            if let Some(refusal) = refusal.as_ref().filter(|refusal| refusal.at >= began) {
                return Err(refusal.failure.clone());
            }
            match Connection::open(address, options).await {
                Ok(connection) => {
                    let connection = Arc::new(connection);
                    *slot.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.clone());
                    Ok(connection)
                }
                Err(failure) => {
                    *refusal = Some(Refusal { at: Instant::now(), failure: failure.clone() });
                    Err(failure)
                }
            }
        };
        match timeout_at(deadline, connect).await {
            Ok(result) => result,
            Err(_) => Err(Failure::not_sent(format!("can't connect to {address} in time"))),
        }
    }

    fn slot(&self, address: &Arc<str>) -> Arc<Slot> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.get(address) {
            Some(slot) => slot.clone(),
            None => slots.entry(address.clone()).or_default().clone(),
        }
    }
}

impl Slot {
    fn open(&self) -> Option<Arc<Connection>> {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        current.clone().filter(|connection| !connection.is_lost())
    }
}
