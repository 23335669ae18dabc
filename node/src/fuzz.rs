//! What the fuzzers call. A target takes any bytes, says whether it has understood them, and panics if what must hold then
//! does not.

pub use crate::{
    driver::{peers::wire::fuzz::peer_frame, snapshot_chunks, table_value},
    server::{client_request, watch_request},
};
