//! The format of an entry: one block in one file.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `lynblock` |
//! | 4 | version, 1 |
//! | 4 | number of token ids |
//! | 8 | number of words of the rows |
//! | 32 · 3 | fingerprint, key, scope |
//! | 4 · ids | the token ids |
//! | 32 · pieces | BLAKE3 of each piece of the rows: of 1 MiB, the last one of what is left |
//! | 32 | BLAKE3 of all of the above |
//! | 4 · words | the rows |
//!
//! Numbers are little-endian. The digests find accidents: a torn, swapped or rotten file. They are no defence against
//! somebody who may write to the folder, which is why `folder` refuses one that others may write to.
#![deny(clippy::arithmetic_side_effects)]

use std::io::{self, Read, Write};

/// Changes with the format, and with the order of the rows.
const VERSION: u32 = 1;
const MAGIC: &[u8; 8] = b"lynblock";
/// The head up to the token ids.
const FIXED_BYTES: usize = 8 + 4 + 4 + 8 + 3 * 32;
const DIGEST_BYTES: usize = 32;
/// Rows with a digest of their own, 1 MiB: small enough to stay in a core's cache between reading and checking.
const PIECE_WORDS: usize = 1 << 18;
/// No model's block is larger; nothing above is ever allocated because a file says so.
const MAX_WORDS: usize = 1 << 26;
/// A block has 64 ids.
const MAX_IDS: usize = 1 << 10;

// Rows are written as they lie in memory.
const _: () = assert!(cfg!(target_endian = "little"));

/// A digest, or a key made from one.
pub(super) type Digest = [u8; 32];

/// What makes an entry this one and no other.
pub(super) struct Identity<'a> {
    /// Model, tokenizer, adapter and number format.
    pub(super) fingerprint: &'a Digest,
    /// The ids of this block and of all before it.
    pub(super) key: &'a Digest,
    /// For whom it was made.
    pub(super) scope: &'a Digest,
    /// The ids of this block.
    pub(super) ids: &'a [u32],
}

/// Why an entry is not to be trusted.
#[derive(Debug)]
pub(super) enum Doubt {
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is not what was written; the text says where.
    Damaged(&'static str),
}

impl From<io::Error> for Doubt {
    fn from(error: io::Error) -> Doubt {
        Doubt::Unreadable(error)
    }
}

/// The size of the file of an entry; none where no such entry is written.
pub(super) fn file_bytes(ids: usize, words: usize) -> Option<u64> {
    if ids > MAX_IDS || words > MAX_WORDS {
        return None;
    }
    let bytes = head_bytes(ids, words)?.checked_add(words.checked_mul(4)?)?;
    u64::try_from(bytes).ok()
}

fn head_bytes(ids: usize, words: usize) -> Option<usize> {
    let digests = words.div_ceil(PIECE_WORDS).checked_add(1)?.checked_mul(DIGEST_BYTES)?;
    FIXED_BYTES.checked_add(ids.checked_mul(4)?)?.checked_add(digests)
}

/// Writes an entry whose size [`file_bytes`] has told.
pub(super) fn write(output: &mut dyn Write, identity: &Identity, words: &[u32]) -> io::Result<()> {
    let mut head = fixed(identity, words.len())?;
    head.extend_from_slice(bytemuck::cast_slice(identity.ids));
    for piece in words.chunks(PIECE_WORDS) {
        head.extend_from_slice(digest(bytemuck::cast_slice(piece)).as_bytes());
    }
    let whole = digest(&head);
    head.extend_from_slice(whole.as_bytes());
    output.write_all(&head)?;
    words.chunks(PIECE_WORDS).try_for_each(|piece| output.write_all(bytemuck::cast_slice(piece)))
}

fn fixed(identity: &Identity, words: usize) -> io::Result<Vec<u8>> {
    let count = |n: usize| u32::try_from(n).map_err(io::Error::other);
    let Identity { fingerprint, key, scope, ids } = identity;
    let mut head = MAGIC.to_vec();
    head.extend_from_slice(&VERSION.to_le_bytes());
    head.extend_from_slice(&count(ids.len())?.to_le_bytes());
    head.extend_from_slice(&u64::from(count(words)?).to_le_bytes());
    head.extend_from_slice(&[**fingerprint, **key, **scope].concat());
    Ok(head)
}

/// The rows of an entry in a file of `bytes` bytes, if it is whole and this one. `identity.scope` is not compared: the key
/// covers it. Errors: [`Doubt`], with nothing allocated that the real size of the file does not cover.
pub(super) fn read(file: &mut dyn Read, bytes: u64, identity: &Identity) -> Result<Vec<u32>, Doubt> {
    let mut head = vec![0; FIXED_BYTES];
    file.read_exact(&mut head)?;
    let fields = Fields::parse(&head).ok_or(Doubt::Damaged("the head"))?;
    if fields.version != VERSION {
        return Err(Doubt::Damaged("the version"));
    }
    let (ids, words) = (identity.ids.len(), fields.words);
    if usize::try_from(fields.ids).ok() != Some(ids) || file_bytes(ids, words) != Some(bytes) {
        return Err(Doubt::Damaged("the size"));
    }
    let rest = head_bytes(ids, words).and_then(|whole| whole.checked_sub(FIXED_BYTES));
    let rest = rest.ok_or(Doubt::Damaged("the size"))?;
    head.resize(FIXED_BYTES.saturating_add(rest), 0);
    let (_, unread) = head.split_at_mut(FIXED_BYTES);
    file.read_exact(unread)?;

    let (head, whole) = head.split_last_chunk::<DIGEST_BYTES>().ok_or(Doubt::Damaged("the size"))?;
    if digest(head) != *whole {
        return Err(Doubt::Damaged("the head's digest"));
    }
    let mut expected = fixed(&Identity { scope: &fields.scope, ..*identity }, words)?;
    expected.extend_from_slice(bytemuck::cast_slice(identity.ids));
    let digests = head.strip_prefix(expected.as_slice()).ok_or(Doubt::Damaged("what it belongs to"))?;

    let mut rows = vec![0u32; words];
    for (piece, expected) in rows.chunks_mut(PIECE_WORDS).zip(digests.chunks(DIGEST_BYTES)) {
        let piece: &mut [u8] = bytemuck::cast_slice_mut(piece);
        file.read_exact(piece)?;
        if digest(piece).as_slice() != expected {
            return Err(Doubt::Damaged("the rows"));
        }
    }
    Ok(rows)
}

/// What the head says before anything of it is believed.
struct Fields {
    version: u32,
    ids: u32,
    words: usize,
    scope: Digest,
}

impl Fields {
    fn parse(head: &[u8]) -> Option<Fields> {
        let head = head.strip_prefix(MAGIC)?;
        let (version, head) = head.split_first_chunk()?;
        let (ids, head) = head.split_first_chunk()?;
        let (words, head) = head.split_first_chunk()?;
        Some(Fields {
            version: u32::from_le_bytes(*version),
            ids: u32::from_le_bytes(*ids),
            words: usize::try_from(u64::from_le_bytes(*words)).ok()?,
            scope: *head.last_chunk()?,
        })
    }
}

fn digest(bytes: &[u8]) -> blake3::Hash {
    blake3::hash(bytes)
}
