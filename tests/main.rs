//! The conformance tests, in one binary: `cargo test -p lyn-conformance [module]`.

mod interface;
mod kernels;
mod mutants;
mod stages;
