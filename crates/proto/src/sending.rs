//! The order in which the requests of several peers are answered: of what a peer
//! asked for, first what is rarest and not on its way to somebody else, so that
//! those who fetch the same thing soon have different parts of it to pass on.
//!
//! Nobody is put off for longer than [`PATIENCE`], and only while somebody is sent
//! to. Who may be sent to at all is decided by [`crate::slots`]; sending is not
//! done here.

use std::time::Duration;

/// How long a peer waits at most because all that it asked for is on its way to
/// somebody else.
pub const PATIENCE: Duration = Duration::from_secs(2);

/// What is being sent to whom. `K` names a peer.
#[derive(Clone, Debug)]
pub struct Sending<K> {
    under_way: Vec<(K, u32)>,
}

impl<K> Default for Sending<K> {
    fn default() -> Self {
        Sending {
            under_way: Vec::new(),
        }
    }
}

impl<K: PartialEq> Sending<K> {
    /// Nothing is being sent.
    pub fn new() -> Sending<K> {
        Sending::default()
    }

    /// Which of the requests of a peer, pieces by number in the order in which they
    /// were made, to answer next: its place in the queue. `None` if there is none,
    /// or if the peer is better off waiting: to be asked again when something was
    /// sent to somebody, or soon.
    ///
    /// `copies` tells how many connected peers hold a piece, `waited` for how long
    /// the peer has been waiting.
    pub fn choose(
        &self,
        peer: &K,
        queue: impl IntoIterator<Item = u32>,
        copies: impl Fn(u32) -> u32,
        waited: Duration,
    ) -> Option<usize> {
        let others = |piece: u32| {
            let others = self.under_way.iter().filter(|(key, _)| key != peer);
            others.filter(|(_, sent)| *sent == piece).count()
        };
        let ranked = queue.into_iter().enumerate().map(|(place, piece)| {
            let others = others(piece);
            ((others, copies(piece), place), place)
        });
        let ((others, _, _), place) = ranked.min()?;
        (others == 0 || waited >= PATIENCE).then_some(place)
    }

    /// A piece is being sent to a peer from now on.
    pub fn begin(&mut self, peer: K, piece: u32) {
        self.under_way.push((peer, piece));
    }

    /// A piece was sent to a peer, or is not any more.
    pub fn end(&mut self, peer: &K, piece: u32) {
        let mut under_way = self.under_way.iter();
        let place = under_way.position(|(key, sent)| key == peer && *sent == piece);
        if let Some(place) = place {
            self.under_way.swap_remove(place);
        }
    }

    /// A peer is gone.
    pub fn left(&mut self, peer: &K) {
        self.under_way.retain(|(key, _)| key != peer);
    }
}
