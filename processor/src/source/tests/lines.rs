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
    expect![[]].assert_eq(&shown(&file.items(Some(&map))));
}
