//! Bodies in the making.
//!
//! In: a body, piece by piece. Out: its bytes. Small ones are nobody's trouble; what all others take together has a bound, and
//! grows with what has come, not with what was announced. Memory is mapped for each large body apart, so that it goes back to
//! the system with the body.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use bytes::Bytes;
use memmap2::MmapMut;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::refusal::Refusal;

/// All large bodies together.
const ROOM: usize = 192 << 20;
/// Room is taken by such pieces. Bodies of one piece take none.
const PIECE: usize = 64 << 10;
/// How long a body waits for more room.
const WAIT: Duration = Duration::from_secs(5);

static ALL: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(ROOM / PIECE)));

/// A body of which a part has come.
pub(super) struct Gather {
    room: Arc<Semaphore>,
    /// Bytes at most.
    most: usize,
    small: Vec<u8>,
    large: Option<Large>,
}

/// What has come, in memory of its own.
struct Large {
    memory: MmapMut,
    filled: usize,
    /// Gives its room back with the bytes.
    taken: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Large {
    fn as_ref(&self) -> &[u8] {
        self.memory.get(..self.filled).unwrap_or_default()
    }
}

impl Gather {
    /// A body of at most so many bytes.
    pub(super) fn new(most: u64) -> Gather {
        Gather::within(Arc::clone(&ALL), most)
    }

    fn within(room: Arc<Semaphore>, most: u64) -> Gather {
        Gather { room, most: usize::try_from(most).unwrap_or(usize::MAX), small: vec![], large: None }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.large.as_ref().map_or(self.small.len(), |large| large.filled)
    }

    /// Takes the next piece, which does not go beyond the most. Errors: 503 where there is no room for long.
    pub(super) async fn push(&mut self, data: &[u8]) -> Result<(), Refusal> {
        let filled = self.len() + data.len();
        if self.large.is_none() && filled <= PIECE {
            self.small.extend_from_slice(data);
            return Ok(());
        }
        let full = || {
            let message = "too many large requests at once; try again later";
            Refusal::unavailable("overloaded", message).closing()
        };
        let held = self.large.as_ref().map_or(0, |large| large.taken.num_permits());
        // One body alone has its room, however large bodies may be.
        let wanted = filled.div_ceil(PIECE).min(ROOM / PIECE).saturating_sub(held);
        let more = Arc::clone(&self.room).acquire_many_owned(u32::try_from(wanted).unwrap_or(u32::MAX));
        let more = timeout(WAIT, more).await.ok().and_then(Result::ok).ok_or_else(full)?;
        let large = match &mut self.large {
            Some(large) => {
                large.taken.merge(more);
                large
            }
            None => {
                let mut memory = MmapMut::map_anon(self.most.max(PIECE)).map_err(|_| full())?;
                let small = std::mem::take(&mut self.small);
                memory.get_mut(..small.len()).ok_or_else(full)?.copy_from_slice(&small);
                self.large.insert(Large { memory, filled: small.len(), taken: more })
            }
        };
        large.memory.get_mut(large.filled..filled).ok_or_else(full)?.copy_from_slice(data);
        large.filled = filled;
        Ok(())
    }

    /// The whole body. Its room is taken for as long as the bytes live.
    pub(super) fn finish(self) -> Bytes {
        self.large.map_or_else(|| self.small.into(), Bytes::from_owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn large_bodies_share_their_room_and_give_it_back() {
        let room = Arc::new(Semaphore::new(4));
        let piece = vec![7; PIECE];
        let mut one = Gather::within(Arc::clone(&room), 3 * PIECE as u64);
        one.push(&piece).await.unwrap();
        assert_eq!(room.available_permits(), 4);
        one.push(&piece[1..]).await.unwrap();
        one.push(b"x").await.unwrap();
        one.push(&piece).await.unwrap();
        assert_eq!((one.len(), room.available_permits()), (3 * PIECE, 1));

        let mut other = Gather::within(Arc::clone(&room), 1 << 40);
        other.push(b"small").await.unwrap();
        let refused = other.push(&piece).await.unwrap_err();
        assert_eq!(refused.status().as_u16(), 503);

        let bytes = one.finish();
        assert_eq!(bytes, [&[&piece[..], &piece[1..], b"x"].concat()[..], &piece].concat());
        let half = bytes.slice(PIECE..);
        drop(bytes);
        assert_eq!(room.available_permits(), 1);
        drop(half);
        assert_eq!(room.available_permits(), 4);
        let mut next = Gather::within(Arc::clone(&room), 2 * PIECE as u64);
        next.push(&[&piece[..], &piece].concat()).await.unwrap();
        assert_eq!(next.finish().len(), 2 * PIECE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_waits_a_little_for_room_and_takes_it_by_pieces() {
        let room = Arc::new(Semaphore::new(3));
        let mut body = Gather::within(Arc::clone(&room), 4 * PIECE as u64);
        for (bytes, left) in [(PIECE, 3), (1, 1), (PIECE - 1, 1), (1, 0), (PIECE - 1, 0)] {
            body.push(&vec![7; bytes]).await.unwrap();
            assert_eq!((body.len() > PIECE, room.available_permits()), (left < 3, left), "{} bytes", body.len());
        }
        let began = tokio::time::Instant::now();
        let refused = body.push(b"x").await.unwrap_err();
        assert_eq!(
            (refused.status().as_u16(), refused.message()),
            (503, "too many large requests at once; try again later")
        );
        assert_eq!((began.elapsed(), body.len()), (WAIT, 3 * PIECE));
        let (more, ()) = tokio::join!(body.push(b"x"), async {
            tokio::time::sleep(WAIT - Duration::from_secs(1)).await;
            room.add_permits(1);
        });
        assert!(more.is_ok() && body.len() == 3 * PIECE + 1);
        let bytes = body.finish();
        assert!(
            bytes.len() == 3 * PIECE + 1
                && bytes[..3 * PIECE].iter().all(|&byte| byte == 7)
                && bytes[3 * PIECE] == b'x'
        );
        // What is more than was announced has no place, whoever let it through.
        let mut short = Gather::within(room, 2 * PIECE as u64);
        assert!(short.push(&vec![7; 2 * PIECE + 1]).await.is_err());
        assert_eq!(Gather::new(5).finish(), "");
    }
}
