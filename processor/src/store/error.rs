//! What can go wrong below a partition, and what should a person do about it?
//!
//! Keeps: no variant says "try again". A partition whose store failed stops, because guessing what the disk holds is
//! how usage is lost or counted twice. Deliberately absent: the names of the engine's own error kinds.

use std::path::PathBuf;

use super::keyspace::Keyspace;

/// Why the store could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the store at {} could not {action}: {reason}; check the disk's space, permissions and health, then start again: \
         unfinished work replays from the source", path.display()
    )]
    Io { path: PathBuf, action: &'static str, reason: String },

    #[error(
        "the store at {} is damaged, found on {action}: {reason}; do not delete anything: keep a copy of the folder, \
         check the disk, then put back the last good copy of the data folder and send again what came after it", path.display()
    )]
    Corrupt { path: PathBuf, action: &'static str, reason: String },

    #[error(
        "the store stopped taking commits after an earlier failure ({first}); what is on disk is known only after \
         opening it again: fix the cause and start again"
    )]
    Poisoned {
        /// The failure that came first, as it was reported then.
        first: String,
    },

    #[error(
        "another process has the store at {} open ({reason}); stop that process, or give this one its own data folder: \
         two writers would count usage twice", path.display()
    )]
    Locked { path: PathBuf, reason: String },

    #[error(
        "the store at {} has format {found}, and this program reads {expected}; start the program version that wrote it, \
         or one that can convert it; nothing was changed", path.display()
    )]
    FormatVersion { path: PathBuf, found: String, expected: String },

    #[error(
        "the row {key} of {space} does not decode: {reason}; keep a copy of the data folder, then put back the \
         last good one and send again what came after it"
    )]
    Undecodable {
        space: Keyspace,
        /// For a person: a number, or hexadecimal digits.
        key: String,
        reason: String,
    },

    /// A fault of our own code, not of the disk.
    #[error(
        "rows for a table of {space} are not strictly ascending at row {row} (from 0); nothing was added: \
         this is a defect in Tidemark, report it"
    )]
    Unsorted { space: Keyspace, row: usize },
}
