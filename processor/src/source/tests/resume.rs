//! Does the next run read exactly what the last one did not cover?

use super::{Opened, Position, TestFile, items, rest, shown};
use expect_test::expect;

fn end_of(file: &TestFile) -> Position {
    rest(file.open(None, None).0.as_mut()).pop().expect("a chunk").position
}

#[test]
fn an_unchanged_file_has_nothing_new() {
    let file = TestFile::new("a.ndjson", "1\n2\n");
    let at = end_of(&file);
    assert_eq!((at.units, at.place, at.complete), (4, 2, true));
    let (mut source, opened) = file.open(None, Some(&at));
    assert_eq!(opened, Opened::Unchanged { at });
    assert!(source.next_chunk().expect("readable").is_none());
}

#[test]
fn an_empty_file_is_complete_and_grows() {
    let file = TestFile::new("a.ndjson", "");
    let at = end_of(&file);
    assert_eq!((at.units, at.place, at.complete), (0, 0, true));
    assert_eq!(file.open(None, Some(&at)).1, Opened::Unchanged { at: at.clone() });
    file.write("1\n");
    let (mut source, opened) = file.open(None, Some(&at));
    assert_eq!((opened, rest(source.as_mut()).len()), (Opened::Fresh, 1));
}

#[test]
fn a_grown_file_gives_what_was_added_with_its_line_numbers() {
    let file = TestFile::new("a.ndjson", "1\n\n2\n");
    let at = end_of(&file);
    file.write("1\n\n2\n\n3\n4");
    let (mut source, opened) = file.open(None, Some(&at));
    assert_eq!(opened, Opened::Resumed { from: at });
    expect![["5 3\n6 4\n"]].assert_eq(&shown(&items(&rest(source.as_mut()))));
}

#[test]
fn an_unterminated_last_line_is_handed_over_and_read_again() {
    let file = TestFile::new("a.ndjson", "1\n{\"half\":");
    let chunks = rest(file.open(None, None).0.as_mut());
    expect![["1 1\n2 {\"half\":\n"]].assert_eq(&shown(&items(&chunks)));
    let at = chunks.last().expect("a chunk").position.clone();
    assert_eq!((at.units, at.place, at.complete), (2, 1, true));
    file.write("1\n{\"half\":2}\n3\n");
    let (mut source, opened) = file.open(None, Some(&at));
    assert_eq!(opened, Opened::Resumed { from: at });
    expect![["2 {\"half\":2}\n3 3\n"]].assert_eq(&shown(&items(&rest(source.as_mut()))));
}

#[test]
fn another_file_under_the_same_name_is_read_from_its_beginning() {
    let file = TestFile::new("a.ndjson", "1\n2\n");
    let before = end_of(&file);
    for other in ["1\n3\n4\n", "1\n", ""] {
        file.write(other);
        let (mut source, opened) = file.open(None, Some(&before));
        assert_eq!(opened, Opened::Replaced { before: before.clone() }, "{other:?}");
        assert_eq!(items(&rest(source.as_mut())).len(), other.lines().count());
    }
}

#[test]
fn a_run_that_stopped_at_the_end_before_it_knew_completes() {
    let file = TestFile::new("a.ndjson", "1\n2\n");
    let before = Position { complete: false, ..end_of(&file) };
    let (mut source, opened) = file.open(None, Some(&before));
    assert_eq!(opened, Opened::Resumed { from: before });
    let chunks = rest(source.as_mut());
    assert!(items(&chunks).is_empty() && chunks[0].position.complete);
}
