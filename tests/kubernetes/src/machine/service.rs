use std::{ffi::OsString, path::PathBuf};

use crate::{
    error::{Error, Result},
    layout::Layout,
    machine::Namespaces,
    process::ProcessId,
};

/// A program that runs on a machine until it is stopped.
#[derive(Clone, Debug)]
pub(crate) struct Service {
    name: &'static str,
    namespaces: Namespaces,
    program: PathBuf,
    arguments: Vec<OsString>,
    /// Who it is on this host: the one that has entered the machine's namespaces, and whose only child is the program.
    process: PathBuf,
}

impl Service {
    pub(crate) fn new(layout: &Layout, machine: &str, name: &'static str, program: impl Into<PathBuf>) -> Self {
        let process = layout.machine(machine).join("services").join(name);
        let namespaces = Namespaces::of(layout, machine);
        Self { name, namespaces, program: program.into(), arguments: Vec::new(), process }
    }

    pub(crate) fn arguments<A: Into<OsString>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Starts it, if it doesn't run.
    pub(crate) fn start(&self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        let mut command = self.namespaces.command(&self.program);
        command.args(&self.arguments);
        self.namespaces.spawn(self.name, command)?.save(&self.process)
    }

    /// Kills it, if it runs.
    pub(crate) fn stop(&self) -> Result<()> {
        let Some(outer) = ProcessId::load(&self.process) else { return Ok(()) };
        for program in outer.children() {
            program.kill()?;
        }
        outer.kill()
    }

    pub(crate) fn is_running(&self) -> bool {
        ProcessId::load(&self.process).is_some_and(|process| process.is_running())
    }

    /// For waits: an error once it has ended.
    pub(crate) fn check(&self) -> Result<()> {
        if self.is_running() {
            return Ok(());
        }
        let log = self.namespaces.log(self.name)?;
        Err(Error::Ended { process: self.name.to_owned(), tail: crate::command::tail(&log), log })
    }
}
