//! `kv-node`: one node of the key-value store.

use std::process::ExitCode;

use clap::Parser as _;
use kv_node::{
    app,
    config::{Arguments, ValidatedConfig},
    telemetry,
};

/// glibc's stands still for up to 100 ms when a memtable of some hundred thousand rows is dropped (`malloc_consolidate`).
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let config = match ValidatedConfig::from_arguments(Arguments::parse()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("kv-node: {error}");
            return ExitCode::from(app::EXIT_USAGE);
        }
    };
    if let Err(error) = telemetry::init(config.log_format) {
        eprintln!("kv-node: {error}");
        return ExitCode::from(app::EXIT_USAGE);
    }
    app::run(config)
}
