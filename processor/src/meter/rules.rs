//! Which SQL may touch a quantity? Expressions that are exact and give the same answer on every replay.
//!
//! Refused, each with what to write instead: binary floats, division (its result is cut to a fixed number of
//! digits), casts that lose digits, functions that are not deterministic, and integer arithmetic outside decimals
//! (it wraps around in silence). `round(x, n)` is allowed: on decimals it is exact, half away from zero.
//!
//! The product of two decimals has the sum of their scales, and at most 38 digits in all: planning refuses a
//! product whose scales add up to more than 38, and evaluation refuses a row whose product does not fit.

use datafusion::arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchema, Result as PlanResult, ScalarValue};
use datafusion::logical_expr::expr::ScalarFunction;
use datafusion::logical_expr::simplify::{ExprSimplifyResult, SimplifyContext};
use datafusion::logical_expr::{Expr, ExprSchemable, Operator, Volatility};

/// Functions whose result on exact numbers is exact. A test evaluates each: being planned is not being evaluated.
/// `nvl` is not here: DataFusion knows it for binary floats and integers only, and `coalesce` says the same.
pub(super) const EXACT_FUNCTIONS: [&str; 10] = [
    "round",
    "abs",
    "ceil",
    "floor",
    "coalesce",
    "nullif",
    "greatest",
    "least",
    "character_length",
    "octet_length",
];

const BINARY_FLOAT: &str = "is a binary floating-point number, which cannot hold most decimal fractions exactly; \
                            use decimal fields, literals and functions";

/// Digits of a 64-bit integer written as a decimal.
const INTEGER_DIGITS: u8 = 20;

/// Integer literals in arithmetic become decimals, whose overflow is an error and not a wrong number.
pub(super) fn with_decimal_literals(expr: Expr) -> PlanResult<Expr> {
    let rewritten = expr.transform_up(|node| {
        let Expr::BinaryExpr(mut binary) = node else {
            return Ok(Transformed::no(node));
        };
        if !is_arithmetic(binary.op) {
            return Ok(Transformed::no(Expr::BinaryExpr(binary)));
        }
        for side in [&mut binary.left, &mut binary.right] {
            if let Expr::Literal(value, _) = &**side
                && let Some(integer) = integer(value)
            {
                let decimal = ScalarValue::Decimal128(Some(integer), INTEGER_DIGITS, 0);
                **side = Expr::Literal(decimal, None);
            }
        }
        Ok(Transformed::yes(Expr::BinaryExpr(binary)))
    })?;
    Ok(rewritten.data)
}

fn integer(value: &ScalarValue) -> Option<i128> {
    match value {
        ScalarValue::Int64(value) => value.map(i128::from),
        ScalarValue::UInt64(value) => value.map(i128::from),
        _ => None,
    }
}

/// Functions that DataFusion evaluates only as something else (`coalesce` as `CASE`) become that. Its whole simplifier
/// would do it too, but it also rewrites arithmetic, and whether a row overflows should not depend on its rules.
pub(super) fn with_functions_rewritten(expr: Expr, context: &SimplifyContext) -> PlanResult<Expr> {
    let rewritten = expr.transform_up(|node| {
        let Expr::ScalarFunction(ScalarFunction { func, args }) = node else {
            return Ok(Transformed::no(node));
        };
        Ok(match func.simplify(args, context)? {
            ExprSimplifyResult::Simplified(expr) => Transformed::yes(expr),
            ExprSimplifyResult::Original(args) => {
                Transformed::no(Expr::ScalarFunction(ScalarFunction { func, args }))
            }
        })
    })?;
    Ok(rewritten.data)
}

/// Walks an expression whose types have been coerced. `Err` is a sentence for the author of the meter.
pub(super) fn check(coerced: &Expr, schema: &DFSchema) -> Result<(), String> {
    let mut mistake = None;
    let walked = coerced.apply(|node| {
        mistake = check_node(node, schema).err();
        Ok(if mistake.is_some() { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
    });
    walked.map_err(|error| error.strip_backtrace())?;
    mistake.map_or(Ok(()), Err)
}

fn check_node(node: &Expr, schema: &DFSchema) -> Result<(), String> {
    check_shape(node)?;
    let result = type_of(node, schema)?;
    let shown = node.human_display();
    match node {
        Expr::ScalarFunction(call) if call.func.signature().volatility != Volatility::Immutable => {
            return Err(format!("`{shown}` can answer differently on a replay; leave it out"));
        }
        Expr::Cast(cast) => check_cast(node, &cast.expr, &result, schema)?,
        Expr::TryCast(cast) => check_cast(node, &cast.expr, &result, schema)?,
        _ => {}
    }
    if result.is_floating() {
        return Err(format!("`{node}` {BINARY_FLOAT}"));
    }
    if matches!(result, DataType::Decimal256(..)) {
        return Err(format!(
            "`{shown}` needs more than 38 digits; declare smaller scales or round its parts"
        ));
    }
    match node {
        Expr::BinaryExpr(binary) if binary.op == Operator::Divide => Err(format!(
            "`{shown}` divides, and a quotient is cut to a fixed number of digits; multiply by the reciprocal \
             (`* 0.001` for `/ 1000`), or let the rate card price a larger unit"
        )),
        Expr::BinaryExpr(binary)
            if is_arithmetic(binary.op) && !matches!(result, DataType::Decimal128(..)) =>
        {
            Err(format!("`{shown}` is not decimal arithmetic; declare its fields as decimals"))
        }
        Expr::ScalarFunction(call) if result.is_numeric() && !EXACT_FUNCTIONS.contains(&call.func.name()) => {
            Err(format!("`{}` is not known to be exact on decimals; leave it out", call.func.name()))
        }
        _ => Ok(()),
    }
}

fn type_of(node: &Expr, schema: &DFSchema) -> Result<DataType, String> {
    node.get_type(schema).map_err(|error| error.strip_backtrace())
}

/// Nothing that needs more than the one event.
fn check_shape(node: &Expr) -> Result<(), String> {
    match node {
        Expr::Alias(_)
        | Expr::Column(_)
        | Expr::Literal(..)
        | Expr::BinaryExpr(_)
        | Expr::Like(_)
        | Expr::SimilarTo(_)
        | Expr::Not(_)
        | Expr::IsNotNull(_)
        | Expr::IsNull(_)
        | Expr::IsTrue(_)
        | Expr::IsFalse(_)
        | Expr::IsUnknown(_)
        | Expr::IsNotTrue(_)
        | Expr::IsNotFalse(_)
        | Expr::IsNotUnknown(_)
        | Expr::Negative(_)
        | Expr::Between(_)
        | Expr::Case(_)
        | Expr::Cast(_)
        | Expr::TryCast(_)
        | Expr::ScalarFunction(_)
        | Expr::InList(_) => Ok(()),
        _ => Err(format!("`{node}` looks beyond the one event; a meter's expression sees only its fields")),
    }
}

fn check_cast(node: &Expr, from: &Expr, to: &DataType, schema: &DFSchema) -> Result<(), String> {
    let kind = type_of(from, schema)?;
    if kind.is_floating() {
        return Err(format!("`{from}` {BINARY_FLOAT}"));
    }
    if !to.is_numeric() || to.is_floating() || kind.is_null() {
        return Ok(());
    }
    if let (Some(before), Some(after)) = (digits_after_point(&kind), digits_after_point(to))
        && before <= after
    {
        return Ok(());
    }
    Err(format!(
        "`{node}` turns {kind} into {to} and can lose digits in silence; declare the field as a decimal, or use round(x, n)"
    ))
}

fn digits_after_point(kind: &DataType) -> Option<i8> {
    match kind {
        DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale) => {
            Some(*scale)
        }
        kind if kind.is_integer() => Some(0),
        _ => None,
    }
}

fn is_arithmetic(op: Operator) -> bool {
    matches!(op, Operator::Plus | Operator::Minus | Operator::Multiply | Operator::Divide | Operator::Modulo)
}
