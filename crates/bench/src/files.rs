//! What is sent: files that do not compress, and a hash of all that arrived to
//! compare with that of all that was sent.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use passalong_netns::Failure;

const BLOCK: usize = 1 << 20;
/// Bytes of a block of which `st_blocks` counts.
const DISK_BLOCK: u64 = 512;

/// What a run sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// One file.
    File { bytes: u64 },
    /// One file of zeros that takes no room on the disk.
    Hollow { bytes: u64 },
    /// Files of the same size, spread over folders.
    Small { files: u32, folders: u32, each: u64 },
}

impl Load {
    /// Bytes in all.
    pub(crate) fn bytes(&self) -> u64 {
        match self {
            Load::File { bytes } | Load::Hollow { bytes } => *bytes,
            Load::Small { files, each, .. } => u64::from(*files) * each,
        }
    }

    /// Files in all.
    pub(crate) fn files(&self) -> u32 {
        match self {
            Load::File { .. } | Load::Hollow { .. } => 1,
            Load::Small { files, .. } => *files,
        }
    }

    /// Makes it at `path`, and has the disk done with it.
    pub(crate) fn make(&self, path: &Path) -> Result<(), Failure> {
        let failed = |error| Failure::io(format!("{} could not be made", path.display()), error);
        self.write(path).map_err(failed)?;
        // Otherwise the disk is still busy with it while something is measured.
        let opened = File::open(path).map_err(failed)?;
        rustix::fs::syncfs(&opened).map_err(|error| failed(error.into()))
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15 ^ self.bytes());
        match self {
            Load::File { bytes } => noise.write(path, *bytes),
            Load::Hollow { bytes } => File::create(path)?.set_len(*bytes),
            Load::Small {
                files,
                folders,
                each,
            } => {
                for folder in 0..*folders {
                    fs::create_dir_all(path.join(format!("{folder:04}")))?;
                }
                for file in 0..*files {
                    let name = format!("{:04}/{file:06}.bin", file % folders.max(&1));
                    noise.write(&path.join(name), *each)?;
                }
                Ok(())
            }
        }
    }
}

/// Bytes that look random: xorshift64 (Marsaglia 2003).
struct Noise(u64);

impl Noise {
    fn write(&mut self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut file = File::create(path)?;
        let mut left = bytes;
        let mut block =
            vec![0; BLOCK.min(usize::try_from(bytes.next_multiple_of(8)).unwrap_or(BLOCK))];
        while left > 0 {
            for word in block.chunks_exact_mut(8) {
                self.0 ^= self.0 << 13;
                self.0 ^= self.0 >> 7;
                self.0 ^= self.0 << 17;
                word.copy_from_slice(&self.0.to_le_bytes());
            }
            let part = usize::try_from(left).unwrap_or(BLOCK).min(block.len());
            file.write_all(&block[..part])?;
            left -= part as u64;
        }
        Ok(())
    }
}

/// A hash of the file or folder at `path`: names below it and contents.
pub(crate) fn digest(path: &Path) -> Result<blake3::Hash, Failure> {
    let failed = |error| Failure::io(format!("{} could not be read", path.display()), error);
    let mut hasher = blake3::Hasher::new();
    add(path, Path::new(""), &mut hasher).map_err(failed)?;
    Ok(hasher.finalize())
}

fn add(path: &Path, name: &Path, hasher: &mut blake3::Hasher) -> io::Result<()> {
    if path.is_dir() {
        let mut names = fs::read_dir(path)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        for below in names {
            add(&path.join(&below), &name.join(&below), hasher)?;
        }
        return Ok(());
    }
    let mut contents = blake3::Hasher::new();
    let bytes = contents.update_reader(File::open(path)?)?.count();
    hasher.update(name.as_os_str().as_encoded_bytes());
    hasher.update(&[0]);
    hasher.update(&bytes.to_le_bytes());
    hasher.update(contents.finalize().as_bytes());
    Ok(())
}

/// Bytes of disk that everything below `path` takes.
pub(crate) fn on_disk(path: &Path) -> u64 {
    let Ok(about) = fs::symlink_metadata(path) else {
        return 0;
    };
    if !about.is_dir() {
        return about.blocks() * DISK_BLOCK;
    }
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    entries.flatten().map(|entry| on_disk(&entry.path())).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_are_made_to_number_and_size_and_any_change_changes_the_hash() {
        let dir = tempfile::tempdir().expect("a folder");
        let load = Load::Small {
            files: 25,
            folders: 10,
            each: 4100,
        };
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        load.make(&a).expect("made");
        load.make(&b).expect("made");
        let hash = |path: &Path| digest(path).expect("a hash");
        assert_eq!(hash(&a), hash(&b));
        let file = b.join("0004/000024.bin");
        let mut bytes = fs::read(&file).expect("a file");
        assert_eq!(bytes.len(), 4100);
        bytes[4099] ^= 1;
        fs::write(&file, &bytes).expect("written");
        assert_ne!(hash(&a), hash(&b));
        bytes[4099] ^= 1;
        fs::write(&file, &bytes).expect("written");
        assert_eq!(hash(&a), hash(&b));
        fs::rename(&file, b.join("0004/000025.bin")).expect("renamed");
        assert_ne!(hash(&a), hash(&b));
    }

    #[test]
    fn a_file_has_its_size_and_takes_about_as_much_of_the_disk() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("f.bin");
        let load = Load::File { bytes: 2_500_001 };
        load.make(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("a file").len(), load.bytes());
        assert!((2_500_001..3_000_000).contains(&on_disk(dir.path())));
        assert_eq!(on_disk(&dir.path().join("nothing")), 0);
    }
}
