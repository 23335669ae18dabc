//! `kvctl`: the tool with which a person (or a script) uses and runs a cluster.

mod arguments;
mod bench;
mod commands;
mod exit;
mod format;
mod output;

use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::{
    arguments::{Arguments, Command},
    exit::Failed,
};

fn main() -> ExitCode {
    let matches = Arguments::command().get_matches();
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    if let Command::Completions { shell } = &arguments.command {
        clap_complete::generate(*shell, &mut Arguments::command(), "kvctl", &mut std::io::stdout());
        return ExitCode::SUCCESS;
    }
    log_to_stderr();
    let result = arguments.connection.resolve(&matches).and_then(|target| {
        let threads = arguments.command.threads();
        let runtime = if threads == 1 {
            tokio::runtime::Builder::new_current_thread().enable_all().build()
        } else {
            tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()
        };
        let runtime = runtime.map_err(|error| Failed::new(exit::ERROR, format!("can't start: {error}")))?;
        let done = runtime.block_on(commands::run(arguments, target));
        // A look-up that is still under way must not hold up the end.
        runtime.shutdown_background();
        done
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => failed.report(),
    }
}

/// Silent unless `RUST_LOG` asks for more: the output belongs to the command.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("off"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
}
