//! What lies below the shared paths, as a manifest can list it. Links and
//! special files are never followed; whatever is left out is told by name.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use passalong_proto::manifest::MAX_ENTRIES;
use passalong_proto::safe_path::SafePath;

use super::Stamp;
use crate::api::SkippedView;

/// Left-out entries that are remembered by name.
const NAMED_SKIPS: usize = 100;

/// What was left out of a share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Skipped {
    /// The first [`NAMED_SKIPS`].
    pub(crate) named: Vec<SkippedView>,
    /// All of them.
    pub(crate) total: u32,
}

impl Skipped {
    pub(super) fn add(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.total = self.total.saturating_add(1);
        if self.named.len() < NAMED_SKIPS {
            self.named.push(SkippedView {
                path: path.into(),
                reason: reason.into(),
            });
        }
    }
}

/// A file or folder found on disk.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) path: SafePath,
    pub(super) local: Arc<Path>,
    pub(super) stamp: Stamp,
    pub(super) folder: bool,
}

/// Everything found below the shared paths.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(super) entries: Vec<Found>,
    pub(crate) skipped: Skipped,
    pub(crate) files: u32,
    pub(crate) bytes: u64,
}

/// What a share is called when nobody named it.
pub(crate) fn share_name(paths: &[PathBuf]) -> String {
    match paths {
        [one] => one
            .file_name()
            .unwrap_or(one.as_os_str())
            .to_string_lossy()
            .into_owned(),
        many => format!("{} items", many.len()),
    }
}

/// Walks the shared paths. Blocking. What cannot be offered is left out and
/// listed; an error means that nothing can be offered at all.
pub(crate) fn find(
    paths: &[PathBuf],
    cancelled: &AtomicBool,
) -> Result<Findings, (PathBuf, io::Error)> {
    let mut found = Findings::default();
    for path in paths {
        let metadata = fs::symlink_metadata(path).map_err(|error| (path.clone(), error))?;
        let name = path
            .canonicalize()
            .ok()
            .and_then(|full| full.file_name().map(|name| name.to_owned()))
            .unwrap_or_else(|| path.as_os_str().to_owned());
        let name = match name.to_str() {
            Some(name) if metadata.file_type().is_symlink() => {
                // A link that a person chose by hand still is a link.
                found.skipped.add(name, "a symbolic link");
                continue;
            }
            Some(name) => name,
            None => {
                found
                    .skipped
                    .add(name.to_string_lossy(), "its name is not valid Unicode");
                continue;
            }
        };
        match SafePath::parse(name) {
            Ok(safe) => walk(&mut found, safe, path.clone(), &metadata, cancelled),
            Err(error) => found.skipped.add(printable(name), error.to_string()),
        }
    }
    Ok(found)
}

fn walk(
    found: &mut Findings,
    path: SafePath,
    local: PathBuf,
    metadata: &Metadata,
    cancelled: &AtomicBool,
) {
    let mut stack = vec![(path, local, metadata.clone())];
    while let Some((path, local, metadata)) = stack.pop() {
        if cancelled.load(Ordering::Relaxed) {
            return;
        }
        if found.entries.len() >= MAX_ENTRIES {
            found.skipped.add(
                path.to_string(),
                "a share holds at most 250,000 files and folders",
            );
            continue;
        }
        let kind = metadata.file_type();
        if kind.is_symlink() {
            found.skipped.add(path.to_string(), "a symbolic link");
        } else if kind.is_file() {
            found.files += 1;
            found.bytes = found.bytes.saturating_add(metadata.len());
            found.entries.push(Found {
                path,
                local: local.into(),
                stamp: Stamp::of(&metadata),
                folder: false,
            });
        } else if kind.is_dir() {
            let children = match fs::read_dir(&local) {
                Ok(children) => children,
                Err(error) => {
                    found.skipped.add(path.to_string(), unreadable(&error));
                    continue;
                }
            };
            found.entries.push(Found {
                path: path.clone(),
                local: local.into(),
                stamp: Stamp::of(&metadata),
                folder: true,
            });
            let mut below = Vec::new();
            for child in children {
                match child {
                    Ok(child) => {
                        if let Some(item) = child_of(found, &path, &child) {
                            below.push(item);
                        }
                    }
                    Err(error) => found.skipped.add(path.to_string(), unreadable(&error)),
                }
            }
            below.sort_by(|a, b| b.0.as_str().cmp(a.0.as_str()));
            stack.extend(below);
        } else {
            found
                .skipped
                .add(path.to_string(), "not a file or a folder");
        }
    }
}

fn child_of(
    found: &mut Findings,
    parent: &SafePath,
    child: &fs::DirEntry,
) -> Option<(SafePath, PathBuf, Metadata)> {
    let name = child.file_name();
    let shown = format!("{parent}/{}", printable(&name.to_string_lossy()));
    let Some(name) = name.to_str() else {
        found.skipped.add(shown, "its name is not valid Unicode");
        return None;
    };
    let path = match parent.join(name) {
        Ok(path) => path,
        Err(error) => {
            found.skipped.add(shown, error.to_string());
            return None;
        }
    };
    // Of the entry itself: a link is not followed.
    match fs::symlink_metadata(child.path()) {
        Ok(metadata) => Some((path, child.path(), metadata)),
        Err(error) => {
            found.skipped.add(shown, unreadable(&error));
            None
        }
    }
}

fn printable(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

pub(super) fn unreadable(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "it vanished while it was being read",
        io::ErrorKind::PermissionDenied => "this computer does not allow reading it",
        _ => "it cannot be read",
    }
}
