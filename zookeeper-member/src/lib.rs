//! What a ZooKeeper member needs beside ZooKeeper: its configuration before it starts, and answers to probes.
//!
//! [`configure`] looks at the member's [`Claim`] and at the operator's [`Record`], [`decide`]s, carries that out, and ends
//! with a [`Report`]. Membership is ZooKeeper's own affair: it lies in the dynamic file on the claim, and is written here
//! only for a member that has none of its own.

mod claim;
mod configure;
mod data;
mod decide;
mod disk;
mod membership;
mod probe;
mod record;
mod report;
mod zoo_cfg;

pub use claim::{Claim, Folders};
pub use configure::{ConfigureError, Options, Settings, configure};
pub use data::Data;
pub use decide::{Refusal, Step, decide};
pub use disk::{Disk, RealDisk};
pub use membership::{MAX_MEMBERS, Member, Membership, MembershipError, Role, parse_version};
pub use probe::{ProbeError, alive, ready};
pub use record::{Record, RecordError, Recovery, RecoveryStep};
pub use report::{Did, Report};
