//! Did the product count what it acknowledged, once? The ledger against the product's own totals.
//!
//! An acknowledged event must be counted exactly once. An event that was sent but never acknowledged may be
//! counted once or not at all. Values are positive, so both bounds hold for the quantity as well.
//!
//! Deliberately absent: tolerance. One event too many or too few is a difference.

use std::collections::BTreeMap;

use crate::event::subject;
use crate::ledger::Total;
use crate::product::UsageRow;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Acknowledged usage is missing from the product's total: revenue is lost.
    Lost { customer: String, acknowledged: Total, counted: Total },
    /// More was counted than was ever sent: a customer would pay twice.
    Doubled { customer: String, sent: Total, counted: Total },
    /// As many events, another quantity: one was counted in place of another, or changed on the way.
    Altered { customer: String, acknowledged: Total, sent: Total, counted: Total },
    /// Usage of somebody for whom nothing was sent.
    Foreign { customer: String, counted: Total },
    /// The same customer on two lines.
    Repeated { customer: String },
    /// No event can be negative.
    Negative { customer: String, quantity: i128 },
}

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Lost { customer, acknowledged, counted } => write!(
                f,
                "{customer}: lost {} events (quantity {}): acknowledged {acknowledged}, counted {counted}",
                acknowledged.events.saturating_sub(counted.events),
                acknowledged.quantity.saturating_sub(counted.quantity)
            ),
            Self::Doubled { customer, sent, counted } => write!(
                f,
                "{customer}: {} events (quantity {}) too many: sent {sent}, counted {counted}",
                counted.events.saturating_sub(sent.events),
                counted.quantity.saturating_sub(sent.quantity)
            ),
            Self::Altered { customer, acknowledged, sent, counted } => write!(
                f,
                "{customer}: the quantity is not that of its events: acknowledged {acknowledged}, \
                 sent {sent}, counted {counted}"
            ),
            Self::Foreign { customer, counted } => {
                write!(f, "{customer}: nothing was sent for it and {counted} are counted")
            }
            Self::Repeated { customer } => {
                write!(f, "{customer}: the product answers with more than one total")
            }
            Self::Negative { customer, quantity } => {
                write!(f, "{customer}: the quantity {quantity} is negative and every event is positive")
            }
        }
    }
}

impl std::fmt::Display for Total {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} events (quantity {})", self.events, self.quantity)
    }
}

/// Every customer whose totals differ, by name. `acknowledged` and `unknown` are indexed by customer number;
/// `unknown` are events that were sent and never acknowledged.
#[must_use]
pub fn compare(acknowledged: &[Total], unknown: &[Total], counted: &[UsageRow]) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut by_customer = BTreeMap::new();
    for row in counted {
        let Ok(quantity) = u128::try_from(row.quantity) else {
            let (customer, quantity) = (row.customer.clone(), row.quantity);
            differences.push(Difference::Negative { customer, quantity });
            continue;
        };
        let total = Total { events: row.events, quantity };
        if by_customer.insert(row.customer.clone(), total).is_some() {
            differences.push(Difference::Repeated { customer: row.customer.clone() });
        }
    }
    for number in 0..acknowledged.len().max(unknown.len()) {
        let customer = subject(u32::try_from(number).expect("customers are numbered in 32 bits"));
        let at = |totals: &[Total]| totals.get(number).copied().unwrap_or_default();
        let counted = by_customer.remove(&customer).unwrap_or_default();
        differences.extend(difference(customer, at(acknowledged), at(unknown), counted));
    }
    let foreign = by_customer.into_iter().filter(|(_, counted)| *counted != Total::default());
    differences.extend(foreign.map(|(customer, counted)| Difference::Foreign { customer, counted }));
    differences
}

fn difference(customer: String, acknowledged: Total, unknown: Total, counted: Total) -> Option<Difference> {
    let sent = Total::of_all(&[acknowledged, unknown]);
    if counted.events < acknowledged.events {
        Some(Difference::Lost { customer, acknowledged, counted })
    } else if counted.events > sent.events {
        Some(Difference::Doubled { customer, sent, counted })
    } else if counted.quantity < acknowledged.quantity || counted.quantity > sent.quantity {
        Some(Difference::Altered { customer, acknowledged, sent, counted })
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(of: &[(u64, u128)]) -> Vec<Total> {
        of.iter().map(|(events, quantity)| Total { events: *events, quantity: *quantity }).collect()
    }

    fn check(
        acknowledged: &[(u64, u128)],
        unknown: &[(u64, u128)],
        counted: &[(&str, u64, i128)],
        expected: &[&str],
    ) {
        let rows: Vec<UsageRow> = counted
            .iter()
            .map(|(customer, events, quantity)| UsageRow {
                customer: (*customer).into(),
                events: *events,
                quantity: *quantity,
            })
            .collect();
        let found = compare(&totals(acknowledged), &totals(unknown), &rows);
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn equal_totals_have_no_difference() {
        check(&[(2, 30), (0, 0), (1, 5)], &[], &[("cust-00000", 2, 30), ("cust-00002", 1, 5)], &[]);
    }

    #[test]
    fn one_lost_event_is_found() {
        check(
            &[(2, 30), (1, 5)],
            &[],
            &[("cust-00000", 1, 10), ("cust-00001", 1, 5)],
            &[
                "cust-00000: lost 1 events (quantity 20): acknowledged 2 events (quantity 30), counted 1 events (quantity 10)",
            ],
        );
    }

    #[test]
    fn a_customer_without_any_total_is_lost() {
        check(
            &[(1, 5)],
            &[],
            &[],
            &[
                "cust-00000: lost 1 events (quantity 5): acknowledged 1 events (quantity 5), counted 0 events (quantity 0)",
            ],
        );
    }

    #[test]
    fn one_doubled_event_is_found() {
        check(
            &[(2, 30)],
            &[],
            &[("cust-00000", 3, 50)],
            &[
                "cust-00000: 1 events (quantity 20) too many: sent 2 events (quantity 30), counted 3 events (quantity 50)",
            ],
        );
    }

    #[test]
    fn one_lost_and_one_doubled_are_found_although_the_counts_agree() {
        check(
            &[(2, 30)],
            &[],
            &[("cust-00000", 2, 40)],
            &["cust-00000: the quantity is not that of its events: acknowledged 2 events (quantity 30), \
               sent 2 events (quantity 30), counted 2 events (quantity 40)"],
        );
    }

    #[test]
    fn an_unknown_event_may_be_counted_once_or_not_at_all() {
        let (acknowledged, unknown) = (&[(2, 30)], &[(1, 7)]);
        check(acknowledged, unknown, &[("cust-00000", 2, 30)], &[]);
        check(acknowledged, unknown, &[("cust-00000", 3, 37)], &[]);
        check(
            acknowledged,
            unknown,
            &[("cust-00000", 4, 44)],
            &[
                "cust-00000: 1 events (quantity 7) too many: sent 3 events (quantity 37), counted 4 events (quantity 44)",
            ],
        );
    }

    #[test]
    fn usage_that_nobody_sent_is_found() {
        check(
            &[(1, 5)],
            &[],
            &[("cust-00000", 1, 5), ("mallory", 1, 9), ("idle", 0, 0)],
            &["mallory: nothing was sent for it and 1 events (quantity 9) are counted"],
        );
    }

    #[test]
    fn two_lines_of_one_customer_and_negative_quantities_are_found() {
        check(
            &[(1, 5)],
            &[],
            &[("cust-00000", 1, 5), ("cust-00000", 1, 5), ("cust-00001", 0, -1)],
            &[
                "cust-00000: the product answers with more than one total",
                "cust-00001: the quantity -1 is negative and every event is positive",
            ],
        );
    }
}
