//! Captured packets as a file that tcpdump and Wireshark read.
//!
//! The classic format: a header, then each packet with its time
//! (draft-ietf-opsawg-pcap), the link type being bare IP packets.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::Duration;

/// Times are in microseconds, in the byte order of this number.
const MAGIC: u32 = 0xa1b2_c3d4;
const VERSION: [u16; 2] = [2, 4];
/// The longest packet that is kept whole.
const SNAP: u32 = 1 << 18;
/// LINKTYPE_RAW: an IPv4 or IPv6 packet without anything before it.
const RAW: u32 = 101;

/// A file that packets are written to.
#[derive(Debug)]
pub(crate) struct Capture {
    file: BufWriter<File>,
}

impl Capture {
    /// Begins a file, in place of what was there.
    pub(crate) fn create(path: &Path) -> io::Result<Capture> {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(&MAGIC.to_le_bytes())?;
        for part in VERSION {
            file.write_all(&part.to_le_bytes())?;
        }
        for field in [0, 0, SNAP, RAW] {
            file.write_all(&field.to_le_bytes())?;
        }
        Ok(Capture { file })
    }

    /// Writes a packet that was seen at `time` since the epoch.
    pub(crate) fn packet(&mut self, time: Duration, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u32;
        for field in [time.as_secs() as u32, time.subsec_micros(), length, length] {
            self.file.write_all(&field.to_le_bytes())?;
        }
        self.file.write_all(bytes)
    }

    /// Writes out what is still held back.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
