use bytes::Bytes;
use kv_client::{ChangeKind, Client, Scan, Watch};

use crate::{
    arguments::{Formats, Range},
    exit::Failed,
    output::{self, Output},
};

pub struct ScanOptions {
    pub limit: u64,
    pub reverse: bool,
    pub keys_only: bool,
}

pub async fn scan(client: &Client, formats: Formats, range: Range, options: ScanOptions) -> Result<(), Failed> {
    let ScanOptions { limit, reverse, keys_only } = options;
    let mut scan = match parse(formats, range)? {
        Keys::Prefix(prefix) => Scan::prefix(prefix),
        Keys::Range(start, end) => Scan::range(start, end),
    };
    scan = scan.limit(limit);
    if reverse {
        scan = scan.reverse();
    }
    if keys_only {
        scan = scan.keys_only();
    }
    let mut pages = client.scan(scan);
    while let Some(page) = pages.next_page().await? {
        let mut text = String::new();
        for entry in &page.entries {
            match formats.output {
                Output::Json => {
                    let object = output::entry(formats, entry, !keys_only);
                    text.push_str(&serde_json::Value::Object(object).to_string());
                }
                Output::Table => {
                    text.push_str(&formats.key_format.line(&entry.key));
                    if !keys_only {
                        text.push('\t');
                        text.push_str(&formats.value_format.line(&entry.value));
                    }
                }
            }
            text.push('\n');
        }
        output::bytes(text.as_bytes())?;
    }
    Ok(())
}

pub async fn watch(
    client: &Client,
    formats: Formats,
    range: Range,
    token: Option<String>,
    count: Option<u64>,
) -> Result<(), Failed> {
    let mut watch = match parse(formats, range)? {
        Keys::Prefix(prefix) => Watch::prefix(prefix),
        Keys::Range(start, end) => Watch::range(start, end),
    };
    if let Some(token) = token {
        watch = watch.from_token(crate::format::Format::Hex.parse("token", &token)?);
    }
    let mut stream = client.watch(watch).await?;
    let mut left = count.unwrap_or(u64::MAX);
    while left > 0 {
        let changes = stream.next().await?;
        let last = changes.changes.len().saturating_sub(1);
        for (at, change) in changes.changes.iter().enumerate().take(usize::try_from(left).unwrap_or(usize::MAX)) {
            let kind = match change.kind {
                ChangeKind::Put => "put",
                ChangeKind::Delete => "delete",
                ChangeKind::Expire => "expire",
            };
            let is_put = change.kind == ChangeKind::Put;
            match formats.output {
                Output::Json => {
                    let mut object = output::entry(formats, &change.entry, is_put);
                    object.insert("kind".into(), kind.into());
                    // The token is of all changes that came together: resuming in their midst would lose the rest.
                    if at == last {
                        object.insert("token".into(), hex::encode(&changes.token).into());
                    }
                    output::json(&object)?;
                }
                Output::Table => {
                    let key = formats.key_format.line(&change.entry.key);
                    let value = if is_put { formats.value_format.line(&change.entry.value) } else { String::new() };
                    output::line(format!("{kind}\t{}\t{key}\t{value}", change.entry.revision).trim_end())?;
                }
            }
            left -= 1;
        }
    }
    Ok(())
}

enum Keys {
    Prefix(Bytes),
    Range(Bytes, Bytes),
}

fn parse(formats: Formats, Range { prefix, start, end }: Range) -> Result<Keys, Failed> {
    let key = |what: &str, text: Option<String>| match text {
        Some(text) => formats.key_format.parse(what, &text),
        None => Ok(Bytes::new()),
    };
    Ok(match prefix {
        Some(prefix) => Keys::Prefix(formats.key_format.parse("prefix", &prefix)?),
        None => Keys::Range(key("start", start)?, key("end", end)?),
    })
}
