//! The final names of a manifest's entries: each gets a path that no file system takes
//! for another's, as `name (1).ext` where two would meet.
//!
//! The result depends on the whole manifest alone, so it is the same on every start
//! and for every selection of entries. What lies in the destination already is not
//! decided here; [`numbered`] makes the names for that case as well.

use std::collections::{HashMap, HashSet};

use crate::manifest::Entry;
use crate::safe_path::{self, MAX_COMPONENT_BYTES, MAX_PATH_BYTES, SafePath};

/// Longest extension, in bytes with its dot, that [`numbered`] keeps at the end.
const MAX_EXTENSION_BYTES: usize = 17;

/// The path at which each entry is to be placed, in the order of `entries`.
///
/// Of several names in a folder that a file system may take for the same (see
/// [`SafePath::fold_key`]) the first stays as it is, the others are [`numbered`].
/// A file and a folder of one name meet as two files do. Folders spelled exactly
/// alike are one folder; what lies in a folder that is renamed follows it. Names that
/// need no number never get one because another did. An entry whose path would pass
/// the limits of a [`SafePath`] through this is placed at the top.
pub fn resolve_collisions(entries: &[Entry]) -> Vec<SafePath> {
    let mut tree = Tree::default();
    let leaves: Vec<usize> = entries.iter().map(|entry| tree.add(entry)).collect();
    tree.give_names();
    let placed = leaves.iter().zip(entries);
    placed
        // A path of safe components within the limits always parses.
        .map(|(leaf, entry)| {
            SafePath::parse(&tree.path(*leaf)).unwrap_or_else(|_| entry.path.clone())
        })
        .collect()
}

/// The name with a number before its extension: `report (1).pdf`, `archive (1).tar.gz`,
/// `.bashrc (1)`. A long name is cut to stay within 255 bytes. Of a safe component it
/// makes a safe component.
pub fn numbered(name: &str, n: u32) -> String {
    let (stem, extension) = name.split_at(extension_start(name));
    let suffix = format!(" ({n}){extension}");
    let room = MAX_COMPONENT_BYTES.saturating_sub(suffix.len());
    let stem = &stem[..stem.floor_char_boundary(room)];
    format!("{stem}{suffix}")
}

/// Where the extension of a file name begins, dot included; the end if it has none. A
/// dot at the start makes no extension, and one that is long or holds a space is part
/// of a sentence.
fn extension_start(name: &str) -> usize {
    let is_extension = |start: usize| {
        let extension = &name[start..];
        start > 0
            && (2..=MAX_EXTENSION_BYTES).contains(&extension.len())
            && !extension.contains(' ')
    };
    let Some(last) = name.rfind('.').filter(|start| is_extension(*start)) else {
        return name.len();
    };
    let tar = last.saturating_sub(".tar".len());
    let is_tar = name
        .get(tar..last)
        .is_some_and(|s| s.eq_ignore_ascii_case(".tar"));
    if is_tar && is_extension(tar) {
        tar
    } else {
        last
    }
}

/// The files and folders of a manifest, each a node. A node's folder comes before it.
#[derive(Default)]
struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    /// The folders, by the folder they lie in and their name in the manifest.
    folders: HashMap<(Option<usize>, &'a str), usize>,
    /// The folded names that are given away in each folder.
    taken: HashSet<(Option<usize>, String)>,
    /// The number to try next, by folder and by the folded name with the first number
    /// of as many digits. Without it, a manifest of equal names takes quadratic time.
    next: HashMap<(Option<usize>, String), u32>,
}

struct Node<'a> {
    /// `None` at the top.
    folder: Option<usize>,
    name: &'a str,
    /// The number that the name gets; 0 for none.
    number: u32,
    /// Bytes of the path so far.
    path_len: usize,
}

impl<'a> Tree<'a> {
    /// Adds the folders that the entry lies in and the entry, and returns its node.
    fn add(&mut self, entry: &'a Entry) -> usize {
        let mut names = entry.path.components().peekable();
        let mut folder = None;
        let mut node = 0;
        while let Some(name) = names.next() {
            let is_file = names.peek().is_none() && !entry.is_folder();
            let known = self.folders.get(&(folder, name)).filter(|_| !is_file);
            node = match known {
                Some(node) => *node,
                None => {
                    let node = self.nodes.len();
                    self.nodes.push(Node {
                        folder,
                        name,
                        number: 0,
                        path_len: 0,
                    });
                    if !is_file {
                        self.folders.insert((folder, name), node);
                    }
                    node
                }
            };
            folder = Some(node);
        }
        node
    }

    fn give_names(&mut self) {
        let late: Vec<usize> = (0..self.nodes.len())
            .filter(|node| !self.claim(*node))
            .collect();
        for node in late {
            self.number(node);
        }
        for node in 0..self.nodes.len() {
            self.measure(node);
            if self.nodes[node].path_len > MAX_PATH_BYTES {
                self.nodes[node].folder = None;
                self.nodes[node].number = 0;
                if !self.claim(node) {
                    self.number(node);
                }
                self.measure(node);
            }
        }
    }

    /// Gives the node its name as it stands, if nobody in its folder has it.
    fn claim(&mut self, node: usize) -> bool {
        let Node { folder, .. } = self.nodes[node];
        let key = safe_path::fold(&self.nodes[node].name());
        self.taken.insert((folder, key))
    }

    /// Gives the node its name with the first number that makes it free.
    fn number(&mut self, node: usize) {
        let Node { folder, name, .. } = self.nodes[node];
        let mut first = 1;
        loop {
            // Names that are cut to make room for a number are cut alike for all
            // numbers of as many digits.
            let key = (folder, safe_path::fold(&numbered(name, first)));
            let mut number = self.next.get(&key).copied().unwrap_or(first);
            while number / 10 < first {
                self.nodes[node].number = number;
                number += 1;
                if self.claim(node) {
                    self.next.insert(key, number);
                    return;
                }
            }
            self.next.insert(key, number);
            first *= 10;
        }
    }

    fn measure(&mut self, node: usize) {
        let above = self.nodes[node]
            .folder
            .map_or(0, |folder| self.nodes[folder].path_len + 1);
        self.nodes[node].path_len = above + self.nodes[node].name().len();
    }

    fn path(&self, node: usize) -> String {
        let mut names = Vec::new();
        let mut next = Some(node);
        while let Some(node) = next {
            names.push(self.nodes[node].name());
            next = self.nodes[node].folder;
        }
        names.reverse();
        names.join("/")
    }
}

impl Node<'_> {
    fn name(&self) -> String {
        match self.number {
            0 => self.name.to_owned(),
            number => numbered(self.name, number),
        }
    }
}
