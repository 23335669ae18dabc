//! Random faults on a cluster of real processes, and a judgement of what its clients were told.
//!
//! A round has a seed: it draws the cluster's [`settings`], and the [`plan`] of faults that the [`nemesis`] carries out while many
//! clients ([`load`], [`watches`]) are at work. The [`rule`] says what may be destroyed. In the end everything is healed, and
//! [`judge`] says what was wrong; [`report`] adds up. Draws are repeated exactly by a seed; processes and their timing are not.

pub mod calm;
pub mod dead;
pub mod destroy;
pub mod history;
pub mod journal;
pub mod judge;
pub mod keys;
pub mod load;
pub mod machine;
pub mod nemesis;
pub mod observe;
pub mod plan;
pub mod report;
pub mod round;
pub mod rule;
pub mod scans;
pub mod settings;
pub mod watches;

/// What keeps this program from doing its work; not what it finds.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// `Result` with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
