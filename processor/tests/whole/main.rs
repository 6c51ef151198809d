//! The built binary on real folders: what a person types, and what comes out.

mod answers;
mod archive;
mod deliveries;
mod dismissal;
mod evidence;
mod files;
mod loss;
mod mapping;
mod metrics;
mod product;
mod public_data;
mod service;
mod stories;
