//! What is known of a device's health: the first fault stays.

use std::sync::{Mutex, OnceLock};
use std::task::{Poll, Waker};

use crate::error::{Code, Error, Result};

/// First fault of a device. A lost device stays lost; an uncaptured error means that results cannot be trusted.
#[derive(Debug, Default)]
pub(super) struct Health {
    lost: OnceLock<(Code, String)>,
    pub(super) error: Mutex<Option<String>>,
    /// Of those who await the loss.
    wakers: Mutex<Vec<Waker>>,
}

impl Health {
    pub(super) fn check(&self) -> Result<()> {
        if let Some(lost) = self.loss() {
            return Err(lost);
        }
        match self.error.lock().map(|error| error.clone()) {
            Ok(None) => Ok(()),
            Ok(Some(error)) => Err(Error::new(Code::Internal, format!("the GPU refused a command: {error}"))),
            Err(_) => Err(Error::new(Code::Internal, "the GPU's error handler panicked")),
        }
    }

    /// `code`: `device_lost`, or `gpu_timeout` where the device may only hang.
    pub(super) fn lose(&self, code: Code, reason: String) {
        let _ = self.lost.set((code, reason));
        // Whoever registers after this sees the loss: they look once more when they have the lock.
        let wakers = self.wakers.lock().map(|mut wakers| std::mem::take(&mut *wakers));
        wakers.unwrap_or_default().into_iter().for_each(Waker::wake);
    }

    fn loss(&self) -> Option<Error> {
        let (code, reason) = self.lost.get()?;
        Some(Error::new(*code, format!("the GPU was lost: {}", crate::error::escape(reason))))
    }

    /// The loss, or none yet and a promise to wake.
    pub(super) fn poll_lost(&self, waker: &Waker) -> Poll<Error> {
        if let Ok(mut wakers) = self.wakers.lock()
            && self.lost.get().is_none()
        {
            if !wakers.iter().any(|known| known.will_wake(waker)) {
                wakers.push(waker.clone());
            }
            return Poll::Pending;
        }
        self.loss().map_or(Poll::Pending, Poll::Ready)
    }
}
