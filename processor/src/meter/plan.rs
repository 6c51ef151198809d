//! Can this catalog's meters be evaluated? Each is planned once; every mistake is reported with its meter and part.
//!
//! Keeps: a plan that exists evaluates. Equal paths of one event type share a slot, however many meters read them.

use std::fmt;

use datafusion::arrow::datatypes::DataType;
use tidemark_schemas::ids::{MeterId, TenantId};
use tidemark_schemas::limits::QUANTITY_SCALE_MAX;
use tidemark_schemas::meter::{Aggregation, Field, FieldKind, Meter};

use super::expression::{Expression, Planner};
use super::field::{Column, PRECISION_MAX};

/// One thing that is wrong with one meter, for its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("meter {meter}, {part}: {message}")]
pub struct MeterMistake {
    pub meter: MeterId,
    pub part: MeterPart,
    pub message: String,
}

/// The part of a meter that a mistake is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeterPart {
    Fields,
    Filter,
    Value,
    Dimensions,
    Scale,
}

impl fmt::Display for MeterPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fields => "fields",
            Self::Filter => "filter",
            Self::Value => "value",
            Self::Dimensions => "dimensions",
            Self::Scale => "scale",
        })
    }
}

/// All meters of a catalog, by event type.
#[derive(Debug)]
pub struct MeterPlans {
    pub types: Vec<TypePlan>,
}

/// The meters of one event type.
#[derive(Debug)]
pub struct TypePlan {
    pub event_type: String,
    /// Member names from the top of the event, one path per slot.
    pub paths: Vec<Vec<String>>,
    pub(super) meters: Vec<MeterPlan>,
}

#[derive(Debug)]
pub(super) struct MeterPlan {
    /// Index into the catalog's meters.
    pub index: u16,
    pub tenant: Option<TenantId>,
    pub filter: Option<Expression>,
    pub value: ValuePlan,
    pub dimensions: Vec<Column>,
}

/// Where a measurement's value comes from.
#[derive(Debug)]
pub(super) enum ValuePlan {
    /// Each event counts 1.
    Occurrence,
    /// A decimal field as it stands: no Arrow column is built for it.
    Field { column: Column, field_scale: u32, scale: u32 },
    /// A count of `10^-scale`.
    Number { expression: Expression, scale: u32 },
    /// The keyed hash of the value.
    Member(Expression),
}

/// Plans every meter.
///
/// # Errors
/// All mistakes of all meters.
pub fn plan_meters(meters: &[Meter]) -> Result<MeterPlans, Vec<MeterMistake>> {
    let planner = Planner::new();
    let mut plans = MeterPlans { types: Vec::new() };
    let mut mistakes = Vec::new();
    for (index, meter) in meters.iter().enumerate() {
        let Ok(index) = u16::try_from(index) else {
            mistakes.push(mistake(
                meter,
                MeterPart::Fields,
                "a catalog has at most 65,536 meters".to_owned(),
            ));
            break;
        };
        match plan_meter(&planner, index, meter, plans.of_type(&meter.event_type)) {
            Ok(plan) => plans.of_type(&meter.event_type).meters.push(plan),
            Err((part, message)) => mistakes.push(mistake(meter, part, message)),
        }
    }
    if mistakes.is_empty() { Ok(plans) } else { Err(mistakes) }
}

fn mistake(meter: &Meter, part: MeterPart, message: String) -> MeterMistake {
    MeterMistake { meter: meter.id.clone(), part, message }
}

impl MeterPlans {
    fn of_type(&mut self, event_type: &str) -> &mut TypePlan {
        let at = self.types.iter().position(|plan| plan.event_type == event_type).unwrap_or_else(|| {
            let event_type = event_type.to_owned();
            self.types.push(TypePlan { event_type, paths: Vec::new(), meters: Vec::new() });
            self.types.len() - 1
        });
        &mut self.types[at]
    }
}

impl TypePlan {
    fn slot(&mut self, path: &[String]) -> usize {
        self.paths.iter().position(|known| known == path).unwrap_or_else(|| {
            self.paths.push(path.to_vec());
            self.paths.len() - 1
        })
    }
}

type Mistake = (MeterPart, String);

fn plan_meter(
    planner: &Planner,
    index: u16,
    meter: &Meter,
    plan: &mut TypePlan,
) -> Result<MeterPlan, Mistake> {
    if meter.scale > QUANTITY_SCALE_MAX {
        let message = format!("{} fractional digits; at most {QUANTITY_SCALE_MAX} are kept", meter.scale);
        return Err((MeterPart::Scale, message));
    }
    let fields = columns(meter)?;
    let mut planned = MeterPlan {
        index,
        tenant: meter.tenant.clone(),
        filter: meter.filter.as_deref().map(|sql| filter(planner, sql, &fields)).transpose()?,
        value: value(planner, meter, &fields)?,
        dimensions: dimensions(meter, &fields)?,
    };
    // Only now is it known which fields are used, and only those are extracted from events.
    for column in planned.columns_mut() {
        column.slot = plan.slot(&meter.fields[column.slot].path);
    }
    Ok(planned)
}

impl MeterPlan {
    fn columns_mut(&mut self) -> impl Iterator<Item = &mut Column> {
        let filter = self.filter.iter_mut().flat_map(|filter| &mut filter.columns);
        let value = match &mut self.value {
            ValuePlan::Occurrence => &mut [][..],
            ValuePlan::Field { column, .. } => std::slice::from_mut(column),
            ValuePlan::Number { expression, .. } | ValuePlan::Member(expression) => &mut expression.columns,
        };
        filter.chain(value).chain(&mut self.dimensions)
    }
}

/// The meter's fields, numbered as declared.
fn columns(meter: &Meter) -> Result<Vec<Column>, Mistake> {
    let mut columns: Vec<Column> = Vec::new();
    for (slot, field) in meter.fields.iter().enumerate() {
        if let Some(message) = field_mistake(field, &columns) {
            return Err((MeterPart::Fields, message));
        }
        let path = format!("$.{}", field.path.join("."));
        columns.push(Column { name: field.name.clone(), path, slot, kind: field.kind });
    }
    Ok(columns)
}

fn field_mistake(field: &Field, before: &[Column]) -> Option<String> {
    if field.path.is_empty() {
        return Some(format!("the field `{}` has no path", field.name));
    }
    if before.iter().any(|column| column.name == field.name) {
        return Some(format!("the field `{}` is declared twice", field.name));
    }
    match field.kind {
        FieldKind::Decimal { scale } if scale > u32::from(PRECISION_MAX) => Some(format!(
            "the field `{}` has {scale} fractional digits; at most {PRECISION_MAX} can be kept",
            field.name
        )),
        _ => None,
    }
}

fn filter(planner: &Planner, sql: &str, fields: &[Column]) -> Result<Expression, Mistake> {
    let expression = planner.plan(sql, fields).map_err(|message| (MeterPart::Filter, message))?;
    match &expression.result {
        DataType::Boolean => Ok(expression),
        other => Err((MeterPart::Filter, format!("it gives {other}; a filter is true or false"))),
    }
}

fn value(planner: &Planner, meter: &Meter, fields: &[Column]) -> Result<ValuePlan, Mistake> {
    let refused = |message: String| (MeterPart::Value, message);
    let sql = match (&meter.value, meter.aggregation) {
        (None, Aggregation::Count) => return Ok(ValuePlan::Occurrence),
        (Some(_), Aggregation::Count) => {
            return Err(refused(
                "a count takes no value; put the condition into the filter, or use a sum".to_owned(),
            ));
        }
        (None, other) => return Err(refused(format!("a meter with aggregation {other} needs a value"))),
        (Some(sql), _) => sql,
    };
    let expression = planner.plan(sql, fields).map_err(refused)?;
    let scale = meter.scale;
    if meter.aggregation == Aggregation::UniqueCount {
        let text = matches!(expression.result, DataType::Utf8 | DataType::Utf8View | DataType::LargeUtf8);
        if text || is_exact(&expression.result) || expression.result == DataType::Boolean {
            return Ok(ValuePlan::Member(expression));
        }
        return Err(refused(format!(
            "it gives {}; allowed are numbers, texts and booleans",
            expression.result
        )));
    }
    if !is_exact(&expression.result) {
        return Err(refused(format!("it gives {}; a quantity is a decimal", expression.result)));
    }
    match expression.bare_column().cloned() {
        Some(column) => match column.kind {
            FieldKind::Decimal { scale: field_scale } => Ok(ValuePlan::Field { column, field_scale, scale }),
            other => Err(refused(format!("the field is {other:?}; a quantity is a decimal"))),
        },
        None => Ok(ValuePlan::Number { expression, scale }),
    }
}

fn is_exact(kind: &DataType) -> bool {
    matches!(kind, DataType::Decimal128(..)) || kind.is_integer()
}

fn dimensions(meter: &Meter, fields: &[Column]) -> Result<Vec<Column>, Mistake> {
    let find = |name: &String| {
        let found = fields.iter().find(|column| column.name == *name).cloned();
        found.ok_or_else(|| (MeterPart::Dimensions, format!("`{name}` is not among the meter's fields")))
    };
    meter.dimensions.iter().map(find).collect()
}
