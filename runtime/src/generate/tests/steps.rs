//! Oracle: the tokens of each step, shared by hand: steps hold eight.

use super::answers::{engine, greedy, prompt};
use crate::engine::Engine;
use crate::generate::{AnswerId, Event, Request, TraceRequest};
use crate::platform::block_on;

/// A prompt that begins as no other does.
fn own(tokens: u32, first: u32) -> Vec<u32> {
    let mut prompt = prompt(tokens);
    prompt[0] = first;
    prompt
}

/// Who has read how much of a prompt after each step, in the order of the events.
fn progress(engine: &mut Engine) -> Vec<Vec<(AnswerId, u32)>> {
    let mut steps = vec![];
    while !engine.is_idle() {
        let read = block_on(engine.step()).unwrap().into_iter().filter_map(|(id, event)| match event.unwrap() {
            Event::Prompt { done, .. } => Some((id, done)),
            _ => None,
        });
        let read: Vec<(AnswerId, u32)> = read.collect();
        steps.extend((!read.is_empty()).then_some(read));
    }
    steps
}

#[test]
fn prompts_share_a_step_and_short_ones_take_less() {
    let mut engine = engine(3);
    let long = engine.submit(greedy(own(20, 10), 1)).unwrap();
    let short = engine.submit(greedy(own(3, 11), 4)).unwrap();
    // The short one needs 3 of 4; then it takes a token of each step while the other reads seven.
    let expected = [vec![(short, 3), (long, 5)], vec![(long, 12)], vec![(long, 19)], vec![(long, 20)]];
    assert_eq!(progress(&mut engine), expected);
    // Three alike: 8/3, then 6/2, then what is left; those with the least to read go first.
    let [a, b, c] = [12, 13, 14].map(|first| engine.submit(greedy(own(20, first), 1)).unwrap());
    let found = progress(&mut engine);
    assert_eq!(found[0], [(a, 2), (b, 3), (c, 3)]);
    assert_eq!(found[1], [(b, 5), (c, 6), (a, 5)]);
    assert_eq!(found[2], [(c, 8), (a, 8), (b, 8)]);
}

#[test]
fn places_and_pages_are_counted_while_they_are_taken() {
    let mut engine = engine(2);
    for first in [10, 11, 12] {
        engine.submit(greedy(own(70, first), 3)).unwrap();
    }
    let occupied = |engine: &Engine| {
        let occupancy = engine.occupancy();
        (occupancy.running, occupancy.waiting, occupancy.pages_used, occupancy.pages)
    };
    assert_eq!(occupied(&engine), (0, 3, 0, 6));
    block_on(engine.step()).unwrap();
    assert_eq!(occupied(&engine), (2, 1, 2, 6));
    while engine.occupancy().running == 2 && engine.occupancy().waiting == 1 {
        block_on(engine.step()).unwrap();
    }
    while !engine.is_idle() {
        block_on(engine.step()).unwrap();
    }
    assert_eq!(occupied(&engine), (0, 0, 0, 6));
    // An answer that may need more pages than are promised to nobody waits for them.
    let big = engine.submit(greedy(own(190, 13), 2)).unwrap();
    let other = engine.submit(greedy(own(190, 14), 2)).unwrap();
    block_on(engine.step()).unwrap();
    assert_eq!(occupied(&engine), (2, 0, 2, 6), "three pages for each of the two");
    engine.cancel(big);
    assert_eq!(occupied(&engine), (1, 0, 1, 6));
    engine.cancel(other);
    assert_eq!(occupied(&engine), (0, 0, 0, 6));
}

/// An answer whose prompt goes on as one that is being read waits for its rows.
#[test]
fn a_prompt_that_is_being_read_is_not_read_twice() {
    let mut engine = engine(3);
    let first = engine.submit(greedy(prompt(66), 1)).unwrap();
    let same = engine.submit(greedy(prompt(70), 1)).unwrap();
    let short = engine.submit(greedy(own(4, 9), 1)).unwrap();
    let mut cached = vec![];
    while !engine.is_idle() {
        for (id, event) in block_on(engine.step()).unwrap() {
            if let Event::End { timings, .. } = event.unwrap() {
                cached.push((id, timings.cached_tokens));
            }
        }
    }
    assert_eq!(cached, [(short, 0), (first, 0), (same, 64)]);
}

#[test]
fn a_trace_begins_where_it_was_asked_for() {
    let mut engine = engine(1);
    for from in [0, 5, 11, 12, 13, 40] {
        let trace = Some(TraceRequest { layers: vec![0, 2], from, ..TraceRequest::default() });
        engine.reset();
        let mut generation = engine.generate(Request { trace, ..greedy(prompt(12), 3) }).unwrap();
        let (mut positions, mut tokens) = (vec![], 0);
        while let Some(event) = block_on(generation.next()).unwrap() {
            match event {
                Event::Trace(selections) => {
                    let of = |layer| selections.iter().filter(move |one| one.layer == layer).map(|one| one.position);
                    assert!(of(0).eq(of(2)) && selections.iter().all(|one| [0, 2].contains(&one.layer)));
                    for selection in &selections {
                        assert!(selection.indices.iter().all(|&index| index <= selection.position));
                        assert_eq!(selection.dense, None);
                    }
                    positions.extend(of(0));
                }
                Event::Token { .. } => tokens += 1,
                _ => {}
            }
        }
        // The last token of an answer is not read.
        assert_eq!((positions, tokens), ((from..14).collect::<Vec<_>>(), 3), "from {from}");
    }
}
