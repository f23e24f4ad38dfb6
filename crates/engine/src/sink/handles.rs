//! Open unfinished files: as many as are of use at once, never more than a
//! process may have.

use std::collections::HashMap;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::Path;

/// Files that are open at the same time.
const MAX_OPEN: usize = 64;

/// Open files by entry. The one that was not used for longest is closed when
/// there are too many.
#[derive(Debug, Default)]
pub(super) struct Handles {
    open: HashMap<u32, (File, u64)>,
    uses: u64,
}

impl Handles {
    /// The file of an entry, opened at `path` if it is not open.
    pub(super) fn file(&mut self, entry: u32, path: &Path) -> io::Result<&mut File> {
        if !self.open.contains_key(&entry) {
            let file = open_partial(path)?;
            if self.open.len() >= MAX_OPEN {
                let idle = self.open.iter().min_by_key(|(_, (_, used))| *used);
                if let Some(idle) = idle.map(|(entry, _)| *entry) {
                    self.open.remove(&idle);
                }
            }
            self.open.insert(entry, (file, 0));
        }
        self.uses += 1;
        let (file, used) = self.open.get_mut(&entry).ok_or(io::ErrorKind::NotFound)?;
        *used = self.uses;
        Ok(file)
    }

    /// Closes the file of an entry.
    pub(super) fn close(&mut self, entry: u32) {
        self.open.remove(&entry);
    }

    /// Closes all.
    pub(super) fn close_all(&mut self) {
        self.open.clear();
    }
}

/// Opens or creates an unfinished file. A link in its place is removed first, a
/// folder moved aside, and a file that has other names parted from them.
fn open_partial(path: &Path) -> io::Result<File> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => move_aside(path)?,
        Ok(metadata) if !metadata.is_file() => fs::remove_file(path)?,
        Ok(metadata) if has_other_names(&metadata) => part(path)?,
        _ => {}
    }
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
}

fn move_aside(path: &Path) -> io::Result<()> {
    let mut number = 1;
    loop {
        let aside = path.with_extension(format!("aside-{number}"));
        if fs::symlink_metadata(&aside).is_err() {
            return fs::rename(path, aside);
        }
        number += 1;
    }
}

/// Puts a copy in the place of a file, so that writing to it changes nothing else.
fn part(path: &Path) -> io::Result<()> {
    let copy = path.with_extension("copy");
    fs::copy(path, &copy)?;
    fs::rename(copy, path)
}

/// Whether a file has more names than the one it was found by.
#[cfg(unix)]
pub(super) fn has_other_names(metadata: &Metadata) -> bool {
    std::os::unix::fs::MetadataExt::nlink(metadata) > 1
}

/// Whether a file has more names than the one it was found by: not told here.
#[cfg(not(unix))]
pub(super) fn has_other_names(_: &Metadata) -> bool {
    false
}

/// Bytes that a file takes on its disk, without holes.
#[cfg(unix)]
pub(super) fn allocated(metadata: &Metadata) -> u64 {
    let blocks = std::os::unix::fs::MetadataExt::blocks(metadata);
    blocks.saturating_mul(512).min(metadata.len())
}

/// Bytes that a file takes on its disk, holes included.
#[cfg(not(unix))]
pub(super) fn allocated(metadata: &Metadata) -> u64 {
    metadata.len()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_file_that_was_idle_for_longest_is_closed_and_opened_again_when_needed() {
        let dir = tempfile::tempdir().unwrap();
        let path = |entry: u32| dir.path().join(format!("{entry}.part"));
        let mut handles = Handles::default();
        for round in 0..2 {
            for entry in 0..100 {
                let file = handles.file(entry, &path(entry)).unwrap();
                file.write_all(&[round]).unwrap();
                handles.file(0, &path(0)).unwrap();
                assert!(handles.open.len() <= MAX_OPEN);
            }
        }
        assert_eq!(handles.open.len(), MAX_OPEN);
        assert!(handles.open.contains_key(&0) && handles.open.contains_key(&99));
        assert!(!handles.open.contains_key(&1));
        // Never closed, so written in a row; the others from the beginning again.
        assert_eq!(fs::read(path(0)).unwrap(), [0, 1]);
        assert_eq!(fs::read(path(1)).unwrap(), [1]);
    }

    #[test]
    fn a_folder_in_the_place_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.part");
        fs::create_dir(&path).unwrap();
        fs::write(path.join("own"), b"a person's").unwrap();
        Handles::default().file(0, &path).unwrap();
        assert!(path.is_file());
        let aside = dir.path().join("0.aside-1/own");
        assert_eq!(fs::read(aside).unwrap(), b"a person's");
    }

    #[cfg(unix)]
    #[test]
    fn a_link_or_a_file_of_two_names_in_the_place_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (own, path) = (dir.path().join("own"), dir.path().join("0.part"));
        fs::write(&own, b"a person's").unwrap();
        for hard in [false, true] {
            match hard {
                true => fs::hard_link(&own, &path).unwrap(),
                false => std::os::unix::fs::symlink(&own, &path).unwrap(),
            }
            let mut handles = Handles::default();
            let file = handles.file(0, &path).unwrap();
            file.write_all(b"fetched").unwrap();
            assert_eq!(fs::read(&own).unwrap(), b"a person's");
            assert!(fs::read(&path).unwrap().starts_with(b"fetched"));
            fs::remove_file(&path).unwrap();
        }
    }
}
