//! Runs the partition on a thread of its own, fed by a bounded channel. Whoever sends waits, or is told that it is busy.
//!
//! Blocks that wait together are committed together: one fsync for all of them. Other inputs are taken one by one, in
//! the order in which they came.

use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use tidemark_schemas::receipt::Receipt;
use tidemark_schemas::summary::RecordId;
use tidemark_schemas::time::{EventTime, ReceiveTime};
use tokio::sync::watch;

use super::commit::{Partition, PartitionError, Taken};
use super::open::OpenError;
use super::prepare::{PreparedBlock, Preparer};
use crate::archive::ArchivedFile;

/// Inputs that wait. Each holds at most one request or chunk of about 8 MB.
const INPUTS_WAITING_MAX: usize = 32;

/// Events that share one commit: about 80 MB of rows, replayed in about a second.
const BATCH_EVENTS_MAX: usize = 262_144;

/// Where an answer goes, once it is durable. Called on the partition's thread; it must not wait.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;

/// What a partition takes in.
pub enum Input {
    Block(Box<PreparedBlock>, Reply<Result<Taken, Arc<PartitionError>>>),
    Declare(EventTime, Reply<Result<(), Arc<PartitionError>>>),
    /// The reply has the watermark that was declared; `None` when there was no usage yet.
    Complete(Reply<Result<Option<EventTime>, Arc<PartitionError>>>),
    Receive(Vec<Receipt>, Reply<Result<(), Arc<PartitionError>>>),
    /// Ids of exceptions whose refused rows are to be sent again. The reply has how many are.
    Resend(Vec<RecordId>, Reply<Result<u64, Arc<PartitionError>>>),
    /// Exceptions, who dismisses them, and why. The reply has how many were open.
    Dismiss(Vec<RecordId>, String, String, Reply<Result<u64, Arc<PartitionError>>>),
    PutInForce(Vec<(String, String)>, Arc<Preparer>, Reply<Result<(), OpenError>>),
    Archived(Box<ArchivedFile>, Reply<Result<(), Arc<PartitionError>>>),
}

/// How far the partition has come, for whoever waits for news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Heads {
    pub commits: u64,
    pub rated: u64,
    pub journal: u64,
    /// Rows that were put back in the outbox since the start.
    pub resent: u64,
    /// Set when the partition has stopped: nothing more is acknowledged.
    pub stopped: bool,
}

/// The channel is full.
#[derive(Debug)]
pub struct Busy;

/// The way to a running partition. Clones share it; the partition ends when all of them are gone.
#[derive(Clone)]
pub struct Handle {
    inputs: Sender<Input>,
    heads: watch::Receiver<Heads>,
    snapshot: Arc<ArcSwap<Snapshot>>,
}

/// What the partition said of itself after its last commit.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    pub progress: tidemark_core::state::Progress,
    pub watermark: Option<EventTime>,
    /// Windows with usage that is not reported yet.
    pub windows_open: usize,
    /// What falls due as the watermark goes on: these windows, ends of billing periods, journal entries.
    pub timers: usize,
    pub open_exceptions: u64,
    /// Why it stopped, when it has.
    pub stopped: Option<String>,
}

impl Handle {
    /// Starts the partition's thread. `now` is asked once for each commit.
    #[must_use]
    pub fn start(partition: Partition, now: fn() -> ReceiveTime) -> (Self, JoinHandle<Partition>) {
        let (inputs, waiting) = bounded(INPUTS_WAITING_MAX);
        let (heads_sender, heads) = watch::channel(heads_of(&partition));
        let snapshot = Arc::new(ArcSwap::from_pointee(snapshot_of(&partition)));
        let shared = Arc::clone(&snapshot);
        let run = move || {
            let mut runner = Runner { partition, waiting, heads: heads_sender, snapshot: shared, now };
            runner.run();
            runner.partition
        };
        let thread = std::thread::Builder::new().name("partition".into()).spawn(run);
        (Self { inputs, heads, snapshot }, thread.expect("the operating system can start one more thread"))
    }

    /// # Errors
    /// [`Busy`] when the channel is full or the partition is gone; `input` comes back.
    pub fn try_send(&self, input: Input) -> Result<(), (Busy, Input)> {
        self.inputs.try_send(input).map_err(|error| match error {
            TrySendError::Full(input) | TrySendError::Disconnected(input) => (Busy, input),
        })
    }

    /// Waits for room.
    ///
    /// # Errors
    /// The input, when the partition is gone.
    pub fn send(&self, input: Input) -> Result<(), Input> {
        self.inputs.send(input).map_err(|error| error.0)
    }

    /// Sends what `make` builds around a reply, and waits for the answer. Not for async code.
    ///
    /// # Errors
    /// `None` when the partition is gone.
    pub fn ask<T: Send + 'static>(&self, make: impl FnOnce(Reply<T>) -> Input) -> Option<T> {
        let (sender, receiver) = bounded(1);
        let reply: Reply<T> = Box::new(move |answer| {
            let _ = sender.send(answer);
        });
        self.send(make(reply)).ok()?;
        receiver.recv().ok()
    }

    #[must_use]
    pub fn heads(&self) -> watch::Receiver<Heads> {
        self.heads.clone()
    }

    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inputs.len()
    }
}

struct Runner {
    partition: Partition,
    waiting: Receiver<Input>,
    heads: watch::Sender<Heads>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    now: fn() -> ReceiveTime,
}

impl Runner {
    fn run(&mut self) {
        let mut next = None;
        while let Some(input) = next.take().or_else(|| self.waiting.recv().ok()) {
            next = self.take(input);
        }
    }

    /// Takes an input; answers one that was received meanwhile and must be taken next.
    fn take(&mut self, input: Input) -> Option<Input> {
        let now = (self.now)();
        let shared = |result: Result<_, PartitionError>| result.map_err(Arc::new);
        match input {
            Input::Block(block, reply) => return self.take_blocks(*block, reply, now),
            Input::Declare(until, reply) => {
                let result = self.partition.declare(until, now).map_err(Arc::new);
                self.publish();
                reply(result);
            }
            Input::Complete(reply) => {
                let result = self.partition.complete(now).map_err(Arc::new);
                self.publish();
                reply(result);
            }
            Input::Receive(receipts, reply) => {
                let result = shared(self.partition.receive(&receipts, now));
                self.publish();
                reply(result);
            }
            Input::Resend(exceptions, reply) => {
                let result = self.partition.resend(&exceptions, now).map_err(Arc::new);
                self.publish();
                reply(result);
            }
            Input::Dismiss(ids, by, reason, reply) => {
                let result = self.partition.dismiss(&ids, &by, &reason, now).map_err(Arc::new);
                self.publish();
                reply(result);
            }
            Input::PutInForce(files, preparer, reply) => {
                let result = self.partition.put_in_force(&files, preparer, now);
                self.publish();
                reply(result);
            }
            Input::Archived(file, reply) => {
                let result = shared(self.partition.archived(&file, now));
                self.publish();
                reply(result);
            }
        }
        None
    }

    fn take_blocks(
        &mut self,
        first: PreparedBlock,
        reply: Reply<Result<Taken, Arc<PartitionError>>>,
        now: ReceiveTime,
    ) -> Option<Input> {
        let mut events = first.block.len();
        let (mut blocks, mut replies, mut next) = (vec![first], vec![reply], None);
        while events < BATCH_EVENTS_MAX {
            match self.waiting.try_recv() {
                Ok(Input::Block(block, reply)) => {
                    events += block.block.len();
                    blocks.push(*block);
                    replies.push(reply);
                }
                Ok(other) => {
                    next = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        match self.partition.take(blocks, now) {
            Ok(taken) => {
                self.publish();
                replies.into_iter().zip(taken).for_each(|(reply, taken)| reply(Ok(taken)));
            }
            Err(error) => {
                self.publish();
                let error = Arc::new(error);
                replies.into_iter().for_each(|reply| reply(Err(Arc::clone(&error))));
            }
        }
        next
    }

    fn publish(&self) {
        self.snapshot.store(Arc::new(snapshot_of(&self.partition)));
        self.heads.send_replace(heads_of(&self.partition));
    }
}

fn heads_of(partition: &Partition) -> Heads {
    let progress = partition.working().progress;
    Heads {
        commits: progress.commits,
        rated: progress.rated,
        journal: progress.journal,
        resent: partition.resent,
        stopped: partition.stopped.is_some(),
    }
}

fn snapshot_of(partition: &Partition) -> Snapshot {
    let working = partition.working();
    Snapshot {
        progress: working.progress,
        watermark: working.progress.watermark(partition.terms().timing().disorder_micros),
        windows_open: working.timers.windows(),
        timers: working.timers.len(),
        open_exceptions: partition.open_exceptions(),
        stopped: partition.stopped.clone(),
    }
}
