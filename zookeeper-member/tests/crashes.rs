//! A crash before every single change to the volume: what follows is as if there had been none.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::{
    cell::Cell,
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use kv_zookeeper_member::{Claim, Did, Disk, Folders, Options, RealDisk, Settings, configure};
use tempfile::TempDir;

const THREE: &str = "server.1=a:1:2:participant;3\nserver.2=b:1:2:participant;3\nserver.3=c:1:2:participant;3\n";

/// Fails at one change, and at all after it. A file that is being written is torn then.
struct CrashingDisk {
    left: Cell<usize>,
}

impl CrashingDisk {
    fn change(&self) -> io::Result<()> {
        match self.left.get().checked_sub(1) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(io::Error::other("crash")),
        }
    }
}

impl Disk for CrashingDisk {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.make_folder(path)
    }

    fn write(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        if let Err(crash) = self.change() {
            RealDisk.write(path, &content[..content.len() / 2], mode)?;
            return Err(crash);
        }
        RealDisk.write(path, content, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.remove(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.change()?;
        RealDisk.sync_folder(path)
    }
}

struct Scene {
    root: TempDir,
    id: u32,
    /// A file that may be left or not.
    harmless: &'static str,
}

impl Scene {
    fn new(id: u32, bootstrapped: bool, members: &str, recover: Option<&str>, files: &[(&str, &str)]) -> Self {
        let scene = Self { root: tempfile::tempdir().expect("a folder"), id, harmless: "" };
        let record =
            [("bootstrapped", bootstrapped.to_string()), ("members", members.into()), ("version", "1a".into())];
        for (name, text) in
            record.iter().map(|(name, text)| (*name, text.as_str())).chain(recover.map(|text| ("recover", text)))
        {
            scene.put(&format!("record/{name}"), text);
        }
        for (path, text) in files {
            scene.put(path, &text.replace("ROOT", &scene.root.path().to_string_lossy()));
        }
        scene
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(path, text).expect("written");
    }

    fn options(&self) -> Options {
        let at = |name: &str| self.root.path().join(name);
        let own = format!("server.{0}={1}:1:2;3", self.id, ["a", "b", "c", "d"][self.id as usize - 1]);
        Options {
            own: own.parse().expect("valid"),
            record: at("record"),
            folders: Folders { conf: at("conf"), data: at("data"), datalog: at("datalog") },
            settings: Settings { tick_millis: 1000, super_digest: Some("super:x".into()), metrics_port: None },
        }
    }

    /// What ZooKeeper would read, by path below the claim.
    fn files(&self) -> BTreeMap<PathBuf, String> {
        let mut files = BTreeMap::new();
        let mut folders: Vec<_> = ["conf", "data", "datalog"].map(|name| self.root.path().join(name)).into();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else if !path.to_string_lossy().ends_with(".unfinished") {
                    let text = fs::read_to_string(&path).expect("text");
                    let text = text.replace(&*self.root.path().to_string_lossy(), "ROOT");
                    let path = path.strip_prefix(self.root.path()).expect("below");
                    if path != Path::new(self.harmless) {
                        files.insert(path.to_owned(), text);
                    }
                }
            }
        }
        files
    }

    /// What must hold whenever ZooKeeper could be started by mistake or not: who has the marker points to a view with itself,
    /// and holds nothing; who points points to a file that is whole.
    fn check(&self, at: usize) {
        let claim = Claim::look(&self.options().folders).expect("it can be read");
        let empty = claim.data.is_none_or(|data| data.is_empty());
        assert!(!claim.marker || empty && claim.votes(self.id), "crash at {at}: {claim:?}");
        assert!(claim.pointer.is_none() || claim.membership.is_some(), "crash at {at}: {claim:?}");
    }
}

/// Runs the scene without a crash, and with one at each change; returns what it comes to and the changes that there are.
fn with_every_crash(expected: &Did, scene: impl Fn() -> Scene) -> BTreeMap<PathBuf, String> {
    let whole = scene();
    let report = configure(&whole.options(), &RealDisk);
    assert_eq!(&report.did, expected);
    whole.check(usize::MAX);
    let files = whole.files();
    for at in 0.. {
        let crashed = scene();
        let options = crashed.options();
        let first = configure(&options, &CrashingDisk { left: Cell::new(at) });
        crashed.check(at);
        if first.did == *expected {
            assert!(at > 5, "hardly anything was changed");
            assert_eq!(crashed.files(), files);
            return files;
        }
        assert!(matches!(&first.did, Did::Refused(reason) if reason.ends_with("crash")), "crash at {at}: {first:?}");
        let second = configure(&options, &RealDisk);
        // Once the last change was made the next start is one like any other.
        assert!(second.did == *expected || second.did == Did::LaterBoot, "crash at {at}: {second:?}");
        assert_eq!(crashed.files(), files, "crash at {at}");
    }
    unreachable!("the loop ends")
}

fn pointed(files: &BTreeMap<PathBuf, String>) -> String {
    let text = &files[Path::new("conf/zoo.cfg")];
    let pointer = text.lines().last().and_then(|line| line.strip_prefix("dynamicConfigFile=ROOT/")).expect("a pointer");
    format!("{pointer}: {}", files[Path::new(pointer)])
}

#[test]
fn a_first_boot_ends_with_the_marker_and_one_member() {
    let fresh = || Scene::new(1, false, "", None, &[]);
    let files = with_every_crash(&Did::FirstBoot, fresh);
    assert_eq!(pointed(&files), "conf/zoo.cfg.dynamic: server.1=a:1:2:participant;0.0.0.0:3\n");
    assert!(files.contains_key(Path::new("datalog/initialize")));
    assert_eq!(files[Path::new("data/myid")], "1\n");
    let ran_without_marker =
        [("data/myid", "1\n"), ("data/version-2/acceptedEpoch", "-1"), ("data/version-2/currentEpoch", "-1")];
    let again = with_every_crash(&Did::FirstBoot, || Scene::new(1, false, "", None, &ran_without_marker));
    assert_eq!(again, files);
}

#[test]
fn a_later_boot_keeps_the_pointer_and_every_dynamic_file() {
    let files = [
        ("data/myid", "1\n"),
        ("data/version-2/snapshot.100000001", "x"),
        ("conf/zoo.cfg", "tickTime=7\ndynamicConfigFile=ROOT/conf/zoo.cfg.dynamic.b\n"),
        ("conf/zoo.cfg.dynamic.b", THREE),
        ("conf/zoo.cfg.dynamic.a", "server.1=a:1:2;3\n"),
        ("conf/zoo.cfg.dynamic.next", THREE),
    ];
    for members in [THREE, "server.1=a:1:2;3"] {
        let left = with_every_crash(&Did::LaterBoot, || Scene::new(1, true, members, None, &files));
        assert!(pointed(&left).starts_with("conf/zoo.cfg.dynamic.b: "), "{left:?}");
        assert!(left[Path::new("conf/zoo.cfg")].starts_with("tickTime=1000\n"));
        for (path, text) in &files[3..] {
            assert_eq!(left[Path::new(path)], *text, "{path}");
        }
        assert!(!left.contains_key(Path::new("datalog/initialize")));
    }
}

#[test]
fn a_joiner_counts_the_others_only_and_keeps_its_data() {
    let fresh = with_every_crash(&Did::Joiner, || Scene::new(4, true, THREE, None, &[]));
    let expected = "server.2=b:1:2:participant;0.0.0.0:3\nserver.3=c:1:2:participant;0.0.0.0:3\n\
                    server.4=d:1:2:observer;0.0.0.0:3\n";
    assert_eq!(pointed(&fresh), format!("conf/zoo.cfg.dynamic: server.1=a:1:2:participant;0.0.0.0:3\n{expected}"));
    let removed = [
        ("data/myid", "4\n"),
        ("data/version-2/snapshot.100000001", "x"),
        ("conf/zoo.cfg", "dynamicConfigFile=ROOT/conf/zoo.cfg.dynamic.b\n"),
        ("conf/zoo.cfg.dynamic.b", THREE),
        ("conf/zoo.cfg.dynamic.a", "server.4=d:1:2;3\n"),
    ];
    let left = with_every_crash(&Did::Joiner, || Scene::new(4, true, THREE, None, &removed));
    assert!(pointed(&left).starts_with("conf/zoo.cfg.dynamic.19: "), "one below 1a: {left:?}");
    let dynamic = left.keys().filter(|path| path.to_string_lossy().contains("dynamic")).count();
    assert!(dynamic == 1 && left.contains_key(Path::new("data/version-2/snapshot.100000001")), "{left:?}");
}

#[test]
fn one_that_counts_by_now_takes_up_the_recorded_configuration_with_its_data() {
    let joined = [
        ("data/myid", "2\n"),
        ("data/version-2/snapshot.100000001", "x"),
        ("conf/zoo.cfg", "dynamicConfigFile=ROOT/conf/zoo.cfg.dynamic.b\n"),
        ("conf/zoo.cfg.dynamic.b", "server.1=a:1:2;3\n"),
        ("conf/zoo.cfg.dynamic.next", "server.1=a:1:2;3\nversion=c\n"),
    ];
    // After a crash it may be left, and nothing points to it.
    let harmless = "conf/zoo.cfg.dynamic.b";
    let scene = || Scene { harmless, ..Scene::new(2, true, THREE, None, &joined) };
    let left = with_every_crash(&Did::LaterBoot, scene);
    assert!(pointed(&left).starts_with("conf/zoo.cfg.dynamic.1a: server.1="), "{left:?}");
    assert!(left.contains_key(Path::new("data/version-2/snapshot.100000001")));
    assert!(!left.contains_key(Path::new("conf/zoo.cfg.dynamic.next")));
}

#[test]
fn a_recovery_holds_and_then_marks_what_was_seen_to_be_empty() {
    let hold = "token=4\nstep=hold\n";
    let held = with_every_crash(&Did::Held, || {
        Scene::new(2, true, THREE, Some(hold), &[("data/version-2/acceptedEpoch", "-1")])
    });
    assert_eq!(held[Path::new("conf/recovery")], "4\n");
    let release = "token=4\nstep=release\nmark=1\n";
    let seen = [("data/myid", "2\n"), ("conf/recovery", "4\n"), ("data/version-2/acceptedEpoch", "-1")];
    let files = with_every_crash(&Did::Recovered, || Scene::new(2, true, THREE, Some(release), &seen));
    assert!(pointed(&files).starts_with("conf/zoo.cfg.dynamic.1a: server.1="), "{files:?}");
    assert!(files.contains_key(Path::new("datalog/initialize")) && !files.contains_key(Path::new("conf/recovery")));
    assert!(!files.contains_key(Path::new("data/version-2/acceptedEpoch")));
    let wiped_again = with_every_crash(&Did::Joiner, || Scene::new(2, true, THREE, Some(release), &[]));
    assert!(!wiped_again.contains_key(Path::new("datalog/initialize")));
}

#[test]
fn nothing_is_written_without_a_record() {
    let scene = Scene::new(1, false, "", None, &[]);
    fs::remove_file(scene.root.path().join("record/bootstrapped")).expect("removed");
    let report = configure(&scene.options(), &RealDisk);
    assert!(matches!(&report.did, Did::Refused(reason) if reason.contains("true or false")), "{report:?}");
    assert!(!report.may_start() && scene.files().is_empty());
}
