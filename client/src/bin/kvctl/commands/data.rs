use std::{
    fs::File,
    io::{self, Read},
};

use bytes::Bytes;
use kv_client::{Client, Delete, Entry, Get, Put};
use serde_json::{Map, Value, json};

use crate::{
    arguments::{Formats, PutArguments},
    exit::{self, Failed},
    output::{self, Output},
};

/// A value that is read from a file or standard input has at most so many bytes: more than any cluster takes.
const MAX_INPUT_BYTES: u64 = 64 << 20;

pub async fn get(client: &Client, formats: Formats, key: &str, raw: bool, confirmed: bool) -> Result<(), Failed> {
    let mut request = Get::new(formats.key_format.parse("key", key)?);
    if confirmed {
        request = request.confirmed();
    }
    let Some(entry) = client.get(request).await? else {
        return Err(Failed::new(exit::NOT_FOUND, format!("there is no key {key:?}")));
    };
    match formats.output {
        Output::Json => output::json(&output::entry(formats, &entry, true)),
        Output::Table if raw => output::bytes(&entry.value),
        Output::Table => {
            let value = formats.value_format.content(&entry.value);
            output::bytes(&[value.as_ref(), b"\n"].concat())
        }
    }
}

pub async fn put(client: &Client, formats: Formats, arguments: PutArguments) -> Result<(), Failed> {
    let PutArguments { key, value, file, expected_revision, must_not_exist, ttl, previous } = arguments;
    let key = formats.key_format.parse("key", &key)?;
    let value = match (value, file) {
        (_, Some(path)) => {
            let name = format!("file {}", path.display());
            let file = File::open(&path).map_err(|error| Failed::new(exit::ERROR, format!("{name}: {error}")))?;
            read(formats, &name, file)?
        }
        (Some(value), None) if value == "-" => read(formats, "standard input", io::stdin().lock())?,
        (Some(value), None) => formats.value_format.parse("value", &value)?,
        (None, None) => return Err(Failed::usage("give a value, - or --file")),
    };
    let mut request = Put::new(key, value);
    if let Some(revision) = expected_revision {
        request = request.expected_revision(revision);
    }
    if must_not_exist {
        request = request.must_not_exist();
    }
    if let Some(ttl) = ttl {
        request = request.ttl(ttl);
    }
    if previous {
        request = request.return_previous();
    }
    let answer = client.put(request).await?;
    report(formats, answer.revision, previous, answer.previous.as_ref(), None)
}

pub async fn delete(
    client: &Client,
    formats: Formats,
    key: &str,
    expected_revision: Option<u64>,
    previous: bool,
) -> Result<(), Failed> {
    let mut request = Delete::new(formats.key_format.parse("key", key)?);
    if let Some(revision) = expected_revision {
        request = request.expected_revision(revision);
    }
    if previous {
        request = request.return_previous();
    }
    let answer = client.delete(request).await?;
    report(formats, answer.revision, previous, answer.previous.as_ref(), Some(answer.existed))
}

/// What a write came to.
fn report(
    formats: Formats,
    revision: u64,
    asked: bool,
    previous: Option<&Entry>,
    existed: Option<bool>,
) -> Result<(), Failed> {
    if formats.output == Output::Json {
        let mut object = Map::new();
        object.insert("revision".into(), revision.into());
        if let Some(existed) = existed {
            object.insert("existed".into(), existed.into());
        }
        if asked {
            let previous = previous.map(|entry| Value::Object(output::entry(formats, entry, true)));
            object.insert("previous".into(), json!(previous));
        }
        return output::json(&object);
    }
    match existed {
        Some(false) => output::line("there was no such key")?,
        _ => output::line(&format!("revision {revision}"))?,
    }
    match previous {
        Some(entry) => {
            let value = formats.value_format.line(&entry.value);
            output::line(&format!("previous (revision {}): {value}", entry.revision))
        }
        None => Ok(()),
    }
}

fn read(formats: Formats, name: &str, from: impl Read) -> Result<Bytes, Failed> {
    let mut content = Vec::new();
    let read = from.take(MAX_INPUT_BYTES + 1).read_to_end(&mut content);
    read.map_err(|error| Failed::new(exit::ERROR, format!("{name}: {error}")))?;
    if content.len() as u64 > MAX_INPUT_BYTES {
        return Err(Failed::usage(format!("{name} is too long: a value has at most {MAX_INPUT_BYTES} bytes")));
    }
    formats.value_format.parse_content(name, content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::Format;

    #[test]
    fn an_endless_input_is_refused() {
        let formats = Formats { output: Output::Table, key_format: Format::Utf8, value_format: Format::Utf8 };
        assert!(read(formats, "standard input", io::repeat(0)).is_err_and(|failed| failed.code == exit::USAGE));
        assert_eq!(read(formats, "standard input", &b"v\n"[..]).expect("short"), "v\n");
    }
}
