use std::collections::HashMap;

use bytes::Bytes;

use super::{State, Value};

/// The state with the changes of the batch so far.
pub(super) struct Overlay<'a, S> {
    state: &'a S,
    changed: HashMap<Bytes, Option<Value>>,
}

impl<'a, S: State> Overlay<'a, S> {
    pub(super) fn new(state: &'a S) -> Self {
        Self { state, changed: HashMap::new() }
    }

    pub(super) fn value(&self, key: &Bytes) -> Result<Option<Value>, S::Error> {
        match self.changed.get(key) {
            Some(value) => Ok(value.clone()),
            None => self.state.value(key),
        }
    }

    pub(super) fn set(&mut self, key: Bytes, value: Option<Value>) {
        self.changed.insert(key, value);
    }
}
