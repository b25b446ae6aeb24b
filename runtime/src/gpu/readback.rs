//! Words from the GPU, awaited. Natively a thread polls the device while a read is pending; in a browser the event loop does.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use super::device::Health;
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
            return Poll::Ready(Err(Error::new(Code::Internal, "a read was awaited twice")));
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
                return Poll::Ready(Err(Error::new(
                    Code::DeviceLost,
                    format!("the GPU's answer cannot be read: {error}"),
                )));
            }
        };
        buffer.unmap();
        if let Ok(mut pool) = self.pool.lock() {
            pool.push(buffer);
        }
        Poll::Ready(Ok(words))
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::thread::JoinHandle;
    use std::time::Duration;

    use super::super::device::Health;
    use crate::error::Code;

    /// Nothing for so long means that the GPU hangs.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// The thread that waits for submissions whose result somebody awaits.
    pub(in crate::gpu) struct Poller {
        /// None once the thread is to end.
        sender: Option<Sender<wgpu::SubmissionIndex>>,
        thread: Option<JoinHandle<()>>,
    }

    impl Poller {
        pub(in crate::gpu) fn start(device: &wgpu::Device, health: &Arc<Health>) -> Poller {
            let (sender, receiver) = channel::<wgpu::SubmissionIndex>();
            let (device, health) = (device.clone(), Arc::clone(health));
            let thread = std::thread::spawn(move || {
                while let Ok(index) = receiver.recv() {
                    let wait = wgpu::PollType::Wait { submission_index: Some(index), timeout: Some(PATIENCE) };
                    // wgpu panics on what is neither success nor time-out; that must not take a process down.
                    match catch_unwind(AssertUnwindSafe(|| device.poll(wait))) {
                        Ok(Ok(_)) => {}
                        Ok(Err(error)) => {
                            health
                                .lose(Code::GpuTimeout, format!("no answer within {} s: {error}", PATIENCE.as_secs()));
                            device.destroy();
                        }
                        Err(_) => health.lose(Code::DeviceLost, "the driver failed while it was waited for".to_owned()),
                    }
                }
            });
            Poller { sender: Some(sender), thread: Some(thread) }
        }

        pub(in crate::gpu) fn expect(&self, index: wgpu::SubmissionIndex) {
            // The thread outlives every sender, so that this cannot fail.
            let _ = self.sender.as_ref().map(|sender| sender.send(index));
        }
    }

    impl Drop for Poller {
        /// Waits for the thread: a driver whose work goes on while the process ends may crash it.
        fn drop(&mut self) {
            self.sender = None;
            if let Some(thread) = self.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

#[cfg(target_arch = "wasm32")]
mod native {
    use std::sync::Arc;

    use super::super::device::Health;

    /// Nothing to do: the browser's event loop runs the callbacks.
    pub(in crate::gpu) struct Poller;

    impl Poller {
        pub(in crate::gpu) fn start(_: &wgpu::Device, _: &Arc<Health>) -> Poller {
            Poller
        }

        pub(in crate::gpu) fn expect(&self, _: wgpu::SubmissionIndex) {}
    }
}

pub(super) use native::Poller;
