//! Many answers at once: what each says does not depend on who else is there, nor on what the cache held before.
//!
//! Oracle: the answer to the same request when it is alone on a fresh engine. It rests on equal bits of equal rows
//! (`equivalence.rs`).

use std::collections::BTreeMap;

use lyn::generate::{
    AnswerId, Block, Chunk, Event, Finish, Logprobs, Request, Sampler, SamplingParams, Timings, Wanted,
};
use lyn::memory::ContextSize;
use lyn::{Code, Engine, Options, Place, models, platform};
use lyn_conformance::{load, one_device};
use lyn_shaders::case::Random;

/// Tokens of a page: what the cache shares comes in these.
const PAGE: u32 = 64;

fn options(context: u32, chunk: u32, sequences: u32) -> Options {
    Options { context: ContextSize::Tokens(context), chunk: Some(chunk), sequences, ..Options::default() }
}

fn engine(sequences: u32) -> Engine {
    load(models::stories(), Place::Gpu(Box::new(one_device())), &options(512, 64, sequences))
}

fn prompt(engine: &Engine, text: &str) -> Vec<u32> {
    engine.raw_prompt(text).expect("ids")
}

/// A prompt of this many ids that a text could have.
fn long_prompt(tokens: usize, seed: u64) -> Vec<u32> {
    let mut random = Random::new(seed);
    std::iter::once(0).chain((1..tokens).map(|_| 300 + random.below(1500))).collect()
}

fn request(prompt: Vec<u32>, temperature: f32, seed: u64, max_tokens: u32) -> Request {
    let sampling = SamplingParams { temperature, seed, ..SamplingParams::default() };
    Request { sampling, max_tokens: Some(max_tokens), ignore_eos: true, ..Request::new(prompt) }
}

fn greedy(prompt: Vec<u32>, max_tokens: u32) -> Request {
    Request { ignore_eos: false, ..request(prompt, 0.0, 0, max_tokens) }
}

#[derive(Debug, Default, PartialEq)]
struct Said {
    ids: Vec<u32>,
    text: String,
    finish: Option<Finish>,
    timings: Timings,
}

impl Said {
    fn hear(&mut self, event: Event) {
        match event {
            Event::Token { id, .. } => self.ids.push(id),
            Event::Text { text, .. } => self.text.push_str(&text),
            Event::End { finish, timings, .. } => (self.finish, self.timings) = (Some(finish), timings),
            _ => {}
        }
    }
}

/// Runs until nothing is left to do; `each` sees every event first.
fn run(engine: &mut Engine, mut each: impl FnMut(&mut Engine, AnswerId, &Event)) -> BTreeMap<AnswerId, Said> {
    let mut said = BTreeMap::<AnswerId, Said>::new();
    while !engine.is_idle() {
        for (id, event) in platform::block_on(engine.step()).expect("a step") {
            let event = event.expect("no answer fails");
            each(engine, id, &event);
            said.entry(id).or_default().hear(event);
        }
    }
    said
}

fn submit(engine: &mut Engine, request: &Request) -> AnswerId {
    engine.submit(request.clone()).expect("it is a request")
}

/// The answer to a request beside which there is no other.
fn answer(engine: &mut Engine, request: &Request) -> Said {
    submit(engine, request);
    run(engine, |_, _, _| {}).into_values().next().expect("an answer")
}

fn alone(engine: &mut Engine, request: &Request) -> Said {
    engine.reset();
    answer(engine, request)
}

/// Requests of many lengths and kinds: most greedy, some sampled, some that share beginnings.
fn mixture(engine: &Engine) -> Vec<Request> {
    let shared = long_prompt(150, 1);
    (0..32)
        .map(|i: u32| {
            let tokens = 8 + 5 * (i % 7);
            match i % 4 {
                0 => greedy(prompt(engine, &format!("Once upon a time there were {i} little")), tokens),
                1 => request(long_prompt(3 + 11 * i as usize, i.into()), 0.9, i.into(), tokens),
                2 => greedy([&shared[..100 + i as usize], &[400 + i]].concat(), tokens),
                _ => request(prompt(engine, "The cat"), 0.0, 0, tokens),
            }
        })
        .collect()
}

#[test]
fn thirty_two_answers_are_what_each_is_alone() {
    let mut engine = engine(8);
    let requests = mixture(&engine);
    let expected: Vec<Said> = requests.iter().map(|request| alone(&mut engine, request)).collect();
    engine.reset();
    let ids: Vec<AnswerId> = requests.iter().map(|request| submit(&mut engine, request)).collect();
    let mut most = 0;
    let said = run(&mut engine, |engine, _, _| most = most.max(engine.occupancy().running));
    assert!(most >= 7, "{most} ran at once");
    for (i, (id, expected)) in ids.iter().zip(&expected).enumerate() {
        let said = &said[id];
        assert_eq!(
            (&said.ids, &said.text, said.finish),
            (&expected.ids, &expected.text, expected.finish),
            "answer {i}"
        );
    }
    assert_eq!((engine.occupancy().pages_used, engine.occupancy().running), (0, 0), "everything is free again");
}

#[test]
fn what_the_cache_holds_changes_no_answer_and_is_counted() {
    let mut engine = engine(2);
    let text = long_prompt(200, 5);
    let asked = greedy(text.clone(), 70);
    let first = alone(&mut engine, &asked);
    assert_eq!(first.timings.cached_tokens, 0);
    let mut again = |asked: &Request| answer(&mut engine, asked);
    let second = again(&asked);
    assert_eq!((second.timings.cached_tokens, &second.ids), (3 * PAGE, &first.ids), "whole pages of the prompt");
    // The next turn of a conversation: prompt, answer, and more.
    let turn = [&text[..], &first.ids, &[700, 701]].concat();
    let cached = u32::try_from(text.len() + first.ids.len()).expect("few") / PAGE * PAGE;
    let with_cache = again(&greedy(turn.clone(), 20));
    assert_eq!(with_cache.timings.cached_tokens, cached, "the answer is kept too");
    for (what, changed, expected) in [
        ("another first token", [&[9], &text[1..]].concat(), 0),
        ("another token in the second page", [&text[..100], &[9], &text[101..]].concat(), PAGE),
        ("whole pages only: one token is always read", text[..192].to_vec(), 2 * PAGE),
        ("less than a page", text[..63].to_vec(), 0),
    ] {
        assert_eq!(again(&greedy(changed, 1)).timings.cached_tokens, expected, "{what}");
    }
    let scoped = |scope: &[u8]| Request { scope: scope.to_vec(), ..asked.clone() };
    assert_eq!(again(&scoped(b"key")).timings.cached_tokens, 0, "scopes share nothing");
    assert_eq!(again(&scoped(b"key")).timings.cached_tokens, 3 * PAGE);
    assert_eq!(with_cache.ids, alone(&mut engine, &greedy(turn, 20)).ids, "a hit changes no token");
}

/// Blocks leave one engine and enter another, as they do through a disk.
#[test]
fn blocks_from_elsewhere_change_no_answer_either() {
    let mut first = engine(2);
    first.keep_blocks();
    let asked = request(long_prompt(200, 5), 0.0, 0, 70);
    let expected = alone(&mut first, &asked);
    let mut blocks = first.take_blocks();
    assert_eq!(blocks.len(), 4, "269 tokens were read");
    let mut second = engine(2);
    let missing = second.missing_blocks(&asked);
    assert_eq!(missing.len(), 3, "the whole pages of the prompt");
    for (block, (key, ids)) in blocks.iter().zip(&missing) {
        assert_eq!((&block.key, &block.ids), (key, ids));
    }
    let mut answer = |blocks: Vec<Block>| {
        second.reset();
        let said = super::answers::answer(&mut second, &Request { blocks, ..asked.clone() });
        assert_eq!(said.ids, expected.ids);
        said.timings.cached_tokens
    };
    assert_eq!(answer(blocks.clone()), 3 * PAGE);
    assert_eq!(answer(blocks[1..].to_vec()), 0, "a block without those before it");
    blocks[1].words.pop();
    assert_eq!(answer(blocks), PAGE, "rows of another model");
    assert_eq!(second.missing_blocks(&asked), [], "what was read is known");
}

#[test]
fn answers_to_one_prompt_read_it_once() {
    let mut engine = engine(4);
    let prompt = long_prompt(300, 9);
    for choice in 0..4 {
        let mut request = request(prompt.clone(), 1.0, 3, 12);
        request.sampling.choice = choice;
        engine.submit(request).expect("it is a request");
    }
    let said = run(&mut engine, |_, _, _| {});
    let cached: Vec<u32> = said.values().map(|said| said.timings.cached_tokens).collect();
    assert_eq!(cached, [0, 256, 256, 256], "the others wait for the first");
    let texts: std::collections::BTreeSet<_> = said.values().map(|said| &said.ids).collect();
    assert_eq!(texts.len(), 4, "each goes its own way");
}

#[test]
fn a_long_prompt_delays_others_by_one_step() {
    let mut engine = engine(2);
    let stream = engine.submit(request(long_prompt(4, 1), 0.0, 0, 60)).expect("it is a request");
    let (mut tokens, mut long, mut gap, mut worst, mut prompt_steps) = (0, None, 0, 0, 0);
    while !engine.is_idle() {
        if tokens == 5 && long.is_none() {
            long = Some(engine.submit(greedy(long_prompt(500, 2), 1)).expect("it is a request"));
        }
        gap += 1;
        for (id, event) in platform::block_on(engine.step()).expect("a step") {
            match event.expect("no answer fails") {
                Event::Token { .. } if id == stream => (tokens, worst, gap) = (tokens + 1, worst.max(gap), 0),
                Event::Prompt { .. } if Some(id) == long => prompt_steps += 1,
                _ => {}
            }
        }
    }
    assert!(prompt_steps >= 7, "{prompt_steps} chunks of 64");
    assert_eq!((tokens, worst), (60, 1), "every step gave the stream its token");
}

#[test]
fn a_short_prompt_does_not_wait_for_a_long_one() {
    let mut engine = engine(3);
    let long = engine.submit(greedy(long_prompt(500, 2), 1)).expect("it is a request");
    let short = engine.submit(greedy(long_prompt(20, 3), 1)).expect("it is a request");
    let mut order = Vec::new();
    run(&mut engine, |_, id, event| {
        if matches!(event, Event::End { .. }) {
            order.push(id);
        }
    });
    assert_eq!(order, [short, long]);
}

#[test]
fn a_cancelled_answer_is_silent_and_frees_its_place() {
    let mut engine = engine(2);
    let kept = request(long_prompt(30, 4), 0.0, 0, 40);
    let expected = alone(&mut engine, &kept);
    engine.reset();
    let kept = engine.submit(kept).expect("it is a request");
    let running = engine.submit(request(long_prompt(40, 5), 0.0, 0, 400)).expect("it is a request");
    let waiting = engine.submit(request(long_prompt(40, 6), 0.0, 0, 400)).expect("it is a request");
    let (mut cancelled, mut said) = (false, Said::default());
    while !engine.is_idle() {
        for (id, event) in platform::block_on(engine.step()).expect("a step") {
            assert!(id == kept || !cancelled, "{id:?} speaks after its end");
            let event = event.expect("no answer fails");
            if id == kept {
                said.hear(event);
            }
        }
        if said.ids.len() == 9 && !cancelled {
            cancelled = true;
            engine.cancel(running);
            engine.cancel(waiting);
            assert_eq!((engine.occupancy().running, engine.occupancy().waiting), (1, 0));
        }
    }
    assert_eq!(said.ids, expected.ids);
    assert_eq!(engine.occupancy().pages_used, 0);
}

#[test]
fn an_answer_that_cannot_be_is_refused_before_it_waits() {
    let mut engine = engine(1);
    let refused = |engine: &mut Engine, request| engine.submit(request).err().map(|error| error.code());
    assert_eq!(refused(&mut engine, greedy(vec![], 1)), Some(Code::BadRequest), "an empty prompt");
    assert_eq!(refused(&mut engine, greedy(long_prompt(512, 1), 1)), Some(Code::ContextOverflow));
    assert_eq!(refused(&mut engine, request(long_prompt(9, 1), 2.5, 0, 1)), Some(Code::BadRequest), "temperature");
    assert!(engine.is_idle());
}

/// A future that is dropped while a step is in line loses nothing.
#[test]
fn a_step_that_nobody_awaits_to_the_end_is_taken_up_again() {
    let mut engine = engine(2);
    let asked = request(long_prompt(100, 7), 0.0, 0, 30);
    let expected = alone(&mut engine, &asked);
    engine.reset();
    let id = engine.submit(asked).expect("it is a request");
    let mut said = Said::default();
    while !engine.is_idle() {
        // One poll, then another attempt from the start.
        let polled = platform::block_on(async {
            let mut step = std::pin::pin!(engine.step());
            std::future::poll_fn(|context| std::task::Poll::Ready(step.as_mut().poll(context))).await
        });
        if let std::task::Poll::Ready(events) = polled {
            for (other, event) in events.expect("a step") {
                assert_eq!(other, id);
                said.hear(event.expect("no answer fails"));
            }
        }
    }
    assert_eq!((said.ids, said.finish), (expected.ids, Some(Finish::Length)));
}

/// Log probabilities of a prompt's tokens, each from the logits of a step of one token.
fn step_by_step(engine: &mut Engine, prompt: &[u32], count: u32) -> Vec<Logprobs> {
    let tokenizer = engine.tokenizer().expect("a tokenizer");
    let (allowed, size) = (tokenizer.sampleable(), tokenizer.size());
    let sampler = Sampler::new(SamplingParams::default(), allowed.into(), size).expect("it is a sampler");
    let runner = engine.runner();
    let sequence = runner.open().expect("a free sequence");
    let mut found = Vec::new();
    for (place, pair) in (1..).zip(prompt.windows(2)) {
        let ids = &pair[..1];
        let logits = platform::block_on(async {
            runner.step(&[Chunk { sequence, ids, wanted: Wanted::Last }], false).await?;
            runner.logits(0).await
        });
        let logits = logits.expect("a step runs");
        found.push(sampler.score(&logits, pair[1], place, count).expect("finite logits"));
    }
    runner.close(sequence);
    found
}

/// Runs requests beside each other: what each is told of its prompt, what it says, and the steps that all took.
fn scored(engine: &mut Engine, requests: &[Request]) -> (Vec<(Vec<Logprobs>, Said)>, usize) {
    let ids: Vec<AnswerId> = requests.iter().map(|request| submit(engine, request)).collect();
    let (mut said, mut steps) = (BTreeMap::<AnswerId, (Vec<Logprobs>, Said)>::new(), 0);
    while !engine.is_idle() {
        steps += 1;
        for (id, event) in platform::block_on(engine.step()).expect("a step") {
            let (logprobs, said) = said.entry(id).or_default();
            match event.expect("no answer fails") {
                Event::PromptLogprobs { first, logprobs: more } => {
                    assert_eq!(first as usize, logprobs.len() + 1, "each token once, in order");
                    logprobs.extend(more);
                }
                event => said.hear(event),
            }
        }
    }
    (ids.iter().map(|id| said.remove(id).expect("an answer")).collect(), steps)
}

/// Oracle: the same logits, made one token at a time.
#[test]
fn tokens_of_prompts_are_as_probable_as_step_by_step() {
    let options = Options { scores_prompts: true, ..options(256, 32, 3) };
    for (place, tokens, narrow) in [
        (Place::Host, 20, false),
        (Place::Gpu(Box::new(one_device())), 150, false),
        (Place::Gpu(Box::new(one_device())), 70, true),
    ] {
        let what = format!("{} tokens, {}", tokens, place.adapter().map_or("host", |_| "GPU"));
        // Also where a step has no more rows than sequences.
        let mut engine = load(models::stories(), place, &Options { scores_prompts: !narrow, ..options.clone() });
        let prompts = [long_prompt(tokens, 1), long_prompt(tokens / 2, 2), long_prompt(tokens, 3)];
        let expected: Vec<Vec<Logprobs>> = prompts.iter().map(|prompt| step_by_step(&mut engine, prompt, 3)).collect();
        let with_scores =
            |prompt: &Vec<u32>, max_tokens| Request { prompt_logprobs: Some(3), ..greedy(prompt.clone(), max_tokens) };
        let answers: Vec<Said> = prompts.iter().map(|prompt| alone(&mut engine, &greedy(prompt.clone(), 5))).collect();
        // The cache knows the beginnings by now, and is not asked.
        for turn in 0..2 {
            let requests: Vec<Request> = prompts.iter().map(|prompt| with_scores(prompt, 5)).collect();
            let (found, _) = scored(&mut engine, &requests);
            for (at, (logprobs, said)) in found.iter().enumerate() {
                assert_eq!(logprobs, &expected[at], "{what}: prompt {at}, turn {turn}");
                assert_eq!(said.timings.cached_tokens, 0, "{what}: prompt {at}");
                assert_eq!((&said.ids, &said.text), (&answers[at].ids, &answers[at].text), "{what}: prompt {at}");
            }
        }
        // Nothing but the prompt is read where no token is to follow, and others may run beside it.
        let mixed =
            [with_scores(&prompts[0], 0), greedy(prompts[1].clone(), 5), request(prompts[2].clone(), 0.7, 3, 5)];
        let (found, _) = scored(&mut engine, &mixed);
        assert_eq!((&found[0].0, &found[0].1.ids), (&expected[0], &vec![]), "{what}");
        assert_eq!((found[1].0.len(), &found[1].1.ids), (0, &answers[1].ids), "{what}");
        assert_eq!(found[2].1.ids, alone(&mut engine, &mixed[2]).ids, "{what}");
    }
}

#[test]
fn prompts_that_are_scored_share_steps() {
    let options = Options { scores_prompts: true, ..options(256, 64, 8) };
    let mut engine = load(models::stories(), Place::Gpu(Box::new(one_device())), &options);
    let requests: Vec<Request> =
        (0..8).map(|seed| Request { prompt_logprobs: Some(1), ..greedy(long_prompt(16, seed), 1) }).collect();
    let (found, steps) = scored(&mut engine, &requests);
    assert!(found.iter().all(|(logprobs, said)| logprobs.len() == 15 && said.ids.len() == 1));
    // 128 tokens of prompts in steps of 64.
    assert!(steps <= 3, "{steps} steps for 8 prompts of 16 tokens");
    let one = Request { prompt_logprobs: Some(21), ..greedy(long_prompt(3, 1), 1) };
    assert_eq!(engine.submit(one).expect_err("too many").code(), Code::BadRequest);
}
