//! The data folder: for its owner alone, and for one process at a time.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::Path;

use crate::api::{Problem, ProblemCode};

const LOCK: &str = "lock";

/// Makes the data folder for its owner alone: it holds keys and passwords.
pub(super) fn create_private_dir(dir: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// Makes a file for its owner alone. SQLite gives its side files the same mode.
pub(super) fn create_private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Holds the folder until the file is dropped; the system releases it when the
/// process ends, however it ends.
pub(super) fn hold(dir: &Path) -> Result<File, Problem> {
    let path = dir.join(LOCK);
    let mut file = create_private_file(&path).map_err(|error| Problem::disk(&path, &error))?;
    match file.try_lock() {
        Ok(()) => {
            let program = std::env::args().next().unwrap_or_default();
            let program = Path::new(&program)
                .file_name()
                .unwrap_or_default()
                .display()
                .to_string();
            let written = file
                .set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| writeln!(file, "{program}, process {}", std::process::id()));
            written.map_err(|error| Problem::disk(&path, &error))?;
            Ok(file)
        }
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The holder's name is a courtesy; without it the message still stands.
            let _ = file.read_to_string(&mut holder);
            let holder = holder.trim();
            let holder = if holder.is_empty() {
                "another Passalong"
            } else {
                holder
            };
            Err(Problem::new(
                ProblemCode::Usage,
                format!("The data folder {} is in use by {holder}.", dir.display()),
                "Close it first, or use another folder with --data-dir.",
            ))
        }
        Err(fs::TryLockError::Error(error)) => Err(Problem::disk(&path, &error)),
    }
}
