//! A step as data: passes over slots, in order. It can be printed, counted, timed, and run by either executor.
//!
//! In: kernels, by name, from `model/`. Out: a [`Recording`] whose scratch tensors share memory by lifetime.
//! Never: a device, a number that changes from token to token.

mod columns;
mod pass;
mod recording;
mod scratch;
mod taps;

pub use columns::{ColumnRange, Columns};
pub use pass::{Pass, scratch_index};
pub use recording::{Recorder, Recording};
pub use taps::{Layers, SCORES, SELECTED, Tap, Taps, Trace, WEIGHTS};
