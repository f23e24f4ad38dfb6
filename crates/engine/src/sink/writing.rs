//! Pieces as they come: verified, written, and the file published when the last
//! one is there. Nothing that somebody else wrote into an unfinished file gets
//! a final name unread.

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use passalong_proto::manifest::Content;
use passalong_proto::tree::{FileHashes, PIECE_LEN, piece_count, piece_len};
use passalong_proto::wire::PieceRef;

use super::handles::has_other_names;
use super::{Done, Held, Proof, Sink};
use crate::api::{Problem, ProblemCode};
use crate::source::{Place, Stamp};

/// A file some of whose pieces may be here.
pub(super) struct Unfinished {
    pub(super) path: Arc<Path>,
    pub(super) hashes: Proof,
    pub(super) held: Held,
    /// As this sink left it; `None` before it was ever opened.
    pub(super) stamp: Option<Stamp>,
    /// Something else wrote to it since it was verified.
    pub(super) suspect: bool,
    /// As in [`crate::store::StoredFile`].
    pub(super) boot: Option<String>,
}

impl Unfinished {
    pub(super) fn new(path: PathBuf, hashes: Proof) -> Self {
        let held = Held::none(piece_count(hashes.size()));
        Unfinished {
            path: path.into(),
            hashes,
            held,
            stamp: None,
            suspect: false,
            boot: None,
        }
    }
}

impl Sink {
    /// Takes an unfinished file on: what is held of it can be read from now on.
    pub(super) fn take_on(&mut self, entry: u32, unfinished: Unfinished) {
        let place = Place {
            path: unfinished.path.clone(),
            size: unfinished.hashes.size(),
            stamp: None,
            hashes: unfinished.hashes.pieces().into(),
        };
        self.plan.shelf.put(entry, place);
        self.unfinished.insert(entry, unfinished);
    }

    pub(super) fn resume(&mut self, entry: u32, hashes: Arc<FileHashes>) -> Result<(), Problem> {
        if self.whole.contains_key(&entry) {
            let stored = (0..piece_count(hashes.size())).collect();
            self.tell(Done::Resumed { entry, stored });
            return Ok(());
        }
        if let Some(mut unfinished) = self.unfinished.remove(&entry) {
            if let Proof::Signed(_) = unfinished.hashes {
                // The hashes agree with those that were signed.
                unfinished.hashes = hashes.into();
                self.record.touch(entry);
            }
            self.take_on(entry, unfinished);
        } else {
            let path = self.partial_path(entry);
            let mut unfinished = Unfinished::new(path.clone(), hashes.into());
            self.verify(entry, &mut unfinished, |_| {})
                .map_err(|e| Problem::disk(&path, &e))?;
            self.take_on(entry, unfinished);
            self.record.touch(entry);
        }
        let held = self.unfinished.get(&entry).map(|file| &file.held);
        let stored = held.map(|held| held.iter().collect()).unwrap_or_default();
        let complete = held.is_some_and(Held::is_full);
        self.tell(Done::Resumed { entry, stored });
        if complete {
            self.finish_file(entry)
        } else {
            Ok(())
        }
    }

    /// Reads what is there of a file and holds exactly the pieces that verify.
    /// Left as it was when cancelled: the flag then says so.
    pub(super) fn verify(
        &self,
        entry: u32,
        unfinished: &mut Unfinished,
        mut read: impl FnMut(u64),
    ) -> io::Result<()> {
        let size = unfinished.hashes.size();
        let mut held = Held::none(piece_count(size));
        let stamp = match fs::symlink_metadata(&unfinished.path) {
            Ok(metadata) if metadata.is_file() => {
                let mut file = File::open(&unfinished.path)?;
                let stamp = Stamp::of(&file.metadata()?);
                let mut buffer = vec![0; PIECE_LEN as usize];
                for index in 0..piece_count(stamp.size().min(size)) {
                    let bytes = &mut buffer[..piece_len(size, index) as usize];
                    match file.read_exact(bytes) {
                        Ok(()) => {}
                        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break,
                        Err(error) => return Err(error),
                    }
                    if self.verifies(entry, &unfinished.hashes, index, bytes) {
                        held.insert(index);
                    }
                    read(bytes.len() as u64);
                    if self.is_cancelled() {
                        return Ok(());
                    }
                }
                Some(stamp)
            }
            // It will be made anew.
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        unfinished.held = held;
        unfinished.stamp = stamp;
        unfinished.suspect = false;
        unfinished.boot = stamp.map(|_| self.record.boot());
        Ok(())
    }

    pub(super) fn store(&mut self, piece: PieceRef, bytes: &[u8]) -> Result<(), Problem> {
        let PieceRef {
            entry,
            piece: index,
        } = piece;
        if !self.unfinished.contains_key(&entry) && !self.whole.contains_key(&entry) {
            let Some(unfinished) = self.begin_file(piece) else {
                return Ok(());
            };
            self.take_on(entry, unfinished);
        }
        let boot = self.record.boot();
        let proof = self.unfinished.get(&entry).map(|file| &file.hashes);
        let verified = proof.is_some_and(|proof| self.verifies(entry, proof, index, bytes));
        let Some(unfinished) = self.unfinished.get_mut(&entry) else {
            return Ok(());
        };
        if !verified {
            self.tell(Done::Rejected { piece });
            return Ok(());
        }
        if !unfinished.held.contains(index) {
            self.handles
                .file(entry, &unfinished.path)
                .and_then(|file| write(unfinished, file, index, bytes))
                .map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => Problem::disk(&unfinished.path, &error),
                    _ => Problem::disk(&self.plan.root, &error),
                })?;
            unfinished.held.insert(index);
            unfinished.boot = Some(boot);
            self.record.touch(entry);
        }
        if unfinished.held.is_full() {
            self.finish_file(entry)?;
        }
        self.tell(Done::Stored { piece });
        Ok(())
    }

    /// A file of which nothing is here, as far as its pieces can be verified: a file of
    /// one piece needs no hashes but its root, others those that are signed.
    fn begin_file(&self, piece: PieceRef) -> Option<Unfinished> {
        let PieceRef { entry, piece } = piece;
        let proof = self.proof(entry, Proof::Signed(self.size(entry)?));
        let known = match proof {
            Proof::Root(_) => true,
            Proof::Signed(_) => self.signed_hash(entry, piece).is_some(),
        };
        known.then(|| Unfinished::new(self.partial_path(entry), proof))
    }

    /// Publishes a file whose pieces are all here, after reading it again if
    /// something else may have written to it.
    pub(super) fn finish_file(&mut self, entry: u32) -> Result<(), Problem> {
        let Some(mut unfinished) = self.unfinished.remove(&entry) else {
            return Ok(());
        };
        if let Proof::Signed(_) = unfinished.hashes
            && let Some(hashes) = self.signed(entry)
        {
            unfinished.hashes = Proof::Root(Arc::new(hashes));
        }
        let listed = self.listed(entry).and_then(Content::root);
        let hashes = match unfinished.hashes.hashes() {
            Some(hashes) if listed.is_none_or(|root| hashes.root() == root) => Arc::clone(hashes),
            _ => return Err(Problem::corrupt("a file is not what the list says it is")),
        };
        let path = unfinished.path.clone();
        let failed = |error: io::Error| Problem::disk(&path, &error);
        let metadata = fs::symlink_metadata(&path);
        let sound = !unfinished.suspect
            && metadata.as_ref().is_ok_and(|metadata| {
                metadata.is_file() && unfinished.stamp == Some(Stamp::of(metadata))
            });
        if !sound || metadata.is_ok_and(|metadata| has_other_names(&metadata)) {
            // Opened again, it is parted from what else it may be.
            self.handles.close(entry);
        }
        if !sound {
            self.verify(entry, &mut unfinished, |_| {})
                .map_err(failed)?;
            if self.is_cancelled() {
                self.unfinished.insert(entry, unfinished);
                return Ok(());
            }
            if !unfinished.held.is_full() {
                self.unfinished.insert(entry, unfinished);
                self.record.touch(entry);
                self.check_root(true)?;
                return Err(meddled(&path));
            }
        }
        let file = self.handles.file(entry, &path).map_err(failed)?;
        let size = unfinished.hashes.size();
        let trimmed = file.metadata().and_then(|metadata| {
            if metadata.len() == size {
                Ok(())
            } else {
                file.set_len(size)
            }
        });
        trimmed.map_err(failed)?;
        let boot = Some(unfinished.boot.unwrap_or_default());
        self.publish(entry, &path, hashes, boot)
    }

    /// The file will not come.
    pub(super) fn drop_file(&mut self, entry: u32) {
        if self.whole.contains_key(&entry) {
            return;
        }
        self.unfinished.remove(&entry);
        self.handles.close(entry);
        self.record.forget(entry);
        self.plan.shelf.remove(entry);
        // Absent if no piece of it ever came.
        let _ = fs::remove_file(self.partial_path(entry));
        if let Err(problem) = self.plan.store.remove_file(&self.plan.id, entry) {
            tracing::warn!(%problem.message, "the record of a file stays");
        }
    }
}

fn write(unfinished: &mut Unfinished, file: &mut File, index: u32, bytes: &[u8]) -> io::Result<()> {
    let before = Stamp::of(&file.metadata()?);
    if unfinished.stamp.is_some_and(|stamp| stamp != before) {
        unfinished.suspect = true;
    }
    file.seek(SeekFrom::Start(u64::from(index) * PIECE_LEN))?;
    file.write_all(bytes)?;
    unfinished.stamp = Some(Stamp::of(&file.metadata()?));
    Ok(())
}

fn meddled(path: &Path) -> Problem {
    Problem::new(
        ProblemCode::Disk,
        format!(
            "{} was changed or removed by something else while it was being written.",
            path.display()
        ),
        "Leave the hidden folder of unfinished files alone and try again: what is right of it is kept.",
    )
}
