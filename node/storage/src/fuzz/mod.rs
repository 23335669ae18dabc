//! What the fuzzers call. A target takes any bytes, says whether it has understood them, and panics if what must hold then
//! does not.

mod rows;

pub use crate::{
    log::fuzz::{log_record, log_segments},
    table::table_pointer,
    volume::identity,
};
pub use rows::table_row;
