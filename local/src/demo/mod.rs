//! The demonstration: the script of what the cluster is for. Each step says what it does, does it, and checks what it
//! claims (`steps`, `claims`); `stage` is what they all use; `summary` is what is left of it at the end.

mod claims;
mod stage;
mod steps;
mod summary;

pub use steps::run;
