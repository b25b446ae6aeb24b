//! The conformance tests, in one binary: `cargo test -p lyn-conformance [module]`.

#![expect(clippy::print_stdout, reason = "what was measured is part of a test's report")]

mod answers;
mod cache_types;
mod decoders;
mod equivalence;
mod faults;
mod interface;
mod kernels;
mod mutants;
mod split_cache;
mod stages;
mod stories;
mod trace;
