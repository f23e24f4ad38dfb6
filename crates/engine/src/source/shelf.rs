//! The shelf: where each file of a share can be read, piece by piece. It can
//! grow and change while it is served from.
//!
//! Invariant: a piece of a file whose stamp is known is handed out only while
//! the file still has that stamp. Links are never followed.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};

use passalong_proto::tree::{PIECE_LEN, PieceHash, hash_count, piece_len};
use passalong_proto::wire::{PieceRef, SourceProblem};

use super::Stamp;

/// Where a file can be read.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) path: Arc<Path>,
    /// Bytes that the file has when it is whole.
    pub(crate) size: u64,
    /// What it was when it was hashed; `None` for a file that is being written.
    pub(crate) stamp: Option<Stamp>,
    /// Its piece hashes; none for a file of one piece or none, or as long as not all of
    /// them are known.
    pub(crate) hashes: Arc<[PieceHash]>,
}

/// The files of a share that are here, wholly or in part.
#[derive(Debug)]
pub(crate) struct Shelf {
    places: RwLock<Vec<Option<Arc<Place>>>>,
}

/// Reads pieces; remembers the file it read last.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    entry: u32,
    /// Where the file was when it was opened.
    place: Arc<Place>,
    file: File,
}

impl Shelf {
    /// A shelf for a share of so many entries, with nothing on it.
    pub(crate) fn empty(entries: usize) -> Shelf {
        Shelf {
            places: RwLock::new(vec![None; entries]),
        }
    }

    /// Says where a file can be read from now on.
    pub(crate) fn put(&self, entry: u32, place: Place) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = places.get_mut(entry as usize) {
            *slot = Some(Arc::new(place));
        }
    }

    /// Moves a file, and says where it can be read from then on. Whoever looks
    /// for it meanwhile waits.
    pub(crate) fn put_moved(
        &self,
        entry: u32,
        moving: impl FnOnce() -> io::Result<Place>,
    ) -> io::Result<Arc<Place>> {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let place = Arc::new(moving()?);
        if let Some(slot) = places.get_mut(entry as usize) {
            *slot = Some(Arc::clone(&place));
        }
        Ok(place)
    }

    /// The file cannot be read any more.
    pub(crate) fn remove(&self, entry: u32) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = places.get_mut(entry as usize) {
            *slot = None;
        }
    }

    /// Piece hashes of a file of several pieces, once they are all known.
    pub(crate) fn hashes(&self, entry: u32) -> Option<Arc<[PieceHash]>> {
        let place = self.place(entry)?;
        let known = place.hashes.len() == hash_count(place.size) as usize;
        known.then(|| Arc::clone(&place.hashes))
    }

    /// Reads one piece. Blocking.
    pub(crate) fn read(
        &self,
        reader: &mut Reader,
        piece: PieceRef,
    ) -> Result<Vec<u8>, SourceProblem> {
        let place = self.place(piece.entry).ok_or(SourceProblem::Vanished)?;
        self.read_at(place, reader, piece)
    }

    /// Reads from `place`, or from where the file is now if it is not there.
    fn read_at(
        &self,
        place: Arc<Place>,
        reader: &mut Reader,
        piece: PieceRef,
    ) -> Result<Vec<u8>, SourceProblem> {
        let mut outcome = reader.read(&place, piece);
        if outcome.is_err() {
            // It may have been given its final name a moment ago.
            let now = self.place(piece.entry).ok_or(SourceProblem::Vanished)?;
            if !Arc::ptr_eq(&now, &place) {
                outcome = reader.read(&now, piece);
            }
        }
        outcome.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SourceProblem::Vanished,
            io::ErrorKind::StaleNetworkFileHandle | io::ErrorKind::UnexpectedEof => {
                SourceProblem::Changed
            }
            _ => SourceProblem::Unreadable,
        })
    }

    fn place(&self, entry: u32) -> Option<Arc<Place>> {
        let places = self.places.read().unwrap_or_else(PoisonError::into_inner);
        places.get(entry as usize).cloned().flatten()
    }
}

impl Reader {
    fn read(&mut self, place: &Arc<Place>, piece: PieceRef) -> io::Result<Vec<u8>> {
        let mut open = match self.open.take() {
            // A file that was renamed since is the same file, if its stamp says so.
            Some(open) if open.entry == piece.entry && open.may_be(place) => open,
            _ => Open::at(piece.entry, place)?,
        };
        open.check(place)?;
        let length = piece_len(place.size, piece.piece) as usize;
        let mut bytes = vec![0; length];
        open.file
            .seek(SeekFrom::Start(u64::from(piece.piece) * PIECE_LEN))?;
        open.file.read_exact(&mut bytes)?;
        open.check(place)?;
        self.open = Some(open);
        Ok(bytes)
    }
}

impl Open {
    fn at(entry: u32, place: &Arc<Place>) -> io::Result<Open> {
        // A link put in the file's place is a change, whatever it points to.
        if !fs::symlink_metadata(&place.path)?.is_file() {
            return Err(io::ErrorKind::StaleNetworkFileHandle.into());
        }
        Ok(Open {
            entry,
            place: Arc::clone(place),
            file: File::open(&place.path)?,
        })
    }

    /// Whether the open file can stand for the one at `place`.
    fn may_be(&self, place: &Arc<Place>) -> bool {
        Arc::ptr_eq(&self.place, place) || (place.stamp.is_some() && self.check(place).is_ok())
    }

    fn check(&self, place: &Place) -> io::Result<()> {
        match place.stamp {
            Some(stamp) if Stamp::of(&self.file.metadata()?) != stamp => {
                Err(io::ErrorKind::StaleNetworkFileHandle.into())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PIECE: usize = PIECE_LEN as usize;

    fn place(path: &Path, stamp: bool) -> Place {
        Place {
            path: path.into(),
            size: 2 * PIECE_LEN,
            stamp: stamp.then(|| Stamp::of(&fs::metadata(path).unwrap())),
            hashes: Arc::new([PieceHash([1; 32]), PieceHash([2; 32])]),
        }
    }

    fn piece(piece: u32) -> PieceRef {
        PieceRef { entry: 1, piece }
    }

    /// A file of a piece of ones and a piece of twos.
    fn write(path: &Path) {
        fs::write(path, [vec![1; PIECE], vec![2; PIECE]].concat()).unwrap();
    }

    #[test]
    fn nothing_can_be_read_before_it_is_put_there_or_after_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path);
        let shelf = Shelf::empty(2);
        let mut reader = Reader::default();
        let missing = Err(SourceProblem::Vanished);
        assert_eq!(shelf.read(&mut reader, piece(0)), missing);
        shelf.put(1, place(&path, true));
        shelf.put(7, place(&path, true));
        assert_eq!(shelf.hashes(1).unwrap().len(), 2);
        assert!(shelf.hashes(0).is_none() && shelf.hashes(7).is_none());
        assert_eq!(shelf.read(&mut reader, piece(1)), Ok(vec![2; PIECE]));
        shelf.remove(1);
        assert_eq!(shelf.read(&mut reader, piece(1)), missing);
    }

    #[test]
    fn a_file_that_is_moved_while_it_is_read_goes_on_being_read() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("0.part"), dir.path().join("final"));
        write(&old);
        let shelf = Shelf::empty(2);
        shelf.put(1, place(&old, false));
        let mut open = Reader::default();
        assert_eq!(shelf.read(&mut open, piece(0)), Ok(vec![1; PIECE]));
        let moved = shelf.put_moved(1, || {
            fs::rename(&old, &new)?;
            Ok(place(&new, true))
        });
        assert_eq!(*moved.unwrap().path, *new);
        for mut reader in [open, Reader::default()] {
            assert_eq!(shelf.read(&mut reader, piece(1)), Ok(vec![2; PIECE]));
        }
    }

    #[test]
    fn whoever_finds_the_old_path_gone_looks_the_place_up_again() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("0.part"), dir.path().join("final"));
        write(&old);
        let shelf = Shelf::empty(2);
        shelf.put(1, place(&old, false));
        let looked_up = shelf.place(1).unwrap();
        fs::rename(&old, &new).unwrap();
        shelf.put(1, place(&new, true));
        let read = shelf.read_at(looked_up, &mut Reader::default(), piece(1));
        assert_eq!(read, Ok(vec![2; PIECE]));
    }

    #[test]
    fn a_move_that_fails_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path);
        let shelf = Shelf::empty(2);
        shelf.put(1, place(&path, true));
        let failed = shelf.put_moved(1, || Err(io::ErrorKind::StorageFull.into()));
        assert!(failed.is_err());
        let read = shelf.read(&mut Reader::default(), piece(0));
        assert_eq!(read, Ok(vec![1; PIECE]));
    }

    #[test]
    fn a_hashed_file_that_changed_is_not_handed_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        write(&path);
        let shelf = Shelf::empty(2);
        shelf.put(1, place(&path, true));
        let mut reader = Reader::default();
        assert_eq!(shelf.read(&mut reader, piece(0)), Ok(vec![1; PIECE]));
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(PIECE_LEN)
            .unwrap();
        for mut reader in [reader, Reader::default()] {
            let changed = Err(SourceProblem::Changed);
            assert_eq!(shelf.read(&mut reader, piece(0)), changed);
        }
    }

    #[test]
    fn a_partial_file_that_ends_before_the_piece_is_told_as_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.part");
        fs::write(&path, vec![1; PIECE + 5]).unwrap();
        let shelf = Shelf::empty(2);
        shelf.put(1, place(&path, false));
        let mut reader = Reader::default();
        let changed = Err(SourceProblem::Changed);
        assert_eq!(shelf.read(&mut reader, piece(1)), changed);
        assert_eq!(shelf.read(&mut reader, piece(0)), Ok(vec![1; PIECE]));
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_a_file_is_a_change() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a"), dir.path().join("link"));
        write(&path);
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let shelf = Shelf::empty(2);
        shelf.put(1, place(&link, true));
        let read = shelf.read(&mut Reader::default(), piece(0));
        assert_eq!(read, Err(SourceProblem::Changed));
    }
}
