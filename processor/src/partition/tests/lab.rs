//! A partition over a disk in memory that may fail: takes a log however it is cut, and shows what was kept.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tidemark_core::identity::DeploymentKey;
use tidemark_core::state::{Progress, Timer};
use tidemark_core::terms::Terms;
use tidemark_schemas::exception::ExceptionStatus;
use tidemark_schemas::ids::TenantId;
use tidemark_schemas::outbox::{Destination, OutboxRow};
use tidemark_schemas::time::ReceiveTime;
use tidemark_schemas::wire::v1;

use crate::archive::{ArchivedEvent, events_of};
use crate::catalog;
use crate::ingest_plan::IngestPlan;
use crate::partition::open::PROGRESS;
use crate::partition::{
    OpenError, Options, Partition, PartitionError, Position, PreparedBlock, Preparer, RawBlock, decode_row,
    each_record, load_all, members_of, pending, sequence_of,
};
use crate::store::codec::{EntryKey, Record, Sequences, timers_from};
use crate::store::{ForgetBefore, Keyspace, Memory, Store, WriteBatch};

pub const KEY: DeploymentKey = DeploymentKey([9; 16]);
const SOURCE: &str = "log";

/// Everything is received at one moment, in the middle of 2026.
pub fn now() -> ReceiveTime {
    ReceiveTime::from_micros(1_780_000_000_000_000)
}

/// How a log is cut: the sizes of its blocks and commits are used in turn.
#[derive(Clone, Debug)]
pub struct Cut {
    /// Records in a block.
    pub blocks: Vec<usize>,
    /// Blocks in a commit.
    pub commits: Vec<usize>,
    /// Threads that prepare.
    pub threads: usize,
    /// Blocks were prepared before the catalog was loaded again, so the partition prepares them once more.
    pub stale: bool,
}

impl Cut {
    /// Each record is a block and a commit of its own.
    pub fn finest() -> Self {
        Self { blocks: vec![1], commits: vec![1], threads: 1, stale: false }
    }

    /// One block, one commit.
    pub fn coarsest() -> Self {
        Self { blocks: vec![usize::MAX], ..Self::finest() }
    }
}

/// What outlives a process: rows, the witness beside them, and the catalog's file.
pub struct Disk {
    pub rows: Arc<Memory>,
    /// What a merge of tables may drop. Of the process, but it must never be ahead of the disk.
    pub forget_before: ForgetBefore,
    witness: tempfile::TempDir,
    files: Vec<(String, String)>,
    terms: Arc<Terms>,
}

impl Disk {
    pub fn new(catalog: &str) -> Self {
        let files = vec![("catalog.toml".to_owned(), catalog.to_owned())];
        let catalog = catalog::parse(&files).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let rows = Memory::new();
        let mut batch = WriteBatch::new();
        // Rows of two disks can be compared because they have one key.
        batch.put(Keyspace::Meta, b"deployment_key", &KEY.0);
        rows.commit(&batch).expect("the first write does not fail");
        let terms = Arc::new(Terms::new(Arc::new(catalog)).expect("a good catalog"));
        let witness = tempfile::tempdir().expect("a folder");
        Self { rows: Arc::new(rows), forget_before: ForgetBefore::default(), witness, files, terms }
    }

    pub fn preparer(&self, terms: &Arc<Terms>) -> Preparer {
        let plan = IngestPlan::new(&terms.catalog, KEY).expect("meters without mistakes");
        Preparer::new(Arc::clone(terms), plan, KEY, true)
    }

    pub fn start(&self) -> Result<Partition, OpenError> {
        let store: Arc<dyn Store> = Arc::<Memory>::clone(&self.rows);
        let mut options = Options::new(self.witness.path());
        options.settings.forget_before = self.forget_before.clone();
        Partition::open_over(store, &options, &self.files, |_| Ok(self.preparer(&self.terms)), now())
    }

    /// Takes over this disk's catalog in a partition that runs.
    pub fn put_in_force(&self, partition: &mut Partition) -> Result<(), OpenError> {
        partition.put_in_force(&self.files, Arc::new(self.preparer(&self.terms)), now())
    }

    /// Power goes, and comes back.
    pub fn crash(&mut self) {
        self.rows = Arc::new(self.rows.crash());
    }

    /// Takes the log's records from number `from` on.
    pub fn feed(
        &self,
        partition: &mut Partition,
        log: &[impl AsRef<[u8]> + Sync],
        from: usize,
        cut: &Cut,
    ) -> Result<(), PartitionError> {
        let loaded_before = || Arc::new(Terms::new(Arc::clone(&self.terms.catalog)).expect("a good catalog"));
        let preparer = if cut.stale {
            Arc::new(self.preparer(&loaded_before()))
        } else {
            Arc::clone(partition.preparer())
        };
        let mut blocks = prepare(&preparer, log, from, cut).into_iter().peekable();
        let mut sizes = cut.commits.iter().cycle();
        while blocks.peek().is_some() {
            let commit = blocks.by_ref().take(*sizes.next().expect("a size")).collect();
            partition.take(commit, now())?;
            assert!(partition.working().progress.counts.is_conserved(), "I-8");
        }
        Ok(())
    }

    /// Takes the whole log in one life, and completes it.
    pub fn run(catalog: &str, log: &[impl AsRef<[u8]> + Sync], cut: &Cut) -> Kept {
        let disk = Self::new(catalog);
        let mut partition = disk.start().expect("a new disk");
        disk.feed(&mut partition, log, 0, cut).expect("no fault is planned");
        partition.complete(now()).expect("no fault is planned");
        Kept::of(&partition)
    }
}

/// The first record that no commit covers, by the position in the store.
pub fn resume_at(partition: &Partition) -> usize {
    let position = partition.position(SOURCE).expect("memory reads");
    position.map_or(0, |bytes| u64::from_be_bytes(bytes.try_into().expect("eight bytes")) as usize)
}

fn prepare(
    preparer: &Preparer,
    log: &[impl AsRef<[u8]> + Sync],
    from: usize,
    cut: &Cut,
) -> Vec<PreparedBlock> {
    let (mut ranges, mut start) = (Vec::new(), from);
    for size in cut.blocks.iter().cycle() {
        if start >= log.len() {
            break;
        }
        let end = start.saturating_add(*size).min(log.len());
        ranges.push(start..end);
        start = end;
    }
    let share = |thread: usize| {
        let mine = ranges.iter().enumerate().skip(thread).step_by(cut.threads);
        mine.map(|(at, range)| (at, preparer.prepare(raw(log, range.clone())))).collect::<Vec<_>>()
    };
    let mut blocks: BTreeMap<usize, PreparedBlock> = std::thread::scope(|scope| {
        let share = &share;
        let threads: Vec<_> = (0..cut.threads).map(|thread| scope.spawn(move || share(thread))).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("preparing is total")).collect()
    });
    std::iter::from_fn(|| blocks.pop_first()).map(|(_, block)| block).collect()
}

fn raw(log: &[impl AsRef<[u8]> + Sync], range: std::ops::Range<usize>) -> RawBlock {
    let (mut text, mut records) = (Vec::new(), Vec::new());
    for at in range.clone() {
        let start = text.len() as u32;
        text.extend_from_slice(log[at].as_ref());
        records.push((at as u64 + 1, start..text.len() as u32));
    }
    let position = Position { source: SOURCE.into(), bytes: (range.end as u64).to_be_bytes().into() };
    RawBlock {
        tenant: TenantId::new("default").expect("a name"),
        origin: SOURCE.into(),
        received_at: now(),
        text,
        records,
        damaged: Vec::new(),
        position: Some(position),
    }
}

/// Everything in the store, in a form that does not say which commit wrote it.
#[derive(Debug)]
pub struct Kept {
    pub progress: Progress,
    /// What is remembered of each identity; the last commit that saw it first counts, as it does for look-ups.
    pub identities: BTreeMap<Vec<u8>, Vec<u8>>,
    pub archived: Vec<ArchivedEvent<'static>>,
    /// Rated lines and journal entries, in order.
    records: BTreeMap<Destination, Vec<KeptRecord>>,
    /// Sequences of the lines in each entry.
    members: BTreeMap<EntryKey, Sequences>,
    /// What falls due.
    timers: BTreeSet<Timer>,
    /// What has to leave.
    outbox: Vec<OutboxRow>,
    rows: BTreeMap<Keyspace, BTreeMap<Vec<u8>, Vec<u8>>>,
}

#[derive(Debug, PartialEq, Eq)]
struct KeptRecord {
    id: String,
    entry: Option<EntryKey>,
    text: Vec<u8>,
}

/// Key spaces whose rows say in which commit they were written; [`Kept`] has their content apart.
const BY_COMMIT: [Keyspace; 8] = [
    Keyspace::Timer,
    Keyspace::Partition,
    Keyspace::IdentityLog,
    Keyspace::ArchiveBlock,
    Keyspace::Rated,
    Keyspace::Journal,
    Keyspace::JournalMember,
    Keyspace::Outbox,
];

impl Kept {
    pub fn of(partition: &Partition) -> Self {
        let store = partition.store();
        let all = |space| load_all(&*store, space).expect("memory reads");
        let progress = &all(Keyspace::Partition)[PROGRESS];
        let progress: Progress = decode_row(Keyspace::Partition, PROGRESS, progress).expect("our own row");
        assert_eq!(progress, partition.working().progress, "what is in memory is what was committed");
        assert_eq!(partition.open_exceptions(), open_exceptions(&all(Keyspace::Exception)));
        let logged = all(Keyspace::IdentityLog);
        let archived = all(Keyspace::ArchiveBlock);
        let others = Keyspace::ALL.into_iter().filter(|space| !BY_COMMIT.contains(space));
        let records = Destination::ALL.map(|destination| (destination, records(&*store, destination)));
        let records = BTreeMap::from(records);
        let entries = records.values().flatten().filter_map(|record| record.entry);
        let members =
            entries.map(|entry| (entry, members_of(&*store, &entry).expect("memory reads"))).collect();
        let outbox = Destination::ALL.map(|to| pending(&*store, to, 0, usize::MAX).expect("memory reads"));
        let timers = all(Keyspace::Timer).into_iter();
        let timers =
            timers.flat_map(|(key, value)| timers_from(&key, &value).expect("our own row")).collect();
        Self {
            timers,
            records,
            members,
            outbox: outbox.concat(),
            progress: Progress { commits: 0, ..progress },
            identities: logged.values().flat_map(|row| row.chunks(26)).map(remembered).collect(),
            archived: archived.values().flat_map(|row| events_of(row).expect("our own row")).collect(),
            rows: others.map(|space| (space, all(space))).collect(),
        }
    }

    /// The rows of these key spaces are the same bytes.
    #[track_caller]
    pub fn assert_same_rows(&self, other: &Self, left_out: &[Keyspace]) {
        for (space, rows) in self.rows.iter().filter(|(space, _)| !left_out.contains(space)) {
            let others = &other.rows[space];
            assert!(
                rows == others,
                "{space}:\n{}--- and ---\n{}",
                only_in(rows, others),
                only_in(others, rows)
            );
        }
        assert!(self.identities == other.identities, "what is remembered differs");
        assert_eq!(self.records, other.records, "rated lines and journal entries");
        assert_eq!(self.members, other.members, "lines of entries");
        assert_eq!(self.timers, other.timers, "what falls due");
        assert_eq!(self.outbox, other.outbox, "what has to leave");
    }

    pub fn keys(&self, space: Keyspace) -> Vec<&Vec<u8>> {
        self.rows[&space].keys().collect()
    }

    pub fn exceptions(&self) -> Vec<v1::ExceptionRecord> {
        let rows = self.rows[&Keyspace::Exception].values();
        rows.map(|row| serde_json::from_slice(row).expect("our own row")).collect()
    }

    /// Rated lines in the order for billing.
    pub fn rated(&self) -> Vec<v1::RatedSummary> {
        let lines = self.records[&Destination::Billing].iter();
        lines.map(|line| serde_json::from_slice(&line.text).expect("our own row")).collect()
    }
}

/// Records of a destination, checked against how they are found by id.
fn records(store: &dyn Store, destination: Destination) -> Vec<KeptRecord> {
    let mut all = Vec::new();
    each_record(store, destination, 1, |sequence, record| {
        assert_eq!(sequence_of(store, destination, record.id)?, Some(sequence), "{}", record.id);
        let Record { id, entry, text } = record;
        all.push(KeptRecord { id: id.to_owned(), entry, text: text.to_vec() });
        assert_eq!(all.len() as u64, sequence, "sequences have no gaps");
        Ok(true)
    })
    .expect("memory reads");
    all
}

/// Identity and the rest of its row.
fn remembered(row: &[u8]) -> (Vec<u8>, Vec<u8>) {
    (row[..16].to_vec(), row[16..].to_vec())
}

fn open_exceptions(rows: &BTreeMap<Vec<u8>, Vec<u8>>) -> u64 {
    let records =
        rows.values().map(|row| serde_json::from_slice::<v1::ExceptionRecord>(row).expect("our own row"));
    records.filter(|record| record.status == ExceptionStatus::Open.name()).count() as u64
}

/// Rows that `other` does not have.
fn only_in(rows: &BTreeMap<Vec<u8>, Vec<u8>>, other: &BTreeMap<Vec<u8>, Vec<u8>>) -> String {
    let missing = rows.iter().filter(|(key, value)| other.get(*key) != Some(*value));
    let row = |(key, value): (&Vec<u8>, &Vec<u8>)| {
        format!("{} = {}\n", key.escape_ascii(), String::from_utf8_lossy(value))
    };
    missing.map(row).collect()
}
