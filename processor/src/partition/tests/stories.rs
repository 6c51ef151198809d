//! Single happenings, told one by one: each was a way to count twice, or to forget.

use super::catalogs::{plain, with_fees};
use super::lab::*;
use crate::partition::{OpenError, PartitionError};
use crate::store::{Fault, Keyspace};

fn event(id: &str, time: &str, tokens: u32) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/s","type":"llm.request","subject":"acme","time":"{time}","data":{{"tokens":{tokens},"model":"a"}}}}"#
    )
}

/// April ends January's, February's and March's periods one after the other. A period's end sets the timer of the next,
/// whose rows are not loaded yet, so the block is committed in parts: what an earlier part saw first is known in later ones.
#[test]
fn an_event_is_counted_once_although_its_block_is_committed_in_parts() {
    let april = event("e2", "2026-04-10T10:00:00Z", 7);
    let log = [event("e1", "2026-01-10T10:00:00Z", 5), april.clone(), april.clone(), april];
    for cut in [Cut::coarsest(), Cut { commits: vec![usize::MAX], ..Cut::finest() }] {
        let kept = Disk::run(&with_fees().text(), &log, &cut);
        let counts = kept.progress.counts;
        assert_eq!((counts.counted, counts.again), (2, 2), "{cut:?}");
        assert_eq!(kept.archived.len(), 2);
    }
}

#[test]
fn a_failed_commit_answers_nothing_and_stops_the_partition() {
    for (fault, kept) in [(Fault::BeforeApplied, 1), (Fault::AfterApplied, 2)] {
        let mut disk = Disk::new(&plain().text());
        let mut partition = disk.start().expect("a new disk");
        let log = [event("e1", "2026-01-10T10:00:00Z", 5), event("e2", "2026-01-10T10:00:01Z", 7)];
        disk.feed(&mut partition, &log[..1], 0, &Cut::finest()).expect("the disk works");
        disk.rows.fail_at(disk.rows.writes(), fault);
        let failed = disk.feed(&mut partition, &log, 1, &Cut::finest());
        assert!(matches!(failed, Err(PartitionError::Store(_))), "{failed:?}");
        let refused = disk.feed(&mut partition, &log, 1, &Cut::finest());
        assert!(matches!(refused, Err(PartitionError::Stopped { .. })), "{refused:?}");
        drop(partition);
        disk.crash();
        let reopened = disk.start().expect("nothing is missing");
        assert_eq!((resume_at(&reopened), reopened.working().progress.counts.counted), (kept, kept as u64));
    }
}

#[test]
fn a_stopped_partition_says_so_to_everyone() {
    let disk = Disk::new(&plain().text());
    let mut partition = disk.start().expect("a new disk");
    disk.rows.fail_at(disk.rows.writes(), Fault::BeforeApplied);
    partition.receive(&[], now()).expect_err("the commit fails");
    let refused = partition.complete(now());
    assert!(matches!(refused, Err(PartitionError::Stopped { .. })), "{refused:?}");
    let refused = disk.put_in_force(&mut partition);
    assert!(matches!(refused, Err(OpenError::Partition(PartitionError::Stopped { .. }))), "{refused:?}");
}

#[test]
fn completing_twice_writes_once() {
    let disk = Disk::new(&plain().text());
    let mut partition = disk.start().expect("a new disk");
    assert_eq!(partition.complete(now()).expect("the disk works"), None);
    disk.feed(&mut partition, &[event("e1", "2026-01-10T10:00:00Z", 5)], 0, &Cut::finest()).expect("taken");
    let first = partition.complete(now()).expect("the disk works");
    let commits = partition.working().progress.commits;
    assert_eq!(partition.complete(now()).expect("the disk works"), first);
    assert_eq!(partition.working().progress.commits, commits);
}

/// Days since 1970.
fn day(text: &str) -> u16 {
    let time =
        tidemark_schemas::time::EventTime::parse(format!("{text}T00:00:00Z").as_bytes()).expect("a day");
    tidemark_core::identity::remembered_from(time)
}

#[test]
fn identities_are_forgotten_at_the_watermark_of_a_durable_commit() {
    let mut disk = Disk::new(&plain().text());
    let mut partition = disk.start().expect("a new disk");
    let log = [event("e1", "2026-01-10T10:00:00Z", 5), event("e2", "2026-03-01T10:00:00Z", 7)];
    disk.feed(&mut partition, &log[..1], 0, &Cut::finest()).expect("the disk works");
    assert_eq!(disk.forget_before.day(), day("2026-01-10"));
    disk.rows.fail_at(disk.rows.writes(), Fault::BeforeApplied);
    disk.feed(&mut partition, &log, 1, &Cut::finest()).expect_err("the commit fails");
    assert_eq!(disk.forget_before.day(), day("2026-01-10"), "nobody may forget what was not committed");
    drop(partition);
    disk.crash();
    let mut partition = disk.start().expect("nothing is missing");
    disk.feed(&mut partition, &log, 1, &Cut::finest()).expect("the disk works");
    assert_eq!(disk.forget_before.day(), day("2026-03-01"));
}

#[test]
fn more_disorder_does_not_move_the_watermark_back() {
    let disk = Disk::new(&plain().text());
    let mut partition = disk.start().expect("a new disk");
    disk.feed(&mut partition, &[event("e1", "2026-01-10T10:00:00Z", 5)], 0, &Cut::finest()).expect("taken");
    let before = partition.watermark();
    let slower = Disk::new(&plain().text().replace("disorder = \"5m\"", "disorder = \"20d\""));
    slower.put_in_force(&mut partition).expect("disorder may change");
    assert_eq!(partition.watermark(), before);
}

#[test]
fn a_catalog_that_would_price_counted_usage_otherwise_is_refused() {
    let disk = Disk::new(&plain().text());
    let mut partition = disk.start().expect("a new disk");
    disk.feed(&mut partition, &[event("e1", "2026-01-10T10:00:00Z", 5)], 0, &Cut::finest()).expect("taken");
    let version = |from: &str| {
        let charge = "[[rate_card.version.charge]]\nmeter = \"tokens\"\nprice = { per_unit = \"1\" }\n";
        let version =
            format!("[[rate_card.version]]\nversion = \"new\"\neffective_from = \"{from}\"\n{charge}\n");
        Disk::new(&plain().text().replacen("[[legal_entity]]", &(version + "[[legal_entity]]"), 1))
    };
    let Err(OpenError::CatalogDoesNotFollow { faults, .. }) =
        version("2026-01-05").put_in_force(&mut partition)
    else {
        panic!("usage of 10 January is priced already")
    };
    assert!(faults[0].ends_with("let it begin after 2026-01-10T10:00:00Z"), "{faults:?}");
    version("2026-01-11").put_in_force(&mut partition).expect("nothing was priced yet");
}

#[test]
fn a_disk_that_lied_about_syncs_is_found_out_at_the_start() {
    let mut disk = Disk::new(&plain().text());
    let mut partition = disk.start().expect("a new disk");
    let log: Vec<_> = (0..5).map(|n| event(&format!("e{n}"), "2026-01-10T10:00:00Z", 5)).collect();
    disk.feed(&mut partition, &log[..2], 0, &Cut::finest()).expect("the disk works");
    disk.rows.stop_syncing();
    disk.feed(&mut partition, &log, 2, &Cut::finest()).expect("the disk says that it works");
    drop(partition);
    disk.crash();
    let Err(OpenError::Missing(missing)) = disk.start() else { panic!("three commits are missing") };
    assert_eq!((missing.commits(), missing.events()), (3, 3));
}

#[test]
fn a_source_position_is_in_the_commit_that_it_covers() {
    let disk = Disk::new(&plain().text());
    let mut partition = disk.start().expect("a new disk");
    let log: Vec<_> = (0..6).map(|n| event(&format!("e{n}"), "2026-01-10T10:00:00Z", 5)).collect();
    let cut = Cut { blocks: vec![2], commits: vec![2], ..Cut::finest() };
    disk.rows.fail_at(disk.rows.writes() + 1, Fault::BeforeApplied);
    disk.feed(&mut partition, &log, 0, &cut).expect_err("the second commit fails");
    let (store, counted) = (partition.store(), partition.working().progress.counts.counted);
    assert_eq!(resume_at(&partition), 4, "two blocks of two records");
    assert_eq!(crate::partition::load_all(&*store, Keyspace::Position).expect("memory reads").len(), 1);
    assert_eq!(counted, 6, "what memory says after a failure is worth nothing");
}

/// OpenMeter: a thousand sends of one event are one event.
#[test]
fn a_thousand_sends_are_one_event() {
    let log = vec![event("e1", "2026-01-10T10:00:00Z", 5); 1_000];
    let cut = Cut { blocks: vec![37], commits: vec![3], threads: 3, stale: false };
    for cut in [Cut::coarsest(), cut] {
        let counts = Disk::run(&plain().text(), &log, &cut).progress.counts;
        assert_eq!((counts.received, counts.counted, counts.again), (1_000, 1, 999));
    }
}

/// Lago: sent for one region and again for another, a meter that asks for the other counts nothing.
#[test]
fn dedupe_comes_before_the_filter() {
    let catalog = plain().text().replacen("value = ", "filter = \"model = 'asia'\"\nvalue = ", 1);
    let europe = event("e1", "2026-01-10T10:00:00Z", 5).replace("\"a\"", "\"europe\"");
    let asia = europe.replace("europe", "asia");
    let kept = Disk::run(&catalog, &[europe, asia], &Cut::coarsest());
    assert_eq!((kept.progress.counts.counted, kept.progress.counts.conflicts), (1, 1));
    assert!(kept.rated().iter().all(|line| line.summary.meter != "tokens"));
}
