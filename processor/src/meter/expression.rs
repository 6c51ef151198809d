//! How is a meter's SQL evaluated? Planned once by DataFusion, then run on Arrow columns of the fields it names.
//!
//! Keeps: one row that cannot be evaluated (an overflow, a division by zero) costs only itself: a batch that fails is
//! halved until the culprits stand alone. Literals with a point are decimals, never floats.
//!
//! Deliberately absent: what the result means. A filter and a value read it differently.

use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanBuilder, Decimal128Builder, RecordBatch, RecordBatchOptions, StringBuilder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field as ArrowField, Schema, SchemaRef};
use datafusion::common::{DFSchema, DataFusionError};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::prelude::SessionConfig;
use tidemark_schemas::meter::FieldKind;

use super::RowBatch;
use super::field::{self, Column, PRECISION_MAX, Unfit};
use super::rules;

/// DataFusion, set up once per catalog.
pub(super) struct Planner(SessionState);

/// One planned expression over some fields of a meter.
#[derive(Debug)]
pub(super) struct Expression {
    /// The fields it names.
    pub columns: Vec<Column>,
    /// Type of its results.
    pub result: DataType,
    schema: SchemaRef,
    physical: Arc<dyn PhysicalExpr>,
}

impl Planner {
    pub fn new() -> Self {
        let mut config = SessionConfig::new();
        let parser = &mut config.options_mut().sql_parser;
        parser.parse_float_as_decimal = true;
        // Field names are written as in the catalog, capitals included.
        parser.enable_ident_normalization = false;
        Self(SessionStateBuilder::new().with_config(config).with_default_features().build())
    }

    /// `Err` is a sentence for the author of the meter.
    pub fn plan(&self, sql: &str, fields: &[Column]) -> Result<Expression, String> {
        let all = df_schema(&arrow_schema(fields))?;
        let parsed = self.0.create_logical_expr(sql, &all).map_err(|error| for_the_author(&error))?;
        let named = parsed.column_refs();
        let columns: Vec<Column> = fields
            .iter()
            .filter(|column| named.iter().any(|name| name.name == column.name))
            .cloned()
            .collect();
        let schema = arrow_schema(&columns);
        let names = df_schema(&schema)?;
        let parsed = rules::with_decimal_literals(parsed).map_err(|error| for_the_author(&error))?;
        let context = SimplifyContext::builder().with_schema(Arc::new(names.clone())).build();
        let coerced = ExprSimplifier::new(context.clone())
            .coerce(parsed, &names)
            .map_err(|error| for_the_author(&error))?;
        rules::check(&coerced, &names)?;
        let rewritten =
            rules::with_functions_rewritten(coerced, &context).map_err(|error| for_the_author(&error))?;
        let physical =
            self.0.create_physical_expr(rewritten, &names).map_err(|error| for_the_author(&error))?;
        let result = physical.data_type(&schema).map_err(|error| for_the_author(&error))?;
        Ok(Expression { columns, result, schema, physical })
    }
}

impl Expression {
    /// The column, when the expression is nothing but that field.
    pub fn bare_column(&self) -> Option<&Column> {
        let column = self.physical.downcast_ref::<datafusion::physical_expr::expressions::Column>()?;
        self.columns.get(column.index())
    }

    /// Evaluates the rows; calls `take` with consecutive pieces: where the piece begins, and its results, or
    /// for a single row what went wrong. Results are decimals, texts or booleans.
    pub fn evaluate(&self, batch: &RecordBatch, take: &mut dyn FnMut(usize, Result<ArrayRef, String>)) {
        self.evaluate_from(0, batch, take);
    }

    fn evaluate_from(
        &self,
        start: usize,
        batch: &RecordBatch,
        take: &mut dyn FnMut(usize, Result<ArrayRef, String>),
    ) {
        let count = batch.num_rows();
        match self.physical.evaluate(batch).and_then(|value| readable(value.into_array(count)?)) {
            Ok(array) => take(start, Ok(array)),
            Err(error) if count <= 1 => take(start, Err(error.strip_backtrace())),
            Err(_) => {
                let half = count / 2;
                self.evaluate_from(start, &batch.slice(0, half), take);
                self.evaluate_from(start + half, &batch.slice(half, count - half), take);
            }
        }
    }

    /// Arrow columns of the given rows, and the rows (by their place in `rows`) that hold something a field cannot take.
    pub fn columns_of(&self, batch: &RowBatch<'_, '_>, rows: &[u32]) -> (RecordBatch, Vec<(usize, String)>) {
        let mut unfit = Vec::new();
        let arrays: Vec<ArrayRef> =
            self.columns.iter().map(|column| array(column, batch, rows, &mut unfit)).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let batch = RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options)
            .expect("every column is built with the schema's type and one value per row");
        (batch, unfit)
    }

    /// Which of its fields the row lacks, for a person.
    pub fn absent(&self, batch: &RowBatch<'_, '_>, row: u32) -> String {
        let lacking = self.columns.iter().find_map(|column| {
            Column::absence(batch.value(row, column.slot)).map(|absence| column.refusal(&absence))
        });
        lacking.unwrap_or_else(|| "the meter's value is null for this event".to_owned())
    }
}

fn array(
    column: &Column,
    batch: &RowBatch<'_, '_>,
    rows: &[u32],
    unfit: &mut Vec<(usize, String)>,
) -> ArrayRef {
    let mut note = |at: usize, fault: &Unfit| unfit.push((at, column.refusal(fault)));
    let values = rows.iter().map(|&row| batch.value(row, column.slot)).enumerate();
    match column.kind {
        FieldKind::Decimal { scale } => {
            let mut builder =
                Decimal128Builder::with_capacity(rows.len()).with_data_type(arrow_type(column.kind));
            for (at, value) in values {
                let taken = field::decimal(value, scale).inspect_err(|fault| note(at, fault));
                builder.append_option(taken.unwrap_or(None));
            }
            Arc::new(builder.finish())
        }
        FieldKind::Text => {
            let mut builder = StringBuilder::with_capacity(rows.len(), rows.len() * 16);
            for (at, value) in values {
                let taken = field::text(value).inspect_err(|fault| note(at, fault));
                builder.append_option(taken.unwrap_or(None));
            }
            Arc::new(builder.finish())
        }
        FieldKind::Boolean => {
            let mut builder = BooleanBuilder::with_capacity(rows.len());
            for (at, value) in values {
                let taken = field::boolean(value).inspect_err(|fault| note(at, fault));
                builder.append_option(taken.unwrap_or(None));
            }
            Arc::new(builder.finish())
        }
    }
}

/// DataFusion's answer without its advice on session settings, which authors of meters cannot reach.
fn for_the_author(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains("datafusion.")).collect();
    let scales = if text.contains("would exceed max scale") {
        "; the scales of factors add up, so declare smaller ones or round a factor first"
    } else {
        ""
    };
    lines.join(" ") + scales
}

/// Numbers as 128-bit decimals and texts as one kind of text, so that readers know three types.
fn readable(array: ArrayRef) -> datafusion::common::Result<ArrayRef> {
    let kind = match array.data_type() {
        DataType::Decimal128(..) | DataType::Utf8 | DataType::Boolean => return Ok(array),
        kind if kind.is_integer() => DataType::Decimal128(PRECISION_MAX, 0),
        _ => DataType::Utf8,
    };
    Ok(cast(&array, &kind)?)
}

fn arrow_type(kind: FieldKind) -> DataType {
    match kind {
        FieldKind::Decimal { scale } => {
            DataType::Decimal128(PRECISION_MAX, i8::try_from(scale).expect("planning has checked the scale"))
        }
        FieldKind::Text => DataType::Utf8,
        FieldKind::Boolean => DataType::Boolean,
    }
}

fn arrow_schema(columns: &[Column]) -> SchemaRef {
    let fields: Vec<ArrowField> =
        columns.iter().map(|column| ArrowField::new(&column.name, arrow_type(column.kind), true)).collect();
    Arc::new(Schema::new(fields))
}

fn df_schema(schema: &Schema) -> Result<DFSchema, String> {
    DFSchema::try_from(schema.clone()).map_err(|error| for_the_author(&error))
}
