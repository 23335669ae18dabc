//! The rules that ARCHITECTURE.md and CONTRIBUTING.md state and no compiler checks: a rule that nobody tests is fiction.
//!
//! Each check takes the [`Repository`] and returns what breaks its rule, one line each. `house_rules` applies all of them to
//! this repository.

mod crates;
mod dependencies;
mod documents;
#[cfg(test)]
mod house_rules;
mod imports;
mod links;
mod repository;
mod sources;

pub use crates::{check_directions, check_lints};
pub use dependencies::{check_licences, check_sources, check_versions};
pub use documents::{check_commands, check_files, check_flags, check_names, check_targets};
pub use imports::check_imports;
pub use links::check_links;
pub use repository::{Dependency, Package, Repository, SourceFile};
pub use sources::{check_length, check_words};
