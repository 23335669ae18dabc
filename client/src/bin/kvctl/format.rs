use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use clap::ValueEnum;

use crate::exit::Failed;

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// As they are. What is not UTF-8 is printed with \xNN in tables, and in hexadecimal in JSON.
    #[default]
    Utf8,
    /// Two hexadecimal digits a byte.
    Hex,
    /// Base 64 with padding.
    Base64,
}

/// Bytes in JSON: the text, and its format if it had to be another one than asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct JsonText {
    pub text: String,
    pub fallback: Option<&'static str>,
}

impl Format {
    pub fn parse(self, what: &str, text: &str) -> Result<Bytes, Failed> {
        match self {
            Self::Utf8 => Ok(Bytes::copy_from_slice(text.as_bytes())),
            Self::Hex => match hex::decode(text) {
                Ok(bytes) => Ok(bytes.into()),
                Err(error) => Err(Failed::usage(format!("{what} {text:?} is not hexadecimal: {error}"))),
            },
            Self::Base64 => match STANDARD.decode(text) {
                Ok(bytes) => Ok(bytes.into()),
                Err(error) => Err(Failed::usage(format!("{what} {text:?} is not base 64: {error}"))),
            },
        }
    }

    /// What a file or standard input holds: bytes as they are, or text with white space around it.
    pub fn parse_content(self, what: &str, content: Vec<u8>) -> Result<Bytes, Failed> {
        match self {
            Self::Utf8 => Ok(content.into()),
            Self::Hex | Self::Base64 => match std::str::from_utf8(&content) {
                Ok(text) => self.parse(what, text.trim()),
                Err(_) => Err(Failed::usage(format!("{what} is not text: give --value-format utf8 for raw bytes"))),
            },
        }
    }

    /// For one line of text: control characters and what is not UTF-8 are escaped.
    pub fn line(self, bytes: &[u8]) -> String {
        match (self, std::str::from_utf8(bytes)) {
            (Self::Utf8, Ok(text)) if !text.contains(char::is_control) => text.to_owned(),
            (Self::Utf8, _) => bytes.escape_ascii().to_string(),
            (Self::Hex, _) => hex::encode(bytes),
            (Self::Base64, _) => STANDARD.encode(bytes),
        }
    }

    /// For a whole output: bytes as they are.
    pub fn content(self, bytes: &Bytes) -> Bytes {
        match self {
            Self::Utf8 => bytes.clone(),
            Self::Hex | Self::Base64 => self.line(bytes).into(),
        }
    }

    pub fn json(self, bytes: &[u8]) -> JsonText {
        match (self, std::str::from_utf8(bytes)) {
            (Self::Utf8, Ok(text)) => JsonText { text: text.to_owned(), fallback: None },
            (Self::Utf8, Err(_)) => JsonText { text: hex::encode(bytes), fallback: Some("hex") },
            (Self::Hex | Self::Base64, _) => JsonText { text: self.line(bytes), fallback: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_gives_back_what_it_printed() {
        let bytes = b"\x00\xff key";
        for format in [Format::Hex, Format::Base64] {
            assert_eq!(format.parse("key", &format.line(bytes)).expect("own output"), &bytes[..]);
        }
        assert_eq!(Format::Utf8.parse("key", "grün").expect("text"), "grün".as_bytes());
        assert!(Format::Hex.parse("key", "0g").is_err_and(|failed| failed.code == 2));
        assert!(Format::Base64.parse("key", "=").is_err_and(|failed| failed.code == 2));
    }

    #[test]
    fn a_line_stays_one_line_and_json_stays_exact() {
        assert_eq!(Format::Utf8.line("grün".as_bytes()), "grün");
        assert_eq!(Format::Utf8.line(b"a\tb\n"), "a\\tb\\n");
        assert_eq!(Format::Utf8.line(b"\xff"), "\\xff");
        assert_eq!(Format::Utf8.json(b"a\n"), JsonText { text: "a\n".into(), fallback: None });
        assert_eq!(Format::Utf8.json(b"\xff"), JsonText { text: "ff".into(), fallback: Some("hex") });
    }

    #[test]
    fn content_in_a_text_format_may_end_its_line() {
        assert_eq!(Format::Hex.parse_content("value", b"0aff\n".to_vec()).expect("hex"), &b"\x0a\xff"[..]);
        assert_eq!(Format::Utf8.parse_content("value", b"v\n".to_vec()).expect("raw"), "v\n");
        assert!(Format::Hex.parse_content("value", vec![0xff]).is_err());
    }
}
