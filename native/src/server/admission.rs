//! Who may ask now: a bounded number of answers, in all and for each key. Full means no, at once; nothing that was let in is
//! put out again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::guard::KeyId;
use super::refusal::Refusal;

/// Answers in the making or waiting.
#[derive(Default)]
struct Counts {
    all: usize,
    by_key: HashMap<KeyId, usize>,
}

/// The door.
pub(crate) struct Admission {
    counts: Mutex<Counts>,
    /// Answers at most, running and waiting.
    most: usize,
    /// Answers of one key at most; none where there are not several keys.
    most_per_key: Option<usize>,
}

/// Room for some answers. Dropping it makes room for others.
pub(crate) struct Ticket {
    admission: Arc<Admission>,
    key: Option<KeyId>,
    answers: usize,
}

impl Admission {
    /// A door for so many answers.
    pub(crate) fn new(most: usize, most_per_key: Option<usize>) -> Arc<Admission> {
        Arc::new(Admission { counts: Mutex::default(), most, most_per_key })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Room for so many answers at once, or none at all. Errors: 400 where there never is so much room; 429 where the key
    /// has its share, 503 where there is no room for anybody.
    pub(crate) fn enter(self: &Arc<Admission>, key: Option<KeyId>, answers: usize) -> Result<Ticket, Refusal> {
        if answers > self.most {
            return Err(Refusal::bad(format!("{answers} answers requested; this server allows at most {}", self.most)));
        }
        let mut counts = self.lock();
        let own = key.and_then(|key| counts.by_key.get(&key)).copied().unwrap_or(0);
        if self.most_per_key.is_some_and(|most| key.is_some() && own + answers > most) {
            return Err(Refusal::too_many(format!("this key has {own} answers running or waiting; try again later")));
        }
        if counts.all + answers > self.most {
            let message = format!("the queue is full: {} answers are running or waiting; try again later", counts.all);
            return Err(Refusal::unavailable("overloaded", message));
        }
        counts.all += answers;
        if let Some(key) = key {
            *counts.by_key.entry(key).or_default() += answers;
        }
        Ok(Ticket { admission: Arc::clone(self), key, answers })
    }

    /// Whether there is no room for anybody.
    pub(crate) fn is_full(&self) -> bool {
        self.answers() >= self.most
    }

    /// Answers in the making or waiting.
    pub(crate) fn answers(&self) -> usize {
        self.lock().all
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut counts = self.admission.lock();
        counts.all -= self.answers;
        if let Some(key) = self.key {
            let left = counts.by_key.get(&key).copied().unwrap_or(0).saturating_sub(self.answers);
            if left == 0 {
                counts.by_key.remove(&key);
            } else {
                counts.by_key.insert(key, left);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn full_is_503_a_key_with_its_share_429_and_leaving_makes_room() {
        let admission = Admission::new(4, Some(3));
        let (one, two) = (Some(KeyId(1)), Some(KeyId(2)));
        let first = admission.enter(one, 2).unwrap();
        let status = |result: Result<Ticket, Refusal>| result.err().map(|refusal| refusal.status());
        assert_eq!(status(admission.enter(one, 2)), Some(StatusCode::TOO_MANY_REQUESTS));
        assert_eq!(status(admission.enter(two, 3)), Some(StatusCode::SERVICE_UNAVAILABLE));
        assert!(!admission.is_full());
        assert_eq!(status(admission.enter(two, 5)), Some(StatusCode::BAD_REQUEST));
        let second = admission.enter(two, 2).unwrap();
        assert!(admission.is_full());
        assert_eq!(status(admission.enter(two, 1)), Some(StatusCode::SERVICE_UNAVAILABLE));
        drop(first);
        assert_eq!(status(admission.enter(one, 2)), None);
        drop(second);
        assert_eq!(admission.answers(), 0);
        assert!(admission.lock().by_key.is_empty());
    }
}
