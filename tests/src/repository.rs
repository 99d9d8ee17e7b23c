//! The files of this repository, for the tests that read the sources themselves.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold what was built, fetched or recorded, not what was written.
const NOT_OURS: [&str; 5] = ["target", ".git", ".clients", "node_modules", "corpus"];

/// The folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace")
}

/// A text file of the repository.
#[derive(Clone, Debug)]
pub struct Source {
    /// Its path from the root, with slashes.
    pub path: String,
    /// Its text.
    pub text: String,
}

impl Source {
    /// A file that exists only in a test of a rule.
    pub fn invented(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// Lines with their numbers, from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    /// The number of the line that begins the unit tests of a Rust file; behind the end if there
    /// are none. A module `tests` in a file or folder of its own is nothing but tests.
    pub fn tests_from(&self) -> usize {
        if self.path.ends_with("/tests.rs") || self.path.contains("/tests/") {
            return 1;
        }
        let begins = |line: &str| line.trim_start().starts_with("#[cfg(test)]");
        let first = self.lines().find(|(_, line)| begins(line)).map(|(number, _)| number);
        first.unwrap_or(usize::MAX)
    }

    /// Whether the path begins with one of these folders.
    pub fn is_in(&self, folders: &[&str]) -> bool {
        folders.iter().any(|folder| self.path.starts_with(folder))
    }
}

/// All files whose paths end with one of `endings`, ordered by path.
pub fn files(endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    collect(root(), endings, &mut found);
    assert!(!found.is_empty(), "no file ends with {endings:?}: the walk is broken");
    found.sort_by(|a: &Source, b: &Source| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, endings: &[&str], found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !NOT_OURS.contains(&name.as_str()) {
                collect(&path, endings, found);
            }
        } else if endings.iter().any(|ending| format!("/{name}").ends_with(ending)) {
            let text =
                fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
            found.push(Source { path: relative(&path), text });
        }
    }
}

fn relative(path: &Path) -> String {
    let inside = path.strip_prefix(root()).expect("found below the root");
    let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
    parts.join("/")
}

/// A path below the root.
pub fn path(relative: &str) -> PathBuf {
    root().join(relative)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_very_file_is_found() {
        let sources = files(&[".rs"]);
        let this = sources.iter().find(|source| source.path == "tests/src/repository.rs");
        let this = this.expect("it is there");
        let (_, line) = this.lines().nth(this.tests_from() - 1).expect("it has tests");
        assert_eq!(line, "#[cfg(test)]");
        assert!(this.is_in(&["gateway/", "tests/src"]) && !this.is_in(&["gateway/src"]));
        for path in ["gateway/src/config/tests.rs", "gateway/src/config/tests/keys.rs"] {
            assert_eq!(Source::invented(path, "").tests_from(), 1);
        }
    }
}
