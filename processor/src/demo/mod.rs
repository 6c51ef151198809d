//! What does `tidemark demo` play, and how do we know that the answer is right? An hour of a metered LLM API,
//! made from a seed, with a ledger of everything that was injected, and the page that compares the two.
//!
//! Reading order: `dice`, the only randomness; `call`, one usage event and its spellings; `stray`, what no meter can
//! count; `schedule`, who calls when; `trace`, which plays them; `truth`, what a correct product must answer;
//! `catalog`, the files that price it; `page`, what the terminal shows.
//!
//! Keeps: the same seed and size give the same bytes on every machine (integers only, no clock, no hash order), and
//! the truth is computed without the rules that it checks.
//! Deliberately absent: running anything. The wiring replays the trace and fills in the page.

pub mod call;
pub mod catalog;
pub mod page;
pub mod stray;
pub mod trace;
pub mod truth;

mod dice;
mod schedule;

#[cfg(test)]
mod examples_tests;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod trace_tests;
