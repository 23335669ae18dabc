//! What the machine can do without any store: no system beats these, so they say how much of its limit one reaches.

mod disk;
mod echo;

use std::{path::Path, time::Duration};

use crate::{error::Result, report::Limit};

/// Bytes of a message of the echo: a put of 100 bytes with its key and what a protocol puts around them, about.
const MESSAGE_BYTES: usize = 160;
/// Records that wait together for one sync, and requests in flight.
const DEPTHS: [usize; 3] = [1, 64, 256];

/// Measures each for about `each`. Blocks.
pub(crate) fn measure(directory: &Path, each: Duration) -> Result<Vec<Limit>> {
    let mut limits = vec![disk::append(directory, each)?, disk::overwrite(directory, each)?];
    for records in DEPTHS {
        limits.push(disk::group(directory, records, each)?);
    }
    for in_flight in DEPTHS {
        limits.push(echo::measure(MESSAGE_BYTES, in_flight, each)?);
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_a_rate_and_nothing_is_left_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        let limits = measure(directory.path(), Duration::from_millis(20)).expect("it can be measured");
        assert_eq!(limits.len(), 2 + 2 * DEPTHS.len());
        assert!(limits.iter().all(|limit| limit.rate > 0.0), "{limits:?}");
        assert_eq!(std::fs::read_dir(directory.path()).expect("it is there").count(), 0);
    }
}
