//! Ctrl-C and SIGTERM. While work is under way the first asks it to stop and a second Ctrl-C within two seconds leaves at
//! once; between works both leave at once.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lyn::error::{Code, Error, Result};

/// Two signals within this leave at once.
const TWICE: Duration = Duration::from_secs(2);
/// Exit codes of the shell for signals 2 and 15.
const BY_INTERRUPT: u8 = 130;
const BY_TERMINATE: u8 = 143;

/// Ends the process now, without the exit handlers of libraries: a driver whose work goes on may crash in its own.
pub(crate) fn leave(code: i32) -> ! {
    signal_hook::low_level::exit(code)
}

/// Whether work should stop.
pub(crate) struct Interrupt {
    interrupted: AtomicBool,
    terminated: Arc<AtomicBool>,
    /// No work is under way: a signal may end the program.
    idle: Arc<AtomicBool>,
    /// Works under way: some are part of others.
    works: AtomicUsize,
    last: Mutex<Option<Instant>>,
}

impl Interrupt {
    /// Takes over the signals of this process. Errors: `internal` where the system refuses.
    pub(crate) fn install() -> Result<Arc<Interrupt>> {
        let refused = |error: &dyn std::fmt::Display| Error::new(Code::Internal, format!("signals: {error}"));
        let interrupt = Arc::new(Interrupt {
            interrupted: AtomicBool::new(false),
            terminated: Arc::new(AtomicBool::new(false)),
            idle: Arc::new(AtomicBool::new(true)),
            works: AtomicUsize::new(0),
            last: Mutex::new(None),
        });
        let handler = Arc::clone(&interrupt);
        ctrlc::set_handler(move || handler.hit()).map_err(|error| refused(&error))?;
        let terminate = signal_hook::consts::SIGTERM;
        let code = i32::from(BY_TERMINATE);
        signal_hook::flag::register_conditional_shutdown(terminate, code, Arc::clone(&interrupt.idle))
            .and_then(|_| signal_hook::flag::register(terminate, Arc::clone(&interrupt.terminated)))
            .map_err(|error| refused(&error))?;
        Ok(interrupt)
    }

    fn hit(&self) {
        let Ok(mut last) = self.last.lock() else { leave(i32::from(BY_INTERRUPT)) };
        let twice = last.is_some_and(|last| last.elapsed() < TWICE);
        if twice || self.idle.load(Ordering::Relaxed) {
            leave(i32::from(BY_INTERRUPT));
        }
        *last = Some(Instant::now());
        self.interrupted.store(true, Ordering::Relaxed);
    }

    /// Begins work that asks [`Interrupt::asked`] now and then, until the guard is dropped.
    pub(crate) fn work(&self) -> Working<'_> {
        if self.works.fetch_add(1, Ordering::Relaxed) == 0 {
            self.interrupted.store(false, Ordering::Relaxed);
            self.idle.store(false, Ordering::Relaxed);
        }
        Working(self)
    }

    /// Whether the work should stop.
    pub(crate) fn asked(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed) || self.terminated()
    }

    /// Whether the program should end, by SIGTERM.
    pub(crate) fn terminated(&self) -> bool {
        self.terminated.load(Ordering::Relaxed)
    }

    /// The exit code of a stopped program.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(if self.terminated() { BY_TERMINATE } else { BY_INTERRUPT })
    }
}

/// Work under way.
pub(crate) struct Working<'a>(&'a Interrupt);

impl Drop for Working<'_> {
    fn drop(&mut self) {
        if self.0.works.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.0.idle.store(true, Ordering::Relaxed);
        }
    }
}
