//! The conformance tests, in one binary: `cargo test -p lyn-conformance [module]`.

<<<<<<< HEAD
#![expect(clippy::print_stdout, reason = "what was measured is part of a test's report")]
=======
#![expect(clippy::print_stdout, reason = "tests tell what they measured")]
>>>>>>> tests

mod equivalence;
mod faults;
mod interface;
mod kernels;
mod mutants;
mod stages;
mod stories;
