//! The file of settings, under what the command line and the environment say.

use std::{fs, path::Path};

use serde_json::{Map, Value};

use super::{ConfigError, Settings};

/// A file of settings is not larger, in bytes.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// `settings`, with what they leave out taken from `file`: one JSON object with the flags' names.
pub(super) fn overlay(settings: Settings, file: &Path) -> Result<Settings, ConfigError> {
    let problem = |problem: String| ConfigError::file(file, problem);
    let size = fs::metadata(file).map_err(|error| problem(error.to_string()))?.len();
    if size > MAX_FILE_BYTES {
        return Err(problem(format!("it has {size} bytes: at most {MAX_FILE_BYTES} are allowed")));
    }
    let text = fs::read_to_string(file).map_err(|error| problem(error.to_string()))?;
    let mut merged: Map<String, Value> = serde_json::from_str(&text).map_err(|error| problem(error.to_string()))?;
    for (name, value) in &mut merged {
        if let Value::Number(number) = value {
            *value = Value::String(number.to_string());
        }
        if !value.is_string() {
            return Err(problem(format!("{name} is {value}: write a text or a number")));
        }
    }
    let given = serde_json::to_value(settings).map_err(|error| problem(error.to_string()))?;
    if let Value::Object(given) = given {
        merged.extend(given.into_iter().filter(|(_, value)| !value.is_null()));
    }
    serde_json::from_value(Value::Object(merged)).map_err(|error| problem(error.to_string()))
}
