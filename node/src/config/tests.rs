use std::io::Write as _;

use super::*;

fn minimal() -> Settings {
    let text = |text: &str| Some(text.to_owned());
    Settings {
        name: text("kv-0"),
        zookeeper: text("127.0.0.1:2181,127.0.0.1:2182/kvclusters/demo"),
        listen: text("127.0.0.1:7400"),
        data: text("/kv/data"),
        bkpdata: text("/kv/bkpdata"),
        ..Settings::default()
    }
}

fn error(change: impl FnOnce(&mut Settings)) -> String {
    let mut settings = minimal();
    change(&mut settings);
    ValidatedConfig::from_settings(&settings).expect_err("it can't be used").to_string()
}

#[test]
fn defaults_are_those_of_the_help() {
    let config = ValidatedConfig::from_settings(&minimal()).expect("valid");
    assert_eq!(config.advertise, "127.0.0.1:7400");
    assert_eq!(config.cluster_name(), "demo");
    assert_eq!((config.session_timeout, config.rehome_after), (Duration::from_secs(6), Duration::from_secs(600)));
    assert_eq!((config.bootstrap.lease, config.bootstrap.initial_shards), (Duration::from_millis(800), 12));
    assert_eq!(config.limits, Limits::default());
    assert_eq!((config.log_format, config.runtime), (LogFormat::Text, RuntimeKind::MultiThread));
    assert_eq!((config.log_retention, config.segment_size, config.memtable_size), (256 * MIB, 64 * MIB, 16 * MIB));
    config.bootstrap.validate().expect("within the cluster's own bounds");
}

#[test]
fn errors_name_the_setting_the_value_and_what_to_write() {
    type Change = fn(&mut Settings);
    let cases: [(Change, &[&str]); 19] = [
        (|s| s.name = None, &["--name is missing", "KV_NODE_NAME"]),
        (|s| s.name = Some("a b".into()), &["--name", "a b", "letters"]),
        (|s| s.zookeeper = None, &["--zookeeper is missing", "localhost:2181/kvclusters/demo"]),
        (|s| s.zookeeper = Some("localhost:2181".into()), &["\"localhost:2181\"", "/path"]),
        (|s| s.zookeeper = Some("localhost/kv".into()), &["\"localhost/kv\"", "host:port"]),
        (|s| s.zookeeper = Some("localhost:2181/".into()), &["host:port,host:port/path"]),
        (|s| s.listen = Some("127.0.0.1:0".into()), &["--listen", "127.0.0.1:0", "1 to 65535"]),
        (|s| s.listen = Some("here".into()), &["--listen", "\"here\"", "IP address"]),
        (|s| s.listen = Some("0.0.0.0:7400".into()), &["--advertise is missing"]),
        (|s| s.advertise = Some("host".into()), &["--advertise", "\"host\"", "host:port"]),
        (|s| s.http = Some("127.0.0.1:7400".into()), &["--http", "another address than --listen"]),
        (|s| s.bkpdata = Some("/kv/./data".into()), &["--bkpdata", "/kv/./data", "another directory"]),
        (|s| s.bkpdata = Some("/kv/data/inside".into()), &["--bkpdata", "neither within the other"]),
        (|s| s.lease = Some("1ms".into()), &["--lease", "\"1ms\"", "100ms to 10s"]),
        (|s| s.session_timeout = Some("fast".into()), &["--session-timeout", "\"fast\"", "1s to 1m", "6s"]),
        (|s| s.value_limit = Some("1GiB".into()), &["--value-limit", "\"1GiB\"", "1KiB to 16MiB"]),
        (|s| s.min_in_sync = Some("3".into()), &["--min-in-sync", "\"3\"", "1 to 2"]),
        (|s| s.runtime = Some("fast".into()), &["--runtime", "current-thread or multi-thread"]),
        (|s| s.shards = Some("0".into()), &["--shards", "\"0\"", "1 to 256"]),
    ];
    for (change, expected) in cases {
        let message = error(change);
        for part in expected {
            assert!(message.contains(part), "{message:?} lacks {part:?}");
        }
    }
}

#[test]
fn a_link_does_not_hide_that_both_volumes_are_one_directory() {
    let directory = tempdir();
    let (data, link) = (directory.join("data"), directory.join("link"));
    std::fs::create_dir(&data).expect("made");
    std::os::unix::fs::symlink(&data, &link).expect("made");
    let message = error(|settings| {
        settings.data = Some(data.display().to_string());
        settings.bkpdata = Some(link.display().to_string());
    });
    assert!(message.contains("another directory"), "{message}");
    std::fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let directory = tempdir();
    let path = directory.join("node.json");
    let mut file = std::fs::File::create(&path).expect("made");
    write!(file, r#"{{"name": "file", "lease": "500ms", "max-in-flight": 7, "data": "/d", "bkpdata": "/b"}}"#)
        .expect("written");
    let arguments = ["kv-node", "run", "--name", "flag", "--zookeeper", "h:1/r", "--advertise", "h:2", "--config"];
    let path_text = path.display().to_string();
    let arguments = Arguments::try_parse_from(arguments.into_iter().chain([path_text.as_str()])).expect("parses");
    let config = ValidatedConfig::from_arguments(arguments).expect("valid");
    assert_eq!((config.name.as_str(), config.max_in_flight, config.max_watchers), ("flag", 7, 10_000));
    assert_eq!(config.bootstrap.lease, Duration::from_millis(500));
    std::fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn a_file_with_an_unknown_setting_is_refused() {
    let directory = tempdir();
    let path = directory.join("node.json");
    for (content, expected) in
        [(r#"{"leese": "1s"}"#, "leese"), ("[]", "expected a map"), (r#"{"lease": true}"#, "lease is true")]
    {
        std::fs::write(&path, content).expect("written");
        let message = file::overlay(Settings::default(), &path).expect_err("it can't be used").to_string();
        assert!(message.contains(expected) && message.contains("node.json"), "{message}");
    }
    let missing = file::overlay(Settings::default(), &directory.join("none")).expect_err("no file");
    assert!(missing.to_string().contains("No such file"), "{missing}");
    std::fs::remove_dir_all(directory).expect("removed");
}

#[test]
fn the_command_line_is_well_formed() {
    use clap::CommandFactory as _;
    Arguments::command().debug_assert();
}

fn tempdir() -> PathBuf {
    let directory = std::env::temp_dir().join(format!("kv-config-{}", uuid::Uuid::new_v4()));
    std::fs::create_dir(&directory).expect("made");
    directory
}
