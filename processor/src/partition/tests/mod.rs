//! Are a partition's rows a function of its log alone, whatever happens to blocks, threads, processes and disks?
//!
//! The real partition with its preparer, identities and witness, over the store in memory. `catalogs` says what usage is
//! taken under, `logs` what is taken, `lab` takes it and reads what was kept; `properties`, `stories` and `bad_input` ask.
//! `crash_inside` asks about the moment between two commits of one block.

mod bad_input;
mod catalogs;
mod crash_inside;
mod lab;
mod logs;
mod properties;
mod stories;
