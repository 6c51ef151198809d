//! How much, in which currency? Integer minor units, with the exponent of ISO 4217.

use std::fmt;
use std::str::FromStr;

use crate::decimal::{Decimal, NumberError};

/// A currency that prices can be in: it has a minor unit in ISO 4217.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CurrencyError {
    #[error("`{code}` is not a current ISO 4217 code; write three capital letters such as USD, EUR or JPY")]
    Unknown { code: String },
    /// Gold, special drawing rights, test codes.
    #[error(
        "`{code}` has no minor unit in ISO 4217, so nothing can be invoiced in it; use the currency of the invoice"
    )]
    NoMinorUnit { code: String },
}

impl Currency {
    #[must_use]
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Fractional digits of the minor unit: JPY 0, USD 2, BHD 3, CLF 4.
    #[must_use]
    pub fn minor_digits(self) -> u32 {
        u32::from(self.0.exponent().expect("checked when the currency was read"))
    }
}

impl FromStr for Currency {
    type Err = CurrencyError;

    fn from_str(code: &str) -> Result<Self, CurrencyError> {
        let shown = || code.chars().take(16).collect::<String>();
        let currency = iso_currency::Currency::from_code(code)
            .ok_or_else(|| CurrencyError::Unknown { code: shown() })?;
        match currency.exponent() {
            Some(_) => Ok(Self(currency)),
            None => Err(CurrencyError::NoMinorUnit { code: shown() }),
        }
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl PartialOrd for Currency {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Currency {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.code().cmp(other.code())
    }
}

/// An amount that can be invoiced or booked: whole minor units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Money {
    pub minor: i128,
    pub currency: Currency,
}

impl Money {
    /// # Errors
    /// [`NumberError::Overflow`] when the amount does not fit 128 bits of minor units.
    pub fn rounded(amount: Decimal, currency: Currency) -> Result<Self, NumberError> {
        let minor = amount.rounded(currency.minor_digits())?;
        Ok(Self { minor, currency })
    }

    #[must_use]
    pub fn amount(self) -> Decimal {
        Decimal::new(self.minor, self.currency.minor_digits())
    }
}

impl fmt::Display for Money {
    /// `-12.30 USD`, with all digits of the minor unit.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", in_units(self.minor, self.currency.minor_digits()), self.currency)
    }
}

/// Minor units as a decimal of the currency's unit, with all its digits: 1230 with 2 is `12.30`.
#[must_use]
pub fn in_units(minor: i128, minor_digits: u32) -> String {
    let digits = minor_digits as usize;
    let sign = if minor < 0 { "-" } else { "" };
    let magnitude = format!("{:0>width$}", minor.unsigned_abs(), width = digits + 1);
    let (whole, fraction) = magnitude.split_at(magnitude.len() - digits);
    let point = if digits == 0 { "" } else { "." };
    format!("{sign}{whole}{point}{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn money(amount: &str, code: &str) -> String {
        let currency = code.parse().expect("a currency");
        Money::rounded(amount.parse().expect("a number"), currency).expect("fits").to_string()
    }

    #[test]
    fn amounts_round_to_the_minor_unit() {
        assert_eq!(money("10.275", "USD"), "10.28 USD");
        assert_eq!(money("1000.5", "JPY"), "1001 JPY");
        assert_eq!(money("0.0005", "BHD"), "0.001 BHD");
        assert_eq!(money("-0.00005", "CLF"), "-0.0001 CLF");
        assert_eq!(money("0", "USD"), "0.00 USD");
    }

    #[test]
    fn currencies_are_accepted_or_refused_by_name() {
        for code in ["XAU", "XDR", "XXX", "XTS"] {
            assert_eq!(code.parse::<Currency>(), Err(CurrencyError::NoMinorUnit { code: code.into() }));
        }
        for code in ["usd", "US", "", "DOGE"] {
            assert_eq!(code.parse::<Currency>(), Err(CurrencyError::Unknown { code: code.into() }));
        }
    }
}
