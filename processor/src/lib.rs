//! The thin edges around the core: what arrives, what is stored, what leaves, and who asks.
//!
//! Edges do not import each other; only the wiring files (`partition`, `http`, `cli`, `demo`) combine them.
//! `tests/architecture.rs` checks who may import whom.

pub mod catalog;
pub mod decode;
pub mod deliver;
pub mod demo;
pub mod field_value;
pub mod http;
pub mod ingest_plan;
pub mod meter;
pub mod source;
pub mod store;
