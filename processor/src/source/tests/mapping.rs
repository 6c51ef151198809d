//! What does a mapping file mean, and where does it say what is wrong with it?

use super::super::mapping::{Mapping, Template, TemplatePart};
use expect_test::{Expect, expect};

const EVENT: &str = "[event]\nid = \"{#}\"\nsource = \"/s\"\ntype = \"t\"\n";

fn refused(text: &str, expected: &Expect) {
    expected.assert_eq(&Mapping::parse("map.toml", text).expect_err("a fault").to_string());
}

#[test]
fn faults_name_file_and_line() {
    refused(
        &format!("format = \"xml\"\n{EVENT}"),
        &expect![
            "map.toml, line 1: unknown variant `xml`, expected one of `ndjson`, `csv`, `parquet`, `lines`"
        ],
    );
    refused(
        &format!("format = \"csv\"\ndelimeter = \";\"\n{EVENT}"),
        &expect![
            "map.toml, line 2: unknown field `delimeter`, expected one of `format`, `delimiter`, `null`, `zone`, `pattern`, `event`, `data`, `where`"
        ],
    );
    refused(
        &format!("format = \"csv\"\ndelimiter = \"ab\"\n{EVENT}"),
        &expect![[r#"map.toml, line 2: `ab` is no delimiter; give one ASCII character, "\t" for a tab"#]],
    );
    refused(
        &format!("format = \"csv\"\nzone = \"Mars/Base\"\n{EVENT}"),
        &expect![
            "map.toml, line 2: `Mars/Base` is no time zone; use an IANA name such as Europe/Berlin or UTC"
        ],
    );
    refused(
        &format!("format = \"csv\"\npattern = 'a'\n{EVENT}"),
        &expect!["map.toml, line 2: `pattern` is only for lines; this mapping is for csv"],
    );
    refused(
        &format!("format = \"lines\"\n{EVENT}"),
        &expect!["map.toml, line 1: lines need a `pattern` with named groups"],
    );
    refused(
        &format!("format = \"parquet\"\nnull = [\"-\"]\n{EVENT}"),
        &expect!["map.toml, line 2: `null` is only for csv and lines; this mapping is for parquet"],
    );
    refused(
        &format!("format = \"ndjson\"\n{EVENT}"),
        &expect!["map.toml, line 1: ndjson needs no mapping: its lines are CloudEvents already"],
    );
    refused(
        "format = \"csv\"\n[event]\nid = \"{#}\"\ntype = \"t\"\n",
        &expect!["map.toml, line 2: missing field `source`"],
    );
    refused(
        "format = \"csv\"\n[event]\nid = \"{#\"\nsource = \"/s\"\ntype = \"t\"\n",
        &expect!["map.toml, line 3: in `{#`: a column is written {Column}, a brace itself twice"],
    );
    refused(
        &format!("format = \"csv\"\n{EVENT}time = {{ colum = \"T\" }}\n"),
        &expect!["map.toml, line 6: unknown field `colum`, expected one of `column`, `format`, `zone`"],
    );
    refused(
        &format!("format = \"csv\"\n{EVENT}time = {{ column = \"T\", format = \"%F %T\" }}\n"),
        &expect![
            "map.toml, line 6: the format of time column `T` has no offset (%z), so `zone` must name the zone"
        ],
    );
    refused(
        &format!("format = \"csv\"\n{EVENT}time = {{ column = \"T\", zone = \"UTC\" }}\n"),
        &expect!["map.toml, line 6: time column `T` has a `zone` but no `format` to read it by"],
    );
    refused(
        &format!("format = \"csv\"\n{EVENT}[data]\na = {{ column = \"A\", defalt = \"0\" }}\n"),
        &expect!["map.toml, line 7: unknown field `defalt`, expected `column` or `default`"],
    );
    refused(
        &format!("format = \"csv\"\n{EVENT}[data]\na = 5\n"),
        &expect![
            "map.toml, line 7: invalid type: integer `5`, expected a column's name, or a table with column and default"
        ],
    );
    refused(
        &format!("format = \"csv\"\n{EVENT}[where]\na = 5\n"),
        &expect!["map.toml, line 7: expected a text or a list of texts"],
    );
}

#[test]
fn a_broken_pattern_says_where_it_is_broken() {
    let error = Mapping::parse("map.toml", &format!("format = \"lines\"\npattern = '('\n{EVENT}"));
    let message = error.expect_err("a fault").to_string();
    assert!(message.starts_with("map.toml, line 2: ") && message.contains("unclosed group"), "{message}");
}

#[test]
fn templates_have_columns_and_braces() {
    use TemplatePart::{Column, FileStem, RecordNumber, Text};
    let parts = |text: &str| Template::try_from(text.to_owned()).expect("a template").parts;
    assert_eq!(parts("{file}-{#}"), [FileStem, Text("-".into()), RecordNumber]);
    assert_eq!(parts("{{a}}{b c}"), [Text("{a}".into()), Column("b c".into())]);
    for text in ["", "{", "}", "{}", "{a", "a}", "{a{b}", "{{}"] {
        assert!(Template::try_from(text.to_owned()).is_err(), "{text}");
    }
}
