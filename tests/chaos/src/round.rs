use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kv_client::{Client, Put};
use kv_local::LocalCluster;
use serde::Serialize;
use tokio::time::sleep;

use crate::{
    Result,
    history::{History, Log, Of},
    journal::Journal,
    judge::{self, Judgement, Kind, Violation},
    keys::Keys,
    load::{Clients, Load},
    machine::Machine,
    nemesis::Nemesis,
    observe,
    plan::{self, Fault},
    report::{self, RoundReport},
    scans,
    settings::{Settings, Size},
    watches::{Stretch, Watcher},
};

/// What means "stuck" for a start.
const STARTED_WITHIN: Duration = Duration::from_secs(120);
/// How long a cluster may take to be whole again when everything is healed: some seconds are expected.
pub const RECOVERED_WITHIN: Duration = Duration::from_secs(120);
/// How long the last changes may take to reach watches, and what has a deadline to vanish.
const TOLD_WITHIN: Duration = Duration::from_secs(30);
/// Time that clients have before the first fault, and after the last.
const UNDISTURBED: Duration = Duration::from_secs(1);
/// How often one of the watches goes on through another.
const HOP: Duration = Duration::from_secs(4);
/// Pause between attempts.
const AGAIN: Duration = Duration::from_millis(100);

/// What round to run.
#[derive(Clone, Debug)]
pub struct Round {
    /// Draws everything.
    pub seed: u64,
    /// How big the cluster may be.
    pub size: Size,
    /// For how many seconds faults begin, instead of what the seed draws.
    pub seconds: Option<u64>,
    /// Only faults of these kinds; all if there are none.
    pub only: Vec<Fault>,
    /// Where the round gets a directory of its own. It is removed if all was well.
    pub directory: PathBuf,
}

/// What a round leaves behind for its judge.
struct Told {
    journal: Journal,
    failures: Vec<String>,
    recovered: std::result::Result<Duration, String>,
    log: Log,
    beats: Vec<crate::load::Beat>,
    watches: Vec<Vec<Stretch>>,
}

impl Round {
    /// Where its files are.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.directory.join(format!("round-{}", self.seed))
    }

    /// Runs it and judges it.
    ///
    /// # Errors
    /// What kept it from being run: a program that is missing, a cluster that does not start.
    pub async fn run(&self) -> Result<RoundReport> {
        let began = Instant::now();
        let mut settings = Settings::draw(self.seed, self.size);
        settings.seconds = self.seconds.unwrap_or(settings.seconds);
        let directory = self.files();
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        let directory = fs::canonicalize(directory)?;
        let mut machine = Machine::new(&directory);
        let small = machine.prepare(&directory, settings.small_volume)?;
        let told = Box::pin(self.disturb(&settings, &directory, &machine, small)).await?;
        machine.clean();

        let judging = Instant::now();
        let Told { journal, failures, recovered, log, beats, watches } = told;
        let (log, Judgement { mut violations, undecided, watched }) = tokio::task::spawn_blocking(move || {
            let judgement = judge::judge(&log, &watches);
            (log, judgement)
        })
        .await?;
        violations.extend(failures.into_iter().map(|what| Violation { kind: Kind::Process, what }));
        violations.extend(judge::processes(&directory));
        if let Err(what) = &recovered {
            violations.push(Violation { kind: Kind::Recovery, what: what.clone() });
        }
        let report = RoundReport {
            outages: report::outages(&journal, &beats),
            faults: journal.entries,
            operations: log.counts.iter().map(|(kind, counts)| ((*kind).to_owned(), *counts)).collect(),
            recovered_millis: recovered.ok().map(report::millis),
            watched,
            judged_millis: report::millis(judging.elapsed()),
            took_millis: report::millis(began.elapsed()),
            undecided,
            violations,
            settings,
        };
        if report.violations.is_empty() && report.undecided.is_empty() {
            fs::remove_dir_all(&directory)?;
        } else {
            keep(&directory, &report, &log)?;
        }
        Ok(report)
    }

    async fn disturb(
        &self,
        settings: &Settings,
        directory: &Path,
        machine: &Machine,
        small: Option<PathBuf>,
    ) -> Result<Told> {
        let mut options = settings.options();
        options.directory = Some(directory.to_owned());
        if settings.clocks {
            options.node_environment = machine.clock_environment();
            for node in 0..settings.nodes {
                machine.set_clock(&format!("kv-{node}"), 0)?;
            }
        }
        let mut cluster = LocalCluster::start(options).await?;
        let (description, _) = observe::until_whole(&mut cluster, STARTED_WITHIN).await?;
        let keys = Arc::new(Keys::of(&description));
        let history = Arc::new(History::default());
        let clients = Clients::connect(&cluster).await?;
        for (key, value) in &keys.steady {
            clients.application.put((key.clone(), value.clone())).await?;
        }
        let hops = [(&clients.application, None), (&clients.unary, None), (&clients.unary, Some(HOP))];
        let watchers = hops.map(|(client, hops)| Watcher::start(client.clone(), Arc::clone(&history), hops));
        let load = Load::start(&clients, &history, &keys, self.seed);
        sleep(UNDISTURBED).await;

        // A wall clock that this round's nodes don't have would only make it shorter.
        let drawn = Fault::all().filter(|fault| settings.clocks || *fault != Fault::WallClock);
        let only: Vec<_> = drawn.filter(|fault| self.only.is_empty() || self.only.contains(fault)).collect();
        let plan = plan::draw(self.seed, Duration::from_secs(settings.seconds), &only);
        let mut nemesis = Nemesis::new(&mut cluster, settings, machine, small);
        nemesis.run(&plan).await?;
        let recovered = nemesis.whole(RECOVERED_WITHIN).await?;
        let (journal, mut failures) = (nemesis.journal, nemesis.failures);
        if recovered.is_ok() {
            sleep(UNDISTURBED).await;
        }
        let beats = load.stop().await?;
        failures.extend(self.look_again(&clients, &history, &keys).await);
        let deadline = tokio::time::Instant::now() + TOLD_WITHIN;
        let mut watches = Vec::new();
        for watcher in watchers {
            watches.push(watcher.finish(&keys.last, deadline).await);
        }
        // A violation of time has something to be looked at.
        if recovered.is_err() {
            let described = observe::description(&mut cluster).await;
            fs::write(directory.join("description.txt"), format!("{described:#?}\n"))?;
        }
        drop(cluster);
        Ok(Told { journal, failures, recovered, log: history.take(), beats, watches })
    }

    /// Everything is read once more, watches are given a last change of each shard, and what has a deadline vanishes.
    async fn look_again(&self, clients: &Clients, history: &History, keys: &Keys) -> Vec<String> {
        let of = Of { number: u64::MAX, client: clients.application.clone() };
        let mut failures = Vec::new();
        for key in keys.changing() {
            if history.get(&of, &key, false).await.is_none() && history.get(&of, &key, true).await.is_none() {
                failures.push(format!("{} can't be read when everything is healed", key.escape_ascii()));
            }
        }
        scans::scan(history, keys, &of, 50, false).await;
        for key in &keys.last {
            if let Err(error) = brief(&of.client, key).await {
                failures.push(format!("{}: {error}", key.escape_ascii()));
            }
        }
        failures
    }
}

/// Sets a key for a second, and waits until it is gone.
async fn brief(client: &Client, key: &Bytes) -> Result<()> {
    client.put(Put::new(key.clone(), "for a second").ttl(Duration::from_secs(1))).await?;
    let began = Instant::now();
    while client.get(key.clone()).await?.is_some() {
        if began.elapsed() > TOLD_WITHIN {
            return Err(format!("it was to live for a second and is there after {TOLD_WITHIN:?}").into());
        }
        sleep(AGAIN).await;
    }
    Ok(())
}

/// Beside the logs: what happened, for people and for programs.
fn keep(directory: &Path, report: &RoundReport, log: &Log) -> Result<()> {
    #[derive(Serialize)]
    struct Contents<'a> {
        report: &'a RoundReport,
    }
    fs::write(directory.join("report.json"), serde_json::to_vec_pretty(&Contents { report })?)?;
    let lines = |lines: Vec<String>| lines.join("\n") + "\n";
    let faults = report.faults.iter().map(crate::journal::Entry::line).collect();
    fs::write(directory.join("faults.txt"), lines(faults))?;
    let violations = report.violations.iter().map(ToString::to_string).collect();
    fs::write(directory.join("violations.txt"), lines(violations))?;
    let operations = log.operations.iter().map(|operation| format!("{} {operation}", operation.key.escape_ascii()));
    fs::write(directory.join("history.txt"), lines(operations.collect()))?;
    fs::write(directory.join("failures.txt"), lines(log.failures.clone()))?;
    Ok(())
}
