//! Where are the events that were counted? First in the store, as compressed blocks written by the commit that counted
//! them; then in Parquet files, which replace the blocks in a commit of their own.
//!
//! Reading order: `block` (a row of the store), `columns` (what is encoded), `pages` (how), `files`, `read`, `look`.
//!
//! A crash between file and commit leaves a file that the next run writes again under the same name with the same bytes. A complete
//! file that the state does not know is never deleted: it may hold the only copy of events that a restored state lacks.

mod block;
mod columns;
mod files;
#[cfg(test)]
mod lab;
mod look;
mod pages;
mod read;

#[cfg(test)]
pub use block::events_of;
pub use block::{ArchivedEvent, PackedBlock};
pub use files::{ArchiveError, ArchivedFile, Archiver};
pub use look::{FilesLookedAt, look_at_files};
pub use read::{Found, archived_events, events_between, find_event};
