//! What users get wrong: each mistake has an error that names it and says what to do.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    fs,
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::Command,
    time::Duration,
};

use bytes::Bytes;
use kv_local::Folder;
use kv_proto::v1::{ErrorReason, RequestContext};
use kv_tests::{
    TestCluster,
    failing::{Arguments, NOWHERE, edit_identity, says},
    options,
    programs::{program, run_to_end},
    run, wait,
    wire::{self, Wire},
};
use tonic::{Code, Status};

/// What means "stuck".
const STUCK: Duration = Duration::from_secs(30);
/// A user without any rights, as every Linux has it.
const NOBODY: u32 = 65_534;

#[test]
fn requests_out_of_bounds_are_refused() {
    run(async {
        let cluster = TestCluster::start("bad-input-requests", options(1)).await;
        let wire = Wire::to(cluster.local.nodes()[0].advertised_address());
        let context = RequestContext::default;
        let (longest_key, longest_value) = (vec![b'k'; 4096], vec![b'v'; 1 << 20]);
        wire.put(longest_key, longest_value.clone(), context()).await.expect("at the bounds");

        let empty = wire.put("", "value", context()).await.expect_err("there is no empty key");
        refused(&empty, Code::InvalidArgument, ErrorReason::Invalid, &["key is empty"]);
        let empty = wire.get("", context()).await.expect_err("there is no empty key");
        refused(&empty, Code::InvalidArgument, ErrorReason::Invalid, &["key is empty"]);
        let long = wire.put(vec![b'k'; 4097], "value", context()).await.expect_err("a key is too long");
        refused(&long, Code::InvalidArgument, ErrorReason::Invalid, &["4097 bytes", "4096"]);
        let long = wire.put("key", vec![b'v'; (1 << 20) + 1], context()).await.expect_err("a value is too long");
        refused(&long, Code::InvalidArgument, ErrorReason::Invalid, &["1048577 bytes", "1048576"]);
        let value = Bytes::from(longest_value);
        let five = (0..5).map(|number| (Bytes::from(format!("key-{number}")), value.clone()));
        let long = wire.batch(five).await.expect_err("a batch is too long");
        refused(&long, Code::InvalidArgument, ErrorReason::Invalid, &["batch", "4194304"]);
        let many = (0..1025).map(|number| (Bytes::from(format!("key-{number}")), Bytes::new()));
        let many = wire.batch(many).await.expect_err("too many operations");
        refused(&many, Code::InvalidArgument, ErrorReason::Invalid, &["1025", "1024"]);
        let twice = ["a", "b"].map(|value| (Bytes::from("key"), Bytes::from(value)));
        let twice = wire.batch(twice).await.expect_err("a key occurs twice");
        refused(&twice, Code::InvalidArgument, ErrorReason::Invalid, &["key again", "one operation a key"]);
        assert_eq!(wire.get("key", context()).await.expect("it is read"), None, "nothing of it was applied");

        let other = RequestContext { cluster: "3f0b7f2e-0000-4000-8000-000000000000".to_owned(), ..context() };
        let wrong = wire.put("key", "value", other.clone()).await.expect_err("another cluster is meant");
        let own = cluster.describe().await.cluster;
        refused(&wrong, Code::FailedPrecondition, ErrorReason::WrongCluster, &[&own, &other.cluster]);
        let right = RequestContext { cluster: own, ..context() };
        wire.put("key", "value", right).await.expect("this cluster is meant");

        for unknown in
            [wire.handover(999, "kv-0").await, wire.split(999, "key").await, wire.move_home(999, "kv-0").await]
        {
            let unknown = unknown.expect_err("there is no such shard");
            refused(&unknown, Code::NotFound, ErrorReason::NoSuch, &["no shard 999"]);
        }
        let shard = cluster.describe().await.shards[0].shard;
        let unknown = wire.move_home(shard, "kv-99").await.expect_err("there is no such node");
        refused(&unknown, Code::NotFound, ErrorReason::NoSuch, &["kv-99"]);
        let outside = wire.split(shard, "zzz").await.expect_err("the key is not in the first shard");
        refused(&outside, Code::InvalidArgument, ErrorReason::Invalid, &["zzz"]);
    });
}

fn refused(status: &Status, code: Code, reason: ErrorReason, words: &[&str]) {
    eprintln!("{:?}: {}", status.code(), status.message());
    let info = wire::info(status).unwrap_or_else(|| panic!("the node does not say why: {status:?}"));
    assert_eq!((status.code(), info.reason(), info.definite), (code, reason, true), "{}", info.message);
    assert_eq!(status.message(), info.message);
    for word in words {
        assert!(info.message.contains(word), "{word:?} is missing in: {}", info.message);
    }
}

#[test]
fn arguments_that_make_no_sense_are_refused() {
    run(async {
        let directory = tempfile::tempdir().expect("a directory");
        let good = Arguments::good(directory.path());
        let node = program("kv-node");
        let wrong = run_to_end(&node, &[&good.typed()[..], &["--leese", "1s"]].concat()).await;
        assert_eq!(wrong.code, Some(2), "{}", wrong.text);
        assert!(wrong.text.contains("unexpected argument '--leese'"), "{}", wrong.text);
        let nothing = run_to_end(&node, &[]).await;
        assert_eq!(nothing.code, Some(2), "{}", nothing.text);

        for flag in ["--name", "--zookeeper", "--data", "--bkpdata"] {
            good.clone().without(flag).refused(2, &[flag, "is missing", "write"]).await;
        }
        let mistakes = [
            ("--name", "kv 0", &["kv 0"][..]),
            ("--listen", "localhost", &["localhost", "0.0.0.0:7400"]),
            ("--listen", "127.0.0.1:70000", &["127.0.0.1:70000"]),
            ("--http", "8080", &["8080"]),
            ("--advertise", "127.0.0.1:0", &["127.0.0.1:0"]),
            ("--advertise", "kv-0", &["kv-0", "host:port"]),
            ("--zookeeper", "127.0.0.1/kvclusters/x", &["127.0.0.1/kvclusters/x", "host:port"]),
            ("--zookeeper", "127.0.0.1:2181", &["127.0.0.1:2181", "path"]),
            ("--lease", "1ms", &["1ms", "100ms", "10s"]),
            ("--session-timeout", "soon", &["soon", "1s"]),
            ("--value-limit", "1GiB", &["1GiB", "16MiB"]),
            ("--split-size", "-1", &["-1", "1MiB"]),
            ("--copies", "8", &["\"8\"", "0 to 7"]),
            ("--shards", "0", &["\"0\"", "1 to 256"]),
            ("--runtime", "green", &["green", "current-thread or multi-thread"]),
            ("--config", "/nonexistent/config.json", &["/nonexistent/config.json"]),
        ];
        for (flag, value, words) in mistakes {
            let flagged = [&[flag], words].concat();
            // One argument: a value may begin like a flag.
            let given = good.clone().without(flag);
            let joined = format!("{flag}={value}");
            says(&run_to_end(&node, &[&given.typed()[..], &[&joined]].concat()).await, 2, &flagged);
        }
        let data = directory.path().join("data").display().to_string();
        good.clone().with("--bkpdata", &data).refused(2, &["--bkpdata", &data, "another directory"]).await;
        let config = directory.path().join("config.json");
        fs::write(&config, r#"{"leese": "1s"}"#).expect("it can be written");
        let config = config.display().to_string();
        good.with("--config", &config).refused(2, &[&config, "leese"]).await;
        assert!(!directory.path().join("data").exists(), "nothing was made");
    });
}

#[test]
fn volumes_that_can_not_be_used_are_refused() {
    run(async {
        let mut cluster = TestCluster::start("bad-input-volumes", options(2)).await;
        let volume = |index: usize, folder| cluster.local.nodes()[index].volume(folder);
        let (data, bkpdata) = (volume(0, Folder::Data), volume(0, Folder::Bkpdata));
        let zookeeper = cluster.local.zookeeper_url();
        let own = Arguments::good(Path::new("/nonexistent"))
            .with("--zookeeper", &zookeeper)
            .with("--data", data.display())
            .with("--bkpdata", bkpdata.display());
        let [data_path, bkpdata_path] = [&data, &bkpdata].map(|path| path.display().to_string());

        own.refused(1, &[&data_path, "in use by another process"]).await;
        cluster.local.kill(0).expect("it runs");
        own.clone().with("--name", "kv-7").refused(1, &[&data_path, "of node kv-0", "node kv-7"]).await;
        let swapped = own.clone().with("--data", &bkpdata_path).with("--bkpdata", &data_path);
        swapped.refused(1, &[&bkpdata_path, "swapped"]).await;

        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("file");
        fs::write(&file, "not a directory").expect("it can be written");
        let path = file.display().to_string();
        own.clone().with("--data", &path).refused(1, &[&path, "is not a directory"]).await;
        let beneath = file.join("data").display().to_string();
        own.clone().with("--data", &beneath).refused(1, &[&beneath, "is not a directory"]).await;
        let foreign = directory.path().join("foreign");
        fs::create_dir_all(foreign.join("log")).expect("it can be made");
        let path = foreign.display().to_string();
        own.clone().with("--data", &path).refused(1, &[&path, "no identity.json"]).await;

        edit_identity(&data, "format_version", 1_000);
        own.refused(1, &[&data_path, "format 1000", "newer version"]).await;
        edit_identity(&data, "format_version", 1);
        let identity = data.join("identity.json");
        let text = fs::read(&identity).expect("it is there");
        fs::write(&identity, &text[..text.len() / 2]).expect("it can be written");
        own.refused(1, &["identity.json", "can't be understood"]).await;
        fs::write(&identity, &text).expect("it can be written");

        let other = "3f0b7f2e-0000-4000-8000-000000000000";
        let cluster_id = cluster.describe().await.cluster;
        edit_identity(&data, "cluster", other);
        own.refused(1, &[other, &cluster_id]).await;
        edit_identity(&bkpdata, "cluster", other);
        own.refused(1, &[other, &cluster_id, "check the volumes"]).await;
        for volume in [&data, &bkpdata] {
            edit_identity(volume, "cluster", cluster_id.clone());
        }

        let taken = cluster.local.nodes()[1].direct_address().to_string();
        own.clone().with("--listen", &taken).refused(1, &["can't listen on", &taken]).await;
        // None of this has done any harm.
        cluster.local.start_node(0).expect("it is stopped");
        cluster.until_whole("mistakes").await;
    });
}

#[test]
fn a_volume_without_permission_is_refused() {
    run(async {
        // Readable for everybody, writable for its owner alone.
        let readable = |mode| fs::Permissions::from_mode(mode);
        let directory = tempfile::Builder::new().permissions(readable(0o755)).tempdir().expect("a directory");
        let node = directory.path().join("kv-node");
        fs::copy(program("kv-node"), &node).expect("it can be copied");
        fs::set_permissions(&node, readable(0o755)).expect("it is ours");
        let volumes = directory.path().join("volumes");
        fs::create_dir(&volumes).expect("it can be made");
        // Root may write everywhere: the node runs as nobody. Anybody else has no right to write after this.
        let root = fs::set_permissions(&volumes, readable(0o555)).is_ok() && fs::write(volumes.join("x"), "").is_ok();
        let good = Arguments::good(&volumes);
        let mut command = Command::new(&node);
        command.args(good.typed());
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = tokio::process::Command::from(command).kill_on_drop(true).output();
        let output = tokio::time::timeout(STUCK, output).await.expect("it ends").expect("it starts");
        let says = String::from_utf8_lossy(&output.stderr);
        let data = volumes.join("data").display().to_string();
        assert_eq!(output.status.code(), Some(1), "{says}");
        assert!(says.contains(&data) && says.contains("can't be read and written by this user"), "{says}");
        eprintln!("{says}");
        fs::set_permissions(&volumes, readable(0o755)).expect("it is ours");
    });
}

#[test]
fn a_node_waits_for_zookeeper_and_says_so() {
    run(async {
        let mut cluster = TestCluster::start("bad-input-zookeeper", options(1)).await;
        cluster.local.zookeeper_mut().stop_all().expect("it runs");
        let index = cluster.local.add_node().await.expect("it starts");
        let node = cluster.local.node_mut(index).expect("it is there");
        node.wait_alive(STUCK).await.expect("it is alive while it waits");
        let (status, body) = node.http("/readyz").await.expect("it answers");
        assert_eq!(status, 503, "{body}");
        assert!(body.contains("ZooKeeper"), "{body}");
        let log = node.log().to_owned();
        wait::until("its log says what it waits for", STUCK, async || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            let said = text.lines().any(|line| line.contains("WARN") && line.to_lowercase().contains("zookeeper"));
            if said { Ok(()) } else { Err(format!("it says: {text}")) }
        })
        .await;
        cluster.local.zookeeper_mut().start_all().await.expect("it starts again");
        cluster.until_whole("ZooKeeper came").await;

        // A client and kvctl say so at once, and don't wait.
        let kvctl = program("kvctl");
        let nowhere = format!("{NOWHERE}/kvclusters/local");
        let asked = run_to_end(&kvctl, &["--zookeeper", &nowhere, "--timeout", "2s", "get", "key"]).await;
        says(&asked, 5, &["kvctl:", NOWHERE]);
        let asked = run_to_end(&kvctl, &["--node", NOWHERE, "--timeout", "2s", "get", "key"]).await;
        says(&asked, 5, &["kvctl:", NOWHERE]);
    });
}
