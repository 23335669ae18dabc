//! The shell: a line is read (`lines`, `terminal`), understood (`words`, `command`) and carried out (`session`).

mod command;
mod lines;
mod session;
mod terminal;
mod words;

pub use lines::Lines;
pub use session::run;
