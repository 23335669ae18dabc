//! Histories that several tests judge.
#![allow(dead_code, reason = "each test uses a part")]

pub mod made;
pub mod random;
