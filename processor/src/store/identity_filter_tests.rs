//! Does the filter ever miss an identity, how often is it wrong the other way, and what does it cost?

use proptest::prelude::*;

use super::super::identities::pack;
use super::super::{KeyValue, Memory};
use super::*;
use tidemark_core::identity::{ContentDigest, Remembered};

/// The `n`th identity, as random as a keyed hash.
fn identity(n: u64) -> Identity {
    let mix = |mut bits: u64| {
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    };
    let seed = n.wrapping_mul(2).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    Identity((u128::from(mix(seed)) << 64) | u128::from(mix(seed.wrapping_add(0x9e37_79b9_7f4a_7c15))))
}

fn rows(numbers: std::ops::Range<u64>, forget_day: u16) -> Vec<PackedRow> {
    let remembered = Remembered { digest: ContentDigest(0), forget_day };
    let mut rows: Vec<_> = numbers.map(|n| pack(identity(n), remembered)).collect();
    rows.sort_unstable();
    rows
}

/// Seen, spilled and taken over; the spills that were dropped.
fn spill(
    store: &Memory,
    filter: &mut IdentityFilter,
    through: u64,
    numbers: std::ops::Range<u64>,
    (forget_day, remembered_from): (u16, u16),
) -> Vec<u64> {
    numbers.clone().for_each(|n| filter.insert(identity(n)));
    let rows = rows(numbers, forget_day);
    let spilled = filter.spilling().write(store, through, &rows, remembered_from).expect("memory");
    let forgotten = spilled.forgotten.clone();
    filter.spilled(spilled, std::iter::empty());
    forgotten
}

fn count(filter: &IdentityFilter, numbers: std::ops::Range<u64>) -> usize {
    filter.probably_seen(&numbers.map(identity).collect::<Vec<_>>()).len()
}

#[test]
fn one_absent_identity_in_two_hundred_passes_at_two_bytes_each() {
    for (identities, size) in [(100_000, 1_000), (250_000, 5_000), (1_000_000, 10_000)] {
        let store = Memory::new();
        let mut grown = IdentityFilter::empty(size as usize);
        for through in 0..identities / size {
            spill(&store, &mut grown, through + 1, through * size..(through + 1) * size, (9, 0));
        }
        let read = IdentityFilter::load(&store, size as usize).expect("memory").expect("whole");
        for (filter, when) in [(grown, "grown"), (read, "read")] {
            assert_eq!(count(&filter, 0..identities), identities as usize, "it never misses one");
            let passed = count(&filter, identities..identities + 1_000_000);
            assert!(passed < 5_000, "{passed} of a million absent ones beside {identities}, {when}");
            let bytes = filter.memory_bytes();
            assert!(bytes as u64 <= 2 * identities, "{bytes} for {identities}, {when}");
        }
    }
}

#[test]
fn a_steady_stream_takes_no_more_memory_than_what_is_remembered() {
    let store = Memory::new();
    let mut filter = IdentityFilter::empty(10_000);
    let mut peak = [0; 2];
    for day in 1..=120_u16 {
        let from = u64::from(day) * 10_000;
        let days = (day, day.saturating_sub(9));
        let dropped = spill(&store, &mut filter, u64::from(day), from..from + 10_000, days);
        assert_eq!(dropped.len(), usize::from(day > 10), "day {day}");
        peak[usize::from(day > 30)] = filter.memory_bytes().max(peak[usize::from(day > 30)]);
    }
    assert!(peak[1] <= peak[0] * 11 / 10, "{peak:?}");
    assert_eq!(count(&filter, 1_110_000..1_210_000), 100_000);
    let forgotten = count(&filter, 10_000..1_010_000);
    assert!(forgotten < 60_000, "bits of {forgotten} forgotten identities did not leave");
}

proptest! {
    #[test]
    fn what_is_remembered_is_never_missed(
        spills in prop::collection::vec((0..700_u64, 0..20_u16, 0..200_u64), 1..25),
        reload in 0..25_usize,
    ) {
        let store = Memory::new();
        let mut filter = IdentityFilter::empty(10);
        let (mut from, mut today, mut added) = (0, 0, Vec::new());
        for (at, (size, day, meanwhile)) in spills.into_iter().enumerate() {
            if at == reload {
                let read = IdentityFilter::load(&store, 10).expect("memory");
                filter = read.unwrap_or_else(|| IdentityFilter::empty(10));
            }
            today = today.max(day / 2);
            let numbers = from..from + size;
            let recent = from + size..from + size + meanwhile;
            numbers.clone().for_each(|n| filter.insert(identity(n)));
            let spilling = filter.spilling();
            recent.clone().for_each(|n| filter.insert(identity(n)));
            let spilled = spilling.write(&store, at as u64 + 1, &rows(numbers.clone(), day), today);
            let spilled = spilled.expect("memory");
            let mut batch = WriteBatch::new();
            spilled.forgotten.iter().for_each(|through| delete_spill(&mut batch, *through));
            store.commit(&batch).expect("memory");
            filter.spilled(spilled, recent.clone().map(identity));
            added.push((numbers, day));
            from += size;
            prop_assert_eq!(count(&filter, recent.clone()) as u64, recent.end - recent.start);
            for (numbers, _) in added.iter().filter(|(_, day)| *day >= today) {
                prop_assert_eq!(count(&filter, numbers.clone()) as u64, numbers.end - numbers.start);
            }
        }
    }
}

/// The layout on disk. A change here needs a new format version.
#[test]
fn stored_bytes_stay() {
    let store = Memory::new();
    let one = |first: u128| {
        pack(Identity(first << 88 | 0x77), Remembered { digest: ContentDigest(0), forget_day: 0x99aa })
    };
    let spill = [one(0x01_1122_3344), one(0x01_5566_7788), one(0xff_0000_0001)];
    IdentityFilter::empty(0).spilling().write(&store, 0x0203, &spill, 0).expect("memory");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let rows = store.scan(SPACE, b"", None, 10).expect("memory");
    let rows: Vec<_> = rows.iter().map(|row| format!("{} {}", hex(&row.key), hex(&row.value))).collect();
    assert_eq!(
        rows,
        [
            "0000000000000203 0300000000000000aa99",
            "000000000000020301 4433221188776655",
            "0000000000000203ff 01000000",
        ]
    );
}
