//! The nouns of Tidemark: what the rest of the system talks about, as types with units.
//!
//! Reading order: exact numbers first, then who and when, then the catalog (what finance and product
//! teams write), then the records that the processor produces, and last `wire`, the only place that
//! knows how any of it looks as JSON.
//!
//! Keeps: no binary float, no clock, no I/O. A value that exists has been checked.
//! Deliberately absent: rules. How usage becomes money is in `tidemark-core`.

pub mod decimal;
pub mod ids;
pub mod limits;
pub mod money;
pub mod time;

pub mod catalog;
pub mod customer;
pub mod legal_entity;
pub mod meter;
pub mod posting_rule;
pub mod rate_card;
pub mod subscription;

pub mod event;
pub mod exception;
pub mod outbox;
pub mod posting;
pub mod receipt;
pub mod summary;

pub mod wire;

pub use decimal::Decimal;
pub use money::{Currency, Money};
pub use time::{EventTime, ReceiveTime};
