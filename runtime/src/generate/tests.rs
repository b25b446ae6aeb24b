//! Decisions of the rooms of this module, each alone; and steps and answers of the embedded model.

#[cfg(feature = "embedded-stories")]
mod answers;
mod constraint;
mod one_answer;
mod pages;
mod sampling;
#[cfg(feature = "embedded-stories")]
mod steps;
mod tracing;
