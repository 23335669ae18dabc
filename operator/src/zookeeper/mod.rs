//! Managed ensembles: what their members say, and changes of their membership.
//!
//! [`Ensembles::view`] never fails: what does not answer in time is missing from the [`EnsembleView`]. Who the members are
//! comes from `/zookeeper/config` alone, since a server that has been removed, or is about to join, calls itself a follower
//! too.

mod ensembles;
mod error;
mod four_letters;
mod reconfigure;
mod start_report;
mod view;

pub use self::{
    ensembles::Ensembles,
    error::Error,
    reconfigure::{Reconfigured, reconfigure},
    start_report::{Did, Found, HeldData, StartReport},
    view::{EnsembleView, MemberView, Mode, view},
};
