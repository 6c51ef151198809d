//! Does a store keep the promises of [`Store`]? The same questions for each implementation.
//!
//! Deliberately absent: durability. Each implementation is crashed in its own way, in its own tests.

use super::{Keyspace, Memory, Store, StoreError, WriteBatch};

/// Asks everything; `store` must be new.
pub(super) fn conformance(store: &dyn Store) {
    absent_is_none(store);
    scans_are_ordered_bounded_and_half_open(store);
    spaces_do_not_see_each_other(store);
    later_changes_of_a_batch_win(store);
    range_deletes_are_half_open(store);
    multi_get_answers_in_the_order_asked(store);
    ingested_rows_are_read_and_win(store);
    unsorted_tables_are_refused_whole(store);
    snapshots_stand_still(store);
}

fn commit(store: &dyn Store, fill: impl FnOnce(&mut WriteBatch)) {
    let mut batch = WriteBatch::new();
    fill(&mut batch);
    store.commit(&batch).expect("the disk works");
}

fn keys(store: &dyn Store, space: Keyspace) -> Vec<String> {
    let rows = store.scan(space, b"", None, 1_000).expect("readable");
    rows.into_iter().map(|row| String::from_utf8(row.key).expect("the tests write text")).collect()
}

fn absent_is_none(store: &dyn Store) {
    for space in Keyspace::ALL {
        assert_eq!(store.get(space, b"k").expect("readable"), None, "{space}");
        assert!(store.scan(space, b"", None, 10).expect("readable").is_empty(), "{space}");
    }
    commit(store, |_| ());
    assert!(store.multi_get(Keyspace::Group, &[]).expect("readable").is_empty());
}

fn scans_are_ordered_bounded_and_half_open(store: &dyn Store) {
    let space = Keyspace::Timer;
    commit(store, |batch| {
        ["d", "b", "a\0", "a", "c"].iter().for_each(|key| batch.put(space, key.as_bytes(), b"v"))
    });
    let forward = |from: &str, to: Option<&str>, limit| {
        let rows = store.scan(space, from.as_bytes(), to.map(str::as_bytes), limit).expect("readable");
        rows.iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()).collect::<Vec<_>>()
    };
    let back = |from: &str, to: Option<&str>, limit| {
        let rows = store.scan_back(space, from.as_bytes(), to.map(str::as_bytes), limit).expect("readable");
        rows.iter().map(|row| String::from_utf8_lossy(&row.key).into_owned()).collect::<Vec<_>>()
    };
    for (from, to, limit, ahead, behind) in [
        ("", None, 10, vec!["a", "a\0", "b", "c", "d"], vec!["d", "c", "b", "a\0", "a"]),
        ("", None, 2, vec!["a", "a\0"], vec!["d", "c"]),
        ("", None, 0, vec![], vec![]),
        ("a", Some("c"), 10, vec!["a", "a\0", "b"], vec!["b", "a\0", "a"]),
        ("a\0", Some("c"), 10, vec!["a\0", "b"], vec!["b", "a\0"]),
        ("a", Some("c"), 1, vec!["a"], vec!["b"]),
        ("b", Some("b"), 10, vec![], vec![]),
        ("c", Some("b"), 10, vec![], vec![]),
        ("", Some(""), 10, vec![], vec![]),
        ("e", None, 10, vec![], vec![]),
    ] {
        assert_eq!(forward(from, to, limit), ahead, "{from:?}..{to:?} limit {limit}");
        assert_eq!(back(from, to, limit), behind, "backwards {from:?}..{to:?} limit {limit}");
    }
}

fn spaces_do_not_see_each_other(store: &dyn Store) {
    commit(store, |batch| {
        for space in Keyspace::ALL {
            batch.put(space, b"~own", space.name().as_bytes());
        }
    });
    for space in Keyspace::ALL {
        let found = store.get(space, b"~own").expect("readable");
        assert_eq!(found.as_deref(), Some(space.name().as_bytes()));
    }
    commit(store, |batch| Keyspace::ALL.iter().for_each(|space| batch.delete(*space, b"~own")));
    for space in Keyspace::ALL {
        assert_eq!(store.get(space, b"~own").expect("readable"), None, "{space}");
    }
}

fn later_changes_of_a_batch_win(store: &dyn Store) {
    let space = Keyspace::Window;
    commit(store, |batch| {
        batch.put(space, b"twice", b"first");
        batch.put(space, b"twice", b"second");
        batch.put(space, b"gone", b"v");
        batch.delete(space, b"gone");
        batch.delete(space, b"back");
        batch.put(space, b"back", b"v");
        batch.put(space, b"in range", b"v");
        batch.delete_range(space, b"in", b"io");
        batch.put(space, b"in range again", b"");
    });
    assert_eq!(keys(store, space), ["back", "in range again", "twice"]);
    assert_eq!(store.get(space, b"twice").expect("readable").as_deref(), Some(b"second".as_slice()));
    assert_eq!(store.get(space, b"in range again").expect("readable").as_deref(), Some([].as_slice()));
}

fn range_deletes_are_half_open(store: &dyn Store) {
    let space = Keyspace::Outbox;
    commit(store, |batch| ["a", "b", "c", "d"].iter().for_each(|key| batch.put(space, key.as_bytes(), b"v")));
    commit(store, |batch| {
        batch.delete_range(space, b"b", b"d");
        batch.delete_range(space, b"d", b"a");
    });
    assert_eq!(keys(store, space), ["a", "d"]);
    commit(store, |batch| batch.delete_range(space, b"", b"b"));
    assert_eq!(keys(store, space), ["d"]);
}

fn multi_get_answers_in_the_order_asked(store: &dyn Store) {
    let space = Keyspace::Series;
    commit(store, |batch| {
        batch.put(space, b"1", b"one");
        batch.put(space, b"2", b"two");
    });
    for asked in [["2", "x", "1", "2"], ["1", "2", "2", "x"]] {
        let keys = asked.map(str::as_bytes);
        let found = store.multi_get(space, &keys).expect("readable");
        let expected = asked.map(|key| match key {
            "1" => Some(b"one".to_vec()),
            "2" => Some(b"two".to_vec()),
            _ => None,
        });
        assert_eq!(found, expected, "{asked:?}");
    }
}

fn ingest(store: &dyn Store, rows: &[(&str, &str)]) -> Result<(), StoreError> {
    let mut rows = rows.iter().map(|(key, value)| (key.as_bytes(), value.as_bytes()));
    store.ingest(Keyspace::Identity, &mut rows)
}

fn ingested_rows_are_read_and_win(store: &dyn Store) {
    let space = Keyspace::Identity;
    let get = |key: &str| {
        let value = store.get(space, key.as_bytes()).expect("readable");
        value.map(|value| String::from_utf8(value).expect("text"))
    };
    ingest(store, &[]).expect("nothing to do");
    commit(store, |batch| batch.put(space, b"b", b"put"));
    ingest(store, &[("a", "table 1"), ("b", "table 1"), ("c", "table 1")]).expect("sorted");
    ingest(store, &[("b", "table 2"), ("d", "table 2")]).expect("sorted");
    assert_eq!(keys(store, space), ["a", "b", "c", "d"]);
    assert_eq!(get("a").as_deref(), Some("table 1"));
    assert_eq!(get("b").as_deref(), Some("table 2"));
    commit(store, |batch| {
        batch.put(space, b"c", b"put later");
        batch.delete(space, b"d");
    });
    assert_eq!((get("c").as_deref(), get("d")), (Some("put later"), None));
}

fn unsorted_tables_are_refused_whole(store: &dyn Store) {
    let before = keys(store, Keyspace::Identity);
    for rows in [[("x", ""), ("y", ""), ("y", "")], [("x", ""), ("z", ""), ("y", "")]] {
        assert_eq!(
            ingest(store, &rows),
            Err(StoreError::Unsorted { space: Keyspace::Identity, row: 2 }),
            "{rows:?}"
        );
    }
    assert_eq!(keys(store, Keyspace::Identity), before);
    commit(store, |batch| batch.put(Keyspace::Meta, b"still usable", b""));
}

fn snapshots_stand_still(store: &dyn Store) {
    let (space, other) = (Keyspace::Window, Keyspace::Group);
    commit(store, |batch| {
        batch.delete_range(space, b"", b"~");
        batch.put(space, b"a", b"before");
        batch.put(space, b"b", b"before");
    });
    let snapshot = store.snapshot();
    commit(store, |batch| {
        batch.put(space, b"a", b"after");
        batch.delete(space, b"b");
        batch.put(space, b"c", b"after");
        batch.put(other, b"c", b"after");
    });
    ingest(store, &[("e", "after")]).expect("sorted");
    let key = |row: &super::Row| (row.key.clone(), row.value.clone());
    let old = [(b"a".to_vec(), b"before".to_vec()), (b"b".to_vec(), b"before".to_vec())];
    let ahead = snapshot.scan(space, b"", None, 9).expect("readable");
    assert_eq!(ahead.iter().map(key).collect::<Vec<_>>(), old);
    let mut back = snapshot.scan_back(space, b"", None, 9).expect("readable");
    back.reverse();
    assert_eq!(back, ahead);
    let both = snapshot.multi_get(space, &[b"a", b"c"]).expect("readable");
    assert_eq!(both, [Some(b"before".to_vec()), None]);
    assert_eq!(snapshot.get(other, b"c").expect("readable"), None, "one moment for all key spaces");
    assert_eq!(snapshot.get(Keyspace::Identity, b"e").expect("readable"), None);
    assert_eq!(keys(store, space), ["a", "c"], "the store itself goes on");
}

#[test]
fn memory_conforms() {
    conformance(&Memory::new());
}
