//! What waits for submissions while a read is pending: natively a thread, in a browser the event loop.

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;
    use std::sync::mpsc::{Sender, channel};
    use std::thread::JoinHandle;
    use std::time::Duration;

    use super::super::health::Health;
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
                        Err(_) => health.lose(Code::DeviceLost, "the driver failed during a wait".to_owned()),
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

    use super::super::health::Health;

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
