//! Does the filter ever miss an identity, how often is it wrong the other way, and what does it cost?

use proptest::prelude::*;

use super::super::Memory;
use super::super::identities::pack;
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

/// A filter of so many identities that came in spills of this size.
fn filled(store: &Memory, identities: u64, spill: u64) -> IdentityFilter {
    let mut filter = IdentityFilter::empty();
    for through in 0..identities.div_ceil(spill) {
        let numbers = through * spill..identities.min((through + 1) * spill);
        filter.add(store, through + 1, &rows(numbers, 9), 0).expect("memory");
    }
    filter
}

#[test]
fn one_absent_identity_in_two_hundred_is_asked_for_at_two_bytes_each() {
    for (identities, spill) in [(100_000, 10_000), (250_000, 60_000), (1_000_000, 60_000)] {
        let store = Memory::new();
        let filter = filled(&store, identities, spill);
        for (filter, when) in
            [(&filter, "grown"), (&IdentityFilter::load(&store).expect("memory").expect("whole"), "read")]
        {
            assert!((0..identities).all(|n| filter.may_have(identity(n))), "it never misses one");
            let asked =
                (identities..identities + 1_000_000).filter(|n| filter.may_have(identity(*n))).count();
            assert!(asked < 5_000, "{asked} of a million absent ones of {identities} {when}");
            let bytes = filter.memory_bytes();
            assert!(bytes as u64 <= 2 * identities, "{bytes} for {identities} {when}");
        }
    }
}

#[test]
fn a_steady_stream_takes_no_more_memory_than_what_is_remembered() {
    let store = Memory::new();
    let mut filter = IdentityFilter::empty();
    let mut peak = [0; 2];
    for day in 1..=120_u16 {
        let from = u64::from(day) * 10_000;
        let dropped =
            filter.add(&store, u64::from(day), &rows(from..from + 10_000, day), day.saturating_sub(9));
        assert_eq!(dropped.expect("memory").len(), usize::from(day > 10), "day {day}");
        peak[usize::from(day > 30)] = filter.memory_bytes().max(peak[usize::from(day > 30)]);
    }
    assert!(peak[1] <= peak[0] * 11 / 10, "{peak:?}");
    assert!((1_110_000..1_210_000).all(|n| filter.may_have(identity(n))));
    let forgotten = (10_000..1_010_000).filter(|n| filter.may_have(identity(*n))).count();
    assert!(forgotten < 60_000, "bits of {forgotten} forgotten identities did not leave");
}

proptest! {
    #[test]
    fn what_is_remembered_is_never_missed(
        spills in prop::collection::vec((0..700_u64, 0..20_u16), 1..25),
        reload in 0..25_usize,
    ) {
        let store = Memory::new();
        let mut filter = IdentityFilter::empty();
        let (mut from, mut today, mut added) = (0, 0, Vec::new());
        for (at, (count, day)) in spills.into_iter().enumerate() {
            if at == reload {
                filter = IdentityFilter::load(&store).expect("memory").unwrap_or_else(IdentityFilter::empty);
            }
            today = today.max(day / 2);
            let numbers = from..from + count;
            let through = at as u64 + 1;
            let dropped = filter.add(&store, through, &rows(numbers.clone(), day), today).expect("memory");
            let mut batch = WriteBatch::new();
            dropped.iter().for_each(|through| delete_spill(&mut batch, *through));
            store.commit(&batch).expect("memory");
            added.push((numbers, day));
            from += count;
            let remembered = added.iter().filter(|(_, day)| *day >= today);
            for n in remembered.flat_map(|(numbers, _)| numbers.clone()) {
                prop_assert!(filter.may_have(identity(n)), "{}", n);
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
    IdentityFilter::empty().add(&store, 0x0203, &spill, 0).expect("memory");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let rows = super::super::KeyValue::scan(&store, SPACE, b"", None, 10).expect("memory");
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
