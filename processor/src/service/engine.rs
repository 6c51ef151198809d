//! Puts the parts together for one data folder: partition, preparing threads, archive, outbox.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use tidemark_core::terms::{Terms, TermsError};
use tidemark_schemas::catalog::Catalog;
use tidemark_schemas::time::ReceiveTime;

use super::delivered::Folders;
use super::intake::Intake;
use super::outgoing::OutboxRows;
use crate::archive::{ArchiveError, Archiver};
use crate::catalog::{self, CatalogErrors, Texts};
use crate::clock;
use crate::config::{Archive, Billing, Config, Erp};
use crate::ingest_plan::IngestPlan;
use crate::meter::MeterMistake;
use crate::partition::{Handle, Input, OpenError, Options, Partition, Preparer, accepted_losses};
use crate::store::Store;

/// Why the engine does not start, or does not take a catalog.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error(transparent)]
    Catalog(#[from] CatalogErrors),
    #[error(transparent)]
    Terms(#[from] TermsError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("the partition has stopped; its own error was logged before this one")]
    Stopped,
}

/// How the catalog in force stands to its folder.
#[derive(Clone, Copy, Debug)]
pub struct CatalogStanding {
    /// Since when this process has it in force.
    pub since: ReceiveTime,
    /// The folder was changed, and the change was refused.
    pub change_refused: bool,
}

/// A running processor, without its HTTP side.
pub struct Engine {
    pub handle: Handle,
    pub intake: Intake,
    pub store: Arc<dyn Store>,
    /// Where files should be that the state knows of.
    pub folders: Folders,
    /// Acknowledged events that are gone, as operators have accepted.
    pub accepted_loss_events: u64,
    catalog: ArcSwap<CatalogStanding>,
    archiver: Option<Archiver>,
    catalog_folder: PathBuf,
    partition: JoinHandle<Partition>,
    preparing: Vec<JoinHandle<()>>,
}

impl Engine {
    /// Opens the data folder and puts the catalog in force.
    ///
    /// # Errors
    /// [`EngineError`]
    pub fn start(config: &Config, accept_loss: bool) -> Result<Self, EngineError> {
        let (catalog, files) = catalog::load_texts(&config.catalog_dir)?;
        let terms = Arc::new(Terms::new(Arc::new(catalog))?);
        let options = Options { accept_loss, ..Options::new(&config.data_dir.join("state")) };
        let folders = folders(config);
        let archives = folders.archive.is_some();
        let make =
            |key| Ok(Preparer::new(Arc::clone(&terms), IngestPlan::new(&terms.catalog, key)?, key, archives));
        let partition =
            Partition::open(&options, &files, make, clock::now()).map_err(|error| match error {
                OpenError::Meters(mistakes) => located(&files, mistakes).into(),
                error => EngineError::from(error),
            })?;
        let store = partition.store();
        let losses = accepted_losses(&*store).map_err(OpenError::from)?;
        for loss in &losses {
            let accepted_at = ReceiveTime::from_micros(loss.accepted_at_micros);
            tracing::warn!(%accepted_at, loss.commits, loss.events, "acknowledged events were accepted as lost");
        }
        let accepted_loss_events = losses.iter().map(|loss| loss.events).sum();
        let archiver =
            folders.archive.as_ref().map(|folder| Archiver::new(store.clone(), folder)).transpose()?;
        let preparer = Arc::clone(partition.preparer());
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let (intake, preparing) = Intake::start(preparer, threads);
        let (handle, partition) = Handle::start(partition, clock::now);
        let catalog_folder = config.catalog_dir.clone();
        Ok(Self {
            handle,
            intake,
            store,
            folders,
            catalog: ArcSwap::from_pointee(CatalogStanding { since: clock::now(), change_refused: false }),
            accepted_loss_events,
            archiver,
            catalog_folder,
            partition,
            preparing,
        })
    }

    #[must_use]
    pub fn outbox(&self) -> OutboxRows {
        OutboxRows::new(self.store.clone(), self.handle.clone())
    }

    /// Writes archive files while enough events wait for one; with `flush` until none waits. Answers how many.
    ///
    /// # Errors
    /// [`EngineError`]; what is not written stays in the store.
    pub fn archive(&self, flush: bool) -> Result<u64, EngineError> {
        let Some(archiver) = &self.archiver else { return Ok(0) };
        let mut files = 0;
        while let Some(file) = archiver.write_next(flush)? {
            let committed = self.handle.ask(|reply| Input::Archived(Box::new(file), reply));
            committed.ok_or(EngineError::Stopped)?.map_err(|_| EngineError::Stopped)?;
            files += 1;
        }
        Ok(files)
    }

    /// Takes over the catalog folder's content when it has changed. Answers the new version.
    ///
    /// # Errors
    /// [`EngineError`]; the catalog in force stays.
    pub fn reload_catalog(&self) -> Result<Option<String>, EngineError> {
        let taken = self.take_over_catalog();
        let before = **self.catalog.load();
        let since = if matches!(taken, Ok(Some(_))) { clock::now() } else { before.since };
        self.catalog.store(Arc::new(CatalogStanding { since, change_refused: taken.is_err() }));
        taken
    }

    #[must_use]
    pub fn catalog_standing(&self) -> CatalogStanding {
        **self.catalog.load()
    }

    fn take_over_catalog(&self) -> Result<Option<String>, EngineError> {
        let current = self.intake.preparer();
        let changed = catalog::changed(&self.catalog_folder, &current.terms.catalog.version)?;
        let Some((changed, files)) = changed else { return Ok(None) };
        let version = changed.version.to_string();
        let preparer = self.preparer_for(changed, &files)?;
        let proposed = Arc::clone(&preparer);
        let answer = self.handle.ask(|reply| Input::PutInForce(files, proposed, reply));
        answer.ok_or(EngineError::Stopped)??;
        self.intake.replace(preparer);
        Ok(Some(version))
    }

    fn preparer_for(&self, catalog: Catalog, files: &Texts) -> Result<Arc<Preparer>, EngineError> {
        let key = self.intake.preparer().key();
        let terms = Arc::new(Terms::new(Arc::new(catalog))?);
        let plan = IngestPlan::new(&terms.catalog, key).map_err(|mistakes| located(files, mistakes))?;
        Ok(Arc::new(Preparer::new(terms, plan, key, self.archiver.is_some())))
    }

    /// Waits until everything that was sent is committed, and closes the store.
    pub fn stop(self) {
        drop(self.intake);
        for thread in self.preparing {
            thread.join().expect("a preparing thread does not panic on any input");
        }
        drop(self.handle);
        drop(self.archiver);
        drop(self.store);
        drop(self.partition.join().expect("the partition's thread reports its failures as errors"));
    }
}

/// Mistakes in expressions, at their places in the files.
fn located(files: &Texts, mistakes: Vec<MeterMistake>) -> CatalogErrors {
    let place = |mistake: MeterMistake| {
        let (meter, part) = (mistake.meter.as_str(), mistake.part.to_string());
        catalog::mistake_of_meter(files, meter, &part, mistake.message)
    };
    CatalogErrors { mistakes: mistakes.into_iter().map(place).collect(), omitted: 0 }
}

fn folders(config: &Config) -> Folders {
    Folders {
        archive: match &config.archive {
            Archive::Local { directory } => Some(directory.clone()),
            Archive::None => None,
        },
        billing: match &config.billing {
            Billing::File { directory } => Some(directory.clone()),
            Billing::Webhook { .. } | Billing::Pull => None,
        },
        erp: match &config.erp {
            Erp::File { directory } => Some(directory.clone()),
            Erp::Http { .. } => None,
        },
    }
}

/// Checks a catalog folder whole: its files, its references and its meters' expressions.
///
/// # Errors
/// [`EngineError`] with every mistake of the first kind that has any.
pub fn check_catalog(folder: &Path) -> Result<Catalog, EngineError> {
    let (catalog, files) = catalog::load_texts(folder)?;
    // No event is hashed here, so any key will do.
    let key = tidemark_core::identity::DeploymentKey([0; 16]);
    IngestPlan::new(&catalog, key).map_err(|mistakes| located(&files, mistakes))?;
    Terms::new(Arc::new(catalog.clone()))?;
    Ok(catalog)
}
