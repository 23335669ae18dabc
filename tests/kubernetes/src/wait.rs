use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use crate::error::{Error, Result};

/// Pause between two looks at a condition.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Waits until `look` finds something, and returns it.
///
/// # Errors
/// [`Error::Late`] after `within`, with what `look` said last; its `Err(Err(…))` at once.
pub(crate) fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<T, Result<String, Error>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        match look() {
            Ok(found) => return Ok(found),
            Err(Err(final_error)) => return Err(final_error),
            Err(Ok(detail)) if started.elapsed() > within => {
                return Err(Error::Late { what: what.to_owned(), within, detail });
            }
            Err(Ok(_)) => sleep(LOOK_EVERY),
        }
    }
}
