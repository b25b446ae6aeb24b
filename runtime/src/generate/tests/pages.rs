//! Oracles: pages counted by hand; SHA-256 by Python's hashlib.

use crate::error::Code;
use crate::generate::pages::Pages;
use crate::generate::sequences::Sequences;
use crate::generate::{Key, SequenceId};
use crate::model::cache::PAGE;

/// Blocks outlive the program in files that are found by these names.
#[test]
fn keys_are_the_same_for_ever() {
    let hex = |key: &Key| key.bytes().iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let root = Key::root(b"scope");
    // sha256(scope), then sha256(key, the count in 8 bytes, each id in 4), the lowest byte first.
    assert_eq!(hex(&root), "5f161c9149882e0e10124bc5dd5c11f0fbe8ec452edd52bcec76b01e9252cb33");
    let ids: Vec<u32> = (0..PAGE).collect();
    assert_eq!(hex(&root.next(&ids)), "01307b9eb35ebc2beb517ab50e7c90db6167187ca71a056b067301ef89e78de2");
}

#[test]
fn a_page_is_idle_without_users() {
    let mut pages = Pages::new(2);
    assert_eq!((pages.count(), pages.available()), (2, 2));
    let page = pages.take().unwrap();
    assert!(!pages.is_idle(page));
    assert!(pages.publish(page, Key::root(b"a")) && !pages.publish(page, Key::root(b"b")), "it holds one block");
    pages.share(page);
    pages.release(page);
    assert!(!pages.is_idle(page), "there is another user");
    pages.release(page);
    assert!(pages.is_idle(page));
    // A user of an idle page takes it from those available, another user of it takes none.
    assert_eq!(pages.available(), 2);
    pages.share(page);
    assert_eq!(pages.available(), 1);
    pages.share(page);
    assert_eq!(pages.available(), 1);
}

#[test]
fn pages_go_in_the_order_of_their_last_use() {
    let mut pages = Pages::new(3);
    let taken: Vec<u32> = (0..3).map(|_| pages.take().unwrap()).collect();
    assert_eq!((taken.as_slice(), pages.take()), (&[0, 1, 2][..], None));
    for &page in &taken {
        pages.publish(page, Key::root(&[u8::try_from(page).unwrap()]));
    }
    for page in [1, 2, 0] {
        pages.release(page);
    }
    // Used again, so it was left last.
    pages.share(1);
    pages.release(1);
    assert_eq!([pages.take(), pages.take(), pages.take(), pages.take()], [Some(2), Some(0), Some(1), None]);
    assert_eq!(pages.find(&Key::root(&[1])), None, "what was taken is forgotten");
}

/// Two sequences of 100 positions, with two pages each.
fn sequences() -> Sequences {
    let mut sequences = Sequences::new(2, 100);
    assert_eq!(sequences.pages(), (4, 4));
    sequences.take_changes();
    sequences
}

#[test]
fn sequences_grow_by_pages_up_to_their_context() {
    let mut sequences = sequences();
    let (first, second) = (sequences.open().unwrap(), sequences.open().unwrap());
    assert!(!sequences.has_free());
    let error = sequences.open().unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::BadRequest, "all 2 sequences are in use"));
    // (sequence, tokens more, pages after)
    for (id, tokens, pages) in
        [(first, 0, 0), (first, 1, 1), (first, 63, 1), (first, 1, 2), (second, 64, 1), (first, 35, 2)]
    {
        sequences.extend(id, tokens).unwrap();
        assert_eq!(sequences.pages_of(id).len(), pages);
    }
    assert_eq!((sequences.length(first), sequences.length(second), sequences.pages()), (100, 64, (4, 1)));
    // Each change: the first word of the table, where a sequence has two words, and the page.
    assert_eq!(sequences.take_changes(), [(0, vec![0]), (1, vec![1]), (2, vec![2])]);
    assert!(sequences.take_changes().is_empty());
    let error = sequences.extend(first, 1).unwrap_err();
    assert_eq!((error.code(), error.message()), (Code::ContextOverflow, "101 tokens exceed the context of 100"));
    assert_eq!((sequences.length(first), sequences.longer(second, 36).unwrap()), (100, 100));
    assert!(sequences.longer(second, 37).is_err());
}

#[test]
fn what_is_cut_off_is_free_again() {
    let mut sequences = sequences();
    let id = sequences.open().unwrap();
    sequences.extend(id, 100).unwrap();
    // (length wanted, length after, pages free)
    for (wanted, length, free) in [(200, 100, 2), (65, 65, 2), (64, 64, 3), (1, 1, 3), (0, 0, 4)] {
        sequences.truncate(id, wanted);
        assert_eq!((sequences.length(id), sequences.pages().1), (length, free), "{wanted}");
    }
    sequences.extend(id, 70).unwrap();
    sequences.close(id);
    assert!(sequences.has_free());
    assert_eq!((sequences.pages(), sequences.length(id)), ((4, 4), 0));
    assert_eq!(sequences.open().unwrap(), id, "the first that is free");
}

/// Opens on the published pages of another sequence.
#[test]
fn a_known_beginning_needs_no_pages_of_its_own() {
    let mut sequences = sequences();
    let first = sequences.open().unwrap();
    sequences.extend(first, 70).unwrap();
    let key = Key::root(b"x");
    assert!(sequences.publish(first, 0, key) && !sequences.publish(first, 2, Key::root(b"y")), "it has two pages");
    let shared = vec![sequences.find(&key).unwrap()];
    sequences.take_changes();
    // Two pages are free, and the shared one is in use: three are to be had.
    assert_eq!(sequences.open_on(&shared, 4), None);
    let second = sequences.open_on(&shared, 3).unwrap();
    assert_eq!((sequences.length(second), sequences.pages_of(second)), (64, &shared[..]));
    assert_eq!(sequences.take_changes(), [(2, shared.clone())]);
    assert_eq!(sequences.open_on(&[], 0), None, "no sequence is free");
    // Once nobody uses it, it is one of those that are free.
    sequences.close(first);
    sequences.close(second);
    assert_eq!(sequences.pages().1, 4);
    assert_eq!(sequences.open_on(&shared, 5), None);
    let third = sequences.open_on(&shared, 4).unwrap();
    assert_eq!((sequences.pages().1, sequences.find(&key)), (3, Some(shared[0])));
    sequences.close(third);
    sequences.forget();
    assert_eq!((sequences.find(&key), sequences.pages().1), (None, 4));
    let empty: Option<SequenceId> = sequences.open_on(&[], 4);
    assert!(empty.is_some() && sequences.take_changes() == [(0, shared)], "only of the one that shared");
}
