//! Oracle: searching for the marker in the whole text.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::error::Code;
use crate::generate::constraint::MAX_GRAMMAR_BYTES;
use crate::generate::{Constraint, Form, Free, Lexicon};
use crate::text::Tokenizer;

const EOS: u32 = 0;

/// Tokens with these texts, from id 1 on; id 0 ends an answer.
fn lexicon(tokens: &[&str]) -> Lexicon {
    let vocab: serde_json::Map<_, _> = (1..).zip(tokens).map(|(id, token)| ((*token).to_owned(), json!(id))).collect();
    let file = json!({
        "added_tokens": [{ "id": EOS, "content": "<end>", "special": true }],
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "use_regex": false },
    });
    let size = u32::try_from(tokens.len()).unwrap() + 1;
    let tokenizer = Tokenizer::from_json("tokenizer.json", file.to_string().as_bytes(), size).unwrap();
    Lexicon::new(&tokenizer, &tokenizer.sampleable(), &[EOS]).unwrap()
}

fn until(marker: &str, may_end: bool) -> Free {
    Free::Until { marker: marker.to_owned(), may_end }
}

fn form(free: Vec<Free>, grammar: Option<&str>) -> Form {
    Form { free, grammar: grammar.map(str::to_owned), ..Form::default() }
}

fn allows(constraint: &mut Constraint, id: u32) -> bool {
    constraint.allowed().unwrap().is_none_or(|mask| mask[id as usize])
}

const TOKENS: [&str; 9] = ["a", "b", "c", "ab", "ba", "bc", "abc", "bac", "ca"];

/// Every text of up to six characters, for markers that begin with parts of themselves.
#[test]
fn a_marker_is_found_however_tokens_cut_it() {
    let lexicon = lexicon(&TOKENS);
    for marker in ["b", "ab", "aab", "aaab", "aabb", "abab", "aabaa", "abaab"] {
        for ends in [false, true] {
            let form = form(vec![until(marker, ends)], Some("start: \"c\""));
            // What was said, and where the constraint is.
            let mut open = BTreeMap::from([(String::new(), lexicon.constraint(&form).unwrap())]);
            for _ in 0..6 {
                let mut next = BTreeMap::new();
                for (text, mut constraint) in std::mem::take(&mut open) {
                    assert!(!constraint.is_active());
                    assert_eq!(allows(&mut constraint, EOS), ends, "{marker} {text}");
                    for (id, token) in (1..).zip(TOKENS) {
                        let whole = format!("{text}{token}");
                        let rest = whole.find(marker).map(|at| &whole[at + marker.len()..]);
                        // Behind the marker comes what the grammar takes.
                        let expected = rest.is_none_or(|rest| rest.is_empty() || rest == "c");
                        assert_eq!(allows(&mut constraint, id), expected, "{marker}: {token} after {text}");
                        if !expected {
                            continue;
                        }
                        let mut after = constraint.clone();
                        after.advance(id).unwrap();
                        assert_eq!(after.is_active(), rest.is_some(), "{marker}: {whole}");
                        match rest {
                            None if whole.len() < 6 => drop(next.insert(whole, after)),
                            None => {}
                            Some(rest) => {
                                let follows = if rest.is_empty() { 3 } else { EOS };
                                assert!((0..10).all(|id| allows(&mut after, id) == (id == follows)), "{whole}");
                            }
                        }
                    }
                }
                open = next;
            }
        }
    }
}

#[test]
fn texts_follow_each_other_and_the_last_may_have_no_end() {
    let lexicon = lexicon(&TOKENS);
    let both = form(vec![until("a", false), until("b", true)], None);
    let mut constraint = lexicon.constraint(&both).unwrap();
    assert!(!allows(&mut constraint, EOS));
    constraint.advance(4).unwrap(); // "ab": both markers in one
    assert!(allows(&mut constraint, EOS) && constraint.allowed().unwrap().is_none() && !constraint.is_active());
    constraint.advance(1).unwrap();
    // In a text that never holds the marker no token completes it, and nothing else is kept from it.
    let never = form(vec![Free::Without("bc".to_owned())], None);
    let mut constraint = lexicon.constraint(&never).unwrap();
    let open = |constraint: &mut Constraint| (0..10).map(|id| allows(constraint, id)).collect::<Vec<_>>();
    let inside = |token: &str| token.contains("bc");
    let expected = |begun: &str| -> Vec<bool> {
        std::iter::once(true).chain(TOKENS.iter().map(|token| !inside(&format!("{begun}{token}")))).collect()
    };
    assert_eq!(open(&mut constraint), expected(""));
    constraint.advance(2).unwrap();
    assert_eq!(open(&mut constraint), expected("b"));
    constraint.advance(1).unwrap();
    assert_eq!(open(&mut constraint), expected("ba"));
    let nothing = lexicon.constraint(&Form::default()).unwrap();
    assert!(nothing.clone().allowed().unwrap().is_none() && !nothing.is_active() && nothing.loosened().is_empty());
    let named = Form { loosened: vec!["pattern".to_owned()], ..Form::default() };
    assert_eq!(lexicon.constraint(&named).unwrap().loosened(), ["pattern"]);
}

#[test]
fn grammars_that_are_none_or_too_much_are_refused() {
    let lexicon = lexicon(&TOKENS);
    let refused = |grammar: &str| lexicon.constraint(&form(vec![], Some(grammar))).unwrap_err();
    let comment = |bytes: usize| format!("start: \"a\"\n//{}", "x".repeat(bytes - 13));
    assert!(lexicon.constraint(&form(vec![], Some(&comment(MAX_GRAMMAR_BYTES)))).is_ok());
    let long = refused(&comment(MAX_GRAMMAR_BYTES + 1));
    let message = "the grammar has 1048577 bytes, at most 1048576 are allowed";
    assert_eq!((long.code(), long.message()), (Code::GrammarTooComplex, message));
    assert_eq!(refused("start: (").code(), Code::InvalidSchema);
    assert_eq!(refused("start: nothing").code(), Code::InvalidSchema);
    assert!(!refused("start: (").message().contains('\n'));
}

#[test]
fn a_grammar_judges_each_id_and_then_the_end() {
    let lexicon = lexicon(&TOKENS);
    let mut constraint = lexicon.constraint(&form(vec![], Some("start: \"abc\""))).unwrap();
    assert!(constraint.is_active());
    let open = |constraint: &mut Constraint| (0..10).filter(|&id| allows(constraint, id)).collect::<Vec<u32>>();
    assert_eq!(open(&mut constraint), [1, 4, 7], "a, ab, abc");
    let mut wrong = constraint.clone();
    let error = wrong.advance(2).unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert!(error.message().starts_with("the grammar of the answer: "), "{error}");
    constraint.advance(1).unwrap();
    assert_eq!(open(&mut constraint), [2, 6], "b, bc");
    constraint.advance(6).unwrap();
    assert_eq!(open(&mut constraint), [EOS]);
    constraint.advance(EOS).unwrap();
}

#[test]
fn a_rehearsal_follows_the_grammar_to_its_end() {
    let lexicon = lexicon(&["a", "b", "c"]);
    let long = Duration::from_secs(60);
    for (free, grammar, tokens, followed) in [
        (vec![], Some("start: \"abc\""), 10, 3),
        (vec![], Some("start: \"abc\""), 2, 2),
        (vec![], Some("start: /a+b/"), 0, 0),
        (vec![], None, 10, 0),
        (vec![until("c", true)], Some("start: \"abc\""), 10, 3),
    ] {
        let constraint = lexicon.constraint(&form(free, grammar)).unwrap();
        assert_eq!(constraint.rehearse(tokens, long), followed, "{grammar:?} {tokens}");
    }
    let endless = lexicon.constraint(&form(vec![], Some("start: /[abc]{100}/"))).unwrap();
    assert_eq!(endless.clone().rehearse(50, long), 50);
    assert_eq!(endless.rehearse(50, Duration::ZERO), 0, "there is no time");
}
