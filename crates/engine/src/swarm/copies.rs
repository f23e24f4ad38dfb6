//! How many copies of what are online, and what closing the app would mean.

use std::collections::HashSet;

use passalong_proto::keys::DeviceId;
use passalong_proto::pieces::{PieceMap, PieceSet};

use super::Swarm;
use crate::api::{CopiesView, Safety};

/// Runs of pieces that are shown.
const CELLS: u32 = 240;
/// Knocks passed on are counted over so many ticks.
const FORWARD_TICKS: u32 = 100;

impl Swarm {
    /// Rates, and what was allowed for a while.
    pub(super) fn people_tick(&mut self) {
        let forget = self.ticks.is_multiple_of(FORWARD_TICKS);
        for (key, link) in &mut self.links {
            if let Some(made) = &mut link.made {
                if forget {
                    made.forwards = 0;
                }
                self.people.tick(link.device, self.fetch.rate_from(*key));
            }
        }
    }

    /// Looks who holds what.
    pub(super) fn count(&mut self) {
        let now = self.now();
        let Some(pieces) = self.fetch.pieces().cloned() else {
            return;
        };
        let all = self.fetch.manifest().map_or(0, |manifest| manifest.bytes());
        let none = PieceSet::none(pieces.count());
        let mut own = self.fetch.held().unwrap_or(&none).clone();
        if self.maker.is_some() {
            own = PieceSet::all(pieces.count());
        }
        self.membership.set_own(
            self.context.name(),
            own.count(),
            own.is_full() || self.complete,
            self.context.addresses(),
        );
        let mut elsewhere = vec![0u8; pieces.count() as usize];
        let mut complete = Vec::new();
        let mut wanting = false;
        let mut linked: Vec<(DeviceId, u32, bool)> = Vec::new();
        for (device, key) in &self.linked {
            let holdings = self
                .fetch
                .holdings(*key)
                .filter(|_| self.fetch.listed_by(*key));
            let Some(holdings) = holdings else {
                wanting |= !self.people.is_complete(*device);
                continue;
            };
            for number in holdings.iter() {
                if let Some(copies) = elsewhere.get_mut(number as usize) {
                    *copies = copies.saturating_add(1);
                }
            }
            let full = holdings.is_full();
            linked.push((*device, holdings.count(), full));
            if full {
                self.people.holds_all(*device, all);
                complete.extend(self.people.name(*device));
            } else if !self.people.is_complete(*device) {
                wanting = true;
            }
        }
        for (device, count, full) in linked {
            let done = full || self.people.is_complete(device);
            self.membership.holds(device, count, done, now);
        }
        self.show_known(&pieces, all);
        self.copies = copies_view(&pieces, &own, &elsewhere);
        self.safety = safety(&pieces, &own, &elsewhere, complete, wanting, all);
    }

    fn show_known(&mut self, pieces: &PieceMap, all: u64) {
        let now = self.now();
        let mut known = HashSet::new();
        for member in self.membership.members(now).filter(|member| !member.linked) {
            known.insert(member.device.short());
            let share = u64::from(member.pieces.min(pieces.count()));
            let bytes = (u128::from(all) * u128::from(share))
                .checked_div(u128::from(pieces.count()))
                .and_then(|bytes| u64::try_from(bytes).ok())
                .unwrap_or(0);
            self.people
                .known(member.device, &member.name, bytes, all, member.complete);
        }
        self.people.keep_known(|id| known.contains(id));
    }
}

fn copies_view(pieces: &PieceMap, own: &PieceSet, elsewhere: &[u8]) -> CopiesView {
    let count = pieces.count();
    let cells = count.min(CELLS);
    let edge = |cell: u32| (u64::from(cell) * u64::from(count) / u64::from(cells.max(1))) as u32;
    let mut view = CopiesView {
        pieces: count,
        cells: Vec::with_capacity(cells as usize),
        mine: Vec::with_capacity(cells as usize),
    };
    for cell in 0..cells {
        let run = edge(cell)..edge(cell + 1);
        let length = run.len().max(1);
        let mut rarest = u8::MAX;
        let mut mine = 0;
        for number in run {
            let here = own.contains(number);
            mine += usize::from(here);
            let others = elsewhere.get(number as usize).copied().unwrap_or(0);
            rarest = rarest.min(others.saturating_add(u8::from(here)));
        }
        view.cells.push(rarest);
        view.mine.push((mine * 100 / length) as u8);
    }
    view
}

fn safety(
    pieces: &PieceMap,
    own: &PieceSet,
    elsewhere: &[u8],
    complete: Vec<String>,
    wanting: bool,
    all: u64,
) -> Safety {
    if !complete.is_empty() {
        return Safety::Safe { complete };
    }
    if !wanting {
        return Safety::Nobody;
    }
    let only: u64 = own
        .iter()
        .filter(|number| elsewhere.get(*number as usize) == Some(&0))
        .map(|number| u64::from(pieces.len(number)))
        .sum();
    if only == 0 {
        return Safety::SafeTogether;
    }
    let percent = (u128::from(only) * 100).div_ceil(u128::from(all.max(1)));
    Safety::OnlyYou {
        bytes: only,
        percent: percent.min(100) as u8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use passalong_proto::manifest::{Content, Entry, EntryKind, Manifest};
    use passalong_proto::safe_path::SafePath;
    use passalong_proto::tree::{PIECE_LEN, Root};

    fn pieces(count: u32) -> PieceMap {
        let entry = Entry {
            path: SafePath::parse("a").expect("a path"),
            kind: EntryKind::File {
                size: u64::from(count) * PIECE_LEN,
                content: Content::Hashed(Root([0; 32])),
                modified: None,
            },
        };
        PieceMap::of(&Manifest::new("", vec![entry]).expect("a list")).expect("a map")
    }

    #[test]
    fn a_long_share_is_shown_in_runs_by_its_rarest_piece() {
        let map = pieces(100_000);
        let mut own = PieceSet::none(100_000);
        own.insert(0);
        let mut elsewhere = vec![2; 100_000];
        elsewhere[1] = 0;
        let view = copies_view(&map, &own, &elsewhere);
        assert_eq!((view.pieces, view.cells.len()), (100_000, 240));
        assert_eq!((view.cells[0], view.cells[1]), (0, 2));
        assert_eq!(view.mine[0], 0);
        let short = copies_view(&pieces(3), &PieceSet::all(3), &[0, 1, 2]);
        assert_eq!(short.cells, [1, 2, 3]);
        assert_eq!(short.mine, [100, 100, 100]);
    }

    #[test]
    fn what_closing_means_follows_from_who_holds_what() {
        let map = pieces(10);
        let all = 10 * PIECE_LEN;
        let own = PieceSet::all(10);
        let told = |elsewhere: &[u8], complete: &[&str], wanting| {
            let complete = complete.iter().map(|name| (*name).to_owned()).collect();
            safety(&map, &own, elsewhere, complete, wanting, all)
        };
        assert_eq!(told(&[0; 10], &[], false), Safety::Nobody);
        assert_eq!(told(&[1; 10], &[], true), Safety::SafeTogether);
        let complete = vec!["Ben".to_owned()];
        assert_eq!(told(&[1; 10], &["Ben"], true), Safety::Safe { complete });
        let some = [1, 1, 1, 1, 1, 1, 0, 0, 0, 0];
        let bytes = 4 * PIECE_LEN;
        assert_eq!(
            told(&some, &[], true),
            Safety::OnlyYou { bytes, percent: 40 }
        );
    }
}
