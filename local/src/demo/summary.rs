use std::time::Duration;

use crate::tables;

/// What was claimed and has been seen, with what was measured of it.
#[derive(Debug, Default)]
pub struct Summary {
    rows: Vec<(String, String)>,
}

impl Summary {
    /// Adds a line.
    pub fn add(&mut self, claim: impl Into<String>, measured: impl Into<String>) {
        self.rows.push((claim.into(), measured.into()));
    }

    /// The table.
    pub fn table(&self) -> String {
        let mut table = tables::table(&["what happened", "measured"]);
        for (claim, measured) in &self.rows {
            table.add_row([claim, measured]);
        }
        table.trim_fmt()
    }
}

/// A duration as people compare them: milliseconds, from ten seconds on with one decimal of a second.
pub fn shown(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        format!("{} ms", duration.as_millis())
    } else {
        format!("{:.1} s", duration.as_secs_f64())
    }
}

/// The middle and the worst of some outages, one of each shard.
pub fn outages(mut silences: Vec<Duration>) -> String {
    silences.sort_unstable();
    match (silences.get(silences.len() / 2), silences.last()) {
        (Some(middle), Some(worst)) => {
            format!("{} median, {} worst of {} shards", shown(*middle), shown(*worst), silences.len())
        }
        _ => "no shard was concerned".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_as_they_are_shown() {
        assert_eq!(shown(Duration::from_millis(9_999)), "9999 ms");
        assert_eq!(shown(Duration::from_millis(12_345)), "12.3 s");
        let silences = [30, 10, 20].map(Duration::from_millis).to_vec();
        assert_eq!(outages(silences), "20 ms median, 30 ms worst of 3 shards");
        assert_eq!(outages(Vec::new()), "no shard was concerned");
    }
}
