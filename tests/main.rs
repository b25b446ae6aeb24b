//! The conformance tests, in one binary: `cargo test -p lyn-conformance [module]`.

mod equivalence;
mod faults;
mod interface;
mod kernels;
mod mutants;
mod stages;
mod stories;
