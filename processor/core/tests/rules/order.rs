//! I-10 as a property: order within grace, duplicates and blocks do not show in what leaves.

use crate::lab::*;
use proptest::prelude::*;

/// Minutes after 10:00, subject, value.
type Usage = (u8, bool, i16);

fn story(usages: &[(usize, Usage)]) -> String {
    let line = |(id, (minute, bolt, value)): &(usize, Usage)| {
        let subject = if *bolt { "bolt" } else { "acme" };
        format!("10:{minute:02} {subject} e{id} {value}\n")
    };
    usages.iter().map(line).collect()
}

fn said(usages: &[(usize, Usage)], block_events: usize) -> (String, String) {
    let mut lab = Lab::new(catalog());
    lab.tell(&story(usages), block_events);
    lab.tell("complete", 1);
    let evidence = format!("{:?}", lab.working.progress.counts);
    (by_kind(&lab.said), evidence)
}

proptest! {
    #[test]
    fn order_duplicates_and_blocks_do_not_show(
        usages in proptest::collection::vec((0_u8..5, any::<bool>(), -50_i16..100), 1..25),
        seed in any::<u64>(),
        block_events in 1_usize..10,
    ) {
        let first: Vec<_> = usages.iter().copied().enumerate().collect();
        let mut other = first.clone();
        // Some of them twice, all of them shuffled (Fisher-Yates on a linear congruential sequence).
        other.extend(first.iter().filter(|(id, _)| (seed >> (id % 64)) & 1 == 1));
        let mut random = seed;
        for at in (1..other.len()).rev() {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            other.swap(at, (random >> 33) as usize % (at + 1));
        }
        let (plain, _) = said(&first, usize::MAX);
        let (shuffled, _) = said(&other, block_events);
        prop_assert_eq!(plain, shuffled);
    }

    /// Disorder beyond grace makes adjustments; blocks still do not show, and the totals are the same.
    #[test]
    fn late_usage_does_not_depend_on_blocks(
        usages in proptest::collection::vec((0_i64..600, any::<bool>(), -50_i16..100), 1..40),
        block_events in 1_usize..10,
    ) {
        let line = |(id, (minute, bolt, value)): (usize, &(i64, bool, i16))| {
            let time = at("10:00").plus_micros(minute * 60_000_000).to_string();
            format!("{} {} e{id} {value}\n", time.trim_end_matches('Z'), if *bolt { "bolt" } else { "acme" })
        };
        let story: String = usages.iter().enumerate().map(line).collect();
        let run = |block_events| {
            let mut lab = Lab::new(catalog());
            lab.tell(&story, block_events);
            lab.tell("complete", 1);
            by_kind(&lab.said)
        };
        let whole = run(usize::MAX);
        prop_assert_eq!(&whole, &run(block_events));
        let total: i64 = usages.iter().map(|(_, _, value)| i64::from(*value)).sum();
        let billed: i64 = whole
            .lines()
            .filter(|line| line.ends_with(" USD"))
            .map(|line| line.rsplit(' ').nth(1).expect("an amount").replace('.', "").parse::<i64>().expect("cents"))
            .sum();
        prop_assert_eq!(billed, total, "0.01 a token: cents are tokens");
    }
}
