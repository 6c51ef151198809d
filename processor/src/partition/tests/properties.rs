//! I-10, I-1, I-4 and I-8 as properties: what a partition stores and what leaves it is a function of its log.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use tidemark_core::state::Progress;
use tidemark_schemas::Decimal;

use super::catalogs::{Terms, terms};
use super::lab::*;
use super::logs::*;
use crate::partition::{Partition, PartitionError};
use crate::store::{Fault, Keyspace};

/// The same cases in every run: a failure here is a failure everywhere.
fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        rng_seed: RngSeed::Fixed(20_260_130),
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

fn cut() -> impl Strategy<Value = Cut> {
    let sizes = |max: usize| proptest::collection::vec(1..max, 1..4);
    (sizes(20), sizes(6), 1..4_usize, proptest::bool::weighted(0.2))
        .prop_map(|(blocks, commits, threads, stale)| Cut { blocks, commits, threads, stale })
}

/// How a life of the process ends.
#[derive(Clone, Debug)]
struct End {
    /// Commits of this life before it.
    after: u64,
    /// `None`: killed between two commits.
    fault: Option<Fault>,
    /// The source goes back this much further than the position that was committed.
    back: usize,
}

fn ends() -> impl Strategy<Value = Vec<End>> {
    let fault = proptest::sample::select(vec![None, Some(Fault::BeforeApplied), Some(Fault::AfterApplied)]);
    let end = (0..10_u64, fault, prop_oneof![Just(0), 0..40_usize, Just(usize::MAX)])
        .prop_map(|(after, fault, back)| End { after, fault, back });
    proptest::collection::vec(end, 1..5)
}

/// Takes the log in as many lives as there are ends, and one more.
fn live(catalog: &str, log: &[String], cut: &Cut, ends: &[End]) -> Kept {
    let mut disk = Disk::new(catalog);
    for end in ends {
        let fails_at = disk.rows.writes() + end.after;
        disk.rows.fail_at(fails_at, end.fault.unwrap_or(Fault::BeforeApplied));
        // The failing commit may be the one that puts the catalog in force.
        if let Ok(mut partition) = disk.start() {
            let from = resume_at(&partition).saturating_sub(end.back);
            let taken = disk.feed(&mut partition, log, from, cut);
            let completed = taken.and_then(|()| partition.complete(now()));
            if let Err(error) = completed {
                assert!(error.to_string().contains("planned fault"), "{error}");
                assert_refuses_everything(&mut partition);
            }
        }
        disk.crash();
    }
    let mut partition = disk.start().expect("the witness saw nothing that is missing");
    let from = resume_at(&partition);
    disk.feed(&mut partition, log, from, cut).expect("no fault is planned");
    partition.complete(now()).expect("no fault is planned");
    Kept::of(&partition)
}

fn assert_refuses_everything(partition: &mut Partition) {
    let before = partition.working().progress;
    let until = tidemark_schemas::time::EventTime::MAX;
    for refused in [
        partition.take(Vec::new(), now()).map(|_| ()),
        partition.declare(until, now()),
        partition.receive(&[], now()),
        partition.complete(now()).map(|_| ()),
    ] {
        assert!(matches!(refused, Err(PartitionError::Stopped { .. })), "{refused:?}");
    }
    assert_eq!(partition.working().progress, before);
}

proptest! {
    #![proptest_config(config(64))]

    /// One log, one result: to the last byte and sequence number, lateness, conflicts and horizon included.
    #[test]
    fn blocks_commits_and_threads_do_not_show(terms in terms(), usages in usages(), cut in cut()) {
        let (catalog, log) = (terms.text(), log(&usages));
        let finest = Disk::run(&catalog, &log, &Cut::finest());
        for cut in [cut, Cut::coarsest()] {
            let other = Disk::run(&catalog, &log, &cut);
            finest.assert_same_rows(&other, &[]);
            prop_assert_eq!(&finest.archived, &other.archived);
            prop_assert_eq!(finest.progress, other.progress);
        }
    }

    /// Records that come in time make the same lines and entries in any order, under the same sequence numbers. Where a
    /// record stood in its source is told by its exception and the archive alone, so these are compared by what waits.
    #[test]
    fn order_within_grace_does_not_show(
        terms in terms(),
        usages in usages_in_time(),
        lags in proptest::collection::vec(0..600_i64, 1..100),
        cut in cut(),
    ) {
        let all_priced = |prices: [usize; 7]| prices.map(|price| price % 4);
        let terms = Terms {
            prices: all_priced(terms.prices),
            prices_later: all_priced(terms.prices_later),
            groups_max: 100,
            ..terms
        };
        let catalog = terms.text();
        let first = Disk::run(&catalog, &log(&usages), &Cut::coarsest());
        let other = Disk::run(&catalog, &reordered(&usages, &lags), &cut);
        first.assert_same_rows(&other, &[Keyspace::Exception]);
        prop_assert_eq!(first.keys(Keyspace::Exception), other.keys(Keyspace::Exception));
        prop_assert_eq!(first.archived.len(), other.archived.len());
        prop_assert_eq!(first.progress, other.progress);

        let (tokens, counted) = truth(&usages);
        let lines = first.rated().into_iter().filter(|line| line.summary.meter == "tokens");
        let billed = lines.fold(Decimal::ZERO, |sum, line| {
            sum.add(line.summary.quantity_delta.parse().expect("a number")).expect("fits")
        });
        prop_assert_eq!(billed, Decimal::new(tokens, 2));
        prop_assert_eq!((first.progress.counts.counted, first.progress.counts.late), (counted, 0));
    }

    /// Killed anywhere, with commits that fail before or after they reached the disk, and whatever the source sends again:
    /// the same lines, entries, outbox rows, exceptions and archived events as in one undisturbed life. What is sent again
    /// is counted as received again, and as nothing else.
    #[test]
    fn restarts_and_failed_commits_do_not_show(
        terms in terms(),
        usages in usages(),
        cut in cut(),
        ends in ends(),
    ) {
        // Nothing is sent again beyond the horizon: it would wait as too late, as any other event of its age.
        let catalog = Terms { horizon_days: 400, ..terms }.text();
        let log = log(&usages);
        let undisturbed = Disk::run(&catalog, &log, &Cut::finest());
        let disturbed = live(&catalog, &log, &cut, &ends);
        undisturbed.assert_same_rows(&disturbed, &[]);
        prop_assert_eq!(&undisturbed.archived, &disturbed.archived);
        let (before, after) = (undisturbed.progress, disturbed.progress);
        prop_assert!(after.counts.is_conserved());
        prop_assert_eq!((after.counts.counted, after.counts.late), (before.counts.counted, before.counts.late));
        // A completion that failed after it reached the disk is ordered again, which declares a later watermark.
        let settled = |progress: Progress| Progress { counts: Default::default(), declared: None, ..progress };
        prop_assert_eq!(settled(before), settled(after));
    }
}
