use crate::{
    error::{Error, Result},
    fill::fill,
    load::{Durations, Load},
    report::GrowthPoint,
    system::{Setup, System},
    trial::Extent,
    workload::{Operation, Workload},
};

const VALUE_BYTES: usize = 100;

/// Writes a second with more and more keys, and with more and more shards, each on a cluster of its own.
pub(crate) async fn growth<S: System>(
    variant: S::Variant,
    setup: Setup<'_>,
    extent: &Extent,
    in_flight: usize,
    durations: Durations,
) -> Result<Vec<GrowthPoint>> {
    let mut found = Vec::new();
    for (keys, shards) in points(extent) {
        eprintln!("kv-bench: growth: {keys} keys, {shards} shards");
        let mut system = S::start(variant, Setup { shards: Some(shards), ..setup }).await?;
        let workload = Workload { operation: Operation::Put, value_bytes: VALUE_BYTES, in_flight };
        // A first write of a key costs another than the next one.
        fill(&system.writers(in_flight).await?, 0..keys, VALUE_BYTES).await?;
        let load = Load { workload, keys, prepared: true };
        let sample = system.load(load, durations).await?;
        eprintln!("kv-bench: growth: {keys} keys, {shards} shards: {:.0}/s", sample.rate());
        found.push(GrowthPoint { keys, shards, in_flight, sample });
        system.stop().await?;
        std::fs::remove_dir_all(setup.directory).map_err(kv_local::Error::file("remove", setup.directory))?;
    }
    if found.is_empty() { Err(Error::request("no number of keys and shards is given")) } else { Ok(found) }
}

/// Keys and shards: first the least of both, then more of the one or the other.
fn points(extent: &Extent) -> Vec<(u64, usize)> {
    let (Some(keys), Some(shards)) = (extent.growth_keys.first(), extent.growth_shards.first()) else {
        return Vec::new();
    };
    let more_keys = extent.growth_keys.iter().map(|keys| (*keys, *shards));
    let more_shards = extent.growth_shards.iter().skip(1).map(|shards| (*keys, *shards));
    more_keys.chain(more_shards).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn one_thing_grows_at_a_time() {
        let extent = Extent {
            handovers: 1,
            start_bytes: 1,
            rest: Duration::ZERO,
            catch_up_bytes: 1,
            endurance_bytes: 1,
            endurance: Duration::ZERO,
            growth_keys: vec![10, 1_000],
            growth_shards: vec![12, 100],
        };
        assert_eq!(points(&extent), [(10, 12), (1_000, 12), (10, 100)]);
    }
}
