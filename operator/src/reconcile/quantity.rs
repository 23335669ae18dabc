//! Quantities as Kubernetes writes them: `10Gi`, `500m`, `1e3`.

/// Digits of a quantity, at most: more would not fit its bounds.
const MAX_DIGITS: usize = 24;
/// Kubernetes takes no larger number.
const MAX: u128 = i64::MAX as u128;
/// Suffixes, and what they stand for: a numerator and a denominator.
const SUFFIXES: [(&str, u128, u128); 16] = [
    ("", 1, 1),
    ("n", 1, 1_000_000_000),
    ("u", 1, 1_000_000),
    ("m", 1, 1_000),
    ("k", 1_000, 1),
    ("M", 1_000_000, 1),
    ("G", 1_000_000_000, 1),
    ("T", 1_000_000_000_000, 1),
    ("P", 1_000_000_000_000_000, 1),
    ("E", 1_000_000_000_000_000_000, 1),
    ("Ki", 1 << 10, 1),
    ("Mi", 1 << 20, 1),
    ("Gi", 1 << 30, 1),
    ("Ti", 1 << 40, 1),
    ("Pi", 1 << 50, 1),
    ("Ei", 1 << 60, 1),
];

/// A text that is no quantity, or one that is negative or beyond Kubernetes' bounds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no quantity from 0 to 2^63-1: write for example 10Gi, 500m or 2")]
pub struct QuantityError {
    text: String,
}

/// A size in bytes, rounded up.
///
/// # Errors
/// [`QuantityError`].
pub fn bytes(text: &str) -> Result<u64, QuantityError> {
    let bytes = thousandths(text)?.div_ceil(1000);
    u64::try_from(bytes).map_err(|_| QuantityError { text: text.to_owned() })
}

/// The number's thousandths, rounded up: Kubernetes keeps no more.
///
/// # Errors
/// [`QuantityError`].
pub fn thousandths(text: &str) -> Result<u128, QuantityError> {
    parse(text).ok_or_else(|| QuantityError { text: text.to_owned() })
}

fn parse(text: &str) -> Option<u128> {
    let unsigned = text.strip_prefix('+').unwrap_or(text);
    let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
    let (number, suffix) = unsigned.split_at(end);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{fraction}");
    if digits.len() > MAX_DIGITS {
        return None;
    }
    let mantissa: u128 = digits.parse().ok()?;
    let decimals = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let (numerator, denominator) = factor(suffix)?;
    let numerator = mantissa.checked_mul(numerator)?.checked_mul(1000)?;
    let thousandths = numerator.div_ceil(denominator.checked_mul(decimals)?);
    (thousandths <= MAX * 1000).then_some(thousandths)
}

fn factor(suffix: &str) -> Option<(u128, u128)> {
    if let Some((_, numerator, denominator)) = SUFFIXES.iter().find(|(known, ..)| *known == suffix) {
        return Some((*numerator, *denominator));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    let exponent: i32 = exponent.parse().ok()?;
    let power = 10_u128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_quantity_is_read() {
        let sizes = [
            ("10Gi", 10 << 30),
            ("1.5Gi", 1536 << 20),
            ("128974848", 128_974_848),
            ("129e6", 129_000_000),
            ("1E3", 1000),
        ];
        for (text, expected) in sizes {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        assert_eq!(bytes("1E"), Ok(1_000_000_000_000_000_000));
        assert_eq!([bytes("+.5k"), bytes("5."), bytes("1e-1"), bytes("0")], [Ok(500), Ok(5), Ok(1), Ok(0)]);
        let numbers = [("500m", 500), ("0.1", 100), ("2", 2000), ("1u", 1), ("100000001n", 101)];
        for (text, expected) in numbers {
            assert_eq!(thousandths(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_quantity_or_too_large_is_refused() {
        for text in
            ["", "Gi", "-1", "1.2.3", "1 Gi", "1GB", "ten", ".", "+", "1e", "1e99", "16Ei", "9999999999999999999999999"]
        {
            assert!(bytes(text).is_err(), "{text}");
        }
    }
}
