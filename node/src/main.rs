//! `kv-node`: one node of the key-value store.

use std::process::ExitCode;

use clap::Parser as _;
use kv_node::{
    app,
    config::{Arguments, ValidatedConfig},
    telemetry,
};

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
