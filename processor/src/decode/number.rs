//! When are two number texts the same number? A canonical form that is cheap, exact and never a float.
//!
//! `1.0`, `1`, `10e-1` and `0.1e1` have one form; so have `0`, `-0` and `0e99`. An exponent beyond
//! [`EXPONENT_MAX`] is not worked out: such a text is only the same as itself, which can at worst report a
//! conflict between two spellings of an absurd number, never hide one.

/// Far beyond any number in use, and far from overflowing the arithmetic on exponents.
const EXPONENT_MAX: u64 = 1_000_000_000_000;

/// Significant digits that always fit 64 bits.
const SHORT_DIGITS_MAX: usize = 18;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Canonical<'a> {
    /// `± digits * 10^exponent`, the digits without zeros at either end; zero is `0 * 10^0`.
    Short {
        negative: bool,
        digits: u64,
        exponent: i64,
    },
    /// The same with more digits than 64 bits hold.
    Long {
        negative: bool,
        digits: String,
        exponent: i64,
    },
    Verbatim(&'a str),
}

/// `text` is in JSON's number grammar.
pub(super) fn canonical(text: &str) -> Canonical<'_> {
    short_integer(text.as_bytes()).unwrap_or_else(|| any_number(text))
}

/// The common case: a few digits and nothing else.
#[inline]
fn short_integer(text: &[u8]) -> Option<Canonical<'static>> {
    if text.len() > SHORT_DIGITS_MAX {
        return None;
    }
    let (mut digits, mut exponent) = (0_u64, 0);
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        digits = digits * 10 + u64::from(digit);
    }
    while digits != 0 && digits % 10 == 0 {
        digits /= 10;
        exponent += 1;
    }
    Some(Canonical::Short { negative: false, digits, exponent })
}

fn any_number(text: &str) -> Canonical<'_> {
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (plain, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => (&unsigned[..at], unsigned[at + 1..].parse::<i64>().ok()),
        None => (unsigned, Some(0)),
    };
    let significant = Significant::of(plain);
    if significant.count == 0 {
        return Canonical::Short { negative: false, digits: 0, exponent: 0 };
    }
    let Some(exponent) = exponent.filter(|exponent| exponent.unsigned_abs() <= EXPONENT_MAX) else {
        return Canonical::Verbatim(text);
    };
    let exponent = exponent - significant.fraction + significant.zeros_after;
    if significant.count <= SHORT_DIGITS_MAX {
        return Canonical::Short { negative, digits: significant.digits, exponent };
    }
    let digits: String = plain.chars().filter(|c| *c != '.').collect();
    Canonical::Long { negative, digits: digits.trim_matches('0').to_owned(), exponent }
}

/// The digits between the first and the last that is not zero.
#[derive(Default)]
struct Significant {
    /// Meaningless once `count` exceeds [`SHORT_DIGITS_MAX`].
    digits: u64,
    count: usize,
    zeros_after: i64,
    /// Digits after the point, all of them.
    fraction: i64,
}

impl Significant {
    fn of(plain: &str) -> Self {
        let mut found = Self::default();
        let mut after_point = 0;
        for byte in plain.bytes() {
            match byte {
                b'.' => after_point = 1,
                b'0' => {
                    found.fraction += after_point;
                    found.zeros_after += i64::from(found.count > 0);
                }
                digit => {
                    found.fraction += after_point;
                    found.push(digit - b'0');
                }
            }
        }
        found
    }

    fn push(&mut self, digit: u8) {
        self.count += 1 + self.zeros_after as usize;
        if self.count <= SHORT_DIGITS_MAX {
            self.digits = self.digits * 10_u64.pow(self.zeros_after as u32 + 1) + u64::from(digit);
        }
        self.zeros_after = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tidemark_schemas::Decimal;

    #[test]
    fn spellings_of_one_number_are_one() {
        for same in [
            &["1", "1.0", "10e-1", "0.1e1", "1E0", "1.000e+0", "100E-2"][..],
            &["0", "-0", "0.0", "-0.000e5", "0e99999999999999999999"],
            &["-12.5", "-1.25e1", "-125e-1", "-12.5000"],
            &["12345678901234567890123", "12345678901234567890123.0", "1234567890123456789012300e-2"],
            &["1000000000000000000000000", "1e24", "0.001e27"],
        ] {
            for text in same {
                assert_eq!(canonical(text), canonical(same[0]), "{text}");
            }
        }
    }

    #[test]
    fn different_numbers_are_different() {
        let all = [
            "1",
            "-1",
            "10",
            "0.1",
            "1e-1000",
            "1e1000",
            "12345678901234567890123",
            "12345678901234567890124",
            "1.00000000000000000000001",
            "100000000000000000000001",
            "1e99999999999999999999",
            "2e99999999999999999999",
        ];
        for (index, left) in all.iter().enumerate() {
            for right in &all[..index] {
                let same = canonical(left) == canonical(right);
                assert_eq!(same, (*left == "0.1" && *right == "1e-1"), "{left} {right}");
            }
        }
    }

    proptest! {
        #[test]
        fn the_short_way_agrees_with_the_long(text in "0|[1-9][0-9]{0,20}|[1-9]0{0,18}") {
            prop_assert_eq!(canonical(&text), any_number(&text));
        }

        #[test]
        fn agrees_with_exact_decimals(a in "-?(0|[1-9][0-9]{0,17})(\\.[0-9]{1,9})?(e[+-]?[0-4])?", zeros in 0..4_usize) {
            let b = match a.find('e') {
                Some(at) => format!("{}{}{}", &a[..at], if a.contains('.') { "0".repeat(zeros) } else { String::new() }, &a[at..]),
                None if a.contains('.') => format!("{a}{}", "0".repeat(zeros)),
                None => format!("{a}{}e-{zeros}", "0".repeat(zeros)),
            };
            let (left, right) = (a.parse::<Decimal>(), b.parse::<Decimal>());
            if let (Ok(left), Ok(right)) = (left, right) {
                prop_assert_eq!(left == right, canonical(&a) == canonical(&b));
            }
        }
    }
}
