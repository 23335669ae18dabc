//! A real ZooKeeper: alone, as three, killed, stopped and back.

#![allow(clippy::expect_used, reason = "helpers of tests are tests")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use kv_local::{
    Error, Launcher, PortBlock, WorkDirectory,
    zookeeper::{Ensemble, Jars, ServerMode},
};

/// What means "stuck".
const STUCK: Duration = Duration::from_secs(60);

async fn start(directory: &WorkDirectory, servers: usize) -> Result<(Ensemble, PortBlock), Error> {
    let jars = tokio::task::spawn_blocking(Jars::fetch).await.expect("no panic")?;
    let mut ports = PortBlock::claim(directory.last_ports())?;
    let launcher = Arc::new(Launcher::new(directory.process_ids())?);
    Ok((Ensemble::start(jars, directory, servers, &mut ports, launcher).await?, ports))
}

async fn leader_other_than(ensemble: &Ensemble, old: usize) -> usize {
    let deadline = Instant::now() + STUCK;
    loop {
        match ensemble.leader().await {
            Some(leader) if leader != old => return leader,
            _ => assert!(Instant::now() < deadline, "no other leader in {STUCK:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// ZooKeeper's shell does not try again when the server it has chosen is the dead one, or does not follow the new leader yet.
async fn written(ensemble: &Ensemble, path: &str) {
    let deadline = Instant::now() + STUCK;
    loop {
        match ensemble.shell(&["create", path, "x"]).await {
            Ok(_) => return,
            Err(Error::Command { output, .. }) if output.contains("Node already exists") => return,
            Err(error) => assert!(Instant::now() < deadline, "a majority does not write in {STUCK:?}: {error}"),
        }
    }
}

#[tokio::test]
async fn one_server_keeps_its_data_in_a_kept_directory() {
    let parent = tempfile::tempdir().expect("a directory");
    {
        let directory = WorkDirectory::kept(parent.path()).expect("a directory");
        let (mut ensemble, _ports) = start(&directory, 1).await.expect("it starts");
        assert_eq!(ensemble.servers()[0].mode().await, Some(ServerMode::Standalone));
        ensemble.shell(&["create", "/kept", "a-value"]).await.expect("it writes");
        ensemble.stop_all().expect("it is killed");
        assert_eq!(ensemble.leader().await, None);
        ensemble.start_all().await.expect("it starts again");
        assert!(matches!(ensemble.start_server(0).await, Err(Error::Running { .. })));
        assert!(matches!(ensemble.kill(1), Err(Error::NoSuchServer { index: 1, last: 0 })));
    }
    let directory = WorkDirectory::kept(parent.path()).expect("nobody has it");
    let (ensemble, _ports) = start(&directory, 1).await.expect("it starts");
    let answer = ensemble.shell(&["get", "/kept"]).await.expect("it reads");
    assert!(answer.lines().any(|line| line == "a-value"), "{answer}");
    assert!(matches!(ensemble.shell(&["get", "/absent"]).await, Err(Error::Command { .. })));
}

#[tokio::test]
async fn three_servers_outlive_their_leader() {
    let directory = WorkDirectory::temporary().expect("a directory");
    let started = Instant::now();
    let (mut ensemble, _ports) = start(&directory, 3).await.expect("they start");
    eprintln!("three servers serve after {:?}", started.elapsed());
    let leader = leader_other_than(&ensemble, usize::MAX).await;
    ensemble.kill(leader).expect("it is killed");
    let killed = Instant::now();
    let other = leader_other_than(&ensemble, leader).await;
    eprintln!("another leads {:?} after the leader's death", killed.elapsed());
    written(&ensemble, "/after").await;
    ensemble.start_server(leader).await.expect("it is back");
    assert_eq!(ensemble.servers()[leader].mode().await, Some(ServerMode::Follower));
    assert_eq!(ensemble.leader().await, Some(other));
}

#[tokio::test]
async fn another_number_of_servers_is_refused() {
    let directory = WorkDirectory::temporary().expect("a directory");
    let refused = start(&directory, 2).await.expect_err("two are no ensemble");
    assert!(matches!(refused, Error::Option { .. }), "{refused}");
}
