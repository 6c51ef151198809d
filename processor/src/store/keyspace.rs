//! What is stored? The registry of every kind of row: one variant, one key space, one RocksDB column family.
//!
//! Keeps: a kind is listed here or it does not exist; a name, once used, keeps its meaning for ever, because it is
//! on customers' disks. Numbers in keys are big-endian, so that byte order is number order. Texts in keys are
//! preceded by their length, so that no two keys of different parts are equal.
//!
//! Deliberately absent: the bytes themselves. Each kind has one codec file, which is the authority for its layout;
//! the lines below are its table of contents. Retired kinds: `summary` and `rated_posting`, of store format 1.

/// One kind of row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Keyspace {
    /// Facts about the store itself.
    ///
    /// Key: a name, such as `deployment_key`, `catalog_version` or `accepted_losses`. Value: as the name says. Lifetime: that of the store.
    /// Absent: not decided yet; the first start decides, and of losses none was ever accepted. (The format version is a file, readable before the rows.)
    Meta,

    /// How far each source has been read (I-7).
    ///
    /// Key: name of the source. Value: bytes of the source's own. Lifetime: until the source is retired.
    /// Absent: nothing of this source was ever committed, so read it from its beginning.
    Position,

    /// Where the partition stands: commits, counts, clock, last sequences.
    ///
    /// Key: `progress`. Value: the row of `codec/progress`. Lifetime: that of the store. Absent: no commit yet.
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
    /// Lifetime: until the watermark of a durable commit is past the forget day; the row then goes when tables are merged.
    /// Absent, here and in [`Self::IdentityLog`]: never seen, or forgotten by rule.
    Identity,

    /// Groups of a meter: a subscription's distinct tuples of dimension values; and how many there are.
    ///
    /// Key: `0` and group 16, or `1` and hash of subscription and meter 16. Value: names and values, or the count.
    /// Lifetime: that of the store. Absent: no event of this group was counted yet.
    Group,

    /// One window being aggregated, or closed and still correctable.
    ///
    /// Key: start 8, group 16, so that old windows lie together. Value: aggregates, evidence, revision.
    /// Lifetime: that of the store. Past the horizon of its billing period it is only read, for usage and evidence.
    /// Absent: no event yet.
    Window,

    /// What a charge has cost so far in one billing period.
    ///
    /// Key: hash of subscription, meter, period and tier dimensions 16. Value: usage by rate card version, billed amount.
    /// Lifetime: that of the store; past the horizon of its billing period nothing reads it.
    /// Absent: nothing was billed for it yet.
    Series,

    /// What falls due at which watermark: settling windows, ending a billing period, cutting an entry.
    ///
    /// Key: due 8, task 1, then the commit that set it `u64` for windows, or what it is about. Value: the windows, or empty.
    /// Lifetime: until it has gone off. Absent: it went off, or was never set.
    Timer,

    /// Journal entries in the making.
    ///
    /// Key: hash of legal entity, currency, accounting period and posting rule 16. Value: the entry's lines so far.
    /// Lifetime: that of the store; empty between entries. Absent: nothing was ever booked there.
    OpenPosting,

    /// Rated lines, in the order for billing, in rows of many. Never changed once written (I-3).
    ///
    /// Key: sequence of the row's last line `u64`; sequences are from 1 without gaps. Value: `codec/records`: id, journal
    /// entry and wire v1 JSON of each line. Lifetime: that of the store. Absent: the sequence was not reached yet.
    Rated,

    /// Finds a rated line by its id, and so the line of each revision of a window: the id follows from them.
    ///
    /// Key: record id. Value: the line's sequence `u64`. Lifetime: that of the line. Absent: no such line.
    RatedIndex,

    /// Journal entries that were cut, in the order for the ERP, in rows of many.
    ///
    /// Key and value as of [`Self::Rated`]. Lifetime: that of the store. Absent: the sequence was not reached yet.
    Journal,

    /// Which rated lines are in which journal entry, cut or in the making.
    ///
    /// Key: posting 16, entry number `u64`, sequence of the row's last line `u64`. Value: sequences of the lines that one commit
    /// added. Lifetime: that of the entry. Absent: no commit added a line to that entry.
    JournalMember,

    /// What has to leave (I-4).
    ///
    /// Key: destination 1, last sequence that waited when the row was made `u64`. Value: sequences that wait; the payloads are
    /// the records themselves. Lifetime: until receipts for all of them are committed.
    /// Absent: acknowledged, or the sequence was not reached yet.
    Outbox,

    /// What a destination answered, in rows of many.
    ///
    /// Key: destination 1, sequence of the row's last record `u64`; value: `codec/records`: id and wire v1 JSON of the answer for
    /// each record. Or, for an answer before the record was sent again: destination with its highest bit set 1, record id,
    /// attempt `u32` from 1; value: wire v1 JSON. Lifetime: that of the store.
    /// Absent: not answered yet, or sent again and not answered since.
    Receipt,

    /// What needs someone's attention, open or resolved.
    ///
    /// Key: exception id. Value: wire v1 JSON. Lifetime: that of the store.
    /// Absent: no such exception was ever raised.
    Exception,

    /// Kept events that are not in an archive file yet.
    ///
    /// Key: commit `u64`, block `u32`. Value: which events were kept, and their texts or columns,
    /// compressed.
    /// Lifetime: until a file that holds them is durable. Absent: written to a file, or nothing was kept.
    ArchiveBlock,

    /// Archive files that are complete.
    ///
    /// Key: file name. Value: counts and times as JSON. Lifetime: that of the file.
    /// Absent: no such file, or not complete: it may be overwritten.
    ArchiveFile,

    /// Texts of the catalogs under which the state was made.
    ///
    /// Key: version. Value: file names and texts as JSON. Lifetime: that of the store.
    /// Absent: that version was never in force here.
    Catalog,

    /// Subscriptions with fees for periods without usage.
    ///
    /// Key: hash of the subscription's id 16. Value: start of the period that is watched 8.
    /// Lifetime: that of the store. Absent: it has no such fees.
    Watched,

    /// Finds a journal entry by its id, or by its group and number.
    ///
    /// Key: record id, or posting 16 and number `u64`. Value: the entry's sequence `u64`.
    /// Lifetime: that of the entry. Absent: it was not cut.
    JournalIndex,

    /// Fingerprints of what is in [`Self::Identity`], from which the filter in memory is built (decision 7).
    ///
    /// Key: last commit of a spill `u64`, and for fingerprints segment 1. Value: at the bare number the spill's count `u64` and
    /// newest forget day `u16`, little-endian; at a segment its fingerprints `u32` little-endian.
    /// Lifetime: until the watermark of a durable commit is past the newest forget day.
    /// Absent: no table was written then, or nothing of it is remembered. All absent: made again from the tables.
    IdentityFilter,
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
    /// Some megabytes at most, or filled with tables: small buffers.
    Small,
}

impl Keyspace {
    pub const ALL: [Self; 23] = [
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
        Self::Watched,
        Self::JournalIndex,
        Self::IdentityFilter,
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
            Self::Watched => "watched",
            Self::JournalIndex => "journal_index",
            Self::IdentityFilter => "identity_filter",
        }
    }

    #[must_use]
    pub fn tuning(self) -> Tuning {
        match self {
            Self::Group
            | Self::Window
            | Self::Series
            | Self::Rated
            | Self::RatedIndex
            | Self::Journal
            | Self::JournalMember
            | Self::Receipt
            | Self::Exception
            | Self::JournalIndex => Tuning::Point,
            Self::IdentityLog | Self::Timer | Self::Outbox | Self::ArchiveBlock => Tuning::Log,
            Self::Identity => Tuning::SortedRuns,
            Self::Meta
            | Self::Position
            | Self::Partition
            | Self::OpenPosting
            | Self::ArchiveFile
            | Self::Catalog
            | Self::Watched
            | Self::IdentityFilter => Tuning::Small,
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
            "meta position partition identity_log identity group window series timer open_posting rated rated_index \
             journal journal_member outbox receipt exception archive_block archive_file catalog watched \
             journal_index identity_filter"
        );
    }
}
