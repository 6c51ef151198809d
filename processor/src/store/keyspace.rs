//! What is stored? The registry of every kind of row: one variant, one key space, one RocksDB column family.
//!
//! Keeps: a kind is listed here or it does not exist; a name, once used, keeps its meaning for ever, because it is
//! on customers' disks. Numbers in keys are big-endian, so that byte order is number order. Texts in keys are
//! preceded by their length, so that no two keys of different parts are equal.
//!
//! Deliberately absent: the bytes themselves. Each kind has one codec file, which is the authority for its layout;
//! the lines below are its table of contents. Retired kinds: none so far.

/// One kind of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keyspace {
    /// Facts about the store itself.
    ///
    /// Key: a name, such as `deployment_key`. Value: as the name says. Lifetime: that of the store.
    /// Absent: not decided yet; the first start decides. (The format version is a file, readable before the rows.)
    Meta,

    /// How far each source has been read (I-7).
    ///
    /// Key: origin of the source. Value: position within it. Lifetime: until the source is retired.
    /// Absent: nothing of this source was ever committed, so read it from its beginning.
    Position,

    /// The partition's own counters: commit number, events counted, watermark, next sequence numbers.
    ///
    /// Key: a name. Value: the counters. Lifetime: that of the store. Absent: no commit yet.
    Partition,

    /// Identities that the last commits saw first, not yet in a sorted table.
    ///
    /// Key: commit number, `u64`. Value: rows of 26 bytes: identity `u128` big-endian, digest `u64` little-endian,
    /// forget day `u16` little-endian. Lifetime: until a table in [`Self::Identity`] covers the commit.
    /// Absent: that commit brought no new identity, or a table covers it.
    IdentityLog,

    /// Older identities, in tables that were sorted in memory and never passed through the log of writes.
    ///
    /// Key: identity `u128`. Value: digest `u64` little-endian, forget day `u16` little-endian.
    /// Lifetime: until the forget day is past; the row then goes at the next compaction.
    /// Absent, here and in [`Self::IdentityLog`]: never seen, or forgotten by rule.
    Identity,

    /// One group of a meter: a subscription's distinct tuple of dimension values.
    ///
    /// Key: subscription, meter, dimension values. Value: its number and when it was opened.
    /// Lifetime: as long as a window of it is kept. Absent: no event of this group was counted yet.
    Group,

    /// One window being aggregated, or closed and still correctable.
    ///
    /// Key: group, window start. Value: aggregate, evidence, revision. Lifetime: until the horizon of its billing
    /// period is past. Absent: no event yet, or beyond the horizon (the watermark tells which).
    Window,

    /// Values that an aggregation must keep one by one: members of a unique count, samples of a percentile, levels.
    ///
    /// Key: group, window start, member. Value: the sample or its count. Lifetime: that of its window.
    /// Absent: this member was not counted in this window.
    Series,

    /// What falls due at which watermark: closing a window, forgetting it, the end of a billing period.
    ///
    /// Key: due time, kind, subject of the timer. Value: empty or small. Lifetime: until it has fired.
    /// Absent: fired or never set.
    Timer,

    /// Rated lines gathered for a journal entry that has not been cut.
    ///
    /// Key: legal entity, currency, accounting period, posting rule. Value: the lines' totals so far.
    /// Lifetime: until the entry is cut. Absent: nothing waits to be booked there.
    OpenPosting,

    /// Published summaries, each revision (I-3: never changed once written).
    ///
    /// Key: group, window start, revision. Value: the summary. Lifetime: the retention of finance records.
    /// Absent: that revision was not published.
    Summary,

    /// Rated summaries, one for each summary's revision.
    ///
    /// Key: record id. Value: the rated summary with its lines. Lifetime: the retention of finance records.
    /// Absent: not rated; an exception says why.
    Rated,

    /// Finds rated summaries by customer and period, or by the window that they rate.
    ///
    /// Key: customer, billing period, record id. Value: empty. Lifetime: that of the rated summary.
    /// Absent: the customer has no such record.
    RatedIndex,

    /// Journal entries that were cut.
    ///
    /// Key: posting id. Value: the balanced entry. Lifetime: the retention of finance records.
    /// Absent: no such entry was ever cut.
    Journal,

    /// Which rated summaries stand behind which journal entry.
    ///
    /// Key: posting id, line, record id. Value: the amount it contributed. Lifetime: that of the entry.
    /// Absent: the record is not in that entry.
    JournalMember,

    /// What has to leave (I-4).
    ///
    /// Key: destination, sequence `u64`. Value: record id and payload. Lifetime: until a receipt is committed.
    /// Absent: acknowledged, or the sequence was not reached yet (the counters in [`Self::Partition`] tell which).
    Outbox,

    /// What a destination answered.
    ///
    /// Key: destination, record id. Value: the receipt. Lifetime: the retention of finance records.
    /// Absent: not answered yet.
    Receipt,

    /// What needs someone's attention, open or resolved.
    ///
    /// Key: exception id. Value: the record with its business context. Lifetime: the retention of finance records.
    /// Absent: no such exception was ever raised.
    Exception,

    /// Accepted events that are not yet in an archive file.
    ///
    /// Key: sequence `u64`. Value: a block of events. Lifetime: until a file that holds it is durable.
    /// Absent: written to a file.
    ArchiveBlock,

    /// Archive files that are complete.
    ///
    /// Key: first sequence `u64`. Value: path, range, counts, checksum. Lifetime: that of the file.
    /// Absent: no such file, or not complete: it may be overwritten.
    ArchiveFile,

    /// Versions of the catalog under which the state was made.
    ///
    /// Key: version `u64`. Value: the catalog's canonical bytes. Lifetime: the retention of finance records.
    /// Absent: that version was never in force here.
    Catalog,

    /// The hash-chained log of decisions that money depends on.
    ///
    /// Key: sequence `u64`. Value: the entry and the hash of the one before. Lifetime: for ever.
    /// Absent inside the range: somebody removed it; `audit verify` fails.
    Audit,
}

/// How a key space is read and written, which is all that the tuning of its tables depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tuning {
    /// Read by exact key, often absent: tables carry filters.
    Point,
    /// Appended at the end, scanned, deleted from the front: large memtables, so that most rows are deleted before
    /// they reach a table; no filters.
    Log,
    /// Filled with whole sorted tables, read by random key, mostly absent: cheapest filters, merged tier by tier.
    SortedRuns,
    /// Some megabytes at most: small buffers.
    Small,
}

impl Keyspace {
    pub const ALL: [Self; 22] = [
        Self::Meta,
        Self::Position,
        Self::Partition,
        Self::IdentityLog,
        Self::Identity,
        Self::Group,
        Self::Window,
        Self::Series,
        Self::Timer,
        Self::OpenPosting,
        Self::Summary,
        Self::Rated,
        Self::RatedIndex,
        Self::Journal,
        Self::JournalMember,
        Self::Outbox,
        Self::Receipt,
        Self::Exception,
        Self::ArchiveBlock,
        Self::ArchiveFile,
        Self::Catalog,
        Self::Audit,
    ];

    /// The column family's name: on disk, so it never changes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Position => "position",
            Self::Partition => "partition",
            Self::IdentityLog => "identity_log",
            Self::Identity => "identity",
            Self::Group => "group",
            Self::Window => "window",
            Self::Series => "series",
            Self::Timer => "timer",
            Self::OpenPosting => "open_posting",
            Self::Summary => "summary",
            Self::Rated => "rated",
            Self::RatedIndex => "rated_index",
            Self::Journal => "journal",
            Self::JournalMember => "journal_member",
            Self::Outbox => "outbox",
            Self::Receipt => "receipt",
            Self::Exception => "exception",
            Self::ArchiveBlock => "archive_block",
            Self::ArchiveFile => "archive_file",
            Self::Catalog => "catalog",
            Self::Audit => "audit",
        }
    }

    #[must_use]
    pub fn tuning(self) -> Tuning {
        match self {
            Self::Group
            | Self::Window
            | Self::Series
            | Self::Summary
            | Self::Rated
            | Self::RatedIndex
            | Self::Journal
            | Self::JournalMember
            | Self::Receipt
            | Self::Exception => Tuning::Point,
            Self::IdentityLog | Self::Timer | Self::Outbox | Self::ArchiveBlock | Self::Audit => Tuning::Log,
            Self::Identity => Tuning::SortedRuns,
            Self::Meta
            | Self::Position
            | Self::Partition
            | Self::OpenPosting
            | Self::ArchiveFile
            | Self::Catalog => Tuning::Small,
        }
    }

    /// Its place in [`Self::ALL`], for tables with one entry for each key space.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }
}

impl std::fmt::Display for Keyspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_listed_once_and_at_its_index() {
        for (index, space) in Keyspace::ALL.into_iter().enumerate() {
            assert_eq!(space.index(), index, "{space}");
        }
        let names: std::collections::BTreeSet<_> = Keyspace::ALL.map(Keyspace::name).into();
        assert_eq!(names.len(), Keyspace::ALL.len());
    }

    /// The names are on disk: a change here loses customers' rows. Add at the end; never edit.
    #[test]
    fn names_on_disk_stay() {
        assert_eq!(
            Keyspace::ALL.map(Keyspace::name).join(" "),
            "meta position partition identity_log identity group window series timer open_posting summary rated \
             rated_index journal journal_member outbox receipt exception archive_block archive_file catalog audit"
        );
    }
}
