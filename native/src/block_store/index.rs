//! Which entries there are, who has them, and which one goes first.
//!
//! Whoever holds most gives first, and gives what was used longest ago. So a scope alone may fill the cache, but where the
//! cache is full no scope takes another below an equal share.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::entry::Digest;

/// A digest of a scope, as file names carry it.
pub(super) type ScopeTag = [u8; 16];

/// The name of an entry: what it is, and whose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) digest: Digest,
    pub(super) scope: ScopeTag,
}

/// Nanoseconds since the store was opened; negative for entries that it found.
pub(super) type Moment = i64;

/// What the cache may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caps {
    pub(super) bytes: u64,
    pub(super) entries: usize,
}

#[derive(Debug)]
struct Entry {
    scope: ScopeTag,
    bytes: u64,
    used: Moment,
}

/// What one scope holds, oldest use first.
#[derive(Debug, Default)]
struct Share {
    bytes: u64,
    order: BTreeSet<(Moment, Digest)>,
}

/// The entries of a folder.
#[derive(Debug, Default)]
pub(super) struct Index {
    entries: HashMap<Digest, Entry>,
    shares: HashMap<ScopeTag, Share>,
    bytes: u64,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The full name of an entry that is there.
    pub(super) fn name(&self, digest: &Digest) -> Option<Name> {
        self.entries.get(digest).map(|entry| Name { digest: *digest, scope: entry.scope })
    }

    /// Adds an entry; false where there is one already.
    pub(super) fn insert(&mut self, name: Name, bytes: u64, used: Moment) -> bool {
        if self.entries.contains_key(&name.digest) {
            return false;
        }
        self.entries.insert(name.digest, Entry { scope: name.scope, bytes, used });
        let share = self.shares.entry(name.scope).or_default();
        share.order.insert((used, name.digest));
        share.bytes = share.bytes.saturating_add(bytes);
        self.bytes = self.bytes.saturating_add(bytes);
        true
    }

    /// Forgets an entry, if it is there.
    pub(super) fn remove(&mut self, digest: &Digest) {
        let Some(Entry { scope, bytes, used }) = self.entries.remove(digest) else { return };
        self.bytes = self.bytes.saturating_sub(bytes);
        if let Some(share) = self.shares.get_mut(&scope) {
            share.order.remove(&(used, *digest));
            share.bytes = share.bytes.saturating_sub(bytes);
            if share.order.is_empty() {
                self.shares.remove(&scope);
            }
        }
    }

    /// Makes an entry the one used last.
    pub(super) fn touch(&mut self, digest: &Digest, now: Moment) {
        let Some(entry) = self.entries.get_mut(digest) else { return };
        if let Some(share) = self.shares.get_mut(&entry.scope) {
            share.order.remove(&(entry.used, *digest));
            share.order.insert((now, *digest));
        }
        entry.used = now;
    }

    /// An entry that was not used since a moment.
    pub(super) fn unused_since(&self, moment: Moment) -> Option<Name> {
        let oldest = self.shares.iter().filter_map(|(scope, share)| Some((share.order.first()?, scope))).min()?;
        let ((used, digest), scope) = oldest;
        (*used < moment).then_some(Name { digest: *digest, scope: *scope })
    }

    /// The entry that has to go before one of `bytes` for `scope` fits, or, without such a newcomer, before the caps hold.
    pub(super) fn victim(&self, caps: Caps, newcomer: Option<(ScopeTag, u64)>) -> Option<Name> {
        let more = newcomer.map_or(0, |(_, bytes)| bytes);
        let by_bytes = self.bytes.saturating_add(more) > caps.bytes;
        let by_count = self.len().saturating_add(usize::from(newcomer.is_some())) > caps.entries;
        if !by_bytes && !by_count {
            return None;
        }
        let (scope, share) = self.shares.iter().max_by_key(|(scope, share)| {
            let own = newcomer.is_some_and(|(newcomer, _)| newcomer == **scope);
            let held = if by_bytes {
                share.bytes.saturating_add(if own { more } else { 0 })
            } else {
                u64::try_from(share.order.len()).unwrap_or(u64::MAX).saturating_add(u64::from(own))
            };
            (held, own, Reverse(share.order.first()))
        })?;
        share.order.first().map(|(_, digest)| Name { digest: *digest, scope: *scope })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(entry: u8, scope: u8) -> Name {
        Name { digest: [entry; 32], scope: [scope; 16] }
    }

    fn with(entries: &[(u8, u8, u64)]) -> Index {
        let mut index = Index::default();
        for (used, &(entry, scope, bytes)) in (0..).zip(entries) {
            assert!(index.insert(name(entry, scope), bytes, used));
        }
        index
    }

    #[test]
    fn what_was_used_longest_ago_goes_first() {
        let mut index = with(&[(1, 0, 10), (2, 0, 10), (3, 0, 10)]);
        let caps = Caps { bytes: 30, entries: 9 };
        assert_eq!(index.victim(caps, None), None);
        assert_eq!(index.victim(caps, Some(([0; 16], 1))), Some(name(1, 0)));
        index.touch(&[1; 32], 9);
        assert_eq!(index.victim(caps, Some(([0; 16], 1))), Some(name(2, 0)));
        index.remove(&[2; 32]);
        assert_eq!((index.victim(caps, Some(([0; 16], 10))), index.bytes(), index.len()), (None, 20, 2));
        assert_eq!(index.victim(Caps { bytes: 30, entries: 2 }, Some(([0; 16], 1))), Some(name(3, 0)));
    }

    #[test]
    fn no_scope_takes_another_below_an_equal_share() {
        // Scope 1 was there first with three entries; scope 2 then writes without end.
        let mut index = with(&[(1, 1, 10), (2, 1, 10), (3, 1, 10)]);
        let caps = Caps { bytes: 60, entries: 100 };
        for entry in 10..200 {
            while let Some(victim) = index.victim(caps, Some(([2; 16], 10))) {
                assert_eq!(victim.scope, [2; 16], "entry {entry}");
                index.remove(&victim.digest);
            }
            assert!(index.insert(name(entry, 2), 10, i64::from(entry)));
            assert!(index.bytes() <= caps.bytes);
        }
        // A third one gets its share from the two, not from one.
        let mut lost = Vec::new();
        for entry in [200, 201] {
            while let Some(victim) = index.victim(caps, Some(([3; 16], 10))) {
                lost.push(victim.scope[0]);
                index.remove(&victim.digest);
            }
            index.insert(name(entry, 3), 10, i64::from(entry));
        }
        lost.sort_unstable();
        assert_eq!(lost, [1, 2]);
    }

    #[test]
    fn ages_are_found_across_scopes() {
        let index = with(&[(1, 1, 10), (2, 2, 10)]);
        assert_eq!(index.unused_since(0), None);
        assert_eq!(index.unused_since(1), Some(name(1, 1)));
    }

    #[test]
    fn an_entry_counts_once() {
        let mut index = with(&[(1, 0, 10)]);
        assert!(!index.insert(name(1, 5), 7, 3));
        index.remove(&[1; 32]);
        index.remove(&[1; 32]);
        assert_eq!((index.bytes(), index.len(), index.victim(Caps { bytes: 0, entries: 0 }, None)), (0, 0, None));
    }
}
