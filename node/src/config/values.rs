//! Text → values, with errors that say what to write.

use std::{
    fmt::Display,
    net::SocketAddr,
    ops::RangeInclusive,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use clap::ValueEnum;

use super::ConfigError;

/// A setting and what was given for it.
pub(super) struct Setting<'a> {
    pub flag: &'static str,
    pub value: Option<&'a str>,
}

impl<'a> Setting<'a> {
    pub(super) fn new(flag: &'static str, value: &'a Option<String>) -> Self {
        Self { flag, value: value.as_deref() }
    }

    pub(super) fn required(&self, example: &str) -> Result<&'a str, ConfigError> {
        match self.value {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(ConfigError::missing(self.flag, example)),
        }
    }

    pub(super) fn number<N>(&self, default: N, bounds: RangeInclusive<N>) -> Result<N, ConfigError>
    where
        N: std::str::FromStr + PartialOrd + Display,
    {
        let Some(text) = self.value else { return Ok(default) };
        let wanted = format!("a number from {} to {}", bounds.start(), bounds.end());
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| self.wrong(&wanted))
    }

    pub(super) fn duration(
        &self,
        default: Duration,
        bounds: RangeInclusive<Duration>,
    ) -> Result<Duration, ConfigError> {
        let Some(text) = self.value else { return Ok(default) };
        let [low, high] = [bounds.start(), bounds.end()].map(|bound| humantime::format_duration(*bound).to_string());
        let wanted = format!("{low} to {high}, such as {}", humantime::format_duration(default));
        let duration = humantime::parse_duration(text).ok().filter(|duration| bounds.contains(duration));
        duration.ok_or_else(|| self.wrong(&wanted))
    }

    /// In bytes.
    pub(super) fn size(&self, default: u64, bounds: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let Some(text) = self.value else { return Ok(default) };
        let [low, high, default] = [*bounds.start(), *bounds.end(), default].map(format_size);
        let size = parse_size(text).filter(|size| bounds.contains(size));
        size.ok_or_else(|| self.wrong(&format!("{low} to {high}, such as {default}")))
    }

    pub(super) fn choice<C: ValueEnum>(&self, default: C) -> Result<C, ConfigError> {
        let Some(text) = self.value else { return Ok(default) };
        let names: Vec<_> = C::value_variants().iter().filter_map(ValueEnum::to_possible_value).collect();
        let names: Vec<_> = names.iter().map(clap::builder::PossibleValue::get_name).collect();
        C::from_str(text, false).map_err(|_| self.wrong(&names.join(" or ")))
    }

    /// An address to listen on.
    pub(super) fn socket(&self, default: SocketAddr) -> Result<SocketAddr, ConfigError> {
        let Some(text) = self.value else { return Ok(default) };
        let wanted = format!("an IP address and a port from 1 to 65535, such as {default}");
        text.parse().ok().filter(|address: &SocketAddr| address.port() != 0).ok_or_else(|| self.wrong(&wanted))
    }

    /// An address that others dial.
    pub(super) fn host_port(&self, text: &str) -> Result<String, ConfigError> {
        if is_host_port(text) { Ok(text.to_owned()) } else { Err(self.wrong("host:port, with a port from 1 to 65535")) }
    }

    /// `host:port,host:port/path`.
    pub(super) fn zookeeper(&self) -> Result<&'a str, ConfigError> {
        const EXAMPLE: &str = "host:port,host:port/path, such as localhost:2181/kvclusters/demo";
        let text = self.required(EXAMPLE)?;
        let Some((hosts, path)) = text.split_once('/') else { return Err(self.wrong(EXAMPLE)) };
        let names = path.split('/').all(|name| !name.is_empty() && name != "." && name != "..");
        if names && hosts.split(',').all(is_host_port) { Ok(text) } else { Err(self.wrong(EXAMPLE)) }
    }

    /// Keys, ascending.
    pub(super) fn keys(&self) -> Result<Vec<Bytes>, ConfigError> {
        let Some(text) = self.value.filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
        let keys: Option<Vec<_>> = text.split(',').map(parse_key).collect();
        let keys = keys.filter(|keys| keys.is_sorted_by(|a, b| a < b));
        keys.ok_or_else(|| {
            self.wrong("keys in ascending order with commas between, as text or 0x and hexadecimal digits")
        })
    }

    pub(super) fn wrong(&self, wanted: &str) -> ConfigError {
        ConfigError::wrong(self.flag, self.value.unwrap_or_default(), wanted)
    }
}

fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !host.is_empty() && host.bytes().all(allowed) && port.parse().is_ok_and(|port: u16| port != 0)
}

fn parse_key(text: &str) -> Option<Bytes> {
    let key = match text.strip_prefix("0x") {
        Some(digits) => {
            let (pairs, rest) = digits.as_bytes().as_chunks::<2>();
            let pair = |pair: &[u8; 2]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
            let bytes: Option<Vec<u8>> = pairs.iter().map(pair).collect();
            bytes.filter(|_| rest.is_empty())?.into()
        }
        None => Bytes::copy_from_slice(text.as_bytes()),
    };
    (!key.is_empty()).then_some(key)
}

const UNITS: [(&str, u32); 4] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];

fn parse_size(text: &str) -> Option<u64> {
    let unit = UNITS.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)));
    let (digits, shift) = unit.unwrap_or((text, 0));
    let number: u64 = digits.trim_end().parse().ok()?;
    number.checked_mul(1 << shift)
}

fn format_size(bytes: u64) -> String {
    let unit = UNITS.iter().rev().find(|(_, shift)| bytes >= 1 << shift && bytes.is_multiple_of(1 << shift));
    unit.map_or_else(|| bytes.to_string(), |(unit, shift)| format!("{}{unit}", bytes >> shift))
}

/// Without `.`, `..` and links, as far as the directories exist.
pub(super) fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    for existing in absolute.ancestors() {
        if let (Ok(found), Ok(rest)) = (existing.canonicalize(), absolute.strip_prefix(existing)) {
            return found.join(rest);
        }
    }
    absolute
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units_or_none() {
        let cases = [("4096", Some(4096)), ("64KiB", Some(65_536)), ("1 MiB", Some(1 << 20)), ("2GiB", Some(2 << 30))];
        for (text, expected) in cases {
            assert_eq!(parse_size(text), expected, "{text}");
        }
        for text in ["", "MiB", "1MB", "-1", "1.5MiB", "99999999999TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
        assert_eq!([1 << 20, 1000, 3 << 40].map(format_size), ["1MiB", "1000", "3TiB"]);
    }

    #[test]
    fn keys_are_text_or_hexadecimal_and_ascend() {
        let keys = |text: &str| Setting { flag: "--split-keys", value: Some(text) }.keys();
        assert_eq!(keys("a,0x6d00,z"), Ok(vec!["a".into(), Bytes::from_static(b"m\0"), "z".into()]));
        for text in ["b,a", "a,a", "a,,b", "0xf", "0xzz", "0x"] {
            assert!(keys(text).is_err(), "{text}");
        }
    }
}
