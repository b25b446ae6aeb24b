//! Work on a thread that ends when nobody wants its result any more.
//!
//! In: a flag, set by whoever waits. Out: an error from the long loops of that thread. The flag belongs to the thread: what is
//! called in between need not know of it.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Code, Error, Result};

thread_local! {
    static UNWANTED: RefCell<Option<Arc<AtomicBool>>> = const { RefCell::new(None) };
}

/// Does `work` on this thread, whose long loops end once `unwanted` is set.
pub fn unless<T>(unwanted: Arc<AtomicBool>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<AtomicBool>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            UNWANTED.set(self.0.take());
        }
    }
    let _restore = Restore(UNWANTED.replace(Some(unwanted)));
    work()
}

/// Fails where the work of this thread is not wanted any more.
///
/// # Errors
/// `cancelled`.
pub fn check() -> Result<()> {
    let unwanted = UNWANTED.with_borrow(|flag| flag.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)));
    if unwanted { Err(Error::new(Code::Cancelled, "the request was cancelled")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_ends_when_it_is_not_wanted() {
        let flag = Arc::new(AtomicBool::new(false));
        let ended = unless(Arc::clone(&flag), || {
            check()?;
            flag.store(true, Ordering::Relaxed);
            check()
        });
        assert_eq!(ended.unwrap_err().code(), Code::Cancelled);
        assert!(check().is_ok());
    }
}
