//! Paths that a peer may name: relative, and safe to create under a chosen folder on
//! every system that Passalong runs on.
//!
//! A [`SafePath`] that exists obeys every rule in [`PathError`], wherever it came
//! from: deserializing checks as parsing does. It is kept as given, not normalised;
//! [`SafePath::fold_key`] tells which paths a file system may take for the same.
//! Symlinks and what already lies on the disk are not decided here.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer};
use thiserror::Error;
use unicode_normalization::UnicodeNormalization;

/// Longest component in bytes of UTF-8; the limit of most file systems.
pub const MAX_COMPONENT_BYTES: usize = 255;

/// Most components in one path.
pub const MAX_COMPONENTS: usize = 64;

/// Longest path in bytes of UTF-8, separators included.
pub const MAX_PATH_BYTES: usize = 4096;

/// A relative path of one or more components, none of which can lead anywhere but
/// down. Written, ordered and serialised as its components with `/` between them.
/// Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct SafePath(Arc<str>);

impl SafePath {
    /// Reads components separated by `/`.
    ///
    /// # Errors
    ///
    /// The first rule that the path breaks.
    pub fn parse(text: &str) -> Result<SafePath, PathError> {
        check(text)?;
        Ok(SafePath(text.into()))
    }

    /// The whole path, with `/` between the components.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The components, outermost first; at least one.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The last component.
    pub fn file_name(&self) -> &str {
        self.split_last().1
    }

    /// The path without its last component; `None` when it has but one.
    pub fn parent(&self) -> Option<SafePath> {
        let (parent, _) = self.split_last();
        parent.map(|parent| SafePath(parent.into()))
    }

    fn split_last(&self) -> (Option<&str>, &str) {
        match self.0.rsplit_once('/') {
            Some((parent, name)) => (Some(parent), name),
            None => (None, &self.0),
        }
    }

    /// The path of `component` in the folder that this path names.
    ///
    /// # Errors
    ///
    /// When `component` is not one safe component, or the path becomes too long.
    pub fn join(&self, component: &str) -> Result<SafePath, PathError> {
        if component.contains('/') {
            return Err(PathError::Separator);
        }
        SafePath::parse(&format!("{}/{component}", self.0))
    }

    /// A key that two paths share if some file system may take them for the same:
    /// with letter case folded, in Unicode normalisation form C, and without the
    /// invisible characters that HFS+ passes over. For comparing only.
    pub fn fold_key(&self) -> String {
        fold(&self.0)
    }

    /// Whether opening a file of this name may run it. Such files are marked for
    /// the person who decides; nothing is refused for its name.
    pub fn is_executable_name(&self) -> bool {
        let (stem, extension) = self.file_name().rsplit_once('.').unwrap_or_default();
        let extension = extension.to_ascii_lowercase();
        !stem.is_empty() && EXECUTABLE_EXTENSIONS.contains(&extension.as_str())
    }
}

impl fmt::Display for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SafePath {
    type Error = PathError;

    fn try_from(text: String) -> Result<SafePath, PathError> {
        check(&text)?;
        Ok(SafePath(text.into()))
    }
}

impl Serialize for SafePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<SafePath> for String {
    fn from(path: SafePath) -> String {
        path.as_str().to_owned()
    }
}

/// Why a path is not safe. The messages end a sentence such as "left out: …".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PathError {
    /// There is no name at all, or none between two separators.
    #[error("a name in its path is empty")]
    Empty,
    /// It starts at the root of the file system.
    #[error("its path is not relative to a folder")]
    Absolute,
    /// A component is `.` or `..`.
    #[error("its path leads out of the folder")]
    Dots,
    /// A component holds `\`, or `/` where a single component was asked for.
    #[error("its name contains a path separator")]
    Separator,
    /// A component holds NUL or another control character, or a line separator.
    #[error("its name contains a control character")]
    Control,
    /// A component holds a character that changes the direction of text, with which
    /// a name can be made to look like another.
    #[error("its name contains a character that hides what it really says")]
    Bidi,
    /// A component holds one of `: * ? " < > |`.
    #[error("its name contains “{0}”, which Windows does not allow")]
    Character(char),
    /// A component is the name of a Windows device, with or without extension.
    #[error("“{0}” is a reserved name on Windows")]
    Reserved(String),
    /// A component ends in a dot or a space, which Windows drops.
    #[error("its name ends in a dot or a space, which Windows does not allow")]
    Ending,
    /// A component is over [`MAX_COMPONENT_BYTES`].
    #[error("its name is longer than 255 bytes")]
    ComponentTooLong,
    /// There are over [`MAX_COMPONENTS`] components.
    #[error("it lies more than 64 folders deep")]
    TooDeep,
    /// The path is over [`MAX_PATH_BYTES`].
    #[error("its path is longer than 4096 bytes")]
    TooLong,
}

/// What systems run, install or obey when a person opens it.
const EXECUTABLE_EXTENSIONS: &[&str] = &[
    // Windows: programs, installers, scripts, shortcuts and settings.
    "exe",
    "com",
    "scr",
    "pif",
    "cpl",
    "msi",
    "msix",
    "msp",
    "appx",
    "appinstaller",
    "bat",
    "cmd",
    "ps1",
    "psm1",
    "vbs",
    "vbe",
    "vb",
    "js",
    "jse",
    "mjs",
    "ws",
    "wsf",
    "wsh",
    "wsc",
    "sct",
    "hta",
    "chm",
    "msc",
    "reg",
    "inf",
    "scf",
    "lnk",
    "url",
    "gadget",
    "dll",
    "xll",
    "application",
    // macOS.
    "app",
    "dmg",
    "pkg",
    "mpkg",
    "command",
    "tool",
    "workflow",
    "action",
    "scpt",
    "applescript",
    "terminal",
    "webloc",
    // Linux and other Unix.
    "sh",
    "bash",
    "zsh",
    "fish",
    "csh",
    "ksh",
    "run",
    "bin",
    "out",
    "elf",
    "desktop",
    "appimage",
    "deb",
    "rpm",
    "flatpak",
    "flatpakref",
    "snap",
    // Anywhere.
    "jar",
    "jnlp",
    "py",
    "pyw",
    "pyz",
    "pl",
    "rb",
    "php",
    "apk",
];

fn check(text: &str) -> Result<(), PathError> {
    if text.starts_with('/') {
        return Err(PathError::Absolute);
    }
    if text.len() > MAX_PATH_BYTES {
        return Err(PathError::TooLong);
    }
    if text.split('/').count() > MAX_COMPONENTS {
        return Err(PathError::TooDeep);
    }
    text.split('/').try_for_each(check_component)
}

fn check_component(name: &str) -> Result<(), PathError> {
    if name.is_empty() {
        return Err(PathError::Empty);
    }
    if name == "." || name == ".." {
        return Err(PathError::Dots);
    }
    for character in name.chars() {
        match character {
            '\\' => return Err(PathError::Separator),
            ':' | '*' | '?' | '"' | '<' | '>' | '|' => {
                return Err(PathError::Character(character));
            }
            _ if is_control(character) => return Err(PathError::Control),
            _ if is_bidi_control(character) => return Err(PathError::Bidi),
            _ => {}
        }
    }
    if name.ends_with(['.', ' ']) {
        return Err(PathError::Ending);
    }
    if name.len() > MAX_COMPONENT_BYTES {
        return Err(PathError::ComponentTooLong);
    }
    if is_reserved(name) {
        return Err(PathError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// C0, DEL and C1 controls, and the two separators that break lines like them.
pub(crate) fn is_control(character: char) -> bool {
    character.is_control() || matches!(character, '\u{2028}' | '\u{2029}')
}

/// The explicit directional marks, embeddings, overrides and isolates of Unicode
/// Annex 9.
pub(crate) fn is_bidi_control(character: char) -> bool {
    matches!(
        character,
        '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}'
    )
}

/// Whether Windows opens a device when it is given this name, in any folder and with
/// any extension (Microsoft, "Naming Files, Paths, and Namespaces").
fn is_reserved(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or(name).trim_matches(' ');
    let stem = stem.to_ascii_uppercase();
    if let "CON" | "PRN" | "AUX" | "NUL" | "CONIN$" | "CONOUT$" = stem.as_str() {
        return true;
    }
    let port = stem.strip_prefix("COM").or(stem.strip_prefix("LPT"));
    let mut digits = port.unwrap_or_default().chars();
    matches!(
        (digits.next(), digits.next()),
        (Some('0'..='9' | '¹' | '²' | '³'), None)
    )
}

/// Canonical caseless matching (The Unicode Standard, 3.13, D145), where lower,
/// upper and lower case in turn stand for case folding: they join all that it joins.
pub(crate) fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let decomposed = text.nfd().filter(|c| !is_passed_over(*c));
    let folded = decomposed
        .flat_map(char::to_lowercase)
        .flat_map(char::to_uppercase)
        .flat_map(char::to_lowercase);
    folded.nfc().collect()
}

/// The code points that HFS+ leaves out when it compares names (Apple, TN1150).
fn is_passed_over(character: char) -> bool {
    matches!(
        character,
        '\u{200C}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{206A}'..='\u{206F}' | '\u{FEFF}'
    )
}
