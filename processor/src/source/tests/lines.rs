//! What does a pattern make of plain lines?

use super::{TestFile, mapping, shown};
use expect_test::expect;

#[test]
fn named_groups_are_columns() {
    let map = mapping(
        "format = \"lines\"\nnull = [\"-\"]\npattern = '^(?P<client>\\S+) (?P<bytes>\\d+|-)(?: (?P<extra>\\w+))?$'\n\
         [event]\nid = \"{#}\"\nsource = \"/web\"\ntype = \"request\"\nsubject = \"{client}\"\n\
         [data]\nbytes = { column = \"bytes\", default = \"0\" }\nextra = \"extra\"\n",
    );
    let file = TestFile::new("log", "a 10 x\nb -\r\n\nsomething else\n- 5\nc 7");
    expect![[r#"
        1 {"specversion":"1.0","id":"1","source":"/web","type":"request","subject":"a","data":{"bytes":10,"extra":"x"}}
        2 {"specversion":"1.0","id":"2","source":"/web","type":"request","subject":"b","data":{"bytes":0}}
        4 [no_match] something else
        5 [missing_value] - 5
        6 {"specversion":"1.0","id":"5","source":"/web","type":"request","subject":"c","data":{"bytes":7}}
    "#]].assert_eq(&shown(&file.items(Some(&map))));
}
