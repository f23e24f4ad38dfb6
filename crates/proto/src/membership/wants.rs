//! What a member looks for in its next link: somebody who has what it lacks, or
//! lacks what it has, and a few links in any case so that the swarm hangs together.

use super::known::Known;
use super::{MAX_LINKS, MIN_LINKS, TARGET_LINKS};

/// What kind of link is looked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wants {
    /// One link is enough, with anybody.
    pub(super) one: bool,
    /// Links and attempts.
    pub(super) total: usize,
    /// The same without those that do neither side much good.
    pub(super) useful: usize,
    /// This side is complete.
    pub(super) complete: bool,
    /// Nobody linked has more than this side, which is not complete.
    pub(super) behind: bool,
    /// Pieces held here.
    pub(super) pieces: u32,
}

impl Wants {
    /// Whether anybody is looked for at all.
    pub(super) fn anybody(&self) -> bool {
        if self.one {
            self.total == 0
        } else {
            self.useful < TARGET_LINKS && self.total < MAX_LINKS
                || self.behind && self.total < TARGET_LINKS + 2
        }
    }

    /// Whether a member is somebody to be linked with.
    pub(super) fn whom(&self, known: &Known) -> bool {
        let links = usize::from(known.links);
        if self.one || self.total == 0 {
            return true;
        }
        if links >= MAX_LINKS {
            return false;
        }
        if self.complete && known.complete {
            return self.total < MIN_LINKS;
        }
        if self.total < TARGET_LINKS {
            return true;
        }
        if self.complete {
            // More than the usual only for those who lack links as well.
            links < TARGET_LINKS
        } else {
            self.behind && (known.complete || known.pieces > self.pieces)
        }
    }
}
