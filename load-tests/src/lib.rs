//! Does the product keep its promises under load and under kill -9? A black box that only uses public interfaces.
//!
//! Read in the order of the modules: how an event is made, when it is sent, what is remembered of the answer,
//! and how the product's own totals are held against that memory.
//! Everything random is a function of a seed, so a run can be repeated.
//!
//! Deliberately absent: any crate of the product. Two programs that share code share its mistakes.

pub mod units;

pub mod event;
pub mod rng;
pub mod traffic;

pub mod ledger;
pub mod schedule;

pub mod http;
pub mod product;
pub mod report;

pub mod compare;
pub mod crash;
pub mod server;

pub mod catalog;
pub mod generate;

pub mod stand_in;
