//! Oracle: a call is what its parts say, joined.

use serde_json::{Map, json};

use super::Pending;
use crate::generate::{Event, Voice};

fn begin(index: u32) -> Event {
    Event::Call { index, name: format!("f{index}"), id: (index == 1).then(|| "x".to_owned()) }
}

fn part(index: u32, text: &str) -> Event {
    Event::Arguments { index, text: text.to_owned() }
}

#[test]
fn calls_that_are_written_at_once_keep_their_parts() {
    let mut pending = Pending::default();
    assert!(pending.is_empty());
    for event in [begin(0), begin(1), part(0, "{\"a\":"), part(1, "{\"b\":"), part(0, " 1}"), part(1, " 2}")] {
        assert!(pending.take(&event).is_none());
        assert!(!pending.is_empty());
    }
    let second = pending.take(&Event::CallEnd { index: 1 }).unwrap();
    let object = |text: &str| serde_json::from_str::<Map<_, _>>(text).unwrap();
    assert_eq!((second.id.as_deref(), second.name.as_str(), second.written.as_str()), (Some("x"), "f1", "{\"b\": 2}"));
    assert_eq!(second.arguments, object(r#"{"b": 2}"#));
    assert!(!pending.is_empty());
    let first = pending.take(&Event::CallEnd { index: 0 }).unwrap();
    assert_eq!((first.id, first.name.as_str(), first.arguments), (None, "f0", object(r#"{"a": 1}"#)));
    assert!(pending.is_empty());
}

#[test]
fn arguments_that_are_no_object_make_no_call() {
    for (written, found) in [
        ("", Some("{}")),
        (" \n", Some("{}")),
        ("{}", Some("{}")),
        ("{\"a\": 1}", Some("{\"a\": 1}")),
        ("[1]", None),
        ("5", None),
        ("{", None),
    ] {
        let mut pending = Pending::default();
        pending.take(&begin(0));
        pending.take(&part(0, written));
        let call = pending.take(&Event::CallEnd { index: 0 });
        assert_eq!(call.map(|call| call.written).as_deref(), found, "{written}");
        assert!(pending.is_empty(), "it is over, whatever it was: {written}");
    }
}

#[test]
fn what_belongs_to_no_call_is_none() {
    let mut pending = Pending::default();
    let text = Event::Text { voice: Voice::Content, text: json!({}).to_string() };
    for event in [part(0, "{}"), Event::CallEnd { index: 0 }, text] {
        assert!(pending.take(&event).is_none() && pending.is_empty());
    }
    pending.take(&begin(0));
    assert!(pending.take(&Event::CallEnd { index: 2 }).is_none() && !pending.is_empty());
}
