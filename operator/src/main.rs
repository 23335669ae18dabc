//! `kv-operator`: runs KvClusters on Kubernetes.

use std::process::ExitCode;

use clap::Parser as _;
use kv_operator::{
    app,
    options::{Arguments, OperatorCommand, RunOptions},
    telemetry,
};

fn main() -> ExitCode {
    match Arguments::parse().command {
        OperatorCommand::Run(arguments) => {
            let options = match RunOptions::new(*arguments, |name| std::env::var(name).ok()) {
                Ok(options) => options,
                Err(error) => return unusable(&error),
            };
            if let Err(error) = telemetry::init(options.log_format) {
                return unusable(&error);
            }
            app::run(options)
        }
        OperatorCommand::Crd => print(&kv_operator::crd_yaml()),
        OperatorCommand::Reference => print(&kv_operator::reference()),
    }
}

fn unusable(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("kv-operator: {error}");
    ExitCode::from(app::EXIT_USAGE)
}

fn print(text: &str) -> ExitCode {
    use std::io::Write as _;
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kv-operator: standard output can't be written: {error}");
            ExitCode::from(app::EXIT_FAILED)
        }
    }
}
