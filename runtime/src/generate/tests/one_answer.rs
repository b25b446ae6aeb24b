//! Oracle: events by hand, for tokens of one character and a markup of one character.

use std::sync::Arc;

use serde_json::json;

use crate::error::Code;
use crate::generate::answer::{Answer, Parser, Vocabulary};
use crate::generate::{Event, Finish, Request, SamplingParams, Voice, room};
use crate::model::Settings;
use crate::text::Tokenizer;

const EOS: u32 = 0;
const A: u32 = 1;
const B: u32 = 2;
const CLOSE: u32 = 3;
const CALL: u32 = 4;
const HELD: u32 = 5;
const SPECIAL: u32 = 6;
/// The two bytes of `ø`.
const HALVES: [u32; 2] = [7, 8];
const NEVER: u32 = 9;
const TOKENS: u32 = 10;

/// A thought ends with `|`; `#` is a whole call; `~` waits for the end.
struct Marks {
    thinking: bool,
    calls: u32,
    held: String,
}

impl Parser for Marks {
    fn push(&mut self, text: &str) -> Vec<Event> {
        let mut told = vec![];
        for character in text.chars() {
            let voice = if self.thinking { Voice::Reasoning } else { Voice::Content };
            match character {
                '|' => self.thinking = false,
                '#' => {
                    told.push(Event::Call { index: self.calls, name: "f".to_owned(), id: None });
                    told.push(Event::CallEnd { index: self.calls });
                    self.calls += 1;
                }
                '~' => self.held.push('~'),
                _ => told.push(Event::Text { voice, text: character.to_string() }),
            }
        }
        told
    }

    fn finish(&mut self) -> Vec<Event> {
        let text = std::mem::take(&mut self.held);
        if text.is_empty() { vec![] } else { vec![Event::Text { voice: Voice::Content, text }] }
    }

    fn cut(&mut self) -> Vec<Event> {
        self.held.clear();
        vec![]
    }

    fn is_thinking(&self) -> bool {
        self.thinking
    }

    fn calls(&self) -> u32 {
        self.calls
    }
}

fn vocabulary() -> Arc<Vocabulary> {
    let file = json!({
        "added_tokens": [
            { "id": EOS, "content": "<end>", "special": true }, { "id": SPECIAL, "content": "<mark>", "special": true },
            { "id": NEVER, "content": "<｜place▁holder▁no▁1｜>", "special": false },
        ],
        "model": { "type": "BPE", "vocab": { "a": A, "b": B, "|": CLOSE, "#": CALL, "~": HELD, "Ã": 7, "¸": 8 }, "merges": [] },
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false },
    });
    let tokenizer = Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), TOKENS).unwrap();
    let allowed = tokenizer.sampleable().into();
    let parser = Box::new(|request: &Request| {
        Box::new(Marks { thinking: request.thinking, calls: 0, held: String::new() }) as Box<dyn Parser>
    });
    Arc::new(Vocabulary { tokenizer: Arc::new(tokenizer), eos: vec![EOS], markup: vec![], allowed, parser })
}

const SETTINGS: Settings = Settings {
    context: 16,
    sequences: 1,
    chunk: 8,
    rows: 8,
    index_topk: None,
    cache_type: lyn_shaders::cache_row::CacheType::F32,
};

fn asked() -> Request {
    let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    Request { sampling, ..Request::new(vec![A, B, A]) }
}

fn answer(request: Request) -> Answer {
    Answer::new(vocabulary(), request, &SETTINGS).unwrap()
}

/// What happens: `t` a token, `e` one that ends, `c` content, `r` thought; at the end the reason, the stop string, and the
/// tokens of answer and thought.
fn shown(events: Vec<Event>) -> String {
    let one = |event: Event| match event {
        Event::Token { id, .. } => format!("t{id}"),
        Event::EndToken { id, .. } => format!("e{id}"),
        Event::Text { voice: Voice::Content, text } => format!("c{text}"),
        Event::Text { voice: Voice::Reasoning, text } => format!("r{text}"),
        Event::Call { .. } => "call".to_owned(),
        Event::CallEnd { .. } => "done".to_owned(),
        Event::End { finish, stop, timings } => {
            let (reason, stop) = (finish.name(), stop.map_or(String::new(), |stop| format!("({stop})")));
            format!("{reason}{stop} {}/{}", timings.completion_tokens, timings.reasoning_tokens)
        }
        other => format!("{other:?}"),
    };
    events.into_iter().map(one).collect::<Vec<_>>().join(" ")
}

fn told(request: Request, ids: &[u32]) -> String {
    let mut answer = answer(request);
    for &id in ids {
        assert!(!answer.ended);
        answer.accept(id, None);
    }
    shown(answer.take_events())
}

#[test]
fn an_answer_ends_by_a_token_its_length_or_a_text() {
    let stop = |stop: &str| Request { stop: vec![stop.to_owned()], ..asked() };
    let most = |max_tokens| Request { max_tokens: Some(max_tokens), ..asked() };
    let ids = || Request { stop_ids: vec![B], ..asked() };
    let thinking = || Request { thinking: true, ..asked() };
    for (request, ids, expected) in [
        (asked(), &[A, B, EOS][..], "t1 ca t2 cb e0 stop 3/0"),
        (asked(), &[EOS], "e0 stop 1/0"),
        (most(2), &[A, B], "t1 ca t2 cb length 2/0"),
        (most(1), &[EOS], "e0 stop 1/0"),
        (Request { ignore_eos: true, ..most(2) }, &[EOS, A], "t0 t1 ca length 2/0"),
        (ids(), &[A, B], "t1 ca e2 stop 2/0"),
        (Request { ignore_eos: true, ..ids() }, &[EOS, B], "t0 e2 stop 2/0"),
        (asked(), &[SPECIAL, EOS], "t6 e0 stop 2/0"),
        // What may begin a stop text waits; what does not is shown.
        (stop("ab"), &[A, B], "t1 t2 stop(ab) 2/0"),
        (stop("ab"), &[A, A, B], "t1 t1 ca t2 stop(ab) 3/0"),
        (stop("ab"), &[A, EOS], "t1 e0 ca stop 2/0"),
        (Request { max_tokens: Some(1), ..stop("ab") }, &[A], "t1 ca length 1/0"),
        (stop("b"), &[A, B], "t1 ca t2 stop(b) 2/0"),
        // Calls.
        (asked(), &[A, CALL, EOS], "t1 ca t4 call done e0 tool_calls 3/0"),
        (most(1), &[CALL], "t4 call done length 1/0"),
        (stop("ab"), &[A, CALL, B, EOS], "t1 t4 ca call done t2 cb e0 tool_calls 4/0"),
        (stop("a"), &[CALL, A], "t4 call done t1 stop(a) 2/0"),
        // What still waits is text where the model ended, and none where it was cut.
        (asked(), &[HELD, EOS], "t5 e0 c~ stop 2/0"),
        (most(1), &[HELD], "t5 length 1/0"),
        (stop("~"), &[HELD, EOS], "t5 e0 stop(~) 2/0"),
        // A thought: its end is none of it, and stop texts are not looked for in it.
        (thinking(), &[A, CLOSE, B, EOS], "t1 ra t3 t2 cb e0 stop 4/1"),
        (thinking(), &[A, EOS], "t1 ra e0 stop 2/1"),
        (Request { max_tokens: Some(2), ..thinking() }, &[A, SPECIAL], "t1 ra t6 length 2/2"),
        (Request { thinking: true, ..stop("a") }, &[A, CLOSE, A], "t1 ra t3 t1 stop(a) 3/1"),
        // A character of two tokens is shown with the second.
        (asked(), &[HALVES[0], HALVES[1], EOS], "t7 t8 cø e0 stop 3/0"),
        (asked(), &[HALVES[0], EOS], "t7 e0 c\u{fffd} stop 2/0"),
    ] {
        assert_eq!(told(request, ids), expected, "{ids:?}");
    }
}

#[test]
fn an_answer_has_room_for_what_it_may_become() {
    for (max_tokens, most, left) in
        [(None, 16, 13), (Some(5), 8, 5), (Some(13), 16, 13), (Some(14), 16, 13), (Some(0), 3, 0)]
    {
        let mut answer = answer(Request { max_tokens, ..asked() });
        assert_eq!((answer.most_positions(), answer.budget_left(), answer.prompt_length()), (most, left, 3));
        if left > 1 {
            answer.accept(A, None);
            assert_eq!((answer.budget_left(), answer.tokens.as_slice()), (left - 1, &[A, B, A, A][..]));
            assert_eq!((answer.most_positions(), answer.timings().completion_tokens), (most, 1));
        }
    }
}

#[test]
fn a_prompt_is_read_and_where_nothing_follows_it_that_is_all() {
    let mut waiting = answer(asked());
    waiting.admit(2);
    waiting.read(2);
    waiting.read(3);
    let events = waiting.take_events();
    let progress = |event: &Event| match event {
        Event::Prompt { done, total, cached, .. } => (*done, *total, *cached),
        other => panic!("{other:?}"),
    };
    assert_eq!(events.iter().map(progress).collect::<Vec<_>>(), [(2, 3, 2), (3, 3, 2)]);
    assert!(!waiting.ended && waiting.take_events().is_empty());
    assert_eq!((waiting.timings().prompt_tokens, waiting.timings().cached_tokens), (3, 2));
    let mut only_read = answer(Request { max_tokens: Some(0), ..asked() });
    only_read.admit(0);
    only_read.read(2);
    assert!(!only_read.ended, "there is more of it");
    only_read.read(3);
    assert!(only_read.ended);
    let events = only_read.take_events();
    let Some(Event::End { finish: Finish::Length, stop: None, timings }) = events.last() else { panic!("{events:?}") };
    assert_eq!((events.len(), timings.completion_tokens, timings.prompt_tokens), (3, 0, 3));
}

/// The device knows the logits, and nothing of what may come.
#[test]
fn only_a_free_answer_is_chosen_on_the_device() {
    assert!(answer(asked()).greedy);
    for request in [
        Request { ignore_eos: true, ..asked() },
        Request { min_tokens: 1, ..asked() },
        Request { sampling: SamplingParams::default(), ..asked() },
    ] {
        assert!(!answer(request).greedy);
    }
    let mut asked = answer(asked());
    for (id, flags, expected) in [(A, 0, Some(A)), (EOS, 0, Some(EOS)), (NEVER, 0, None), (TOKENS, 0, None)] {
        assert_eq!(asked.judge(id, flags).unwrap(), expected, "{id}");
    }
    assert_eq!(asked.judge(A, 1).unwrap_err().code(), Code::NonFinite);
    asked.greedy = false;
    assert!(!asked.greedy);
}

/// Logits that like the end best, then `b`, then `a`.
fn liking() -> Vec<f32> {
    let mut logits = vec![-1.0; TOKENS as usize];
    (logits[EOS as usize], logits[B as usize], logits[A as usize], logits[NEVER as usize]) = (3.0, 2.0, 1.0, 9.0);
    logits
}

#[test]
fn no_id_ends_an_answer_before_its_time() {
    for (request, expected) in [
        (asked(), [EOS, EOS]),
        (Request { min_tokens: 1, ..asked() }, [B, EOS]),
        (Request { min_tokens: 2, ..asked() }, [B, B]),
        (Request { min_tokens: 1, stop_ids: vec![B], ..asked() }, [A, EOS]),
        (Request { ignore_eos: true, ..asked() }, [B, B]),
        (Request { ignore_eos: true, stop_ids: vec![B], ..asked() }, [B, B]),
        (Request { ignore_eos: true, min_tokens: 1, stop_ids: vec![B], ..asked() }, [A, B]),
    ] {
        let mut answer = answer(request);
        let first = answer.choose(&liking()).unwrap().0;
        assert_eq!(first, expected[0]);
        // Whatever was chosen, there is a token now.
        answer.accept(A, None);
        assert_eq!(answer.choose(&liking()).unwrap().0, expected[1]);
    }
}

#[test]
fn a_prompt_is_scored_from_its_second_token_on() {
    let prompt = vec![A, B, A, A, B];
    let asked = |prompt_logprobs| Request { prompt: prompt.clone(), prompt_logprobs, ..asked() };
    assert_eq!(answer(asked(None)).unscored(0), 0..0);
    let mut scored = answer(asked(Some(1)));
    for (done, expected) in [(0, 1..5), (2, 3..5), (3, 4..5), (4, 5..5), (9, 5..5)] {
        assert_eq!(scored.unscored(done), expected, "{done}");
    }
    let (row, other) = (liking(), vec![0.0; TOKENS as usize]);
    scored.score(3, [&row[..], &other[..]].into_iter()).unwrap();
    let events = scored.take_events();
    let [Event::PromptLogprobs { first: 3, logprobs }] = &events[..] else { panic!("{events:?}") };
    // Of `a`, then `b`: the end, `b`, and the placeholder, which has text too, are likelier than `a`.
    let ranks: Vec<(u32, usize)> = logprobs.iter().map(|at| (at.rank, at.top.len())).collect();
    assert_eq!(ranks, [(4, 1), (1, 1)]);
    let broken = vec![f32::NAN; TOKENS as usize];
    assert_eq!(scored.score(1, std::iter::once(&broken[..])).unwrap_err().code(), Code::NonFinite);
    let mut silent = answer(asked(None));
    silent.score(1, std::iter::once(&row[..])).unwrap();
    assert!(silent.take_events().is_empty());
}

#[test]
fn a_prompt_leaves_room_or_is_too_long() {
    for (tokens, context, left) in [(1, 2, 1), (15, 16, 1), (1, u32::MAX, u32::MAX - 1)] {
        assert_eq!(room(&vec![A; tokens], context).unwrap(), left);
    }
    for tokens in [16, 17] {
        let error = room(&vec![A; tokens], 16).unwrap_err();
        let says = format!("the prompt has {tokens} tokens, the context holds 16");
        assert_eq!((error.code(), error.message()), (Code::ContextOverflow, &*says));
        assert_eq!(error.help(), [format!("raise --context above {tokens}, or shorten the prompt")]);
        assert_eq!((&error.details()["prompt_tokens"], &error.details()["context"]), (&json!(tokens), &json!(16)));
    }
    let empty = room(&[], 16).unwrap_err();
    assert_eq!((empty.code(), empty.message()), (Code::BadRequest, "the prompt is empty"));
}

/// Oracle: DeepSeek's `finish_reason`.
#[test]
fn reasons_have_deepseek_s_names() {
    let reasons =
        [Finish::Stop, Finish::Length, Finish::ToolCalls, Finish::Filtered, Finish::Aborted].map(Finish::name);
    assert_eq!(reasons, ["stop", "length", "tool_calls", "content_filter", "insufficient_system_resource"]);
}
