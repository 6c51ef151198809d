//! The thin edges around the core: what arrives, what is stored, what leaves, and who asks.
//!
//! Edges do not import each other; only the wiring files (`partition`, `http`, `cli`, `demo`) combine them.
//! `tests/architecture.rs` checks who may import whom.

pub mod archive;
pub mod billing;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decode;
pub mod deliver;
pub mod demo;
pub mod erp;
pub mod field_value;
pub mod http;
pub mod ingest_plan;
pub mod meter;
pub mod observe;
pub mod partition;
pub mod service;
pub mod source;
pub mod store;
