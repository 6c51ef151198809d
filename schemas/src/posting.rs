//! What do the books say? A journal entry whose debits and credits are equal because it can be built in no other way (I-6).

use std::collections::BTreeMap;

use crate::decimal::NumberError;
use crate::ids::{AccountCode, LegalEntityId, PostingRuleId};
use crate::legal_entity::AccountingPeriod;
use crate::money::Currency;
use crate::summary::RecordId;

/// Everything that may share a journal entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PostingGroup {
    pub legal_entity: LegalEntityId,
    pub currency: Currency,
    /// The open period it is booked in.
    pub accounting_period: AccountingPeriod,
    pub rule: PostingRuleId,
}

/// One line of an entry is the sum of all rated lines with this key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LineKey {
    pub account: AccountCode,
    /// The ERP party, on the receivable side.
    pub debtor: Option<String>,
    /// The month the usage belongs to, when the books of that month were closed already.
    pub service_period: AccountingPeriod,
}

/// Amounts per line, debit positive and credit negative. Only [`Balanced::add`] changes it, by equal amounts on two lines.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Balanced {
    lines: BTreeMap<LineKey, i128>,
}

impl Balanced {
    /// Debits one line and credits the other by `minor` units; a negative amount does the reverse.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]; then nothing has changed.
    pub fn add(&mut self, debit: LineKey, credit: LineKey, minor: i128) -> Result<(), NumberError> {
        let debited = self.amount(&debit).checked_add(minor).ok_or(NumberError::Overflow)?;
        let credited = self.amount(&credit).checked_sub(minor).ok_or(NumberError::Overflow)?;
        if debit != credit {
            self.lines.insert(debit, debited);
            self.lines.insert(credit, credited);
        }
        Ok(())
    }

    /// How many lines there would be with these two keys.
    #[must_use]
    pub fn lines_with(&self, debit: &LineKey, credit: &LineKey) -> usize {
        let missing = |key: &LineKey| usize::from(!self.lines.contains_key(key));
        self.lines.len() + missing(debit) + missing(credit)
    }

    /// Lines that are not zero, ordered by key.
    pub fn lines(&self) -> impl Iterator<Item = (&LineKey, i128)> {
        self.lines.iter().filter(|(_, minor)| **minor != 0).map(|(key, minor)| (key, *minor))
    }

    /// All lines, zero ones too, for storing.
    pub fn all_lines(&self) -> impl Iterator<Item = (&LineKey, i128)> {
        self.lines.iter().map(|(key, minor)| (key, *minor))
    }

    /// Reads stored lines back. `None` when they do not balance: the row was damaged.
    #[must_use]
    pub fn restored(lines: impl IntoIterator<Item = (LineKey, i128)>) -> Option<Self> {
        let lines: BTreeMap<_, _> = lines.into_iter().collect();
        let sum = lines.values().try_fold(0_i128, |sum, minor| sum.checked_add(*minor))?;
        (sum == 0).then_some(Self { lines })
    }

    fn amount(&self, key: &LineKey) -> i128 {
        self.lines.get(key).copied().unwrap_or(0)
    }
}

/// A micro-batch of rated lines as one entry for the ERP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    pub id: RecordId,
    pub group: PostingGroup,
    /// Counts the entries of its group from 1.
    pub number: u64,
    pub amounts: Balanced,
    /// How many rated lines it sums.
    pub rated_lines: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(account: &str) -> LineKey {
        LineKey {
            account: AccountCode::new(account).expect("a name"),
            debtor: None,
            service_period: AccountingPeriod { year: 2026, month: 1 },
        }
    }

    #[test]
    fn entries_balance_whatever_is_added() {
        let mut entry = Balanced::default();
        for minor in [470, -12, 0, 7] {
            entry.add(key("1150"), key("4000"), minor).expect("fits");
        }
        assert_eq!(entry.lines().map(|(_, minor)| minor).collect::<Vec<_>>(), [465, -465]);
    }

    #[test]
    fn an_overflow_changes_nothing() {
        let mut entry = Balanced::default();
        entry.add(key("1150"), key("4000"), i128::MAX).expect("fits");
        let before = entry.clone();
        assert_eq!(entry.add(key("1150"), key("4000"), 1), Err(NumberError::Overflow));
        assert_eq!(entry, before);
    }

    #[test]
    fn stored_lines_that_do_not_balance_are_not_an_entry() {
        assert!(Balanced::restored([(key("1150"), 5), (key("4000"), -5)]).is_some());
        assert!(Balanced::restored([(key("1150"), 5), (key("4000"), -4)]).is_none());
    }
}
