//! What is counted? The `[[meter]]` tables.
//!
//! Deliberately absent: parsing of the SQL in `filter` and `value`; here they are only required not to be blank.

use std::collections::HashMap;

use tidemark_schemas::ids::{MeterId, TenantId};
use tidemark_schemas::limits::{DEPTH_MAX, GROUPS_PER_SUBSCRIPTION_DEFAULT, QUANTITY_SCALE_MAX};
use tidemark_schemas::meter::{Aggregation, Field, FieldKind, Meter, WindowLength};
use toml::de::DeValue;

use super::names::{Kind, Names, suggest};
use super::table::Table;
use super::value::{Value, shown};

/// A measurement names its meter in 16 bits.
pub const METERS_MAX: usize = 65_535;

/// A filter that is longer than this is a program, and belongs into the product that sends the events.
const EXPRESSION_BYTES_MAX: usize = 16 * 1024;

/// CloudEvents attributes that hold text; everything a product adds is below `data`.
const ATTRIBUTES: [&str; 5] = ["subject", "source", "id", "type", "time"];

pub(super) fn read(tops: &mut [Table<'_>], names: &mut Names) -> Vec<Meter> {
    let mut meters = Vec::new();
    let mut count = 0;
    for table in tops.iter_mut().flat_map(|top| top.tables("meter")) {
        count += 1;
        if count == METERS_MAX + 1 {
            table.mistake("one meter too many", format!("at most {METERS_MAX} are allowed"));
        }
        meters.extend(meter(table, names));
    }
    meters
}

fn meter(mut table: Table<'_>, names: &mut Names) -> Option<Meter> {
    let id = table.id(Kind::Meter, names, MeterId::new);
    let tenant = table.optional("tenant", |v| v.name(TenantId::new));
    let event_type = table.required("event_type", Value::owned_text);
    let scale_max = i64::from(QUANTITY_SCALE_MAX);
    let scale = table.or("scale", 0, |v| v.integer(0..=scale_max).map(small));
    let fields = table.or("fields", Vec::new(), |v| fields(v, scale));
    let expression = |v: Value<'_>| v.text_within(EXPRESSION_BYTES_MAX).map(str::to_owned);
    let filter = table.optional("filter", expression);
    let value = table.optional("value", expression);
    let aggregation = table.required("aggregation", |v| v.choice(&Aggregation::ALL, Aggregation::name));
    if let (Some(aggregation), Some(value)) = (aggregation, &value) {
        check_value(&table, aggregation, value.is_some());
    }
    let dimensions = table.or("dimensions", Vec::new(), |v| dimensions(v, fields.as_deref()));
    let groups_max = table
        .or("groups_max", GROUPS_PER_SUBSCRIPTION_DEFAULT, |v| v.integer(1..=i64::from(u32::MAX)).map(small));
    let window = table.required("window", |v| v.choice(&WindowLength::ALL, WindowLength::name));
    let unit = table.required("unit", Value::owned_text);
    table.finish();
    Some(Meter {
        id: id?,
        tenant: tenant?,
        event_type: event_type?,
        fields: fields?,
        filter: filter?,
        value: value?,
        aggregation: aggregation?,
        dimensions: dimensions?,
        groups_max: groups_max?,
        window: window?,
        unit: unit?,
        scale: scale?,
    })
}

fn small(number: i64) -> u32 {
    u32::try_from(number).expect("the range was checked when it was read")
}

fn check_value(table: &Table<'_>, aggregation: Aggregation, has_value: bool) {
    match (aggregation, has_value) {
        (Aggregation::Count, true) => table.mistake(
            "a count has no value: every event that passes the filter counts 1",
            "remove `value`, or choose another aggregation",
        ),
        (Aggregation::Count, false) | (_, true) => {}
        (other, false) => {
            table.mistake(
                format!("the aggregation `{other}` needs a value"),
                "add `value = \"a field or SQL\"`",
            );
        }
    }
}

/// `None` when any field is wrong. A meter's own scale may be unknown because it is wrong; then it counts as 0.
fn fields(value: Value<'_>, scale: Option<u32>) -> Option<Vec<Field>> {
    let mut members = value.table()?;
    let read: Vec<Option<Field>> =
        members.members().into_iter().map(|(name, value)| field(name, value, scale.unwrap_or(0))).collect();
    read.into_iter().collect()
}

fn field(name: &str, value: Value<'_>, scale: u32) -> Option<Field> {
    // An expression must be able to use the name as it is.
    let is_name = name.len() <= 128
        && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if !is_name {
        let message = format!("`{}` cannot be a field's name", shown(name));
        value.mistake(
            message,
            "use ASCII letters, digits and _, not beginning with a digit; the path may be any",
        );
    }
    let default_path = || vec!["data".to_owned(), name.to_owned()];
    let (path, kind) = match value.raw {
        DeValue::Table(_) => {
            let mut table = value.clone().table()?;
            let path = table.or("path", default_path(), path);
            let kind = table.required("type", |v| kind(&v, scale));
            if let (Some(path), Some(kind)) = (&path, kind)
                && path[0] != "data"
                && kind != FieldKind::Text
            {
                table.mistake(format!("`{}` is text", path[0]), "write type = \"text\"");
            }
            table.finish();
            (path, kind)
        }
        _ => (Some(default_path()), kind(&value, scale)),
    };
    Some(Field { name: name.to_owned(), path: path?, kind: kind? }).filter(|_| is_name)
}

fn kind(value: &Value<'_>, scale: u32) -> Option<FieldKind> {
    let DeValue::String(text) = value.raw else {
        return value.expected("a type", "allowed: \"decimal\", \"decimal(9)\", \"text\", \"boolean\"");
    };
    let digits = text.strip_prefix("decimal(").and_then(|rest| rest.strip_suffix(')'));
    let declared = digits.and_then(|digits| digits.parse().ok()).filter(|scale| *scale <= QUANTITY_SCALE_MAX);
    match (text.as_ref(), declared) {
        ("decimal", _) => Some(FieldKind::Decimal { scale }),
        ("text", _) => Some(FieldKind::Text),
        ("boolean", _) => Some(FieldKind::Boolean),
        (_, Some(scale)) => Some(FieldKind::Decimal { scale }),
        _ => {
            let help =
                format!("allowed: decimal, decimal(0) to decimal({QUANTITY_SCALE_MAX}), text, boolean");
            value.mistake(format!("`{}` is not a type of a field", shown(text)), help);
            None
        }
    }
}

/// `data.usage.tokens`, `data."a.b".c`, or a list of member names.
fn path(value: Value<'_>) -> Option<Vec<String>> {
    let members = match value.raw {
        DeValue::Array(_) => value.clone().list(Value::owned_text)?,
        _ => {
            let text = value.text()?;
            let Some(members) = split_path(text) else {
                let message = format!("`{}` is not a path", shown(text));
                let help =
                    "write member names with dots between, quote a name with a dot: data.usage.\"a.b\"";
                value.mistake(message, help);
                return None;
            };
            members
        }
    };
    let known = match members.as_slice() {
        [first] => first == "data" || ATTRIBUTES.contains(&first.as_str()),
        [first, ..] => first == "data",
        [] => false,
    };
    if !known {
        let help = format!("allowed: data and what is below it, {}", ATTRIBUTES.join(", "));
        value.mistake(format!("an event has no member `{}`", shown(&members.join("."))), help);
        return None;
    }
    if members.len() > DEPTH_MAX {
        let message = format!("the path has {} members", members.len());
        value.mistake(message, format!("at most {DEPTH_MAX} are allowed, as deep as events may nest"));
        return None;
    }
    Some(members)
}

fn split_path(text: &str) -> Option<Vec<String>> {
    let mut members = Vec::new();
    let mut rest = text;
    loop {
        let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
        let member = match quote {
            Some(quote) => rest[1..].split(quote).next().filter(|member| rest.len() > member.len() + 1)?,
            None => rest.split('.').next()?,
        };
        if member.is_empty() {
            return None;
        }
        members.push(member.to_owned());
        rest = &rest[member.len() + if quote.is_some() { 2 } else { 0 }..];
        match rest.strip_prefix('.') {
            Some(after) => rest = after,
            None if rest.is_empty() => return Some(members),
            None => return None,
        }
    }
}

/// `fields` is `None` when they are wrong themselves: then any name may have been meant to be one.
fn dimensions(value: Value<'_>, fields: Option<&[Field]>) -> Option<Vec<String>> {
    let read = value.list(|element| Some((element.text()?, element)))?;
    let mut first_at: HashMap<&str, usize> = HashMap::new();
    let mut all_good = true;
    for (at, (name, element)) in read.iter().enumerate() {
        if first_at.insert(name, at).is_some() {
            element.mistake(format!("the dimension `{}` is named twice", shown(name)), "name each once");
            all_good = false;
        }
        let Some(fields) = fields else { continue };
        let declared: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
        if !declared.contains(name) {
            let help = match declared.as_slice() {
                [] => "declare it in `fields`".to_owned(),
                all => suggest(name, all, "field"),
            };
            element.mistake(format!("the dimension `{}` is not a declared field", shown(name)), help);
            all_good = false;
        }
    }
    all_good.then(|| read.into_iter().map(|(name, _)| name.to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::split_path;

    #[test]
    fn paths_are_split_at_dots_outside_quotes() {
        for (text, members) in [
            ("data.usage.tokens", Some(vec!["data", "usage", "tokens"])),
            ("subject", Some(vec!["subject"])),
            ("data.\"a.b\".c", Some(vec!["data", "a.b", "c"])),
            ("data.'a \"b\"'", Some(vec!["data", "a \"b\""])),
            ("data.ä", Some(vec!["data", "ä"])),
            ("", None),
            ("data.", None),
            (".data", None),
            ("data..a", None),
            ("data.\"a", None),
            ("data.\"\"", None),
            ("data.\"a\"b", None),
            ("data.\"", None),
        ] {
            let expected = members.map(|all| all.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(split_path(text), expected, "{text}");
        }
    }
}
