//! How do rows look as bytes? One file per kind, each with its layout version as the first byte.
//!
//! Keys keep order: numbers are big-endian and signed ones have their sign bit flipped. Values are little-endian.
//! Stored bytes are a promise: `tests.rs` holds golden rows; a layout that changes gets a new version byte and its
//! decoder keeps reading the old one.

mod bytes;
mod group;
mod keys;
mod posting;
mod progress;
mod records;
mod sequences;
mod series;
mod timer;
mod window;

pub use bytes::{Damaged, Reader, Writer};
pub use keys::*;
pub use records::{EntryKey, RECORDS_PER_ROW_MAX, Record, Records, Stored, pack_records};
pub use sequences::Sequences;
pub use timer::{settle_key, settle_row, task_key, timers_from};

/// A value that is stored.
pub trait Codec: Sized {
    /// Layout version that `encode` writes.
    const VERSION: u8;

    fn encode(&self, writer: &mut Writer);

    /// # Errors
    /// [`Damaged`] when the bytes are no such value: the row was damaged, or written by a newer release.
    fn decode(reader: &mut Reader<'_>) -> Result<Self, Damaged>;

    fn to_bytes(&self) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.u8(Self::VERSION);
        self.encode(&mut writer);
        writer.into_bytes()
    }

    /// # Errors
    /// As [`Codec::decode`]; also when the version is unknown or bytes are left over.
    fn from_bytes(bytes: &[u8]) -> Result<Self, Damaged> {
        let mut reader = Reader::new(bytes);
        if reader.u8()? != Self::VERSION {
            return Err(Damaged("the layout version is not one this release reads"));
        }
        let value = Self::decode(&mut reader)?;
        reader.finish()?;
        Ok(value)
    }
}

#[cfg(test)]
mod tests;
