use std::collections::BTreeMap;

use kv_replication::core::Token;

use crate::{event::Request, plan::Micros};

/// The requests that cores have and haven't answered.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    last: u64,
    open: BTreeMap<Token, Open>,
}

/// A request in a core.
#[derive(Clone, Debug)]
pub(crate) struct Open {
    pub(crate) node: usize,
    pub(crate) since: Micros,
    pub(crate) what: Waits,
    /// How much was committed when it arrived: a read must not return less.
    pub(crate) committed: u64,
}

/// Who waits.
#[derive(Clone, Debug)]
pub(crate) enum Waits {
    Client(Request),
    Handover,
    Split,
}

impl Requests {
    pub(crate) fn open(&mut self, open: Open) -> Token {
        self.last += 1;
        let token = Token(self.last);
        self.open.insert(token, open);
        token
    }

    /// Takes a request that is answered now; `None`: it was answered before, or never asked.
    pub(crate) fn close(&mut self, token: Token) -> Option<Open> {
        self.open.remove(&token)
    }

    /// What a process had open goes with it.
    pub(crate) fn lose(&mut self, node: usize) {
        self.open.retain(|_, open| open.node != node);
    }

    pub(crate) fn oldest(&self) -> Option<(&Token, &Open)> {
        self.open.iter().next()
    }
}
