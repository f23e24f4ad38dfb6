//! Which entries `--only` chooses.
//!
//! A glob is matched against the path inside the share, and with no `/` in it
//! also against each name on the way. What is below a chosen folder is chosen.

use globset::{Glob, GlobBuilder, GlobMatcher};
use passalong_engine::api::EntryView;

/// Reads a glob from the command line.
pub(crate) fn glob(text: &str) -> Result<Glob, globset::Error> {
    GlobBuilder::new(text.trim_start_matches("./").trim_end_matches('/'))
        .literal_separator(true)
        .build()
}

/// The indexes of the entries that at least one glob chooses.
pub(crate) fn choose(entries: &[EntryView], globs: &[Glob]) -> Vec<u32> {
    let globs: Vec<_> = globs.iter().map(Choice::new).collect();
    entries
        .iter()
        .filter(|entry| globs.iter().any(|glob| glob.takes(&entry.path)))
        .map(|entry| entry.index)
        .collect()
}

struct Choice {
    matcher: GlobMatcher,
    names: bool,
}

impl Choice {
    fn new(glob: &Glob) -> Self {
        Choice {
            matcher: glob.compile_matcher(),
            names: !glob.glob().contains('/'),
        }
    }

    fn takes(&self, path: &str) -> bool {
        let ends = path.match_indices('/').map(|(end, _)| end);
        ends.chain([path.len()]).any(|end| {
            let upto = &path[..end];
            let name = upto.rsplit('/').next().unwrap_or(upto);
            self.matcher.is_match(upto) || (self.names && self.matcher.is_match(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(globs: &[&str]) -> Vec<&'static str> {
        let paths = [
            "Photos",
            "Photos/a.jpg",
            "Photos/2024",
            "Photos/2024/b.jpg",
            "Photos/2024/notes.txt",
            "read me.txt",
        ];
        let entry = |(index, path): (usize, &&str)| EntryView {
            index: index as u32,
            path: (*path).to_owned(),
            size: 1,
            folder: false,
            executable: false,
        };
        let entries: Vec<_> = paths.iter().enumerate().map(entry).collect();
        let globs: Vec<_> = globs.iter().map(|g| glob(g).expect("a glob")).collect();
        let chosen = choose(&entries, &globs);
        chosen.into_iter().map(|i| paths[i as usize]).collect()
    }

    #[test]
    fn a_name_is_found_at_any_depth() {
        assert_eq!(chosen(&["*.jpg"]), ["Photos/a.jpg", "Photos/2024/b.jpg"]);
        assert_eq!(chosen(&["notes.txt"]), ["Photos/2024/notes.txt"]);
    }

    #[test]
    fn a_path_is_matched_from_the_top() {
        assert_eq!(chosen(&["Photos/*.jpg"]), ["Photos/a.jpg"]);
        assert_eq!(
            chosen(&["**/*.txt"]),
            ["Photos/2024/notes.txt", "read me.txt"]
        );
        assert!(chosen(&["2024/b.jpg"]).is_empty());
    }

    #[test]
    fn a_folder_takes_what_is_below() {
        let below = ["Photos/2024", "Photos/2024/b.jpg", "Photos/2024/notes.txt"];
        assert_eq!(chosen(&["Photos/2024"]), below);
        assert_eq!(chosen(&["2024/"]), below);
    }

    #[test]
    fn several_globs_add_up() {
        assert_eq!(chosen(&["read*", "a.jpg"]), ["Photos/a.jpg", "read me.txt"]);
    }
}
