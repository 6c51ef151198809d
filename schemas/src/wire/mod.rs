//! How do records look outside? One file per wire version; the only place that derives `Serialize`.
//!
//! Upgrade rule: within a version, members may be added, never removed, renamed, retyped or given another
//! meaning, and a reader ignores members it does not know. Anything else is a new file `v2.rs`, and both
//! versions are written until every consumer has moved. A test compares the generated JSON Schemas with the
//! checked-in ones and refuses an incompatible change.

pub mod v1;
