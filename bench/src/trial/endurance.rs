use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use tokio::{
    task::spawn_blocking,
    time::{interval, timeout},
};

use super::{Extent, begin, numbers, write};
use crate::{
    disk,
    error::{Error, Result},
    load::{Durations, Load},
    memory,
    report::{Endurance, Moment},
    system::{Kept, NODES, Setup, System},
    workload::{Operation, Workload},
};

const VALUE_BYTES: usize = 1 << 10;
/// Looks at memory and disk in a load, about: a file for each second would say no more.
const MOMENTS: u32 = 300;
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// What goes on behind the load's end, its last requests.
const ENDS_WITHIN: Duration = Duration::from_secs(120);

/// Full load for long: writes over keys that are all there.
pub(crate) async fn endurance<S: System>(
    variant: S::Variant,
    setup: Setup<'_>,
    extent: &Extent,
    in_flight: usize,
    warm_up: Duration,
) -> Result<Endurance> {
    let live_bytes = extent.endurance_bytes;
    let mut system: S = begin(variant, setup, live_bytes).await?;
    let keys = numbers(live_bytes, VALUE_BYTES, 0);
    let load = Load {
        workload: Workload { operation: Operation::Put, value_bytes: VALUE_BYTES, in_flight },
        keys: keys.end,
        prepared: true,
    };
    write(&mut system, keys, VALUE_BYTES).await?;
    let durations = Durations { warm_up, measured: extent.endurance };
    let processes: Vec<_> = (0..NODES).filter_map(|node| system.process(node)).collect();
    let (folders, Kept { copies, log_bytes }) = ((system.folders(), system.logs()), system.kept());
    let mut moments = Vec::new();
    let every = (extent.endurance / MOMENTS).max(LEAST_PAUSE);
    let driven = async {
        tokio::select! {
            sample = system.load(load, durations) => sample,
            failed = look(processes, folders, setup.directory, every, &mut moments) => Err(failed),
        }
    };
    let within = warm_up + extent.endurance + ENDS_WITHIN;
    let stuck = |_| Error::TimedOut { what: "the long load does not end", within, detail: load.workload.to_string() };
    let sample = timeout(within, driven).await.map_err(stuck)??;
    system.stop().await?;
    Ok(Endurance { live_bytes, copies, log_bytes, sample, moments })
}

/// Goes on until the disk is nearly full.
async fn look(
    processes: Vec<u32>,
    folders: (Vec<PathBuf>, Vec<PathBuf>),
    directory: &Path,
    every: Duration,
    moments: &mut Vec<Moment>,
) -> Error {
    let begun = Instant::now();
    let mut times = interval(every);
    loop {
        times.tick().await;
        let (all, logs) = folders.clone();
        // A walk through folders blocks.
        let (disk_bytes, log_bytes) = match spawn_blocking(move || (disk::used(&all), disk::used(&logs))).await {
            Ok(bytes) => bytes,
            Err(error) => return Error::request(error),
        };
        let memory = processes.iter().map(|process| memory::of(*process).unwrap_or_default()).collect();
        moments.push(Moment { seconds: begun.elapsed().as_secs_f64(), memory, disk_bytes, log_bytes });
        if let Err(full) = disk::check_room(directory, 0) {
            return full;
        }
    }
}
