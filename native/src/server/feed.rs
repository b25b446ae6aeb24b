//! Events of one answer on their way from the engine's thread to a connection.
//!
//! In: events, from a thread that never waits. Out: the same events, awaited; where a reader is slow, texts that follow each
//! other come as one. Never: more than [`MAX_BYTES`] for a reader that does not read, or an answer that ends twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lyn::generate::Event;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::cut::Cut;

/// Events before texts are joined.
const JOIN_FROM: usize = 256;
/// What waits for a reader at most.
const MAX_BYTES: usize = 256 << 10;
/// A reader with [`JOIN_FROM`] events before it that takes none for this long is gone.
const PATIENCE: Duration = Duration::from_secs(30);

struct Queue {
    events: VecDeque<(u32, Event)>,
    bytes: usize,
    /// Choices that go on.
    going_on: usize,
    /// What ended all of them before their time.
    cut: Option<Cut>,
    reader_gone: bool,
    last_taken: Instant,
}

struct Shared {
    queue: Mutex<Queue>,
    news: Notify,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing that holds the lock can leave the queue half changed.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, end: Result<(), Cut>) {
        let mut queue = self.lock();
        queue.going_on -= 1;
        if let Err(cut) = end {
            queue.cut.get_or_insert(cut);
        }
        drop(queue);
        self.news.notify_one();
    }
}

/// The engine's end of one choice. Dropping it without [`Writer::end`] ends the answer as if the server stopped.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    choice: u32,
    ended: bool,
}

/// The connection's end. Dropping it asks the engine to stop.
pub(crate) struct Reader(Arc<Shared>);

/// Both ends of a new feed, for an answer with so many choices.
pub(crate) fn feed(choices: u32) -> (Vec<Writer>, Reader) {
    let queue = Queue {
        events: VecDeque::new(),
        bytes: 0,
        going_on: choices as usize,
        cut: None,
        reader_gone: false,
        last_taken: Instant::now(),
    };
    let shared = Arc::new(Shared { queue: Mutex::new(queue), news: Notify::new() });
    let writer = |choice| Writer { shared: Arc::clone(&shared), choice, ended: false };
    ((0..choices).map(writer).collect(), Reader(shared))
}

impl Writer {
    /// Adds an event. False where nobody will read it: the reader is gone, or far too slow.
    pub(crate) fn send(&self, event: Event) -> bool {
        let mut queue = self.shared.lock();
        let size = weight(&event);
        let full = queue.events.len() >= JOIN_FROM;
        let stalled = full && queue.last_taken.elapsed() > PATIENCE;
        if queue.reader_gone || queue.bytes + size > MAX_BYTES || stalled {
            return false;
        }
        queue.bytes += size;
        match (queue.events.back_mut(), event) {
            (Some((choice, Event::Text { voice, text })), Event::Text { voice: next, text: more })
                if full && *voice == next && *choice == self.choice =>
            {
                text.push_str(&more);
            }
            (_, event) => queue.events.push_back((self.choice, event)),
        }
        drop(queue);
        self.shared.news.notify_one();
        true
    }

    /// Whether the reader is gone.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.shared.lock().reader_gone
    }

    /// Says how this choice ended. A cut ends the others as well.
    pub(crate) fn end(mut self, end: Result<(), Cut>) {
        self.ended = true;
        self.shared.end(end);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.end(Err(Cut::Stopping));
        }
    }
}

impl Reader {
    /// The next event with its choice; none after the last. Safe to drop and call again. Errors: what ended the answer
    /// before its time; the events before it come first.
    pub(crate) async fn next(&mut self) -> Result<Option<(u32, Event)>, Cut> {
        loop {
            let news = self.0.news.notified();
            {
                let mut queue = self.0.lock();
                queue.last_taken = Instant::now();
                if let Some((choice, event)) = queue.events.pop_front() {
                    queue.bytes -= weight(&event);
                    return Ok(Some((choice, event)));
                }
                match &queue.cut {
                    Some(cut) => return Err(cut.clone()),
                    None if queue.going_on == 0 => return Ok(None),
                    None => {}
                }
            }
            news.await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut queue = self.0.lock();
        queue.reader_gone = true;
        queue.events = VecDeque::new();
        queue.bytes = 0;
    }
}

/// Bytes that an event holds, roughly; joined texts weigh what their parts did.
fn weight(event: &Event) -> usize {
    match event {
        Event::Text { text, .. } => text.len(),
        Event::Token { logprobs: Some(logprobs), .. } => logprobs.top.len() * 8,
        Event::PromptLogprobs { logprobs, .. } => logprobs.iter().map(|at| 32 + at.top.len() * 8).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use lyn::generate::{Logprobs, Voice};
    use lyn::platform::block_on;

    use super::*;

    fn text(text: &str) -> Event {
        Event::Text { voice: Voice::Content, text: text.to_owned() }
    }

    /// All texts, and what cut them.
    fn all(mut reader: Reader) -> (Vec<String>, Option<Cut>) {
        let mut texts = vec![];
        loop {
            match block_on(reader.next()) {
                Ok(Some((_, Event::Text { text, .. }))) => texts.push(text),
                Ok(Some(_)) => {}
                end => return (texts, end.err()),
            }
        }
    }

    fn one() -> (Writer, Reader) {
        let (mut writers, reader) = feed(1);
        (writers.remove(0), reader)
    }

    #[test]
    fn texts_are_joined_only_for_slow_readers() {
        let (writer, reader) = one();
        for number in 0..300 {
            assert!(writer.send(text(&format!("{number} "))));
        }
        writer.end(Ok(()));
        let (texts, end) = all(reader);
        assert_eq!(texts.len(), JOIN_FROM);
        assert_eq!(texts.concat(), (0..300).map(|number| format!("{number} ")).collect::<String>());
        assert!(end.is_none());
    }

    #[test]
    fn a_reader_that_does_not_read_is_given_up() {
        let (writer, reader) = one();
        let long = "x".repeat(1000);
        let sent = (0..1000).take_while(|_| writer.send(text(&long))).count();
        assert_eq!(sent, MAX_BYTES / 1000);
        drop(reader);
        assert!(writer.is_abandoned() && !writer.send(text("y")));
    }

    #[test]
    fn events_come_before_the_cut_and_a_lost_writer_is_one() {
        let (mut writers, reader) = feed(2);
        writers[0].send(text("a"));
        writers.remove(0).end(Ok(()));
        writers[0].send(text("b"));
        drop(writers);
        let (texts, end) = all(reader);
        assert_eq!(texts, ["a", "b"]);
        assert!(matches!(end, Some(Cut::Stopping)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_of_many_events_has_half_a_minute_for_each() {
        let (writer, mut reader) = one();
        for number in 0..JOIN_FROM - 1 {
            assert!(writer.send(text(&number.to_string())));
        }
        // So few wait for as long as they have to.
        tokio::time::advance(PATIENCE * 10).await;
        assert!(writer.send(text("last")));
        assert!(!writer.send(text("joined")), "nothing was taken for five minutes");
        assert!(reader.next().await.is_ok());
        assert!(writer.send(text("a")));
        tokio::time::advance(PATIENCE).await;
        assert!(writer.send(text("b")), "not yet");
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!writer.send(text("c")) && !writer.is_abandoned());
        writer.end(Err(Cut::Unread));
        let (texts, end) = all(reader);
        assert_eq!((texts.len(), texts.last().map(String::as_str)), (JOIN_FROM, Some("ab")));
        assert!(matches!(end, Some(Cut::Unread)));
    }

    #[test]
    fn a_feed_holds_exactly_its_bytes_and_gives_them_back() {
        let (writer, mut reader) = one();
        assert!(writer.send(text(&"x".repeat(MAX_BYTES - 1))));
        assert!(!writer.send(text("xy")) && writer.send(text("y")) && !writer.send(text("z")));
        // What holds no text has no weight.
        assert!(writer.send(Event::Prompt { done: 1, total: 1, cached: 0, elapsed_ms: 0.0 }));
        for _ in 0..2 {
            assert!(block_on(reader.next()).is_ok());
        }
        assert!(writer.send(text(&"z".repeat(MAX_BYTES))) && !writer.send(text("y")));
    }

    #[test]
    fn log_probabilities_weigh_what_they_hold() {
        let logprobs = |count| Logprobs { sampled: 0.0, rank: 1, top: vec![(1, -1.0); count] };
        for (event, bytes) in [
            (text("four"), 4),
            (Event::Token { id: 1, logprobs: None }, 0),
            (Event::Token { id: 1, logprobs: Some(logprobs(3)) }, 24),
            (Event::PromptLogprobs { first: 1, logprobs: vec![logprobs(0), logprobs(2)] }, 80),
            (Event::CallEnd { index: 0 }, 0),
        ] {
            assert_eq!(weight(&event), bytes, "{event:?}");
        }
    }

    #[test]
    fn only_texts_of_one_voice_and_one_choice_are_joined() {
        let (mut writers, mut reader) = feed(2);
        let thought = |text: &str| Event::Text { voice: Voice::Reasoning, text: text.to_owned() };
        for _ in 0..JOIN_FROM - 1 {
            assert!(writers[0].send(Event::Token { id: 1, logprobs: None }));
        }
        for (writer, event) in
            [(0, text("a")), (0, text("b")), (1, text("c")), (1, text("d")), (1, thought("e")), (1, thought("f"))]
        {
            assert!(writers[writer].send(event));
        }
        assert!(writers[1].send(Event::CallEnd { index: 0 }) && writers[1].send(text("g")));
        writers.drain(..).for_each(|writer| writer.end(Ok(())));
        let mut told = vec![];
        while let Some((choice, event)) = block_on(reader.next()).unwrap() {
            match event {
                Event::Text { text, .. } => told.push((choice, text)),
                Event::CallEnd { .. } => told.push((choice, "end".to_owned())),
                _ => {}
            }
        }
        let told: Vec<(u32, &str)> = told.iter().map(|(choice, text)| (*choice, text.as_str())).collect();
        assert_eq!(told, [(0, "ab"), (1, "cd"), (1, "ef"), (1, "end"), (1, "g")]);
    }

    #[test]
    fn an_answer_ends_with_its_last_choice_and_the_first_cut_is_told() {
        let (mut writers, mut reader) = feed(3);
        writers.remove(0).end(Ok(()));
        writers.remove(0).end(Ok(()));
        assert!(writers[0].send(text("a")));
        writers.remove(0).end(Ok(()));
        assert!(block_on(reader.next()).unwrap().is_some() && block_on(reader.next()).unwrap().is_none());
        assert!(block_on(reader.next()).unwrap().is_none(), "an end stays one");
        let (mut writers, mut reader) = feed(2);
        writers.remove(0).end(Err(Cut::Late));
        writers.remove(0).end(Err(Cut::Waited));
        assert!(matches!(block_on(reader.next()), Err(Cut::Late)) && matches!(block_on(reader.next()), Err(Cut::Late)));
    }
}
