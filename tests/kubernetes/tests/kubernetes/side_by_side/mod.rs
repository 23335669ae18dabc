//! Stores that change, each in a namespace of its own, with one operator: it serves several at once, and mostly waits. They
//! begin in the order of their names, the longest first.

mod ensemble;
mod resources;
mod rolling;
mod scaling;
