//! Files that are not what was written. Oracle: a miss, the entry gone, and the store as good as before.

use std::fs::OpenOptions;

use super::*;
use crate::block_store::entry::{Doubt, Identity, read, write};

fn identity(block: &Block) -> Identity<'_> {
    Identity { fingerprint: &FINGERPRINT, key: &block.key, scope: &SCOPE, ids: &block.ids }
}

fn written(block: &Block) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&mut bytes, &identity(block), &block.words).unwrap();
    assert_eq!(u64::try_from(bytes.len()).unwrap(), entry::file_bytes(64, block.words.len()).unwrap());
    bytes
}

fn read_back(bytes: &[u8], block: &Block) -> Result<Vec<u32>, Doubt> {
    read(&mut &*bytes, u64::try_from(bytes.len()).unwrap(), &identity(block))
}

/// Makes the head's digest right again, so that what is behind it is judged.
fn seal(mut bytes: Vec<u8>, head_bytes: usize) -> Vec<u8> {
    let digest = blake3::hash(&bytes[..head_bytes - 32]);
    bytes[head_bytes - 32..head_bytes].copy_from_slice(digest.as_bytes());
    bytes
}

/// Of a [`block`], whose rows are one piece.
const HEAD: usize = 120 + 64 * 4 + 2 * 32;

#[test]
fn every_single_bit_counts() {
    let block = block_of(1, 100);
    let whole = written(&block);
    assert_eq!(read_back(&whole, &block).unwrap(), block.words);
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read_back(&bytes, &block).is_err(), "bit {bit}");
    }
}

#[test]
fn a_thousand_flipped_bits_in_several_pieces() {
    let block = block_of(2, (1 << 18) + 77);
    let mut bytes = written(&block);
    let mut random = Random(2);
    for round in 0..1000 {
        let bit = random.below(bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(read_back(&bytes, &block).is_err(), "round {round}, bit {bit}");
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(read_back(&bytes, &block).unwrap(), block.words);
}

#[test]
fn every_length_but_the_right_one_is_damage() {
    let block = block_of(3, 50);
    let whole = written(&block);
    for length in 0..whole.len() {
        assert!(read_back(&whole[..length], &block).is_err(), "{length} bytes");
        // The system told the size before the file was cut.
        let told = u64::try_from(whole.len()).unwrap();
        assert!(read(&mut &whole[..length], told, &identity(&block)).is_err(), "{length} bytes");
    }
    assert!(read_back(&[&whole[..], &[0]].concat(), &block).is_err());
}

#[test]
fn a_block_answers_only_for_itself() {
    let block = block_of(4, 50);
    let whole = written(&block);
    let mut other = [block.clone(), block.clone(), block.clone()];
    other[0].key[31] ^= 1;
    other[1].ids[63] ^= 1;
    other[2].ids.pop();
    for other in &other {
        assert!(matches!(read_back(&whole, other), Err(Doubt::Damaged(_))));
    }
    let of_another_model = Identity { fingerprint: &[0; 32], ..identity(&block) };
    let bytes = u64::try_from(whole.len()).unwrap();
    assert!(matches!(read(&mut &*whole, bytes, &of_another_model), Err(Doubt::Damaged("what it belongs to"))));
}

/// Puts each damaged form in place of a good entry of a running store, and of one that starts.
#[test]
fn damaged_files_are_misses_and_go() {
    let (one, two) = (block(1), block(2));
    let whole = written(&one);
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = whole.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        seal(changed, HEAD)
    };
    let swapped_halves = [&whole[..HEAD], &whole[HEAD + 2000..], &whole[HEAD..HEAD + 2000]].concat();
    let forms: Vec<(&str, Vec<u8>)> = vec![
        ("0 bytes", vec![]),
        ("half", whole[..whole.len() / 2].to_vec()),
        ("only the head", whole[..HEAD].to_vec()),
        ("one byte more", [&whole[..], &[0]].concat()),
        ("twice", whole.repeat(2)),
        ("zeros", vec![0; whole.len()]),
        ("another entry", written(&two)),
        ("halves of the rows swapped", swapped_halves),
        ("another magic", with(0, b"lynblocK")),
        ("version 2", with(8, &2u32.to_le_bytes())),
        ("version 0", with(8, &0u32.to_le_bytes())),
        ("63 ids", with(12, &63u32.to_le_bytes())),
        ("2^32 - 1 ids", with(12, &u32::MAX.to_le_bytes())),
        ("100 GB of rows", with(16, &25_000_000_000u64.to_le_bytes())),
        ("2^64 - 1 words", with(16, &u64::MAX.to_le_bytes())),
        ("words that wrap to the right number of bytes", with(16, &(1000u64 | 1 << 62).to_le_bytes())),
        ("another fingerprint", with(24, &[0; 32])),
        ("another key", with(56, &[0; 32])),
        ("another first id", with(120, &[0xff; 4])),
        ("another digest of the rows", with(HEAD - 64, &[0; 32])),
    ];
    let scratch = Scratch::new("damage");
    let store = open(&scratch.0, StoreLimits::default());
    let heal = |store: &BlockStore| {
        keep(store, &one);
        assert!(is_there(store, &one));
        scratch.only_entry()
    };
    for (errors, (form, bytes)) in (1..).zip(&forms) {
        let path = heal(&store);
        std::fs::write(&path, bytes).unwrap();
        assert!(!is_there(&store, &one), "{form}");
        assert!(!path.exists(), "{form}");
        assert_eq!((store.figures().errors, store.figures().bytes), (errors, 0), "{form}");
    }
    let path = heal(&store);
    drop(store);
    for (form, bytes) in &forms {
        std::fs::write(&path, bytes).unwrap();
        let store = open(&scratch.0, StoreLimits::default());
        assert!(!is_there(&store, &one), "{form}");
        assert!(!path.exists(), "{form}");
        heal(&store);
    }
}

#[test]
fn a_file_of_100_gb_is_not_read() {
    let scratch = Scratch::new("sparse");
    let limits = StoreLimits { bytes: u64::MAX, ..StoreLimits::default() };
    let store = open(&scratch.0, limits);
    keep(&store, &block(1));
    let file = OpenOptions::new().write(true).open(scratch.only_entry()).unwrap();
    file.set_len(100 << 30).unwrap();
    assert!(!is_there(&store, &block(1)));
    assert_eq!(scratch.names().len(), 0);
    // One that is there from the start is over the cap, and goes unread.
    std::fs::File::create(scratch.0.join("0".repeat(96))).unwrap().set_len(100 << 30).unwrap();
    drop(store);
    let store = open(&scratch.0, StoreLimits::default());
    keep(&store, &block(1));
    assert!(is_there(&store, &block(1)));
    assert_eq!(scratch.bytes(), file_bytes());
}

#[test]
fn entries_under_each_others_names_are_misses() {
    let scratch = Scratch::new("swapped");
    let store = open(&scratch.0, StoreLimits::default());
    save(&store, &block(1));
    save(&store, &block(2));
    store.flush(PATIENCE);
    let names = scratch.names();
    let [first, second, between] = [&names[0], &names[1], "between"].map(|name| scratch.0.join(name));
    std::fs::rename(&first, &between).unwrap();
    std::fs::rename(&second, &first).unwrap();
    std::fs::rename(&between, &second).unwrap();
    assert!(!is_there(&store, &block(1)) && !is_there(&store, &block(2)));
    assert_eq!((scratch.names().len(), store.figures().errors), (0, 2));
}
