//! A step as data: passes over slots, in order. It can be printed, counted, timed, and run by either executor.
//!
//! In: kernels, by name, from `model/`. Out: a `Recording` whose scratch tensors share memory by lifetime.
//! Never: a device, a number that changes from token to token.

mod columns;
mod pass;
mod recording;
mod scratch;
mod taps;

pub(crate) use columns::{ColumnRange, Columns};
pub use pass::Pass;
pub(crate) use pass::scratch_index;
pub(crate) use recording::{Recorder, Recording};
pub use taps::{Layers, Taps, Trace, WEIGHTS};
pub(crate) use taps::{SCORES, SELECTED, Tap};
