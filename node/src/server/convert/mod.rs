//! Between the wire's messages and the node's own types. What comes in is checked here, against limits that errors name.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod replies;
mod requests;
mod resume;

pub(crate) use replies::{location, response, set_location};
pub(crate) use requests::{Intake, context, context_mut, is_write};
pub(crate) use resume::watched_range;
