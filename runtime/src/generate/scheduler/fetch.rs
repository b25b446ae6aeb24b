//! Words on their way from the device.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use crate::error::Result;
use crate::executor::Read;
use crate::generate::pages::Key;

/// A new block whose rows are being read.
pub(super) struct Export {
    pub(super) key: Key,
    pub(super) ids: Vec<u32>,
    pub(super) scope: Vec<u8>,
    pub(super) parts: Vec<Fetch>,
}

/// Words that are on their way, then at hand.
pub(super) enum Fetch {
    Away(Read),
    Here(Vec<u32>),
}

impl Fetch {
    pub(super) async fn arrive(&mut self) -> Result<()> {
        if let Fetch::Away(read) = self {
            *self = Fetch::Here(read.await?);
        }
        Ok(())
    }

    /// Whether the words are at hand, without waiting.
    pub(super) fn has_arrived(&mut self) -> Result<bool> {
        if let Fetch::Away(read) = self {
            let mut context = Context::from_waker(Waker::noop());
            match Pin::new(read).poll(&mut context) {
                Poll::Pending => return Ok(false),
                Poll::Ready(words) => *self = Fetch::Here(words?),
            }
        }
        Ok(true)
    }

    pub(super) fn words(&self) -> &[u32] {
        match self {
            Fetch::Away(_) => &[],
            Fetch::Here(words) => words,
        }
    }
}

impl Export {
    /// Whether all parts are at hand, or will never be.
    pub(super) fn is_over(&mut self) -> bool {
        self.parts.iter_mut().all(|part| part.has_arrived().unwrap_or(true))
    }
}
