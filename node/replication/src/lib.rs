//! How one replica of one shard agrees with the others: the protocol's sections 3 to 6 and 8 as a state machine.
//!
//! Nothing in this crate touches a socket, a file, a clock or a random number. A driver feeds [`core::Core`] with
//! inputs and carries out its effects: `node` does it for real, `tests/simulator` does it with everything that can go
//! wrong. The rules that were model-checked are marked **\[M\]** where they are kept, those found on paper **\[P\]**.
//!
//! - [`core`]: epochs, log matching, commit, leases, takeover, changes of the ISR, handover, split.
//! - [`apply`]: what a committed entry does to keys and sessions; the same on every copy.

pub mod apply;
pub mod core;
