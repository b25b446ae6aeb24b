//! Pages of the cache: who uses them, and which hold the beginning of a known text.
//!
//! A block is the content of a full page. Its key is a hash of all ids up to its end and of a scope, so that equal keys mean
//! equal rows in every layer. A page that nobody uses keeps its block until its memory is needed.

use std::collections::{BTreeMap, HashMap};

use sha2::{Digest, Sha256};

use crate::model::cache::PAGE;

/// Names a block by everything that its rows depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key([u8; 32]);

impl Key {
    /// Of the empty text in a scope: texts of different scopes share nothing.
    pub(crate) fn root(scope: &[u8]) -> Key {
        Key(Sha256::digest(scope).into())
    }

    /// Of the block that follows.
    pub fn next(&self, ids: &[u32]) -> Key {
        let mut hash = Sha256::new_with_prefix(self.0);
        hash.update(ids.len().to_le_bytes());
        ids.iter().for_each(|id| hash.update(id.to_le_bytes()));
        Key(hash.finalize().into())
    }

    /// Keys of all full blocks of a text, `self` being that of what comes before it.
    pub(crate) fn chain(self, ids: &[u32]) -> Vec<Key> {
        let blocks = ids.chunks_exact(PAGE as usize);
        let keys = blocks.scan(self, |key, block| {
            *key = key.next(block);
            Some(*key)
        });
        keys.collect()
    }

    /// The hash itself.
    pub const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A block outside of the device's memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// Its name.
    pub key: Key,
    /// Its 64 ids.
    pub ids: Vec<u32>,
    /// Of whose texts it is a part: see [`Request::scope`](super::Request::scope).
    pub scope: Vec<u8>,
    /// Its rows of every layer, in the order of the layers: latents with rope keys, then index keys where there are any.
    pub words: Vec<u32>,
}

#[derive(Debug)]
pub(crate) struct Pages {
    pages: Vec<Page>,
    /// Without users or a block.
    free: Vec<u32>,
    /// Without users, with a block: the one that was left first goes first.
    idle: BTreeMap<u64, u32>,
    blocks: HashMap<Key, u32>,
    clock: u64,
}

#[derive(Clone, Debug, Default)]
struct Page {
    users: u32,
    block: Option<Key>,
    idle_since: u64,
}

impl Pages {
    pub(crate) fn new(count: u32) -> Pages {
        Pages {
            pages: vec![Page::default(); count as usize],
            free: (0..count).rev().collect(),
            idle: BTreeMap::new(),
            blocks: HashMap::new(),
            clock: 0,
        }
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.pages.len()).unwrap_or(u32::MAX)
    }

    /// Pages that [`Pages::take`] can still give.
    pub(crate) fn available(&self) -> u32 {
        u32::try_from(self.free.len() + self.idle.len()).unwrap_or(u32::MAX)
    }

    /// A page for one user; a block that nobody uses may be lost for it.
    pub(crate) fn take(&mut self) -> Option<u32> {
        let page = match self.free.pop() {
            Some(page) => page,
            None => {
                let (_, page) = self.idle.pop_first()?;
                self.forget(page);
                page
            }
        };
        self.pages[page as usize].users = 1;
        Some(page)
    }

    /// One more user of a page.
    pub(crate) fn share(&mut self, page: u32) {
        let entry = &mut self.pages[page as usize];
        if entry.users == 0 {
            self.idle.remove(&entry.idle_since);
        }
        entry.users += 1;
    }

    /// One user less. Of several pages the last of a text goes first: a block without those before it is of no use.
    pub(crate) fn release(&mut self, page: u32) {
        self.clock += 1;
        let entry = &mut self.pages[page as usize];
        entry.users -= 1;
        match (entry.users, entry.block) {
            (0, None) => self.free.push(page),
            (0, Some(_)) => {
                entry.idle_since = self.clock;
                self.idle.insert(self.clock, page);
            }
            _ => {}
        }
    }

    /// Whether taking part in this page takes it from those available.
    pub(crate) fn is_idle(&self, page: u32) -> bool {
        self.pages[page as usize].users == 0
    }

    /// Says what a full page holds; its rows are not to change from now on. True where it was not known from another page.
    pub(crate) fn publish(&mut self, page: u32, key: Key) -> bool {
        let is_new = !self.blocks.contains_key(&key) && self.pages[page as usize].block.is_none();
        if is_new {
            self.pages[page as usize].block = Some(key);
            self.blocks.insert(key, page);
        }
        is_new
    }

    /// The page that holds a block.
    pub(crate) fn find(&self, key: &Key) -> Option<u32> {
        self.blocks.get(key).copied()
    }

    /// Forgets every block.
    pub(crate) fn clear(&mut self) {
        self.blocks.clear();
        self.pages.iter_mut().for_each(|page| page.block = None);
        self.free.extend(std::mem::take(&mut self.idle).into_values().rev());
    }

    fn forget(&mut self, page: u32) {
        if let Some(key) = self.pages[page as usize].block.take() {
            self.blocks.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(from: u32) -> Vec<u32> {
        (from..from + PAGE).collect()
    }

    #[test]
    fn keys_depend_on_scope_and_on_everything_before() {
        let text = [ids(0), ids(100), vec![7]].concat();
        let chain = Key::root(b"a").chain(&text);
        assert_eq!(chain.len(), 2, "only full blocks have keys");
        assert_ne!(chain[0], Key::root(b"b").chain(&text)[0]);
        assert_eq!(chain[0], Key::root(b"a").chain(&ids(0))[0]);
        assert_ne!(chain[1], Key::root(b"a").chain(&ids(100))[0]);
        assert_eq!(chain[1], chain[0].next(&ids(100)));
    }

    #[test]
    fn a_block_outlives_its_users_until_the_memory_is_needed() {
        let mut pages = Pages::new(3);
        let keys = Key::root(b"").chain(&[ids(0), ids(64)].concat());
        let (first, second) = (pages.take().unwrap(), pages.take().unwrap());
        pages.publish(first, keys[0]);
        pages.publish(second, keys[1]);
        pages.share(first);
        [second, first].into_iter().for_each(|page| pages.release(page));
        assert_eq!((pages.find(&keys[0]), pages.available()), (Some(first), 2), "one is in use, one idle, one free");
        pages.release(first);
        assert_eq!(pages.available(), 3);
        assert_eq!((pages.take(), pages.take()), (Some(2), Some(second)), "free ones first, then the end of the text");
        assert_eq!((pages.find(&keys[0]), pages.find(&keys[1])), (Some(first), None));
        pages.share(first);
        assert_eq!(pages.take(), None);
    }

    #[test]
    fn a_block_has_one_page() {
        let mut pages = Pages::new(2);
        let key = Key::root(b"").next(&ids(0));
        let (first, second) = (pages.take().unwrap(), pages.take().unwrap());
        pages.publish(first, key);
        pages.publish(second, key);
        [first, second].into_iter().for_each(|page| pages.release(page));
        assert_eq!(pages.find(&key), Some(first));
        pages.clear();
        assert_eq!((pages.find(&key), pages.available()), (None, 2));
    }
}
