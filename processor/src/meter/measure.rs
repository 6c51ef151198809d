//! How do rows become measurements? Meter by meter over columns, then put back into the order of the events.
//!
//! A unique count's member is the keyed hash of the value as its field declares it: in a text field the number 1 and the
//! string "1" are one member, in a decimal field so are 1, 1.0 and "1". Texts, numbers and booleans never meet.

use std::borrow::Cow;
use std::hash::BuildHasher;

use datafusion::arrow::array::{Array, ArrayRef, AsArray};
use datafusion::arrow::datatypes::{DataType, Decimal128Type};
use hashbrown::HashTable;
use tidemark_core::batch::{Measurement, Refusal};
use tidemark_core::identity::DeploymentKey;
use tidemark_schemas::decimal::{Decimal, NumberError, SCALE_MAX};
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::limits::DIMENSION_BYTES_MAX;

use super::RowBatch;
use super::expression::Expression;
use super::field::{self, Column, Unfit};
use super::plan::{MeterPlan, TypePlan, ValuePlan};

/// Keeps member hashes apart from identities (1) and from the digest's kinds (2 to 9).
const MEMBER_NUMBER: u64 = 16;
const MEMBER_TEXT: u64 = 17;
const MEMBER_BOOLEAN: u64 = 18;

/// What the meters made of a block's events.
#[derive(Debug, Default)]
pub struct Measured {
    pub measurements: Vec<Measurement>,
    pub refusals: Vec<Refusal>,
    /// Distinct tuples, each in its meter's order of dimensions.
    pub dimension_values: Vec<Vec<String>>,
    index: HashTable<u32>,
    hashing: foldhash::fast::RandomState,
    /// How many measurements and refusals are in order already.
    ordered: (usize, usize),
}

/// One value per row, or why there is none.
type Values = Vec<Result<i128, String>>;

impl TypePlan {
    /// Adds what this type's meters make of the rows.
    pub fn measure(
        &self,
        rows: RowBatch<'_, '_>,
        tenant: &TenantId,
        key: &DeploymentKey,
        into: &mut Measured,
    ) {
        for meter in &self.meters {
            if meter.tenant.as_ref().is_none_or(|only| only == tenant) {
                meter.measure(&rows, key, into);
            }
        }
    }
}

impl MeterPlan {
    fn measure(&self, batch: &RowBatch<'_, '_>, key: &DeploymentKey, into: &mut Measured) {
        let all: Vec<u32> = (0..).take(batch.events.len()).collect();
        let rows = match &self.filter {
            Some(filter) => self.passing(filter, batch, all, into),
            None => all,
        };
        match &self.value {
            ValuePlan::Occurrence => self.take(batch, &rows, rows.iter().map(|_| Ok(1)), into),
            ValuePlan::Field { column, field_scale, scale } => {
                let values = rows.iter().map(|&row| field_value(batch, row, column, *field_scale, *scale));
                self.take(batch, &rows, values, into);
            }
            ValuePlan::Number { expression, scale } => {
                self.take(batch, &rows, numbers(expression, batch, &rows, *scale), into);
            }
            ValuePlan::Member(expression) => {
                let values = evaluated(expression, batch, &rows, |array, out| members(array, key, out));
                self.take(batch, &rows, values, into);
            }
        }
    }

    /// One value for each of the rows.
    fn take(
        &self,
        batch: &RowBatch<'_, '_>,
        rows: &[u32],
        values: impl IntoIterator<Item = Result<i128, String>>,
        into: &mut Measured,
    ) {
        let mut dimensions = Vec::with_capacity(self.dimensions.len());
        // Meters without dimensions have one tuple, which is looked up once.
        let without = (self.dimensions.is_empty() && !rows.is_empty()).then(|| into.tuple(&[]));
        for (&row, value) in rows.iter().zip(values) {
            let event = batch.events[row as usize];
            let measured = value.and_then(|value| match without {
                Some(tuple) => Ok((value, tuple)),
                None => self.tuple(batch, row, &mut dimensions).map(|()| (value, into.tuple(&dimensions))),
            });
            match measured {
                Ok((value, dimensions)) => {
                    into.measurements.push(Measurement { event, meter: self.index, dimensions, value });
                }
                Err(reason) => into.refusals.push(Refusal { event, meter: self.index, reason }),
            }
        }
    }

    /// Those of all rows for which the filter is true.
    fn passing(
        &self,
        filter: &Expression,
        batch: &RowBatch<'_, '_>,
        all: Vec<u32>,
        into: &mut Measured,
    ) -> Vec<u32> {
        let (columns, mut unfit) = filter.columns_of(batch, &all);
        let mut passing = vec![false; all.len()];
        filter.evaluate(&columns, &mut |start, piece| match piece {
            Ok(array) => {
                let array = array.as_boolean();
                for at in 0..array.len() {
                    passing[start + at] = array.is_valid(at) && array.value(at);
                }
            }
            Err(error) => unfit.push((start, format!("the filter cannot be evaluated: {error}"))),
        });
        // A row that cannot be judged is refused rather than left out: leaving it out would lose usage in silence.
        unfit.sort_by_key(|(row, _)| *row);
        unfit.dedup_by_key(|(row, _)| *row);
        for (row, reason) in unfit {
            passing[row] = false;
            into.refusals.push(Refusal { event: batch.events[row], meter: self.index, reason });
        }
        all.into_iter().filter(|&row| passing[row as usize]).collect()
    }

    /// The row's dimension values, in place.
    fn tuple<'b>(
        &self,
        batch: &RowBatch<'b, '_>,
        row: u32,
        out: &mut Vec<Cow<'b, str>>,
    ) -> Result<(), String> {
        out.clear();
        for column in &self.dimensions {
            let text = field::dimension(batch.value(row, column.slot), column.kind)
                .map_err(|unfit| column.refusal(&unfit))?;
            if text.len() > DIMENSION_BYTES_MAX {
                return Err(format!(
                    "the dimension `{}` at {} has {} bytes; at most {DIMENSION_BYTES_MAX} are allowed",
                    column.name,
                    column.path,
                    text.len()
                ));
            }
            out.push(text);
        }
        Ok(())
    }
}

fn field_value(
    batch: &RowBatch<'_, '_>,
    row: u32,
    column: &Column,
    field_scale: u32,
    scale: u32,
) -> Result<i128, String> {
    let value = batch.value(row, column.slot);
    match field::decimal(value, field_scale) {
        Ok(Some(count)) => field::rescaled(count, field_scale as i32, scale).ok_or_else(|| {
            let what = format!("the field `{}` at {}", column.name, column.path);
            beyond_scale(&what, count, field_scale as i32, scale)
        }),
        Ok(None) => Err(column.refusal(&Column::absence(value).unwrap_or(Unfit::Null))),
        Err(unfit) => Err(column.refusal(&unfit)),
    }
}

/// Digits beyond the meter's scale are refused, never rounded: rounding is the expression's to ask for.
fn beyond_scale(what: &str, count: i128, from: i32, scale: u32) -> String {
    match u32::try_from(from).ok().filter(|from| (scale + 1..=SCALE_MAX).contains(from)) {
        Some(from) => format!(
            "{what} is {}, more than the {scale} fractional digits of the meter's scale; use round(x, {scale}) or widen the scale",
            Decimal::new(count, from)
        ),
        None => {
            format!("{what} at the meter's scale of {scale} fractional digits: {}", NumberError::Overflow)
        }
    }
}

/// Evaluates the rows. `read` turns an array (numbers as decimals) into one entry per row, `None` for null.
fn evaluated(
    expression: &Expression,
    batch: &RowBatch<'_, '_>,
    rows: &[u32],
    read: impl Fn(&ArrayRef, &mut Vec<Option<Result<i128, String>>>),
) -> Values {
    let (columns, unfit) = expression.columns_of(batch, rows);
    let mut found = Vec::with_capacity(rows.len());
    expression.evaluate(&columns, &mut |_, piece| match piece {
        Ok(array) => read(&array, &mut found),
        Err(error) => found.push(Some(Err(format!("the value cannot be evaluated: {error}")))),
    });
    let mut values: Values = found
        .into_iter()
        .zip(rows)
        .map(|(value, &row)| value.unwrap_or_else(|| Err(expression.absent(batch, row))))
        .collect();
    // Last to first, so that of several faults of a row the first field's stays.
    for (row, reason) in unfit.into_iter().rev() {
        values[row] = Err(reason);
    }
    values
}

fn numbers(expression: &Expression, batch: &RowBatch<'_, '_>, rows: &[u32], scale: u32) -> Values {
    evaluated(expression, batch, rows, |array, out| {
        let from = decimal_scale(array);
        let counts = array.as_primitive::<Decimal128Type>();
        let in_scale = |count| {
            let scaled = field::rescaled(count, from, scale);
            scaled.ok_or_else(|| beyond_scale("the value", count, from, scale))
        };
        out.extend((0..counts.len()).map(|at| counts.is_valid(at).then(|| in_scale(counts.value(at)))));
    })
}

fn decimal_scale(array: &ArrayRef) -> i32 {
    match array.data_type() {
        DataType::Decimal128(_, scale) => i32::from(*scale),
        _ => 0,
    }
}

fn members(array: &ArrayRef, key: &DeploymentKey, out: &mut Vec<Option<Result<i128, String>>>) {
    let member = |at: usize| match array.data_type() {
        DataType::Decimal128(..) => {
            number_member(array.as_primitive::<Decimal128Type>().value(at), decimal_scale(array), key)
        }
        DataType::Boolean => {
            let mut hasher = key.hasher();
            hasher.number(MEMBER_BOOLEAN);
            hasher.number(u64::from(array.as_boolean().value(at)));
            hasher.finish128()
        }
        _ => {
            let mut hasher = key.hasher();
            hasher.number(MEMBER_TEXT);
            hasher.text(array.as_string::<i32>().value(at));
            hasher.finish128()
        }
    };
    out.extend((0..array.len()).map(|at| array.is_valid(at).then(|| Ok(member(at) as i128))));
}

/// Independent of the scale: trailing zeros are taken off first.
fn number_member(mut count: i128, mut scale: i32, key: &DeploymentKey) -> u128 {
    while count != 0 && count % 10 == 0 {
        count /= 10;
        scale -= 1;
    }
    let mut hasher = key.hasher();
    hasher.number(MEMBER_NUMBER);
    hasher.number128(count as u128);
    hasher.number(if count == 0 { 0 } else { i64::from(scale) as u64 });
    hasher.finish128()
}

impl Measured {
    /// With room for so many measurements.
    #[must_use]
    pub fn with_capacity(measurements: usize) -> Self {
        Self { measurements: Vec::with_capacity(measurements), ..Self::default() }
    }

    /// In the order the rules expect: by event, then meter. To be called whenever all meters have measured some events;
    /// those before stay as they are. The parts are sorted runs, which merge cheaply.
    pub fn put_in_order(&mut self) {
        let Self { measurements, refusals, ordered, .. } = self;
        measurements[ordered.0..].sort_by_key(|found| (found.event, found.meter));
        refusals[ordered.1..].sort_by_key(|found| (found.event, found.meter));
        *ordered = (measurements.len(), refusals.len());
    }

    fn tuple(&mut self, values: &[Cow<'_, str>]) -> u32 {
        let Self { dimension_values, index, hashing, .. } = self;
        let hash = hash_of(hashing, values.iter().map(|value| &**value));
        let same = |&at: &u32| {
            let known = &dimension_values[at as usize];
            known.len() == values.len() && known.iter().zip(values).all(|(known, value)| known == value)
        };
        if let Some(&at) = index.find(hash, same) {
            return at;
        }
        let at = u32::try_from(dimension_values.len()).expect("a block has fewer tuples than bytes");
        dimension_values.push(values.iter().map(|value| value.clone().into_owned()).collect());
        let rehash = |&at: &u32| hash_of(hashing, dimension_values[at as usize].iter().map(String::as_str));
        index.insert_unique(hash, at, rehash);
        at
    }
}

fn hash_of<'t>(hashing: &foldhash::fast::RandomState, texts: impl Iterator<Item = &'t str>) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = hashing.build_hasher();
    texts.for_each(|text| text.hash(&mut hasher));
    hasher.finish()
}
