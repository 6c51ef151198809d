//! Prepares blocks on threads of its own: the part of the work that scales with cores.

use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, bounded};

use crate::partition::{PreparedBlock, Preparer, RawBlock};

/// Blocks that wait for a thread. Each holds at most one request or chunk of about 8 MB.
const BLOCKS_WAITING_MAX: usize = 32;

/// What to do with a prepared block. Called on a preparing thread; it may wait for the partition.
type Next = Box<dyn FnOnce(PreparedBlock) + Send>;

struct Job {
    raw: RawBlock,
    next: Next,
}

/// The way to the preparing threads. They end when all clones are gone.
#[derive(Clone)]
pub struct Intake {
    jobs: Sender<Job>,
    preparer: Arc<ArcSwap<Preparer>>,
}

/// All threads are busy and the queue is full.
#[derive(Debug)]
pub struct Full;

impl Intake {
    #[must_use]
    pub fn start(preparer: Arc<Preparer>, threads: usize) -> (Self, Vec<JoinHandle<()>>) {
        let (jobs, waiting) = bounded(BLOCKS_WAITING_MAX);
        let preparer = Arc::new(ArcSwap::new(preparer));
        let start_one = |number: usize| {
            let (waiting, preparer) = (waiting.clone(), Arc::clone(&preparer));
            let thread = std::thread::Builder::new().name(format!("prepare-{number}"));
            thread
                .spawn(move || prepare_all(&waiting, &preparer))
                .expect("the operating system can start a few more threads")
        };
        let threads = (0..threads.max(1)).map(start_one).collect();
        (Self { jobs, preparer }, threads)
    }

    /// # Errors
    /// [`Full`]: answer the caller that it is busy.
    pub fn try_submit(
        &self,
        raw: RawBlock,
        next: impl FnOnce(PreparedBlock) + Send + 'static,
    ) -> Result<(), Full> {
        let job = Job { raw, next: Box::new(next) };
        self.jobs.try_send(job).map_err(|_| Full)
    }

    /// Waits for room, and answers where the prepared block will come.
    #[must_use]
    pub fn submit(&self, raw: RawBlock) -> Receiver<PreparedBlock> {
        let (sender, receiver) = bounded(1);
        let next = move |prepared| {
            let _ = sender.send(prepared);
        };
        let job = Job { raw, next: Box::new(next) };
        self.jobs.send(job).expect("preparing threads live as long as the intake");
        receiver
    }

    #[must_use]
    pub fn preparer(&self) -> Arc<Preparer> {
        self.preparer.load_full()
    }

    /// Blocks submitted from now on are prepared under this catalog.
    pub fn replace(&self, preparer: Arc<Preparer>) {
        self.preparer.store(preparer);
    }

    #[must_use]
    pub fn waiting(&self) -> usize {
        self.jobs.len()
    }
}

fn prepare_all(waiting: &Receiver<Job>, preparer: &ArcSwap<Preparer>) {
    while let Ok(job) = waiting.recv() {
        let prepared = preparer.load_full().prepare(job.raw);
        (job.next)(prepared);
    }
}
