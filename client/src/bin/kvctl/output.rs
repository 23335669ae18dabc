use std::io::{self, Write as _};

use clap::ValueEnum;
use comfy_table::{CellAlignment, Table};
use kv_client::Entry;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{arguments::Formats, exit::Failed};

/// How results are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

/// Prints a line to standard output, and ends quietly when nobody reads it.
pub fn line(text: &str) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(())
}

pub fn bytes(bytes: &[u8]) -> Result<(), Failed> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// One JSON value on a line.
pub fn json(value: &impl Serialize) -> Result<(), Failed> {
    match serde_json::to_string(value) {
        Ok(text) => line(&text),
        Err(error) => Err(Failed::new(crate::exit::ERROR, format!("can't print the result: {error}"))),
    }
}

/// A table without lines; columns named in `numbers` are aligned to the right.
pub fn table(header: &[&str], numbers: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(header.to_vec());
    table.add_rows(rows);
    for (at, name) in header.iter().enumerate() {
        if let Some(column) = table.column_mut(at) {
            column.set_padding((0, 2));
            if numbers.contains(name) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
    }
    table.trim_fmt()
}

/// An entry as a JSON object.
pub fn entry(formats: Formats, entry: &Entry, with_value: bool) -> Map<String, Value> {
    let mut object = Map::new();
    let mut text = |name: &str, format: crate::format::Format, bytes: &[u8]| {
        let json = format.json(bytes);
        object.insert(name.into(), json.text.into());
        if let Some(fallback) = json.fallback {
            object.insert(format!("{name}_format"), fallback.into());
        }
    };
    text("key", formats.key_format, &entry.key);
    if with_value {
        text("value", formats.value_format, &entry.value);
    }
    object.insert("revision".into(), entry.revision.into());
    if let Some(deadline) = entry.expires_at_millis {
        object.insert("expires_at_millis".into(), deadline.into());
    }
    object
}

/// A number of bytes for people.
pub fn size(bytes: u64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", units[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;

    #[test]
    fn a_table_is_aligned_and_has_no_trailing_space() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long name".to_owned(), "200".to_owned()]];
        let text = table(&["NAME", "LAG"], &["LAG"], rows);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines, ["NAME       LAG", "a            1", "long name  200"]);
    }

    #[test]
    fn bytes_that_are_no_text_say_so_in_json() {
        let formats = Formats { output: Output::Json, key_format: Format::Utf8, value_format: Format::Utf8 };
        let binary = Entry { key: "k".into(), value: vec![0xff].into(), revision: 3, expires_at_millis: None };
        let object = Value::Object(entry(formats, &binary, true));
        let expected = serde_json::json!({"key": "k", "value": "ff", "value_format": "hex", "revision": 3});
        assert_eq!(object, expected);
        assert!(!entry(formats, &binary, false).contains_key("value"));
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([size(0), size(1023), size(1536), size(5 << 30)], ["0 B", "1023 B", "1.5 KiB", "5.0 GiB"]);
    }
}
