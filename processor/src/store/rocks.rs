//! How are rows kept on disk? The only file that names RocksDB.
//!
//! Folder: `format` (a line of text, read before anything is opened), `rows/` (RocksDB), `incoming/` (tables on their
//! way in; emptied on open, because a table that was not ingested belongs to nobody).
//!
//! Keeps: what [`KeyValue`] promises. Two rules of this file carry most of it: each commit fsyncs the log of writes,
//! and a log with a damaged record does not open.
//!
//! Deliberately absent: merge operators and transactions. One thread commits; readers take what is committed, or what
//! was committed when they began.
//! Longer than other files, because opening, options and errors all speak RocksDB and nothing else may.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rocksdb::compaction_filter::Decision;
use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB,
    DBCompactionStyle, DBCompressionType, DBRawIterator, DBRecoveryMode, Env, ErrorKind,
    IngestExternalFileOptions, LogLevel, Options, ReadOptions, Snapshot, SstFileWriter,
    UniversalCompactOptions, UniversalCompactionStopStyle, WriteOptions, properties,
};

use super::error::StoreError;
use super::identities::ForgetBefore;
use super::keyspace::{Keyspace, Tuning};
use super::kv::{Change, KeyValue, Row, SortedRows, Store, WriteBatch};

/// Raised when a program of the version before could misread the rows.
const FORMAT: &str = "tidemark store 2";

const MIB: usize = 1024 * 1024;

/// The log of writes may grow to this before its oldest memtable is written out: about three seconds of replay.
const LOG_OF_WRITES_BYTES_MAX: u64 = 512 * MIB as u64;

/// What a row in a batch takes besides its key and value, at most.
const ROW_FRAME_BYTES: usize = 12;

/// Keys of one native call. More pins more blocks at once and is slower: measured 924 ns a look-up at 8,192, 809 at 512.
const KEYS_PER_CALL_MAX: usize = 512;

/// What an operator may choose.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Blocks, indexes and filters of tables, together.
    pub block_cache_bytes: usize,
    /// Memtables of all key spaces together. At this bound the oldest is written out.
    pub write_buffer_bytes: usize,
    /// Files that RocksDB holds open.
    pub open_files_max: i32,
    /// Shared with [`super::Identities`].
    pub forget_before: ForgetBefore,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            block_cache_bytes: 256 * MIB,
            write_buffer_bytes: 256 * MIB,
            // Half of the 1,024 that many systems allow by default: sockets need the rest.
            open_files_max: 512,
            forget_before: ForgetBefore::default(),
        }
    }
}

/// Rows of one partition on disk.
pub struct Rocks {
    root: PathBuf,
    settings: Settings,
    cache: Cache,
    db: DB,
    /// The first failure, as it was reported.
    poison: OnceLock<String>,
    tables_written: AtomicU64,
}

impl Rocks {
    /// Opens the store in a folder, or makes a new one. The log of writes is replayed first.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it open, [`StoreError::FormatVersion`] when another version wrote
    /// it, [`StoreError::Corrupt`] when acknowledged commits do not read back, [`StoreError::Io`].
    pub fn open(root: &Path, settings: &Settings) -> Result<Self, StoreError> {
        let rows = root.join("rows");
        prepare(root, &rows)?;
        let cache = Cache::new_lru_cache(settings.block_cache_bytes);
        let mut database = database_options(settings);
        let mut environment = Env::new().map_err(|error| classify(root, "start its threads", &error))?;
        environment.lower_thread_pool_cpu_priority();
        database.set_env(&environment);
        refuse_unknown_spaces(root, &rows, &database)?;
        let families = Keyspace::ALL
            .map(|space| ColumnFamilyDescriptor::new(space.name(), space_options(space, settings, &cache)));
        let db = DB::open_cf_descriptors(&database, &rows, families)
            .map_err(|error| classify(root, "open", &error))?;
        empty_folder(&root.join("incoming")).map_err(io_error(root, "remove unfinished tables"))?;
        Ok(Self {
            root: root.to_owned(),
            settings: settings.clone(),
            cache,
            db,
            poison: OnceLock::new(),
            tables_written: AtomicU64::new(0),
        })
    }

    fn family(&self, space: Keyspace) -> &ColumnFamily {
        self.db.cf_handle(space.name()).expect("every key space was opened")
    }

    fn refuse_if_poisoned(&self) -> Result<(), StoreError> {
        self.poison.get().map_or(Ok(()), |first| Err(StoreError::Poisoned { first: first.clone() }))
    }

    fn poisoned_by(&self, error: StoreError) -> StoreError {
        // A second failure does not replace the first: that one is the cause.
        self.poison.get_or_init(|| error.to_string());
        error
    }

    fn read_error(&self, error: &rocksdb::Error) -> StoreError {
        classify(&self.root, "read", error)
    }

    fn get_with(
        &self,
        options: &ReadOptions,
        space: Keyspace,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.db.get_cf_opt(self.family(space), key, options).map_err(|error| self.read_error(&error))
    }

    fn multi_get_with(
        &self,
        options: &ReadOptions,
        space: Keyspace,
        keys: &[&[u8]],
    ) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let family = self.family(space);
        let mut values = Vec::with_capacity(keys.len());
        for keys in keys.chunks(KEYS_PER_CALL_MAX) {
            let (found, sorted) = (keys.iter().copied(), keys.is_sorted());
            for value in self.db.batched_multi_get_cf_opt(family, found, sorted, options) {
                let value = value.map_err(|error| self.read_error(&error))?;
                values.push(value.map(|value| value.to_vec()));
            }
        }
        Ok(values)
    }

    fn scan_with(
        &self,
        options: ReadOptions,
        space: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let Some(mut rows) = self.range(options, space, from, to) else { return Ok(Vec::new()) };
        rows.seek_to_first();
        self.collect(rows, limit, |rows| rows.next())
    }

    fn scan_back_with(
        &self,
        options: ReadOptions,
        space: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let Some(mut rows) = self.range(options, space, from, to) else { return Ok(Vec::new()) };
        rows.seek_to_last();
        self.collect(rows, limit, |rows| rows.prev())
    }

    /// `None`: the range is empty.
    fn range(
        &self,
        mut options: ReadOptions,
        space: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
    ) -> Option<DBRawIterator<'_>> {
        if to.is_some_and(|to| to <= from) {
            return None;
        }
        options.set_iterate_lower_bound(from);
        if let Some(to) = to {
            options.set_iterate_upper_bound(to);
        }
        Some(self.db.raw_iterator_cf_opt(self.family(space), options))
    }

    fn collect(
        &self,
        mut rows: DBRawIterator<'_>,
        limit: usize,
        step: fn(&mut DBRawIterator<'_>),
    ) -> Result<Vec<Row>, StoreError> {
        let mut collected = Vec::new();
        while collected.len() < limit
            && let Some((key, value)) = rows.item()
        {
            collected.push(Row { key: key.to_vec(), value: value.to_vec() });
            step(&mut rows);
        }
        // An iterator that met an unreadable block looks like one that reached its end.
        rows.status().map_err(|error| self.read_error(&error))?;
        Ok(collected)
    }

    /// Writes the table file; the rows it holds. `None`: there were no rows, and there is no file.
    fn write_table<'rows>(
        &self,
        path: &Path,
        space: Keyspace,
        rows: &mut SortedRows<'rows>,
    ) -> Result<Option<usize>, TableError> {
        let Some(first) = rows.next() else { return Ok(None) };
        let options = space_options(space, &self.settings, &self.cache);
        let mut table = SstFileWriter::create(&options);
        table.open(path)?;
        table.put(first.0, first.1)?;
        let (mut before, mut count) = (first.0, 1);
        for (key, value) in rows {
            if key <= before {
                return Err(TableError::Unsorted { row: count });
            }
            table.put(key, value)?;
            (before, count) = (key, count + 1);
        }
        table.finish()?;
        Ok(Some(count))
    }

    fn add_table(&self, path: &Path, space: Keyspace) -> Result<(), rocksdb::Error> {
        let mut options = IngestExternalFileOptions::default();
        // A hard link instead of a copy: `incoming` is on the same file system on purpose.
        options.set_move_files(true);
        self.db.ingest_external_file_cf_opts(self.family(space), &options, vec![path])
    }

    /// Writes all memtables out and merges every table of a key space. For tests and maintenance: it reads everything.
    ///
    /// # Errors
    /// [`StoreError`] when the memtables cannot be written.
    pub fn compact(&self, space: Keyspace) -> Result<(), StoreError> {
        self.db
            .flush_cf(self.family(space))
            .map_err(|error| self.poisoned_by(classify(&self.root, "flush", &error)))?;
        self.db.compact_range_cf(self.family(space), None::<&[u8]>, None::<&[u8]>);
        Ok(())
    }

    /// Figures for metrics; each is RocksDB's own estimate.
    ///
    /// # Errors
    /// [`StoreError::Io`] when RocksDB does not answer.
    pub fn stats(&self) -> Result<Stats, StoreError> {
        let whole = |name| self.db.property_int_value(name);
        let of = |space, name| self.db.property_int_value_cf(self.family(space), name);
        let space_stats = |space| -> Result<SpaceStats, rocksdb::Error> {
            Ok(SpaceStats {
                space,
                rows_estimate: of(space, properties::ESTIMATE_NUM_KEYS)?.unwrap_or(0),
                table_bytes: of(space, properties::TOTAL_SST_FILES_SIZE)?.unwrap_or(0),
                memtable_bytes: of(space, properties::CUR_SIZE_ALL_MEM_TABLES)?.unwrap_or(0),
                pending_compaction_bytes: of(space, properties::ESTIMATE_PENDING_COMPACTION_BYTES)?
                    .unwrap_or(0),
            })
        };
        let stats = || -> Result<Stats, rocksdb::Error> {
            Ok(Stats {
                spaces: Keyspace::ALL.into_iter().map(space_stats).collect::<Result<_, _>>()?,
                write_stopped: whole(properties::IS_WRITE_STOPPED)?.unwrap_or(0) != 0,
                delayed_write_bytes_per_second: whole(properties::ACTUAL_DELAYED_WRITE_RATE)?.unwrap_or(0),
                background_errors: whole(properties::BACKGROUND_ERRORS)?.unwrap_or(0),
                running_compactions: whole(properties::NUM_RUNNING_COMPACTIONS)?.unwrap_or(0),
                running_flushes: whole(properties::NUM_RUNNING_FLUSHES)?.unwrap_or(0),
                block_cache_bytes: self.cache.get_usage() as u64,
            })
        };
        stats().map_err(|error| classify(&self.root, "read figures", &error))
    }
}

/// What the metrics show of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stats {
    /// One entry for each key space, in the registry's order.
    pub spaces: Vec<SpaceStats>,
    /// Commits wait until merging has caught up.
    pub write_stopped: bool,
    /// 0: commits are not slowed down.
    pub delayed_write_bytes_per_second: u64,
    /// Failed flushes and merges since the start.
    pub background_errors: u64,
    pub running_compactions: u64,
    pub running_flushes: u64,
    pub block_cache_bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpaceStats {
    pub space: Keyspace,
    pub rows_estimate: u64,
    pub table_bytes: u64,
    pub memtable_bytes: u64,
    pub pending_compaction_bytes: u64,
}

enum TableError {
    Unsorted { row: usize },
    Engine(rocksdb::Error),
}

impl From<rocksdb::Error> for TableError {
    fn from(error: rocksdb::Error) -> Self {
        Self::Engine(error)
    }
}

impl KeyValue for Rocks {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.get_with(&ReadOptions::default(), space, key)
    }

    fn multi_get(&self, space: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.multi_get_with(&ReadOptions::default(), space, keys)
    }

    fn scan(
        &self,
        space: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.scan_with(ReadOptions::default(), space, from, to, limit)
    }

    fn scan_back(
        &self,
        space: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.scan_back_with(ReadOptions::default(), space, from, to, limit)
    }
}

/// What was committed at one moment. RocksDB numbers commits across all key spaces, so one number fixes them all.
struct Moment<'store> {
    rocks: &'store Rocks,
    snapshot: Snapshot<'store>,
}

impl Moment<'_> {
    fn options(&self) -> ReadOptions {
        let mut options = ReadOptions::default();
        options.set_snapshot(&self.snapshot);
        options
    }
}

impl KeyValue for Moment<'_> {
    fn get(&self, space: Keyspace, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        self.rocks.get_with(&self.options(), space, key)
    }

    fn multi_get(&self, space: Keyspace, keys: &[&[u8]]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.rocks.multi_get_with(&self.options(), space, keys)
    }

    fn scan(
        &self,
        space: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.rocks.scan_with(self.options(), space, from, to, limit)
    }

    fn scan_back(
        &self,
        space: Keyspace,
        from: &[u8],
        to: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.rocks.scan_back_with(self.options(), space, from, to, limit)
    }
}

impl Store for Rocks {
    fn snapshot(&self) -> Box<dyn KeyValue + '_> {
        Box::new(Moment { rocks: self, snapshot: self.db.snapshot() })
    }

    fn commit(&self, changes: &WriteBatch) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        // Looked up by name once a commit, not once a row.
        let families = Keyspace::ALL.map(|space| self.family(space));
        let family = |space: Keyspace| families[space.index()];
        let mut batch =
            rocksdb::WriteBatch::with_capacity_bytes(changes.size_bytes() + ROW_FRAME_BYTES * changes.len());
        for change in changes.changes() {
            match change {
                Change::Put { space, key, value } => batch.put_cf(family(space), key, value),
                Change::Delete { space, key } => batch.delete_cf(family(space), key),
                Change::DeleteRange { space, from, to } => batch.delete_range_cf(family(space), from, to),
            }
        }
        let mut options = WriteOptions::default();
        options.set_sync(true);
        self.db
            .write_opt(batch, &options)
            .map_err(|error| self.poisoned_by(classify(&self.root, "commit", &error)))
    }

    fn ingest<'rows>(&self, space: Keyspace, rows: &mut SortedRows<'rows>) -> Result<(), StoreError> {
        self.refuse_if_poisoned()?;
        let number = self.tables_written.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join("incoming").join(format!("{space}-{number}.sst"));
        let written = self.write_table(&path, space, rows).and_then(|rows| match rows {
            Some(_) => Ok(self.add_table(&path, space)?),
            None => Ok(()),
        });
        written.map_err(|error| match error {
            // Nothing of it is in the store; the file goes when the store is next opened.
            TableError::Unsorted { row } => StoreError::Unsorted { space, row },
            TableError::Engine(error) => self.poisoned_by(classify(&self.root, "ingest a table", &error)),
        })
    }
}

/// Makes the folders and the format file of a new store, or refuses one that another version wrote.
fn prepare(root: &Path, rows: &Path) -> Result<(), StoreError> {
    let failed = |action| io_error(root, action);
    fs::create_dir_all(rows).map_err(failed("create its folder"))?;
    fs::create_dir_all(root.join("incoming")).map_err(failed("create its folder"))?;
    let has_rows = rows.join("CURRENT").try_exists().map_err(failed("look for rows"))?;
    let format = match fs::read_to_string(root.join("format")) {
        Ok(format) => Some(format),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed("read its format")(error)),
    };
    match format.as_deref().map(str::trim_end) {
        Some(FORMAT) if has_rows => Ok(()),
        // RocksDB would take the folder for a new store and delete nothing, but everything in it would be gone.
        Some(FORMAT) if has_tables_or_log(rows).map_err(failed("list its rows"))? => {
            Err(StoreError::Corrupt {
                path: root.to_owned(),
                action: "open",
                reason: "rows/CURRENT is missing although there are rows".to_owned(),
            })
        }
        Some(FORMAT) => Ok(()),
        None if !has_rows => write_format(root).map_err(failed("write its format")),
        found => Err(StoreError::FormatVersion {
            path: root.to_owned(),
            found: found.map_or("that nobody noted (its file `format` is missing)".to_owned(), |found| {
                format!("`{}`", found.escape_debug())
            }),
            expected: format!("`{FORMAT}`"),
        }),
    }
}

fn has_tables_or_log(rows: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(rows)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "sst" || extension == "log") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whole or not at all, and durable before the first row is.
fn write_format(root: &Path) -> io::Result<()> {
    let unfinished = root.join("format.tmp");
    let mut file = File::create(&unfinished)?;
    writeln!(file, "{FORMAT}")?;
    file.sync_all()?;
    fs::rename(&unfinished, root.join("format"))?;
    File::open(root)?.sync_all()
}

fn empty_folder(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        fs::remove_file(entry?.path())?;
    }
    Ok(())
}

/// A column family that the registry does not list was written by a later version: opening would hide its rows.
fn refuse_unknown_spaces(root: &Path, rows: &Path, options: &Options) -> Result<(), StoreError> {
    if !rows.join("CURRENT").exists() {
        return Ok(());
    }
    let names = DB::list_cf(options, rows).map_err(|error| classify(root, "list its key spaces", &error))?;
    let known = |name: &str| name == "default" || Keyspace::ALL.iter().any(|space| space.name() == name);
    match names.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(unknown) => Err(StoreError::FormatVersion {
            path: root.to_owned(),
            found: format!("`{FORMAT}` with a key space `{unknown}`"),
            expected: format!("`{FORMAT}` without it"),
        }),
    }
}

fn io_error(root: &Path, action: &'static str) -> impl Fn(io::Error) -> StoreError {
    move |error| StoreError::Io { path: root.to_owned(), action, reason: error.to_string() }
}

fn classify(root: &Path, action: &'static str, error: &rocksdb::Error) -> StoreError {
    let (path, reason) = (root.to_owned(), error.to_string());
    match error.kind() {
        ErrorKind::Corruption => StoreError::Corrupt { path, action, reason },
        // RocksDB has no kind for it. The first text is for another process, the second for our own.
        ErrorKind::IOError
            if reason.contains("While lock file") || reason.contains("lock hold by current process") =>
        {
            StoreError::Locked { path, reason }
        }
        _ => StoreError::Io { path, action, reason },
    }
}

fn database_options(settings: &Settings) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // Only a record cut short at the very end of the log is an ordinary crash: that commit was never acknowledged.
    // RocksDB's default, point-in-time, takes any damaged record for such an end: after one flipped byte we measured
    // 1,011 of 2,000 acknowledged commits kept, and no error. What a truncation takes, the witness tells.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_paranoid_checks(true);
    options.set_db_write_buffer_size(settings.write_buffer_bytes);
    options.set_max_total_wal_size(LOG_OF_WRITES_BYTES_MAX);
    // One flush and two merges, because a merge of many identities takes minutes and the other key spaces must not wait
    // for it. Merges yield to the partition's own threads.
    options.set_max_background_jobs(3);
    options.set_max_open_files(settings.open_files_max);
    // Tables reach the disk steadily; one large writeback at their end would hold up the fsync of a commit.
    options.set_bytes_per_sync(MIB as u64);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(5);
    options.set_stats_dump_period_sec(0);
    options
}

fn space_options(space: Keyspace, settings: &Settings, cache: &Cache) -> Options {
    let mut options = Options::default();
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Charged to the cache, so that memory has one bound; those of the newest tables stay, every read needs them.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    options.set_compression_type(DBCompressionType::Lz4);
    match space.tuning() {
        Tuning::Point => {
            table.set_bloom_filter(10.0, false);
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(0.02);
            options.set_write_buffer_size(64 * MIB);
        }
        Tuning::Log => {
            table.set_block_size(16 * 1024);
            options.set_write_buffer_size(128 * MIB);
        }
        Tuning::SortedRuns => {
            // Keyed hashes do not compress. A ribbon filter would save 3 of 10 bits, but writing a table then took
            // 0.87 s instead of 0.54 s and a look-up 1,004 ns instead of 924 ns; merges write each filter again.
            table.set_bloom_filter(10.0, false);
            // Index and filter in blocks of 4 kB: whole ones of a merged table have megabytes, and a cache that cannot
            // hold them all would read one of those for each look-up.
            table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
            table.set_partition_filters(true);
            options.set_compression_type(DBCompressionType::None);
            // Nothing is written through this memtable; its size is what decides up to which size a new table's
            // index and filter are pinned, and a table of `RECENT_MAX` identities is to be.
            options.set_write_buffer_size(64 * MIB);
            merge_by_tiers(&mut options);
            let forget_before = settings.forget_before.clone();
            options.set_compaction_filter("forget", move |_, _, value| {
                if forget_before.covers(value) { Decision::Remove } else { Decision::Keep }
            });
        }
        Tuning::Small => options.set_write_buffer_size(4 * MIB),
    }
    options.set_block_based_table_factory(&table);
    options
}

/// Tables of random keys overlap everywhere, so merging level by level would rewrite a row ten times or more. Runs of like
/// size are merged, at least eight at once: a row is rewritten twice until there are hundreds of millions. A look-up then asks
/// up to 24 filters, which `identity_filter` makes rare.
fn merge_by_tiers(options: &mut Options) {
    options.set_compaction_style(DBCompactionStyle::Universal);
    options.set_level_zero_file_num_compaction_trigger(24);
    // While the largest merge runs, hundreds of tables may arrive. They cost memory and the few look-ups that pass, and
    // slowing commits down would not make it end earlier.
    options.set_level_zero_slowdown_writes_trigger(400);
    options.set_level_zero_stop_writes_trigger(500);
    let mut universal = UniversalCompactOptions::default();
    universal.set_size_ratio(50);
    universal.set_stop_style(UniversalCompactionStopStyle::Similar);
    universal.set_min_merge_width(8);
    // No identity is written twice while it is remembered: there is no dead space that merging all would win back.
    universal.set_max_size_amplification_percent(1_000);
    options.set_universal_compaction_options(&universal);
}

#[cfg(test)]
#[path = "rocks_tests.rs"]
mod tests;
