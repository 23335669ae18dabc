//! docs/configuration.md says of each flag what the program does: its default, and the bounds of its values.

#![allow(clippy::expect_used, clippy::panic, reason = "helpers of tests are tests")]

use std::collections::BTreeMap;

use clap::{CommandFactory as _, Parser as _};
use kv_node::config::{Arguments, ValidatedConfig};

const PAGE: &str = include_str!("../../docs/configuration.md");

/// A row of one of the page's tables of flags.
struct Row {
    flag: &'static str,
    default: &'static str,
    bounds: &'static str,
}

fn rows() -> Vec<Row> {
    let flags = PAGE.lines().filter_map(|line| line.strip_prefix("| `--"));
    let rows = flags.map(|line| {
        let cells: Vec<_> = line.split(" | ").collect();
        let [name, default, bounds, _] = cells[..] else { panic!("not a row of four cells: {line}") };
        Row { flag: name.trim_end_matches('`'), default, bounds }
    });
    rows.collect()
}

/// With `--flag value` beside what is needed.
fn configured(flag: &str, value: &str) -> Result<String, String> {
    let needed = ["kv-node", "run", "--name=kv-0", "--zookeeper=h:1/p", "--advertise=h:1", "--data=/a", "--bkpdata=/b"];
    let given = (!flag.is_empty()).then(|| format!("--{flag}={value}"));
    let arguments = needed.into_iter().map(str::to_owned).chain(given);
    let arguments = Arguments::try_parse_from(arguments).map_err(|error| error.to_string())?;
    let config = ValidatedConfig::from_arguments(arguments).map_err(|error| error.to_string())?;
    Ok(format!("{config:?}"))
}

/// As it is typed: `64 MiB` is `64MiB`, `10,000` is `10000`.
fn typed(cell: &str) -> String {
    cell.replace(['`', ',', ' '], "")
}

/// The smallest steps that a value is written in, as (number of steps, unit to write).
fn steps(cell: &str) -> Option<(u64, &'static str)> {
    const UNITS: [(&str, u64, &str); 11] = [
        ("KiB", 1 << 10, ""),
        ("MiB", 1 << 20, ""),
        ("GiB", 1 << 30, ""),
        ("TiB", 1 << 40, ""),
        ("ms", 1, "ms"),
        ("min", 60_000, "ms"),
        ("days", 86_400_000, "ms"),
        ("day", 86_400_000, "ms"),
        ("h", 3_600_000, "ms"),
        ("s", 1000, "ms"),
        ("", 1, ""),
    ];
    let text = typed(cell);
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let (_, factor, written) = UNITS.iter().find(|(name, ..)| *name == unit)?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    Some((number * factor, written))
}

#[test]
fn a_flag_without_a_value_has_the_described_default() {
    let unset = configured("", "").expect("nothing else is needed");
    let mut checked = 0;
    for Row { flag, default, .. } in rows() {
        // "none", a dash or a sentence: there is nothing to type.
        if steps(default).is_some() || default.starts_with('`') {
            assert_eq!(
                configured(flag, &typed(default)).as_ref(),
                Ok(&unset),
                "--{flag}: {default} is not its default"
            );
            checked += 1;
        }
    }
    assert!(checked >= 20, "only {checked} defaults were found: has the page's form changed?");
}

#[test]
fn a_flag_takes_values_up_to_its_described_bounds_and_no_others() {
    let mut checked = 0;
    for Row { flag, bounds, .. } in rows() {
        let Some((low, high)) = bounds.split_once(" to ") else { continue };
        let (Some((low, low_unit)), Some((high, high_unit))) = (steps(low), steps(high)) else { continue };
        // A low bound is written without its unit where both have the same.
        let low_unit = if low_unit.is_empty() { high_unit } else { low_unit };
        for (steps, unit) in [(low, low_unit), (high, high_unit)] {
            let value = format!("{steps}{unit}");
            configured(flag, &value).unwrap_or_else(|error| panic!("--{flag} {value} is within {bounds}: {error}"));
        }
        let below = low.checked_sub(1).map(|below| format!("{below}{low_unit}"));
        for value in below.into_iter().chain([format!("{}{high_unit}", high + 1)]) {
            let error = configured(flag, &value).expect_err(&format!("--{flag} {value} is not within {bounds}"));
            assert!(error.contains(&format!("--{flag}")) && error.contains(&value), "{error}");
        }
        checked += 1;
    }
    assert!(checked >= 15, "only {checked} bounds were found: has the page's form changed?");
}

/// What both say is compared as far as the help says it.
#[test]
fn the_help_says_the_same() {
    let command = Arguments::command();
    let run = command.find_subcommand("run").expect("there is one command");
    let arguments = run.get_arguments().filter(|argument| argument.get_id() != "help");
    let helps = arguments.map(|argument| {
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        (argument.get_long().expect("all have long names").to_owned(), help)
    });
    let mut helps: BTreeMap<String, String> = helps.collect();
    for Row { flag, default, .. } in rows() {
        let help = helps.remove(flag).unwrap_or_else(|| panic!("there is no --{flag}"));
        let said = help.split_once("[default: ").map(|(_, rest)| rest.trim_end_matches(']'));
        let described = steps(default).is_some() || default.starts_with('`');
        if let Some(said) = said.filter(|_| described) {
            let same = typed(default) == said || steps(default) == steps(&said.replace("10m", "10min"));
            assert!(same, "--{flag}: the page says {default}, the help {said}");
        } else {
            assert!(!described, "--{flag}: the page says {default}, the help nothing");
        }
    }
    assert!(helps.is_empty(), "not on the page: {:?}", helps.keys());
}
