//! How do journal entries get into the books? As a plain-text journal by default, or by an HTTP adapter of the ERP.
//!
//! Both are [`crate::deliver::Sink`]s. Keeps: an entry is acknowledged only after it was read back in effect, with its
//! period and totals; a polite answer alone is never an acknowledgement. Deliberately absent: reversals and
//! corrections of booked entries; those are new entries with ids of their own.

pub mod booking;
pub mod http;
pub mod journal_file;

pub use http::{ErpHttp, ErpHttpConfig};
pub use journal_file::JournalFiles;
