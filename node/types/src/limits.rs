/// The bounds on what a client may send. Fixed per node by its configuration; checked at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest key in bytes.
    pub key_bytes: usize,
    /// Longest value in bytes.
    pub value_bytes: usize,
    /// Keys and values of a batch, in bytes.
    pub batch_bytes: usize,
    /// Operations of a batch.
    pub batch_operations: usize,
    /// Keys of a page of a scan.
    pub scan_page_keys: usize,
    /// Bytes at which a page of a scan is closed.
    pub scan_page_bytes: usize,
    /// Sessions of a shard; the one that was unused for longest is evicted.
    pub sessions: usize,
    /// Results kept for a session.
    pub session_results: usize,
}

impl Limits {
    /// The longest key that any configuration allows, in bytes.
    pub const MAX_KEY_BYTES: usize = 4096;

    /// Checks the length of a key.
    ///
    /// # Errors
    /// [`InvalidKey`] with the length and the bound.
    pub fn check_key(&self, key: &[u8]) -> Result<(), InvalidKey> {
        match key.len() {
            0 => Err(InvalidKey::Empty),
            length if length > self.key_bytes => Err(InvalidKey::TooLong { length, bound: self.key_bytes }),
            _ => Ok(()),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_bytes: Self::MAX_KEY_BYTES,
            value_bytes: 1 << 20,
            batch_bytes: 4 << 20,
            batch_operations: 1024,
            scan_page_keys: 1000,
            scan_page_bytes: 1 << 20,
            sessions: 4096,
            session_results: 1024,
        }
    }
}

/// Why a key can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// There is no empty key.
    #[error("the key is empty: give at least one byte")]
    Empty,
    /// The key is too long.
    #[error("the key has {length} bytes: at most {bound} are allowed")]
    TooLong {
        /// Length in bytes.
        length: usize,
        /// Bound in bytes.
        bound: usize,
    },
}
