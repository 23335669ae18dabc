use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use kv_local::{Launcher, PortBlock, Process, WorkDirectory};

use crate::error::{Error, Result};

/// From SIGTERM to the end of a process: one with much data in memory writes it first.
const END_WITHIN: Duration = Duration::from_secs(120);

/// The members of a system that is no [`kv_local::LocalCluster`], as child processes on loopback.
///
/// The fields are in the order in which they are dropped: processes before what they use.
#[derive(Debug)]
pub(super) struct Members {
    members: Vec<Member>,
    launcher: Launcher,
    ports: PortBlock,
    directory: WorkDirectory,
}

/// One server.
#[derive(Debug)]
struct Member {
    name: String,
    client: SocketAddr,
    program: PathBuf,
    arguments: Vec<String>,
    /// `None`: killed or ended.
    process: Option<Process>,
}

impl Members {
    /// None yet, in a directory that is made if it is missing.
    pub(super) fn none_in(path: &Path) -> Result<Self> {
        let directory = WorkDirectory::kept(path)?;
        let ports = PortBlock::claim(None)?;
        let launcher = Launcher::new(directory.process_ids())?;
        Ok(Self { members: Vec::new(), launcher, ports, directory })
    }

    pub(super) fn take_port(&mut self) -> Result<SocketAddr> {
        Ok(self.ports.take()?)
    }

    /// Where a member keeps its data. It is made.
    pub(super) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.directory.path().join(name);
        std::fs::create_dir_all(&folder).map_err(kv_local::Error::file("make", &folder))?;
        Ok(folder)
    }

    /// One more, which serves its clients at `client` and is not started.
    pub(super) fn add(&mut self, name: String, client: SocketAddr, program: &Path, arguments: Vec<String>) {
        self.members.push(Member { name, client, program: program.to_owned(), arguments, process: None });
    }

    pub(super) fn launch_all(&mut self) -> Result<()> {
        (0..self.members.len()).try_for_each(|index| self.launch(index))
    }

    pub(super) fn launch(&mut self, index: usize) -> Result<()> {
        let Member { name, client: _, program, arguments, process } = &mut self.members[index];
        let log = self.directory.log(name);
        *process = Some(self.launcher.launch(name, program, arguments, &[], &log)?);
        Ok(())
    }

    /// SIGKILL, if it runs; returns when it is gone.
    pub(super) fn kill(&mut self, index: usize) -> Result<()> {
        match self.members[index].process.take() {
            Some(mut process) => Ok(process.kill()?),
            None => Ok(()),
        }
    }

    /// SIGTERM, if it runs; returns when it is gone.
    pub(super) async fn end(&mut self, index: usize) -> Result<()> {
        let Member { name, process, .. } = &mut self.members[index];
        let Some(mut process) = process.take() else { return Ok(()) };
        process.ask_to_end()?;
        match process.wait_or_kill(END_WITHIN).await? {
            Some(_) => Ok(()),
            None => Err(Error::TimedOut {
                what: "a process does not end",
                within: END_WITHIN,
                detail: format!("{name} was killed"),
            }),
        }
    }

    pub(super) fn kill_all(&mut self) -> Result<()> {
        (0..self.members.len()).try_for_each(|index| self.kill(index))
    }

    /// Where a member serves its clients.
    pub(super) fn client(&self, index: usize) -> SocketAddr {
        self.members[index].client
    }

    /// Where all but one serve their clients, as `host:port`.
    pub(super) fn others(&self, than: usize) -> Vec<String> {
        let others = self.members.iter().enumerate().filter(|(index, _)| *index != than);
        others.map(|(_, member)| member.client.to_string()).collect()
    }

    /// Where all serve their clients, as `host:port`.
    pub(super) fn addresses(&self) -> Vec<String> {
        self.members.iter().map(|member| member.client.to_string()).collect()
    }

    /// Name and client address of each.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, SocketAddr)> {
        self.members.iter().map(|member| (member.name.as_str(), member.client))
    }

    /// Its process id; `None` if it was killed or ended.
    pub(super) fn process(&self, index: usize) -> Option<u32> {
        self.members[index].process.as_ref().map(Process::id)
    }

    /// Process ids of those that run.
    pub(super) fn processes(&self) -> Vec<u32> {
        (0..self.members.len()).filter_map(|index| self.process(index)).collect()
    }

    /// The folder of each.
    pub(super) fn folders(&self) -> Vec<PathBuf> {
        self.members.iter().map(|member| self.directory.path().join(&member.name)).collect()
    }
}
