//! The built binary on real folders: what a person types, and what comes out.

mod deliveries;
mod product;
mod public_data;
mod service;
mod stories;
