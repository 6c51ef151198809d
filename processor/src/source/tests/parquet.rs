//! What does a row of a Parquet file become?

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array, Int64Array,
    ListArray, RecordBatch, StringArray, TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;

use super::{Item, Opened, SMALL, TestFile, items, mapping, rest, shown};
use expect_test::expect;

const NOON: i64 = 1_704_110_400_000_000;

fn parquet_of(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .expect("equal lengths");
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("a writer");
    writer.write(&batch).expect("memory");
    writer.close().expect("memory");
    bytes
}

fn event(time: &str, data: &[&str]) -> String {
    let members: String = data.iter().map(|name| format!("{name} = \"{name}\"\n")).collect();
    format!(
        "format = \"parquet\"\n[event]\nid = \"{{#}}\"\nsource = \"/s\"\ntype = \"t\"\n{time}\n[data]\n{members}"
    )
}

#[test]
fn types_are_kept() {
    let dictionary: DictionaryArray<Int32Type> = [Some("x"), None].into_iter().collect();
    let decimal =
        Decimal128Array::from(vec![Some(12_340), Some(-5)]).with_precision_and_scale(20, 3).expect("fits");
    let file = TestFile::new(
        "a.parquet",
        parquet_of(vec![
            ("int", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
            ("unsigned", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
            ("decimal", Arc::new(decimal)),
            ("float", Arc::new(Float64Array::from(vec![0.1, f64::NAN]))),
            ("text", Arc::new(StringArray::from(vec!["007", "12"]))),
            ("dictionary", Arc::new(dictionary)),
            ("flag", Arc::new(BooleanArray::from(vec![Some(true), None]))),
            ("date", Arc::new(Date32Array::from(vec![0, 19_723]))),
            ("utc", Arc::new(TimestampMicrosecondArray::from(vec![NOON, NOON + 1]).with_timezone("+00:00"))),
        ]),
    );
    let map = mapping(&event(
        "time = \"{utc}\"",
        &["int", "unsigned", "decimal", "float", "text", "dictionary", "flag", "date"],
    ));
    expect![[r#"
        1 {"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2024-01-01T12:00:00Z","data":{"date":"1970-01-01","decimal":12.340,"dictionary":"x","flag":true,"float":0.1,"int":-9223372036854775808,"text":"007","unsigned":18446744073709551615}}
        2 {"specversion":"1.0","id":"2","source":"/s","type":"t","time":"2024-01-01T12:00:00.000001Z","data":{"date":"2024-01-01","decimal":-0.005,"float":"NaN","text":"12","unsigned":0}}
    "#]].assert_eq(&shown(&file.items(Some(&map))));
}

#[test]
fn wall_clock_times_need_a_zone() {
    let naive = || Arc::new(TimestampMicrosecondArray::from(vec![NOON])) as ArrayRef;
    let file = TestFile::new("a.parquet", parquet_of(vec![("at", naive()), ("until", naive())]));
    let without = mapping(&event("time = { column = \"at\" }", &["until"]));
    let message = file.try_open(Some(&without), None, SMALL).err().expect("refused").to_string();
    assert!(
        message.starts_with("column `at` of ") && message.contains("holds times without a zone"),
        "{message}"
    );
    let zones = event("time = { column = \"at\", zone = \"America/New_York\" }", &["until"]);
    let with = mapping(&zones.replacen("[event]", "zone = \"Europe/Berlin\"\n[event]", 1));
    expect![[r#"
        1 {"specversion":"1.0","id":"1","source":"/s","type":"t","time":"2024-01-01T17:00:00Z","data":{"until":"2024-01-01T11:00:00Z"}}
    "#]].assert_eq(&shown(&file.items(Some(&with))));
}

#[test]
fn nested_columns_are_refused_by_name_when_they_are_read() {
    let list = ListArray::from_iter_primitive::<Int32Type, _, _>([Some([Some(1)])]);
    let file = TestFile::new(
        "a.parquet",
        parquet_of(vec![("n", Arc::new(Int64Array::from(vec![1]))), ("tags", Arc::new(list))]),
    );
    assert_eq!(file.items(Some(&mapping(&event("", &["n"])))).len(), 1);
    let refused = file.try_open(Some(&mapping(&event("", &["tags"]))), None, SMALL).err().expect("refused");
    assert!(
        refused.to_string().starts_with("column `tags` of ") && refused.to_string().contains("is a list")
    );
}

#[test]
fn positions_count_rows_and_a_changed_file_is_another_file() {
    let numbers = |range: std::ops::Range<i64>| {
        parquet_of(vec![("n", Arc::new(Int64Array::from_iter_values(range)) as ArrayRef)])
    };
    let file = TestFile::new("a.parquet", numbers(0..20));
    let map = mapping(&event("", &["n"]));
    let (mut source, opened) = file.open(Some(&map), None);
    assert_eq!((opened, source.total_units()), (Opened::Fresh, Some(20)));
    let chunks = rest(source.as_mut());
    let all = items(&chunks);
    assert_eq!(all.iter().map(|item| item.place).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    for (index, chunk) in chunks.iter().enumerate() {
        let (mut source, opened) = file.open(Some(&map), Some(&chunk.position));
        let at = chunk.position.clone();
        let expected = if at.complete { Opened::Unchanged { at } } else { Opened::Resumed { from: at } };
        assert_eq!(opened, expected);
        let remaining: Vec<Item> = items(&chunks[index + 1..]);
        assert_eq!(items(&rest(source.as_mut())), remaining);
    }
    file.write(numbers(0..21));
    let (mut source, opened) = file.open(Some(&map), Some(&chunks[0].position));
    assert_eq!(opened, Opened::Replaced { before: chunks[0].position.clone() });
    assert_eq!(items(&rest(source.as_mut())).len(), 21);
}

#[test]
fn other_bytes_are_no_parquet_file() {
    let file = TestFile::new("a.parquet", "PAR1 but not really");
    let message =
        file.try_open(Some(&mapping(&event("", &["n"]))), None, SMALL).err().expect("refused").to_string();
    assert!(message.contains("is no Parquet file that can be read"), "{message}");
}
