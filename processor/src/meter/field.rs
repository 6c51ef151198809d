//! How does a JSON value become what a field declares? Exactly, or not at all.
//!
//! A decimal field takes numbers and numeric strings; a text field takes any scalar, a number as its canonical text;
//! a boolean field takes booleans. Missing and null are absent, which is an answer and not a fault: whether a
//! meter can do without is decided where the value is used.
//!
//! Keeps: no binary float, no rounding. `NaN` is a string that is not a number.

use std::borrow::Cow;
use std::fmt;

use tidemark_schemas::decimal::{Decimal, NumberError};
use tidemark_schemas::meter::FieldKind;

use crate::field_value::FieldValue;

/// Decimal digits that Arrow's widest 128-bit decimal type holds.
pub(super) const PRECISION_MAX: u8 = 38;

/// Digits that always fit 64 bits.
const SHORT_DIGITS_MAX: usize = 18;

/// Characters of a sender's text that a reason repeats.
const QUOTED_CHARS_MAX: usize = 64;

/// `10^n` for every scale of a decimal field.
const POWERS: [i128; PRECISION_MAX as usize + 1] = {
    let mut powers = [1; PRECISION_MAX as usize + 1];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};

/// A field of a meter, resolved to a place in the rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub name: String,
    /// JSONPath, for reasons.
    pub path: String,
    pub slot: usize,
    pub kind: FieldKind,
}

/// Why a value is not what its field declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    Missing,
    Null,
    Structure,
    Boolean(bool),
    NotBoolean(String),
    Number(NumberError),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it is missing"),
            Self::Null => f.write_str("it is null"),
            Self::Structure => f.write_str("it is an object or an array"),
            Self::Boolean(value) => write!(f, "it is the boolean {value}"),
            Self::NotBoolean(text) => write!(f, "it is `{text}`"),
            Self::Number(error) => write!(f, "{error}"),
        }
    }
}

impl Column {
    /// The sentence for a person: which field, what was found, what is allowed.
    pub fn refusal(&self, unfit: &Unfit) -> String {
        let allowed = match self.kind {
            FieldKind::Decimal { scale } => {
                format!(
                    "a number, or a string with one, with at most {scale} fractional digits and 38 digits in all"
                )
            }
            FieldKind::Text => "a string, a number or a boolean".to_owned(),
            FieldKind::Boolean => "true or false".to_owned(),
        };
        format!("the field `{}` at {} cannot be taken: {unfit}; allowed is {allowed}", self.name, self.path)
    }

    /// Whether the event has nothing there.
    pub fn absence(value: &FieldValue<'_>) -> Option<Unfit> {
        match value {
            FieldValue::Missing => Some(Unfit::Missing),
            FieldValue::Null => Some(Unfit::Null),
            _ => None,
        }
    }
}

/// A count of `10^-scale`, below `10^38` in magnitude; `None` when absent.
pub(super) fn decimal(value: &FieldValue<'_>, scale: u32) -> Result<Option<i128>, Unfit> {
    let text = match value {
        FieldValue::Missing | FieldValue::Null => return Ok(None),
        FieldValue::Number(text) | FieldValue::Text(text) => text,
        FieldValue::Boolean(value) => return Err(Unfit::Boolean(*value)),
        FieldValue::Structure => return Err(Unfit::Structure),
    };
    if let Some(count) = short_decimal(text, scale) {
        return Ok(Some(count));
    }
    let exact = text.parse::<Decimal>().and_then(|number| number.to_scaled(scale)).map_err(Unfit::Number)?;
    if exact.unsigned_abs() >= POWERS[usize::from(PRECISION_MAX)].unsigned_abs() {
        return Err(Unfit::Number(NumberError::Overflow));
    }
    Ok(Some(exact))
}

/// The common case without 128-bit multiplications: at most 18 digits, no exponent, no digit beyond the scale.
fn short_decimal(text: &str, scale: u32) -> Option<i128> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if unsigned.len() > SHORT_DIGITS_MAX || !unsigned.ends_with(|last: char| last.is_ascii_digit()) {
        return None;
    }
    let (mut digits, mut fraction, mut after_point) = (0_i64, 0, 0);
    for byte in unsigned.bytes() {
        match byte {
            b'0'..=b'9' => {
                digits = digits * 10 + i64::from(byte - b'0');
                fraction += after_point;
            }
            b'.' if after_point == 0 => after_point = 1,
            _ => return None,
        }
    }
    let missing = scale.checked_sub(fraction)? as usize;
    let signed = i128::from(if negative { -digits } else { digits });
    signed.checked_mul(*POWERS.get(missing)?)
}

/// `None` when absent.
pub(super) fn text<'v>(value: &'v FieldValue<'_>) -> Result<Option<Cow<'v, str>>, Unfit> {
    match value {
        FieldValue::Missing | FieldValue::Null => Ok(None),
        FieldValue::Text(text) => Ok(Some(Cow::Borrowed(text))),
        FieldValue::Number(text) => Ok(Some(canonical_number(text))),
        FieldValue::Boolean(true) => Ok(Some(Cow::Borrowed("true"))),
        FieldValue::Boolean(false) => Ok(Some(Cow::Borrowed("false"))),
        FieldValue::Structure => Err(Unfit::Structure),
    }
}

/// `None` when absent.
pub(super) fn boolean(value: &FieldValue<'_>) -> Result<Option<bool>, Unfit> {
    match value {
        FieldValue::Missing | FieldValue::Null => Ok(None),
        FieldValue::Boolean(value) => Ok(Some(*value)),
        FieldValue::Number(text) | FieldValue::Text(text) => {
            Err(Unfit::NotBoolean(text.chars().take(QUOTED_CHARS_MAX).flat_map(char::escape_debug).collect()))
        }
        FieldValue::Structure => Err(Unfit::Structure),
    }
}

/// The value of a dimension, as text; absent is the empty text, so that a group exists for it.
pub(super) fn dimension<'v>(value: &'v FieldValue<'_>, kind: FieldKind) -> Result<Cow<'v, str>, Unfit> {
    match (value, kind) {
        (FieldValue::Text(text), FieldKind::Decimal { .. }) => Ok(canonical_number(text)),
        _ => Ok(text(value)?.unwrap_or_default()),
    }
}

/// Plain notation without superfluous zeros; a number too large for that stays as it was written.
fn canonical_number(text: &str) -> Cow<'_, str> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (!text.starts_with('0') || text == "0");
    if plain {
        return Cow::Borrowed(text);
    }
    text.parse::<Decimal>().map_or(Cow::Borrowed(text), |number| Cow::Owned(number.to_string()))
}

/// `count` of `10^-from` as a count of `10^-to`. `None` when digits would be lost or the result does not fit.
pub(super) fn rescaled(count: i128, from: i32, to: u32) -> Option<i128> {
    let shift = i32::try_from(to).ok()?.checked_sub(from)?;
    if shift == 0 {
        return Some(count);
    }
    let power = *POWERS.get(usize::try_from(shift.unsigned_abs()).ok()?)?;
    if shift >= 0 {
        return count.checked_mul(power);
    }
    (count % power == 0).then(|| count / power)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn number(text: &str) -> FieldValue<'_> {
        FieldValue::Number(text)
    }

    #[test]
    fn what_is_no_exact_number_is_refused_by_kind() {
        let text = FieldValue::Text;
        for (value, expected) in [
            (
                text("NaN"),
                "`NaN` is not a decimal number; write digits with an optional sign, point and exponent",
            ),
            (
                text(" 1"),
                "` 1` is not a decimal number; write digits with an optional sign, point and exponent",
            ),
            (text(""), "`` is not a decimal number; write digits with an optional sign, point and exponent"),
            (
                text("."),
                "`.` is not a decimal number; write digits with an optional sign, point and exponent",
            ),
            (
                number("0.001"),
                "0.001 has more than 2 fractional digits, the scale declared for it; widen the scale or send fewer digits",
            ),
            (number("1e37"), "the number is too large to be kept exactly in 128 bits"),
            (FieldValue::Boolean(true), "it is the boolean true"),
            (FieldValue::Structure, "it is an object or an array"),
        ] {
            assert_eq!(decimal(&value, 2).expect_err("no number").to_string(), expected);
        }
        assert_eq!(decimal(&text("12.50"), 2), Ok(Some(1250)));
        assert_eq!(decimal(&number("0.010000000000000000000000000000000000000000000"), 2), Ok(Some(1)));
        assert_eq!(decimal(&FieldValue::Null, 2), Ok(None));
    }

    #[test]
    fn numbers_as_text_have_one_spelling() {
        for (written, shown) in
            [("1.50", "1.5"), ("007", "7"), ("-0", "0"), ("1e3", "1000"), ("0", "0"), ("1e99", "1e99")]
        {
            assert_eq!(canonical_number(written), shown);
        }
    }

    proptest! {
        #[test]
        fn the_short_way_agrees_with_the_long(written in "-?[0-9]{0,20}(\\.[0-9]{0,10})?", scale in 0..19_u32) {
            if let Some(count) = short_decimal(&written, scale) {
                let exact = written.parse::<Decimal>().and_then(|number| number.to_scaled(scale));
                prop_assert_eq!(Ok(count), exact, "{}", written);
            }
        }

        #[test]
        fn rescaling_is_exact_or_nothing(count in any::<i64>(), from in 0..12_i32, to in 0..12_u32) {
            let exact = Decimal::new(i128::from(count), from as u32).to_scaled(to).ok();
            prop_assert_eq!(rescaled(i128::from(count), from, to), exact);
        }
    }
}
