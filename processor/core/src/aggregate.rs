//! How do many values become one? Merges that are commutative and associative, so order and batching cannot show (I-10).

use std::collections::BTreeSet;

use tidemark_schemas::decimal::{Decimal, NumberError};
use tidemark_schemas::limits::UNIQUE_VALUES_MAX;
use tidemark_schemas::meter::{Aggregation, Meter};
use tidemark_schemas::time::EventTime;

use crate::identity::Identity;

/// One value counts at most 10^27 units of the meter's scale; a window's sum stays below 10^33, so that a period of
/// them still fits 128 bits. A meter of money in nanocents could still count 10^16 dollars in one event.
pub const VALUE_UNITS_MAX: i128 = 10_i128.pow(27);
pub const WINDOW_UNITS_MAX: i128 = 10_i128.pow(33);

/// The state of one aggregation over at least one value. Numbers are counts of `10^-scale` of the meter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aggregate {
    Count(u64),
    Sum(i128),
    Min(i128),
    Max(i128),
    Average {
        sum: i128,
        count: u64,
    },
    /// The greatest (time, identity) wins: among equal times the choice is arbitrary but the same in every order.
    Latest {
        time: EventTime,
        identity: Identity,
        value: i128,
    },
    /// Keyed hashes of the members.
    Unique(BTreeSet<u128>),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    #[error("the value is beyond 10^27 units of the meter's scale; send smaller values or lower the scale")]
    ValueTooLarge,
    #[error("the window's sum would be beyond 10^33 units of the meter's scale; lower the scale")]
    SumTooLarge,
    #[error(
        "the window has {UNIQUE_VALUES_MAX} distinct values already; use a shorter window or another dimension"
    )]
    TooManyMembers,
}

impl Aggregate {
    /// The aggregate of one value.
    ///
    /// # Errors
    /// [`AggregateError::ValueTooLarge`]
    pub fn of(
        aggregation: Aggregation,
        value: i128,
        time: EventTime,
        identity: Identity,
    ) -> Result<Self, AggregateError> {
        if aggregation != Aggregation::UniqueCount && value.unsigned_abs() > VALUE_UNITS_MAX.unsigned_abs() {
            return Err(AggregateError::ValueTooLarge);
        }
        Ok(match aggregation {
            Aggregation::Count => Self::Count(1),
            Aggregation::Sum => Self::Sum(value),
            Aggregation::Min => Self::Min(value),
            Aggregation::Max => Self::Max(value),
            Aggregation::Average => Self::Average { sum: value, count: 1 },
            Aggregation::Latest => Self::Latest { time, identity, value },
            Aggregation::UniqueCount => Self::Unique(BTreeSet::from([value.cast_unsigned()])),
        })
    }

    /// Whether `one` can be merged into a window that holds these parts, without leaving the bounds of a window.
    ///
    /// # Errors
    /// [`AggregateError`] naming the bound.
    pub fn check_room(parts: [Option<&Self>; 2], one: &Self) -> Result<(), AggregateError> {
        let parts = parts.into_iter().flatten();
        match one {
            Self::Sum(value) | Self::Average { sum: value, .. } => {
                let sum = parts.map(Self::sum).try_fold(*value, i128::checked_add);
                let fits = |sum: &i128| sum.unsigned_abs() <= WINDOW_UNITS_MAX.unsigned_abs();
                sum.filter(fits).map(|_| ()).ok_or(AggregateError::SumTooLarge)
            }
            Self::Unique(new) => {
                let (mut held, mut is_known) = (0, false);
                for part in parts {
                    held += part.members().len();
                    is_known |= new.is_subset(part.members());
                }
                if is_known || held < UNIQUE_VALUES_MAX {
                    Ok(())
                } else {
                    Err(AggregateError::TooManyMembers)
                }
            }
            _ => Ok(()),
        }
    }

    /// What this one value adds to a window that has `settled` already: no member is in both parts of a window, so that
    /// their numbers add up.
    #[must_use]
    pub fn beyond(self, settled: &Self) -> Self {
        match self {
            Self::Unique(new) => Self::Unique(&new - settled.members()),
            other => other,
        }
    }

    fn sum(&self) -> i128 {
        match self {
            Self::Sum(sum) | Self::Average { sum, .. } => *sum,
            other => panic!("a meter's aggregation never changes: {other:?} is no sum"),
        }
    }

    fn members(&self) -> &BTreeSet<u128> {
        match self {
            Self::Unique(members) => members,
            other => panic!("a meter's aggregation never changes: {other:?} has no members"),
        }
    }

    /// Merges two aggregates of the same meter.
    ///
    /// # Errors
    /// [`NumberError::Overflow`]; then `self` is unchanged.
    pub fn merge(&mut self, other: &Self) -> Result<(), NumberError> {
        let overflow = NumberError::Overflow;
        match (self, other) {
            (Self::Count(a), Self::Count(b)) => *a = a.checked_add(*b).ok_or(overflow)?,
            (Self::Sum(a), Self::Sum(b)) => *a = a.checked_add(*b).ok_or(overflow)?,
            (Self::Min(a), Self::Min(b)) => *a = (*a).min(*b),
            (Self::Max(a), Self::Max(b)) => *a = (*a).max(*b),
            (Self::Average { sum, count }, Self::Average { sum: other_sum, count: other_count }) => {
                let merged = sum.checked_add(*other_sum).ok_or(overflow.clone())?;
                *count = count.checked_add(*other_count).ok_or(overflow)?;
                *sum = merged;
            }
            (
                Self::Latest { time, identity, value },
                Self::Latest { time: other_time, identity: other_identity, value: other_value },
            ) => {
                if (*time, *identity) < (*other_time, *other_identity) {
                    (*time, *identity, *value) = (*other_time, *other_identity, *other_value);
                }
            }
            (Self::Unique(a), Self::Unique(b)) => a.extend(b),
            (mine, theirs) => panic!("a meter's aggregation never changes: {mine:?} and {theirs:?}"),
        }
        Ok(())
    }

    /// The quantity that this state stands for.
    ///
    /// # Errors
    /// [`NumberError::Overflow`] for an average whose digits do not fit.
    pub fn quantity(&self, meter: &Meter) -> Result<Decimal, NumberError> {
        Ok(match self {
            Self::Count(count) => Decimal::from_int(i128::from(*count)),
            Self::Sum(units) | Self::Min(units) | Self::Max(units) | Self::Latest { value: units, .. } => {
                Decimal::new(*units, meter.scale)
            }
            Self::Average { sum, count } => Decimal::new(*sum, meter.scale)
                .divided(i128::from(*count), meter.aggregation.result_scale(meter.scale))?,
            Self::Unique(members) => Decimal::from_int(members.len() as i128),
        })
    }
}

/// Merges into a place that may still be empty.
///
/// # Errors
/// [`NumberError::Overflow`]
pub fn merge_into(place: &mut Option<Aggregate>, other: &Aggregate) -> Result<(), NumberError> {
    match place {
        Some(aggregate) => aggregate.merge(other),
        None => {
            *place = Some(other.clone());
            Ok(())
        }
    }
}

#[cfg(test)]
#[path = "aggregate_tests.rs"]
mod tests;
