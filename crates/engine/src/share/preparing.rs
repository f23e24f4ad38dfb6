//! From paths to a signed list: found, hashed, and if that takes long offered meanwhile.
//!
//! What takes no longer than a moment gets one list. Otherwise an opening list is signed
//! first, and hashes of pieces as they become known; the whole list that follows has the
//! same edition and outline. Invariant: lists of one edition never contradict each other.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use passalong_proto::manifest::{Content, Entry, Manifest, ManifestError, SignedManifest};
use passalong_proto::pieces::PieceMap;
use passalong_proto::signed_hashes::SignedHashes;
use tokio::sync::mpsc;

use crate::api::{Problem, ProblemCode};
use crate::engine::unix_millis;
use crate::source::{self, HashProgress, News, Offered, Shelf, Skipped};
use crate::store::{Store, StoredShare};

/// How preparing goes, and how it ends.
pub(super) enum Prepared {
    Found {
        files: u32,
        bytes: u64,
    },
    /// Hashing goes on, and this can be offered meanwhile.
    Opening(Box<Listed>),
    /// These pieces of what is offered are hashed.
    Pieces(SignedHashes),
    /// The whole list; `opened` if it follows an opening one.
    Done {
        listed: Box<Listed>,
        opened: bool,
    },
    Failed(Problem),
}

/// What there is to offer.
pub(super) struct Listed {
    pub(super) manifest: Manifest,
    pub(super) signed: SignedManifest,
    pub(super) shelf: Arc<Shelf>,
    pub(super) skipped: Skipped,
}

/// What the lists after an opening one have in common with it.
#[derive(Clone, Copy)]
struct Opening {
    edition: u64,
    outline: [u8; 32],
}

/// Finds and hashes the files of a share, and tells how it goes but for the end, which it
/// gives; nothing if it was cancelled. Blocking.
pub(super) fn prepare(
    stored: &StoredShare,
    store: &Store,
    hashing: &HashProgress,
    sender: &mpsc::Sender<Prepared>,
) -> Result<Option<Prepared>, Problem> {
    let found = source::find(&stored.paths, &hashing.cancelled)
        .map_err(|(path, error)| Problem::disk(&path, &error))?;
    let tell = |prepared| {
        // The share may have been stopped meanwhile.
        if !hashing.cancelled.load(Ordering::Relaxed) {
            let _ = sender.blocking_send(prepared);
        }
    };
    tell(Prepared::Found {
        files: found.files,
        bytes: found.bytes,
    });
    let id = stored.key.secret().id();
    let known = store.share_files(&id).unwrap_or_default();
    let mut opening: Option<Opening> = None;
    let offered = source::hash(found, known, hashing, |news| {
        match news {
            News::Opening(offered) => {
                let listed = list(stored, store, offered, None)?;
                opening = Some(Opening {
                    edition: listed.manifest.edition(),
                    outline: listed.manifest.outline(),
                });
                tell(Prepared::Opening(Box::new(listed)));
            }
            News::Pieces { first, hashes } => {
                let outline = opening.map_or([0; 32], |opening| opening.outline);
                let signed = SignedHashes::sign(&stored.key, &outline, first, hashes);
                tell(Prepared::Pieces(signed));
            }
            News::Files(hashed) => {
                // What cannot be kept is read again after the next start.
                if let Err(problem) = store.add_share_files(&id, &hashed) {
                    tracing::warn!(problem.message, "hashes could not be kept");
                }
            }
        }
        Ok(())
    })?;
    if hashing.cancelled.load(Ordering::Relaxed) {
        // What was cut off is no worse than it was.
        return Ok(None);
    }
    let opened = opening.is_some();
    let lost = |entry: &Entry| entry.content() == Some(Content::Lost);
    if offered.entries.iter().all(lost) {
        let named = offered.skipped.named.first();
        return Err(Problem::new(
            ProblemCode::Disk,
            match named {
                Some(one) => format!("{} cannot be shared: {}.", one.path, one.reason),
                None => "There is nothing here that can be shared.".to_owned(),
            },
            "Choose other files, or mend what is named here and share again.",
        ));
    }
    let listed = list(stored, store, offered, opening)?;
    Ok(Some(Prepared::Done {
        listed: Box::new(listed),
        opened,
    }))
}

/// Signs what is offered, after an opening list in its edition, and writes it down.
fn list(
    stored: &StoredShare,
    store: &Store,
    offered: Offered,
    opening: Option<Opening>,
) -> Result<Listed, Problem> {
    let too_much = |error: String| {
        Problem::new(
            ProblemCode::Usage,
            format!("This cannot be shared in one go: {error}."),
            "Share it in several parts.",
        )
    };
    let Offered {
        entries,
        shelf,
        skipped,
        hashed,
    } = offered;
    let manifest = Manifest::new(&stored.name, entries).map_err(|e| too_much(e.to_string()))?;
    if PieceMap::of(&manifest).is_none() {
        return Err(too_much("it has more than 16,777,216 pieces".to_owned()));
    }
    let id = stored.key.secret().id();
    let (listed, kept) = match opening {
        // What was hashed since is written down already.
        Some(opening) => (sign(stored, manifest, opening.edition), Ok(())),
        None => (
            latest(stored, store, manifest),
            store.put_share_files(&id, &hashed),
        ),
    };
    let (manifest, signed) = listed.map_err(|error| too_much(error.to_string()))?;
    // What cannot be kept is read again after the next start.
    if let Err(problem) = kept.and_then(|()| store.put_manifest(&id, &signed)) {
        tracing::warn!(problem.message, "the list could not be kept");
    }
    Ok(Listed {
        manifest,
        signed,
        shelf,
        skipped,
    })
}

/// The list that was signed before if nothing changed since, or one of its edition if
/// that only adds to it, or a newer one.
fn latest(
    stored: &StoredShare,
    store: &Store,
    manifest: Manifest,
) -> Result<(Manifest, SignedManifest), ManifestError> {
    let secret = stored.key.secret();
    let before = store.manifest(&secret.id()).ok().flatten();
    let before = before.and_then(|signed| Some((signed.open(&secret).ok()?, signed)));
    let Some((before, signed)) = before else {
        return sign(stored, manifest, unix_millis());
    };
    let edition = before.edition();
    let manifest = manifest.with_edition(edition);
    if manifest == before {
        return Ok((before, signed));
    }
    let edition = match adds_to(&before, &manifest) {
        true => edition,
        false => unix_millis().max(edition + 1),
    };
    sign(stored, manifest, edition)
}

fn sign(
    stored: &StoredShare,
    manifest: Manifest,
    edition: u64,
) -> Result<(Manifest, SignedManifest), ManifestError> {
    let manifest = manifest.with_edition(edition);
    let signed = SignedManifest::sign(&stored.key, &manifest)?;
    Ok((manifest, signed))
}

/// Whether a list of the same edition can follow an opening one: it tells nothing else of
/// what was told. What is in pieces was hashed at the same size and time.
fn adds_to(before: &Manifest, after: &Manifest) -> bool {
    let both = before.entries().iter().zip(after.entries());
    let mut contents = both.map(|(before, after)| (before.content(), after.content()));
    !before.is_whole()
        && before.outline() == after.outline()
        && contents.all(|(before, after)| before == Some(Content::Hashing) || before == after)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use passalong_proto::manifest::EntryKind;
    use passalong_proto::safe_path::SafePath;
    use passalong_proto::tree::Root;

    use super::*;

    fn manifest(contents: &[Content], modified: i64) -> Manifest {
        let entry = |(index, content): (usize, &Content)| Entry {
            path: SafePath::parse(&format!("file {index}")).unwrap(),
            kind: EntryKind::File {
                size: 7,
                content: *content,
                modified: Some(modified),
            },
        };
        Manifest::new("", contents.iter().enumerate().map(entry).collect()).unwrap()
    }

    #[test]
    fn an_edition_goes_on_only_with_what_it_left_open() {
        let [one, two] = [1, 2].map(|byte| Content::Hashed(Root([byte; 32])));
        let before = manifest(&[one, Content::Hashing], 5);
        for goes_on in [two, Content::Hashing, Content::Lost] {
            assert!(adds_to(&before, &manifest(&[one, goes_on], 5)));
        }
        assert!(!adds_to(&before, &manifest(&[two, two], 5)), "another root");
        assert!(!adds_to(&before, &manifest(&[Content::Hashing, two], 5)));
        assert!(!adds_to(&before, &manifest(&[one, two], 6)), "another time");
        assert!(!adds_to(&before, &manifest(&[one], 5)), "another file less");
        let whole = manifest(&[one, two], 5);
        assert!(!adds_to(&whole, &manifest(&[one, Content::Hashing], 5)));
    }
}
