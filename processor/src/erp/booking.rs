//! What exactly has to be in the books? The entry of an outbox row, read back from its wire bytes and checked.
//!
//! Keeps I-6 on its second path: what was balanced when it was written is balanced when it is sent. A row that is not
//! is damage on our side, and stops the delivery before anything is booked.

use tidemark_schemas::ids::AccountCode;
use tidemark_schemas::legal_entity::{AccountingPeriod, AccountingPeriodError};
use tidemark_schemas::money::Currency;
use tidemark_schemas::outbox::OutboxRow;
use tidemark_schemas::wire::v1;

use crate::deliver::Failure;

/// A checked journal entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Booking {
    pub entry: v1::JournalEntry,
    pub accounting_period: AccountingPeriod,
    pub lines: Vec<BookingLine>,
    /// Sum of all debits, which is the sum of all credits, in minor units.
    pub total_minor: i128,
}

/// One line, with its place in the entry's own order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BookingLine {
    pub account: String,
    pub debtor: Option<String>,
    pub service_period: AccountingPeriod,
    /// Debit positive, credit negative, in minor units.
    pub minor: i128,
}

impl Booking {
    /// # Errors
    /// [`Failure::Corrupt`]: the row is not what the posting rules write.
    pub fn of(row: &OutboxRow) -> Result<Self, Failure> {
        let corrupt = |reason: String| Failure::Corrupt { record: row.id.clone(), reason };
        let entry: v1::JournalEntry = serde_json::from_slice(&row.payload)
            .map_err(|error| corrupt(format!("no journal entry: {error}")))?;
        if entry.schema != v1::JournalEntry::SCHEMA || entry.id != row.id.0 {
            return Err(corrupt(format!("its payload is {} {}", entry.schema, entry.id)));
        }
        // The id becomes a file name and a path segment.
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if entry.id.is_empty() || !entry.id.chars().all(plain) {
            return Err(corrupt("its id has characters other than letters, digits, - and _".into()));
        }
        let currency = entry.currency.parse::<Currency>().map_err(|error| corrupt(error.to_string()))?;
        if currency.minor_digits() != entry.minor_digits {
            return Err(corrupt(format!("{currency} has {} minor digits", currency.minor_digits())));
        }
        let accounting_period = period(&entry.accounting_period).map_err(corrupt)?;
        let mut lines = Vec::with_capacity(entry.lines.len());
        let (mut debits, mut credits) = (0_i128, 0_i128);
        for line in &entry.lines {
            let too_large = || corrupt("its totals do not fit 128 bits".into());
            let checked = BookingLine::of(line).map_err(corrupt)?;
            debits = debits.checked_add(checked.minor.max(0)).ok_or_else(too_large)?;
            credits = credits.checked_sub(checked.minor.min(0)).ok_or_else(too_large)?;
            lines.push(checked);
        }
        if debits != credits {
            return Err(corrupt(format!("I-6: debits {debits} and credits {credits} differ")));
        }
        Ok(Self { entry, accounting_period, lines, total_minor: debits })
    }
}

impl BookingLine {
    fn of(line: &v1::JournalLine) -> Result<Self, String> {
        // A code has no blank, quote or semicolon, which would end an account name in a journal file.
        AccountCode::new(&line.account).map_err(|error| error.to_string())?;
        let one_sided = match (minor(&line.debit_minor), minor(&line.credit_minor)) {
            (Some(debit), Some(0)) => Some(debit),
            (Some(0), Some(credit)) => Some(-credit),
            _ => None,
        };
        let minor = one_sided.ok_or_else(|| format!("account {} has no amount on one side", line.account))?;
        let service_period = period(&line.service_period)?;
        Ok(Self { account: line.account.clone(), debtor: line.debtor.clone(), service_period, minor })
    }
}

fn period(text: &str) -> Result<AccountingPeriod, String> {
    text.parse().map_err(|error: AccountingPeriodError| error.to_string())
}

/// Digits only: an amount on the wrong side is not a negative amount on the right one.
pub(super) fn minor(text: &str) -> Option<i128> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
pub(super) mod tests {
    use tidemark_schemas::outbox::Destination;
    use tidemark_schemas::summary::RecordId;

    use super::*;

    /// 1,000,000 calls at 0.0004 and 234,567 at 0.0003 are 470.37 USD, debited to unbilled receivables of two
    /// customers and credited to usage revenue.
    pub fn entry(id: &str) -> v1::JournalEntry {
        let line = |account: &str, debtor: Option<&str>, debit: &str, credit: &str| v1::JournalLine {
            account: account.into(),
            debtor: debtor.map(Into::into),
            service_period: "2026-01".into(),
            debit_minor: debit.into(),
            credit_minor: credit.into(),
        };
        v1::JournalEntry {
            schema: v1::JournalEntry::SCHEMA.into(),
            id: id.into(),
            legal_entity: "acme-us".into(),
            currency: "USD".into(),
            minor_digits: 2,
            accounting_period: "2026-02".into(),
            posting_rule: "usage".into(),
            number: 7,
            rated_lines: 2,
            lines: vec![
                line("1150", Some("CUST-00001"), "40000", "0"),
                line("1150", Some("Münster; GmbH, 50%"), "7037", "0"),
                line("4000", None, "0", "47037"),
            ],
        }
    }

    pub fn row(sequence: u64, entry: &v1::JournalEntry) -> OutboxRow {
        let (id, payload) = (RecordId(entry.id.clone()), v1::to_bytes(entry));
        OutboxRow { destination: Destination::Erp, sequence, id, payload }
    }

    #[test]
    fn an_entry_that_does_not_balance_is_never_sent() {
        assert_eq!(Booking::of(&row(1, &entry("je-1"))).expect("balanced").total_minor, 47_037);
        let check = |change: fn(&mut v1::JournalEntry), reason: &str| {
            let mut changed = entry("je-1");
            change(&mut changed);
            let failure = Booking::of(&row(1, &changed)).expect_err(reason);
            assert!(failure.to_string().contains(reason), "{failure}");
            assert_eq!(failure.remedy(), crate::deliver::Remedy::Stop);
        };
        check(|e| e.lines[0].debit_minor = "40001".into(), "I-6: debits 47038 and credits 47037 differ");
        check(|e| e.lines[0].debit_minor = "-40000".into(), "account 1150 has no amount");
        check(|e| e.lines[0].debit_minor = "400.00".into(), "account 1150 has no amount");
        check(|e| e.accounting_period = "2026-13".into(), "2026-13");
        check(|e| e.id = "../je".into(), "characters");
        check(|e| e.lines[0].credit_minor = "1".into(), "account 1150 has no amount on one side");
        check(|e| e.lines[0].account = "1150  1 USDc".into(), "has the character ' '");
        check(|e| e.currency = "usd;".into(), "ISO 4217");
        check(|e| e.schema = "other".into(), "other");
    }
}
