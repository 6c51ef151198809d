//! What must the product answer? The counts, sums and amounts of a trace, kept by whoever made it.
//!
//! Keeps: independence. Amounts come from this file's own totals by plain 128-bit integers; neither the product's
//! decimals nor its rating are used, so that a mistake there cannot hide here.
//! Deliberately absent: how lines come about (`trace`) and what the product answered (`page`).

use super::call::Call;
use super::catalog::{CUSTOMERS, LegalEntity, customer_id, legal_entity_of};
use super::trace::Fate;

/// Money inside this file: USD 0.00000001.
const PER_CENT: i128 = 1_000_000;
/// USD 2.50 per million prompt tokens.
const PROMPT_TOKEN: i128 = 250;
/// USD 10.00 per million completion tokens, up to [`FIRST_COMPLETION_TOKENS`] in a billing period.
const FIRST_COMPLETION_TOKEN: i128 = 1_000;
/// USD 8.00 per million beyond.
const NEXT_COMPLETION_TOKEN: i128 = 800;
const FIRST_COMPLETION_TOKENS: i128 = 100_000;

/// What one customer used in the trace, all of it in one billing period.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CustomerTruth {
    /// From 1.
    pub number: u32,
    pub calls: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// The answer that is right, by the generator's own account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    pub received: u64,
    pub counted: u64,
    /// Of the counted: those that became adjustments.
    pub late: u64,
    pub again: u64,
    pub rejected: u64,
    pub conflict: u64,
    pub unmapped_subject: u64,
    pub unknown_meter: u64,
    pub bad_clock: u64,
    /// By number, customer 1 first.
    customers: Vec<CustomerTruth>,
}

impl Truth {
    pub(super) fn new() -> Self {
        let customers = (1..=CUSTOMERS).map(|number| CustomerTruth { number, ..CustomerTruth::default() });
        Self {
            received: 0,
            counted: 0,
            late: 0,
            again: 0,
            rejected: 0,
            conflict: 0,
            unmapped_subject: 0,
            unknown_meter: 0,
            bad_clock: 0,
            customers: customers.collect(),
        }
    }

    /// A line that is not a call's first sending.
    pub(super) fn enter(&mut self, fate: Fate) {
        self.received += 1;
        match fate {
            Fate::Counted => self.counted += 1,
            Fate::CountedLate => {
                self.counted += 1;
                self.late += 1;
            }
            Fate::Again => self.again += 1,
            Fate::Conflict => self.conflict += 1,
            Fate::Rejected => self.rejected += 1,
            Fate::UnmappedSubject => self.unmapped_subject += 1,
            Fate::UnknownMeter => self.unknown_meter += 1,
            Fate::BadClock => self.bad_clock += 1,
        }
    }

    pub(super) fn enter_call(&mut self, call: &Call, late: bool) {
        self.enter(if late { Fate::CountedLate } else { Fate::Counted });
        let customer = &mut self.customers[call.customer as usize - 1];
        customer.calls += 1;
        customer.prompt_tokens += call.prompt_tokens;
        customer.completion_tokens += call.completion_tokens;
    }

    /// Events that wait for a person; a rejected line is no event.
    #[must_use]
    pub fn exceptions(&self) -> u64 {
        self.conflict + self.unmapped_subject + self.unknown_meter + self.bad_clock
    }

    #[must_use]
    pub fn prompt_tokens(&self) -> u64 {
        self.customers.iter().map(|customer| customer.prompt_tokens).sum()
    }

    #[must_use]
    pub fn completion_tokens(&self) -> u64 {
        self.customers.iter().map(|customer| customer.completion_tokens).sum()
    }

    /// All customers, by number.
    #[must_use]
    pub fn customers(&self) -> &[CustomerTruth] {
        &self.customers
    }

    /// The `count` customers that owe most, the largest first; equals by number.
    #[must_use]
    pub fn top(&self, count: usize) -> Vec<CustomerTruth> {
        let mut customers = self.customers.clone();
        customers.sort_by_key(|customer| (std::cmp::Reverse(customer.rated_cents()), customer.number));
        customers.truncate(count);
        customers
    }

    /// What everybody owes, in USD 0.01.
    #[must_use]
    pub fn rated_cents(&self) -> i128 {
        self.customers.iter().map(CustomerTruth::rated_cents).sum()
    }

    /// What one company's books must show, in USD 0.01.
    #[must_use]
    pub fn rated_cents_of(&self, entity: LegalEntity) -> i128 {
        let sold = self.customers.iter().filter(|customer| legal_entity_of(customer.number) == entity);
        sold.map(CustomerTruth::rated_cents).sum()
    }
}

impl CustomerTruth {
    #[must_use]
    pub fn id(&self) -> String {
        customer_id(self.number)
    }

    /// What the customer owes for the period, in USD 0.01: rounded once per meter, half away from zero.
    #[must_use]
    pub fn rated_cents(&self) -> i128 {
        self.prompt_cents() + self.completion_cents()
    }

    #[must_use]
    pub fn prompt_cents(&self) -> i128 {
        to_cents(i128::from(self.prompt_tokens) * PROMPT_TOKEN)
    }

    #[must_use]
    pub fn completion_cents(&self) -> i128 {
        let tokens = i128::from(self.completion_tokens);
        let first = tokens.min(FIRST_COMPLETION_TOKENS);
        to_cents(first * FIRST_COMPLETION_TOKEN + (tokens - first) * NEXT_COMPLETION_TOKEN)
    }
}

/// Half away from zero; usage is never negative, so that is half up.
fn to_cents(amount: i128) -> i128 {
    (amount + PER_CENT / 2) / PER_CENT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_those_of_the_price_list() {
        // prompt tokens, completion tokens, cents: worked by hand.
        for (prompt_tokens, completion_tokens, prompt, completion) in [
            (0, 0, 0, 0),
            (1_999, 0, 0, 0),               // 0.0049975
            (2_000, 499, 1, 0),             // 0.005 is the tie; 0.00499
            (1_000_000, 100_000, 250, 100), // the first tier's last token
            (4_000, 100_625, 1, 101),       // 1.00 + 625 * 0.000008 = 1.005, a tie
            (123_456_789, 2_000_000, 30_864, 1_620),
        ] {
            let customer = CustomerTruth { number: 1, calls: 1, prompt_tokens, completion_tokens };
            assert_eq!(customer.prompt_cents(), prompt, "{prompt_tokens} prompt tokens");
            assert_eq!(customer.completion_cents(), completion, "{completion_tokens} completion tokens");
            assert_eq!(customer.rated_cents(), prompt + completion);
        }
    }
}
