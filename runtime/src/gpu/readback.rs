//! Words from the GPU, awaited.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::health::Health;
use crate::error::{Code, Error, Result};

/// Staging buffers that are free again, by size; a decode loop finds its own there and makes none.
pub(super) type Pool = Arc<Mutex<Vec<wgpu::Buffer>>>;

/// A read in flight. Dropping it forgets the words; the staging buffer is then freed, not reused.
pub struct Read {
    buffer: Option<wgpu::Buffer>,
    bytes: u64,
    state: Arc<Mutex<State>>,
    health: Arc<Health>,
    pool: Pool,
}

#[derive(Default)]
struct State {
    done: Option<bool>,
    waker: Option<Waker>,
}

impl Read {
    /// Starts mapping `buffer`, which the submission `after` fills.
    pub(super) fn start(
        buffer: wgpu::Buffer,
        bytes: u64,
        after: wgpu::SubmissionIndex,
        device: &super::Device,
        pool: &Pool,
    ) -> Read {
        let state = Arc::new(Mutex::new(State::default()));
        let signal = Arc::clone(&state);
        buffer.map_async(wgpu::MapMode::Read, ..bytes, move |result| {
            if let Ok(mut state) = signal.lock() {
                state.done = Some(result.is_ok());
                if let Some(waker) = state.waker.take() {
                    waker.wake();
                }
            }
        });
        device.poller.expect(after);
        Read { buffer: Some(buffer), bytes, state, health: Arc::clone(&device.health), pool: Arc::clone(pool) }
    }
}

impl Future for Read {
    type Output = Result<Vec<u32>>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let done = match self.state.lock() {
            Ok(mut state) => {
                state.waker = Some(context.waker().clone());
                state.done
            }
            Err(_) => Some(false),
        };
        let Some(mapped) = done else {
            return Poll::Pending;
        };
        let bytes = self.bytes;
        let Some(buffer) = self.buffer.take() else {
            return Poll::Ready(Err(Error::new(Code::Internal, "a read-back was awaited twice")));
        };
        if let Err(error) = self.health.check() {
            return Poll::Ready(Err(error));
        }
        if !mapped {
            return Poll::Ready(Err(Error::new(Code::DeviceLost, "the GPU did not give back a buffer")));
        }
        let words = match buffer.get_mapped_range(..bytes) {
            Ok(view) => bytemuck::pod_collect_to_vec::<u8, u32>(&view),
            Err(error) => {
                let message = format!("the GPU's answer cannot be read: {error}");
                return Poll::Ready(Err(Error::new(Code::DeviceLost, message)));
            }
        };
        buffer.unmap();
        if let Ok(mut pool) = self.pool.lock() {
            pool.push(buffer);
        }
        Poll::Ready(Ok(words))
    }
}
