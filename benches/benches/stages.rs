//! Where does an event's time go? One bench for each stage of the path, each with its own rate in events.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use serde_json::value::RawValue;
use tidemark::partition::{Options, Partition};
use tidemark::store::{ForgetBefore, Identities, KeyValue, Keyspace, Memory, Rocks, Settings, Store};
use tidemark_benches::{block, catalog, preparer};
use tidemark_core::identity::{ContentDigest, DeploymentKey, Identity, Remembered};
use tidemark_core::resolve::resolve;
use tidemark_schemas::time::ReceiveTime;

const EVENTS: u64 = 20_000;
const KEY: DeploymentKey = DeploymentKey([7; 16]);

/// Bytes to columns and measurements, beside what reading alone costs with `serde_json`: once over the text without
/// keeping anything, and once into the members of each event.
fn decode(criterion: &mut Criterion) {
    let (preparer, raw) = (preparer(KEY), block(0, EVENTS));
    let mut group = criterion.benchmark_group("decode");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("tidemark: checked, digested, measured", |bencher| {
        let fresh = || (raw.text.clone(), raw.records.clone());
        let run = |(text, records): (Vec<u8>, Vec<_>)| {
            preparer.plan().decode(&raw.tenant, &raw.origin, raw.received_at, text, &records)
        };
        bencher.iter_batched(fresh, run, BatchSize::LargeInput);
    });
    let texts = || {
        let slice = |range: &std::ops::Range<u32>| &raw.text[range.start as usize..range.end as usize];
        raw.records.iter().map(move |(_, range)| slice(range))
    };
    group.bench_function("serde_json: checked only", |bencher| {
        bencher.iter(|| {
            for text in texts() {
                black_box(serde_json::from_slice::<serde::de::IgnoredAny>(text).expect("JSON"));
            }
        });
    });
    group.bench_function("serde_json: members of the event", |bencher| {
        bencher.iter(|| {
            for text in texts() {
                black_box(serde_json::from_slice::<BTreeMap<&str, &RawValue>>(text).expect("an object"));
            }
        });
    });
    group.finish();
}

/// Whose usage, which windows, which price: everything of a block that needs no state.
fn resolving(criterion: &mut Criterion) {
    let preparer = preparer(KEY);
    let prepared = preparer.prepare(block(0, EVENTS));
    let mut group = criterion.benchmark_group("resolve");
    group.throughput(Throughput::Elements(EVENTS));
    group.bench_function("a block", |bencher| {
        bencher.iter(|| resolve(&preparer.terms, &KEY, &prepared.block));
    });
    group.finish();
}

/// Looking identities up that are not there, with a few million remembered: in tables on disk, and before the first table.
/// Beside it what it would cost to ask the tables.
fn identity(criterion: &mut Criterion) {
    const COMMIT: u64 = 20_000;
    let spread =
        |number: u64| Identity(u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835));
    let remembered = Remembered { digest: ContentDigest(1), forget_day: 30_000 };
    let filled = |store: Arc<dyn Store>, commits: u64| {
        let mut identities = Identities::open(store, ForgetBefore::default()).expect("an empty store");
        for commit in 1..=commits {
            let numbers = (commit - 1) * COMMIT..commit * COMMIT;
            let new: Vec<_> = numbers.map(|number| (spread(number), remembered)).collect();
            identities.committed(commit, &new).expect("the disk works");
        }
        identities
    };
    let folder = tempfile::tempdir().expect("a folder");
    let rocks = Arc::new(Rocks::open(folder.path(), &Settings::default()).expect("a new store"));
    let on_disk = filled(Arc::clone(&rocks) as Arc<dyn Store>, 250);
    let in_memory = filled(Arc::new(Memory::default()), 40);
    let asked: Vec<_> = (1_000_000_000..1_000_000_000 + EVENTS).map(spread).collect();
    let mut keys: Vec<_> = asked.iter().map(|identity| identity.0.to_be_bytes()).collect();
    keys.sort_unstable();
    let keys: Vec<&[u8]> = keys.iter().map(<[u8; 16]>::as_slice).collect();
    let mut group = criterion.benchmark_group("identity");
    group.throughput(Throughput::Elements(EVENTS));
    for (name, identities) in [("look up, all in memory", &in_memory), ("look up, tables on disk", &on_disk)]
    {
        group.bench_function(name, |bencher| bencher.iter(|| identities.look_up(&asked).expect("readable")));
    }
    group.bench_function("the tables asked instead", |bencher| {
        bencher.iter(|| rocks.multi_get(Keyspace::Identity, &keys).expect("readable"));
    });
    group.finish();
}

/// A prepared block into a partition on disk: dedupe, windows, rating of what closes, one write batch, fsync.
fn commit(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("a folder");
    let now = ReceiveTime::from_micros(1_769_904_000_000_000);
    let make = |key| Ok(preparer(key));
    let mut partition =
        Partition::open(&Options::new(folder.path()), &catalog(), make, now).expect("a partition");
    let preparer = Arc::clone(partition.preparer());
    let mut next = 0;
    let mut group = criterion.benchmark_group("commit");
    group.throughput(Throughput::Elements(EVENTS)).sample_size(20);
    group.bench_function("a block, durable", |bencher| {
        bencher.iter_custom(|times| {
            let mut took = Duration::ZERO;
            for _ in 0..times {
                let prepared = preparer.prepare(block(next, EVENTS));
                next += EVENTS;
                let started = Instant::now();
                partition.take(vec![prepared], now).expect("the disk works");
                took += started.elapsed();
            }
            took
        });
    });
    group.finish();
}

criterion_group!(benches, decode, resolving, identity, commit);
criterion_main!(benches);
