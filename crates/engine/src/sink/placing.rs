//! Final names: found, made free, and given to whole files. Nothing that has a
//! name already loses it.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use passalong_proto::manifest::EntryKind;
use passalong_proto::placement::numbered;
use passalong_proto::safe_path::SafePath;
use passalong_proto::tree::{FileHashes, piece_count};

use super::{Done, Held, Sink};
use crate::api::Problem;
use crate::source::{Place, Stamp};
use crate::store::StoredFile;

/// Tries for a free name before giving up.
const MAX_NUMBER: u32 = 9999;
/// Numbered names at which a file that is already here is looked for.
const MAX_STANDING: u32 = 100;

impl Sink {
    /// Gives the whole file at `partial` its time and its final name.
    pub(super) fn publish(
        &mut self,
        entry: u32,
        partial: &Path,
        hashes: Arc<FileHashes>,
        boot: Option<String>,
    ) -> Result<(), Problem> {
        let entries = self.plan.manifest.entries();
        let modified = match entries.get(entry as usize).map(|entry| &entry.kind) {
            Some(EntryKind::File { modified, .. }) => *modified,
            _ => return Ok(()),
        };
        if let Some(modified) = modified {
            // A time that the file system cannot hold is not worth a failure.
            let _ = self
                .handles
                .file(entry, partial)
                .and_then(|file| file.set_modified(system_time(modified)));
        }
        self.handles.close(entry);
        let name = self.names[entry as usize].clone();
        let parents = name.parent();
        let folder = self
            .folder(parents.iter().flat_map(SafePath::components))
            .map_err(|e| Problem::disk(&self.plan.root, &e))?;
        let moved = self.plan.shelf.put_moved(entry, || {
            let path = rename_new(partial, &folder, name.file_name())?;
            place(path, &hashes)
        });
        let moved = moved.map_err(|e| Problem::disk(&folder.join(name.file_name()), &e))?;
        let path = Arc::clone(&moved.path);
        self.whole.insert(entry, path.clone());
        if let Some(stamp) = moved.stamp {
            self.record.add_whole(StoredFile {
                entry,
                path: path.clone(),
                stamp,
                held: Held::all(piece_count(hashes.size())),
                hashes: hashes.into(),
                whole: true,
                boot,
            });
        }
        self.tell(Done::Whole { entry, path });
        Ok(())
    }

    /// Takes on a file that is whole under its final name already, as of `stamp`.
    pub(super) fn keep(&mut self, entry: u32, path: &Path, stamp: Stamp, hashes: &FileHashes) {
        self.unfinished.remove(&entry);
        self.handles.close(entry);
        let path: Arc<Path> = path.into();
        self.whole.insert(entry, Arc::clone(&path));
        let place = Place {
            path,
            size: hashes.size(),
            stamp: Some(stamp),
            hashes: hashes.pieces().into(),
        };
        self.plan.shelf.put(entry, place);
    }

    /// The folder of these components below the destination, made if need be.
    /// What is in its way (a file, a link) is walked around by another name.
    pub(super) fn folder<'c>(
        &mut self,
        components: impl Iterator<Item = &'c str>,
    ) -> io::Result<PathBuf> {
        let root = self.plan.root.clone();
        let made = walk_down(root, components, &mut self.folders, |candidate| {
            fs::create_dir(candidate).map(|()| true)
        })?;
        made.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Where a wanted file would be if it were here: where it was left, at its
    /// final name, or at the numbered one that it got because something else had
    /// that. No link is followed, and only files of the right size are named.
    pub(super) fn standing(&mut self, entry: u32, size: u64) -> Vec<PathBuf> {
        let left = self.left.get(&entry).map(|row| row.path.to_path_buf());
        let name = &self.names[entry as usize];
        let parents = name.parent();
        let parents = parents.iter().flat_map(SafePath::components);
        let root = self.plan.root.clone();
        let Ok(Some(folder)) = walk_down(root, parents, &mut self.folders, |_| Ok(false)) else {
            return left.into_iter().collect();
        };
        let numbered = (0..=MAX_STANDING)
            .map(|number| folder.join(name_with(name.file_name(), number)))
            .map_while(|path| Some((fs::symlink_metadata(&path).ok()?, path)))
            .filter(|(metadata, _)| metadata.is_file() && metadata.len() == size)
            .map(|(_, path)| path);
        left.into_iter().chain(numbered).collect()
    }

    /// Folder times, and away with the hidden folder.
    pub(super) fn finish(&mut self) {
        self.folder_times();
        // Left alone if something unknown is in it.
        let _ = fs::remove_dir(&self.partial);
        self.write_down();
        let mut files = self.plan.manifest.entries().iter().enumerate();
        let all =
            files.all(|(index, file)| file.is_folder() || self.whole.contains_key(&(index as u32)));
        self.tell(Done::Finished { all });
    }

    fn folder_times(&self) {
        // Children before parents: writing into a folder changes its time.
        let mut folders: Vec<(&SafePath, i64)> = Vec::new();
        for &index in &self.plan.wanted {
            let entry = self.plan.manifest.entries().get(index as usize);
            if let Some(EntryKind::Folder {
                modified: Some(modified),
            }) = entry.map(|entry| &entry.kind)
            {
                folders.push((&self.names[index as usize], *modified));
            }
        }
        folders.sort_by_key(|(path, _)| std::cmp::Reverse(path.components().count()));
        for (path, modified) in folders {
            let key: String = path.components().flat_map(|c| ["/", c]).collect();
            if let Some(folder) = self.folders.get(&key) {
                // Not every system lets a folder be opened to set its time.
                let _ = File::open(folder).and_then(|f| f.set_modified(system_time(modified)));
            }
        }
    }
}

/// A file that just got its final name, as the shelf has it.
fn place(path: PathBuf, hashes: &FileHashes) -> io::Result<Place> {
    Ok(Place {
        stamp: Some(Stamp::of(&fs::symlink_metadata(&path)?)),
        path: path.into(),
        size: hashes.size(),
        hashes: hashes.pieces().into(),
    })
}

fn name_with(name: &str, number: u32) -> String {
    match number {
        0 => name.to_owned(),
        number => numbered(name, number),
    }
}

/// Goes down from `root` by these components, each under the first name that is
/// a folder or free. `make` is asked for a folder at a free name and says
/// whether there is one now; without one there is nowhere to go.
fn walk_down<'c>(
    root: PathBuf,
    components: impl Iterator<Item = &'c str>,
    known: &mut HashMap<String, PathBuf>,
    make: impl Fn(&Path) -> io::Result<bool>,
) -> io::Result<Option<PathBuf>> {
    let mut path = root;
    let mut key = String::new();
    for component in components {
        key.push('/');
        key.push_str(component);
        if let Some(folder) = known.get(&key) {
            path.clone_from(folder);
            continue;
        }
        let mut numbers = 0..=MAX_NUMBER;
        path = loop {
            let Some(number) = numbers.next() else {
                return Err(io::ErrorKind::AlreadyExists.into());
            };
            let candidate = path.join(name_with(component, number));
            match fs::symlink_metadata(&candidate) {
                Ok(metadata) if metadata.is_dir() => break candidate,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if !make(&candidate)? {
                        return Ok(None);
                    }
                    break candidate;
                }
                Err(error) => return Err(error),
            }
        };
        known.insert(key.clone(), path.clone());
    }
    Ok(Some(path))
}

/// Renames `from` into `folder` under a name that nothing has yet.
fn rename_new(from: &Path, folder: &Path, name: &str) -> io::Result<PathBuf> {
    for number in 0..=MAX_NUMBER {
        let to = folder.join(name_with(name, number));
        if fs::symlink_metadata(&to).is_ok() {
            continue;
        }
        // A hard link is refused if the name was taken meanwhile; a rename
        // would overwrite. File systems without hard links get the rename.
        match fs::hard_link(from, &to) {
            Ok(()) => {
                fs::remove_file(from)?;
                return Ok(to);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(_) => {
                fs::rename(from, &to)?;
                return Ok(to);
            }
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

fn system_time(unix_millis: i64) -> SystemTime {
    let distance = Duration::from_millis(unix_millis.unsigned_abs());
    let time = if unix_millis >= 0 {
        UNIX_EPOCH.checked_add(distance)
    } else {
        UNIX_EPOCH.checked_sub(distance)
    };
    time.unwrap_or(UNIX_EPOCH)
}
