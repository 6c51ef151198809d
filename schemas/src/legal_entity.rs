//! Who sells? The company whose books journal entries go into, and which of its periods are closed.

use crate::ids::LegalEntityId;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LegalEntity {
    pub id: LegalEntityId,
    pub name: String,
    /// IANA name; decides which calendar month an instant is booked in.
    pub time_zone: String,
    /// The last accounting period that is closed. Usage of a closed period is booked in the first open one,
    /// with a reference to its own.
    pub closed_through: Option<AccountingPeriod>,
}

/// A calendar month of a legal entity's books.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountingPeriod {
    pub year: i16,
    /// 1 to 12.
    pub month: i8,
}

impl AccountingPeriod {
    #[must_use]
    pub fn next(self) -> Self {
        if self.month == 12 {
            Self { year: self.year + 1, month: 1 }
        } else {
            Self { year: self.year, month: self.month + 1 }
        }
    }
}

impl std::fmt::Display for AccountingPeriod {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.month)
    }
}

/// Why a text is not an accounting period.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an accounting period; write year and month like 2026-09")]
pub struct AccountingPeriodError {
    text: String,
}

impl std::str::FromStr for AccountingPeriod {
    type Err = AccountingPeriodError;

    fn from_str(text: &str) -> Result<Self, AccountingPeriodError> {
        let bytes = text.as_bytes();
        let plain = bytes.len() == 7
            && bytes[4] == b'-'
            && bytes.iter().enumerate().all(|(at, byte)| at == 4 || byte.is_ascii_digit());
        let parsed =
            || Some(Self { year: text.get(..4)?.parse().ok()?, month: text.get(5..)?.parse().ok()? });
        match parsed() {
            Some(period) if plain && (1..=12).contains(&period.month) => Ok(period),
            _ => Err(AccountingPeriodError { text: text.chars().take(32).collect() }),
        }
    }
}
