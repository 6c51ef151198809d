//! Brings a partition back: the store, what must always be in memory, the witness's word, and the catalog.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidemark_core::identity::DeploymentKey;
use tidemark_core::settle::declare;
use tidemark_core::state::{OpenPosting, PostingId, Progress};
use tidemark_core::terms::{Terms, TermsError};
use tidemark_core::working::Working;
use tidemark_schemas::exception::ExceptionStatus;
use tidemark_schemas::time::ReceiveTime;
use tidemark_schemas::wire::v1;

use super::commit::{Partition, PartitionError};
use super::exceptions::Exceptions;
use super::load::{decode, load_all, undecodable};
use super::prepare::Preparer;
use crate::catalog;
use crate::meter::MeterMistake;
use crate::store::codec::timers_from;
use crate::store::{
    Identities, KeyValue, Keyspace, Missing, Rocks, Settings, Store, StoreError, Testimony, Witness,
    WitnessError, WriteBatch, check,
};

/// Rows of [`Keyspace::Meta`] and [`Keyspace::Partition`].
pub(super) const PROGRESS: &[u8] = b"progress";
pub(super) const CATALOG_VERSION: &[u8] = b"catalog_version";
const DEPLOYMENT_KEY: &[u8] = b"deployment_key";
const ACCEPTED_LOSSES: &[u8] = b"accepted_losses";

/// Where and how to open.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder of this partition's state.
    pub root: PathBuf,
    pub settings: Settings,
    /// Start although the witness saw commits that the state does not have.
    pub accept_loss: bool,
}

impl Options {
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), settings: Settings::default(), accept_loss: false }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Witness(#[from] WitnessError),
    #[error(transparent)]
    Missing(#[from] Missing),
    #[error(transparent)]
    Terms(#[from] TermsError),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Meters(Vec<MeterMistake>),
    #[error(transparent)]
    Partition(#[from] PartitionError),
    #[error("the new catalog {version} cannot follow the one in force:\n{}", faults.join("\n"))]
    CatalogDoesNotFollow { version: String, faults: Vec<String> },
    #[error(
        "no random bytes for the deployment key: {reason}; the operating system's random source must work"
    )]
    NoRandomness { reason: String },
}

impl Partition {
    /// Opens or makes the partition and puts the catalog in force.
    ///
    /// # Errors
    /// [`OpenError`]; nothing has been changed, except that a new store may have been made.
    pub fn open(
        options: &Options,
        files: &[(String, String)],
        make: impl FnOnce(DeploymentKey) -> Result<Preparer, Vec<MeterMistake>>,
        now: ReceiveTime,
    ) -> Result<Self, OpenError> {
        let store = Arc::new(Rocks::open(&options.root, &options.settings)?);
        Self::open_over(store, options, files, make, now)
    }

    /// As [`Self::open`], over any store; the witness stays a file in the root.
    pub(super) fn open_over(
        store: Arc<dyn Store>,
        options: &Options,
        files: &[(String, String)],
        make: impl FnOnce(DeploymentKey) -> Result<Preparer, Vec<MeterMistake>>,
        now: ReceiveTime,
    ) -> Result<Self, OpenError> {
        let (witness, testimony) = Witness::open(&options.root.join("witness"))?;
        let preparer = Arc::new(make(deployment_key(&*store)?).map_err(OpenError::Meters)?);
        let mut partition = Self::over(store, &options.settings, witness, Arc::clone(&preparer))?;
        let progress = partition.working.progress;
        let state =
            Testimony { commit: progress.commits, events: progress.counts.counted, at_micros: now.micros() };
        if let Err(missing) = check(testimony, state) {
            if !options.accept_loss {
                return Err(missing.into());
            }
            partition.accept(&missing, now)?;
        }
        partition.put_in_force(files, preparer, now)?;
        Ok(partition)
    }

    pub(super) fn over(
        store: Arc<dyn Store>,
        settings: &Settings,
        witness: Witness,
        preparer: Arc<Preparer>,
    ) -> Result<Self, OpenError> {
        let key = deployment_key(&*store)?;
        let progress = progress(&*store)?;
        let mut working = Working::new(key, progress);
        for (key, value) in load_all(&*store, Keyspace::Timer)? {
            let timers = timers_from(&key, &value);
            let timers = timers.map_err(|damaged| undecodable(Keyspace::Timer, &key, &damaged))?;
            timers.into_iter().for_each(|timer| working.timers.load(timer));
        }
        for (key, value) in load_all(&*store, Keyspace::OpenPosting)? {
            let open: OpenPosting = decode(Keyspace::OpenPosting, &key, &value)?;
            working.postings.insert(PostingId(key_hash(Keyspace::OpenPosting, &key)?), open);
        }
        for (key, value) in load_all(&*store, Keyspace::Watched)? {
            let start = crate::store::codec::time_key_from(&value)
                .map_err(|damaged| undecodable(Keyspace::Watched, &key, &damaged))?;
            working.watched.insert(key_hash(Keyspace::Watched, &key)?, start);
        }
        let exceptions = Exceptions::new(count_open(&*store)?);
        let identities = Identities::open(Arc::clone(&store), settings.forget_before.clone())?;
        Ok(Self {
            store,
            identities,
            witness,
            working,
            terms: Arc::clone(&preparer.terms),
            preparer,
            exceptions,
            told: progress.counts,
            resent: 0,
            stopped: None,
            spare: WriteBatch::new(),
        })
    }

    /// Checks that the catalog can follow the one in force, and adopts it when it is another.
    ///
    /// # Errors
    /// [`OpenError::CatalogDoesNotFollow`], a failed commit, or [`PartitionError::Stopped`].
    pub fn put_in_force(
        &mut self,
        files: &[(String, String)],
        preparer: Arc<Preparer>,
        now: ReceiveTime,
    ) -> Result<(), OpenError> {
        self.refuse_when_stopped()?;
        let terms = &preparer.terms;
        let version = terms.catalog.version.to_string();
        match self.catalog_in_force()? {
            Some((current, _)) if current == version => {
                self.terms = Arc::clone(terms);
                self.preparer = preparer;
                return Ok(());
            }
            Some((_, before)) => {
                let progress = self.working.progress;
                let faults = terms.follows(&before, progress.newest.max(progress.declared));
                if !faults.is_empty() {
                    return Err(OpenError::CatalogDoesNotFollow { version, faults });
                }
                // More disorder must not move the watermark back: what was forgotten at it stays forgotten.
                if let Some(reached) = progress.watermark(before.timing().disorder_micros) {
                    declare(&mut self.working, reached);
                }
            }
            None => {}
        }
        let text = serde_json::to_vec(files).expect("names and texts always serialize");
        tracing::info!(catalog = version, "catalog in force");
        Ok(self.adopt(preparer, &text, now)?)
    }

    /// Goes on without the commits that are missing, and keeps a record of it for good.
    fn accept(&mut self, missing: &Missing, now: ReceiveTime) -> Result<(), OpenError> {
        tracing::error!(%missing, "starting without acknowledged commits, as ordered by --accept-loss");
        // The witness must not testify against the commits that follow.
        self.working.progress.commits = missing.witnessed.commit;
        let mut losses = accepted_losses(&*self.store)?;
        losses.push(AcceptedLoss {
            accepted_at_micros: now.micros(),
            commits: missing.commits(),
            events: missing.events(),
        });
        let losses = serde_json::to_vec(&losses).expect("numbers always serialize");
        Ok(self.put_fact(ACCEPTED_LOSSES, &losses, now)?)
    }

    fn catalog_in_force(&self) -> Result<Option<(String, Terms)>, OpenError> {
        let Some(version) = self.store.get(Keyspace::Meta, CATALOG_VERSION)? else { return Ok(None) };
        let Some(text) = self.store.get(Keyspace::Catalog, &version)? else {
            return Err(undecodable(Keyspace::Catalog, &version, &"the catalog in force is missing").into());
        };
        let damaged = |reason: &dyn std::fmt::Display| undecodable(Keyspace::Catalog, &version, reason);
        let files: Vec<(String, String)> = serde_json::from_slice(&text).map_err(|error| damaged(&error))?;
        let catalog = catalog::parse(&files).map_err(|errors| damaged(&errors))?;
        let terms = Terms::new(Arc::new(catalog))?;
        Ok(Some((String::from_utf8_lossy(&version).into_owned(), terms)))
    }

    #[must_use]
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.store)
    }

    #[must_use]
    pub fn key(&self) -> DeploymentKey {
        self.working.key
    }

    /// Where a source was left, in its own bytes.
    ///
    /// # Errors
    /// [`StoreError`]
    pub fn position(&self, source: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(Keyspace::Position, source.as_bytes())
    }
}

/// Acknowledged commits that were missing when an operator started all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedLoss {
    pub accepted_at_micros: i64,
    pub commits: u64,
    pub events: u64,
}

/// Every loss that was accepted since the store was made, oldest first.
///
/// # Errors
/// [`StoreError`]
pub fn accepted_losses(store: &dyn KeyValue) -> Result<Vec<AcceptedLoss>, StoreError> {
    let Some(bytes) = store.get(Keyspace::Meta, ACCEPTED_LOSSES)? else { return Ok(Vec::new()) };
    serde_json::from_slice(&bytes).map_err(|error| undecodable(Keyspace::Meta, ACCEPTED_LOSSES, &error))
}

/// Where the partition stands, as of its last commit.
///
/// # Errors
/// [`StoreError`]
pub fn progress(store: &dyn KeyValue) -> Result<Progress, StoreError> {
    match store.get(Keyspace::Partition, PROGRESS)? {
        Some(bytes) => decode(Keyspace::Partition, PROGRESS, &bytes),
        None => Ok(Progress::default()),
    }
}

/// The deployment's secret, made on the first start. It never leaves the store.
pub(super) fn deployment_key(store: &dyn Store) -> Result<DeploymentKey, OpenError> {
    if let Some(bytes) = store.get(Keyspace::Meta, DEPLOYMENT_KEY)? {
        let key = bytes.first_chunk::<16>().filter(|_| bytes.len() == 16);
        let key = key.ok_or_else(|| undecodable(Keyspace::Meta, DEPLOYMENT_KEY, &"it is not 16 bytes"))?;
        return Ok(DeploymentKey(*key));
    }
    let mut key = [0; 16];
    getrandom::fill(&mut key).map_err(|error| OpenError::NoRandomness { reason: error.to_string() })?;
    let mut batch = WriteBatch::new();
    batch.put(Keyspace::Meta, DEPLOYMENT_KEY, &key);
    store.commit(&batch)?;
    Ok(DeploymentKey(key))
}

fn key_hash(space: Keyspace, key: &[u8]) -> Result<u128, StoreError> {
    let bytes = key.first_chunk::<16>().ok_or_else(|| undecodable(space, key, &"the key is too short"))?;
    Ok(u128::from_be_bytes(*bytes))
}

fn count_open(store: &dyn KeyValue) -> Result<u64, StoreError> {
    const PAGE_ROWS: usize = 1_000;
    let (mut open, mut from) = (0, Vec::new());
    loop {
        let page = store.scan(Keyspace::Exception, &from, None, PAGE_ROWS)?;
        for row in &page {
            let record: v1::ExceptionRecord = serde_json::from_slice(&row.value)
                .map_err(|error| undecodable(Keyspace::Exception, &row.key, &error))?;
            open += u64::from(record.status == ExceptionStatus::Open.name());
        }
        match page.last() {
            Some(last) if page.len() == PAGE_ROWS => {
                from.clone_from(&last.key);
                from.push(0);
            }
            _ => return Ok(open),
        }
    }
}
