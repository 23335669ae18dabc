//! The settings that are flags of a node, with the bounds of docs/configuration.md: a node that was given others would end
//! at once, again and again.

use std::time::Duration;

use super::Invalid;
use crate::api::{LogFormat, Settings};

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;
const DAY: Duration = Duration::from_hours(24);

/// What a setting may be.
enum Bounds {
    /// Shortest and longest.
    Duration(Duration, Duration),
    /// Smallest and largest, in bytes.
    Size(u64, u64),
}

/// A setting of the resource that is a flag of the node.
struct Setting<'a> {
    flag: &'static str,
    field: &'static str,
    value: &'a Option<String>,
    bounds: Bounds,
    example: &'static str,
}

/// The flags for the settings that the resource has, in a fixed order. `smallest_volume` is in bytes.
pub(super) fn setting_flags(settings: &Settings, smallest_volume: u64) -> Result<Vec<(String, String)>, Invalid> {
    let mut flags = Vec::new();
    for setting in table(settings) {
        let Some(value) = setting.value else { continue };
        setting.check(value).map_err(|message| Invalid::new("InvalidSetting", message))?;
        flags.push((setting.flag.to_owned(), value.clone()));
    }
    if let Some(retention) = &settings.log_retention
        && parse_size(retention).is_some_and(|bytes| bytes > smallest_volume / 2)
    {
        let message = format!(
            "spec.settings.logRetention is {retention}: the log would fill a volume of {} MiB: write at most half of that, or \
             raise spec.storage",
            smallest_volume / MIB
        );
        return Err(Invalid::new("InvalidSetting", message));
    }
    let format = match settings.log_format {
        LogFormat::Text => "text",
        LogFormat::Json => "json",
    };
    flags.push(("log-format".to_owned(), format.to_owned()));
    Ok(flags)
}

fn table(settings: &Settings) -> [Setting<'_>; 8] {
    let millis = Duration::from_millis;
    let seconds = Duration::from_secs;
    let setting = |flag, field, value, bounds, example| Setting { flag, field, value, bounds, example };
    [
        setting("lease", "lease", &settings.lease, Bounds::Duration(millis(100), seconds(10)), "800ms"),
        setting(
            "session-timeout",
            "sessionTimeout",
            &settings.session_timeout,
            Bounds::Duration(seconds(1), seconds(60)),
            "6s",
        ),
        setting("rehome-after", "rehomeAfter", &settings.rehome_after, Bounds::Duration(seconds(1), 7 * DAY), "10m"),
        setting("value-limit", "valueLimit", &settings.value_limit, Bounds::Size(KIB, 16 * MIB), "1MiB"),
        setting(
            "request-timeout",
            "requestTimeout",
            &settings.request_timeout,
            Bounds::Duration(millis(10), seconds(60)),
            "5s",
        ),
        setting("log-retention", "logRetention", &settings.log_retention, Bounds::Size(MIB, TIB), "256MiB"),
        setting("memtable-size", "memtableSize", &settings.memtable_size, Bounds::Size(MIB, GIB), "16MiB"),
        setting("split-size", "splitSize", &settings.split_size, Bounds::Size(MIB, TIB), "256MiB"),
    ]
}

impl Setting<'_> {
    fn check(&self, value: &str) -> Result<(), String> {
        let (holds, low, high) = match self.bounds {
            Bounds::Duration(low, high) => {
                let within = humantime::parse_duration(value).is_ok_and(|duration| (low..=high).contains(&duration));
                (within, humantime::format_duration(low).to_string(), humantime::format_duration(high).to_string())
            }
            Bounds::Size(low, high) => {
                let within = parse_size(value).is_some_and(|size| (low..=high).contains(&size));
                (within, format_size(low), format_size(high))
            }
        };
        let Self { field, example, .. } = self;
        if holds {
            Ok(())
        } else {
            Err(format!("spec.settings.{field} is {value:?}: write {low} to {high}, such as {example}"))
        }
    }
}

const UNITS: [(&str, u64); 4] = [("TiB", TIB), ("GiB", GIB), ("MiB", MIB), ("KiB", KIB)];

/// As a node reads it.
fn parse_size(text: &str) -> Option<u64> {
    let unit = UNITS.iter().find_map(|(unit, bytes)| Some((text.strip_suffix(unit)?, *bytes)));
    let (digits, bytes) = unit.unwrap_or((text, 1));
    digits.parse::<u64>().ok()?.checked_mul(bytes)
}

fn format_size(bytes: u64) -> String {
    let unit = UNITS.iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}
