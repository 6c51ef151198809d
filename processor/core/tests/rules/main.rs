//! The rules, told as stories: events and watermarks in, summaries, lines, entries and exceptions out.
//!
//! No store: a partition whose rows are all in memory. Each `check` runs its story once as one block and once with every
//! event in a block of its own, and both must say the same (I-10).

mod lab;
mod money;
mod order;
mod usage;
