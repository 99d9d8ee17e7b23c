//! What is wrong with a configuration, where it stands, and what would be right.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::string::FromUtf8Error;

/// The largest file that is read, in bytes; a larger one is hardly the file that was meant.
pub(super) const FILE_BYTES_MAX: u64 = 16 << 20;

/// One thing that is wrong, told in two lines: what, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where it was read.
    pub place: Place,
    /// The key with the tables around it (`mqtt_sn.retry_ms`), or the option (`--mqtt`); empty
    /// where no key is concerned.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What would be right, or what to type.
    pub right: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}\n    {}", self.what, self.right)
    }
}

/// Where a value was read. The order is that in which problems are told.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// On the command line.
    CommandLine,
    /// A file as a whole, by the name it was given under.
    File(String),
    /// A place in a file.
    Line {
        /// The name under which the file was given.
        file: String,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CommandLine => f.write_str("command line"),
            Self::File(file) => f.write_str(file),
            Self::Line { file, line, column } => write!(f, "{file}:{line}:{column}"),
        }
    }
}

/// Everything that is wrong, in the order of the places. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// `Ok` if there is none, else all of them in order.
    pub(super) fn check(mut problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        problems.sort_by(|a, b| a.place.cmp(&b.place));
        Err(Self(problems))
    }

    /// The problems, one after the other.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Says where the first octet stands that is not UTF-8.
fn not_utf8(error: &FromUtf8Error) -> io::Error {
    let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
    let good = String::from_utf8_lossy(good);
    let line = good.matches('\n').count() + 1;
    let column = good.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let what = format!("line {line}, column {column} is not UTF-8");
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// Whether a file is read for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// At the start: whatever gives octets will do, a pipe as well.
    First,
    /// While the gateway runs: a pipe has given what it had, or lets its reader wait for ever.
    Again,
}

impl Reading {
    fn open(self, path: &Path) -> io::Result<File> {
        match self {
            Self::First => File::open(path),
            Self::Again => {
                // Opening a pipe that nobody writes to would wait as well; files know no waiting.
                let file =
                    OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
                let kind = file.metadata()?.file_type();
                if kind.is_file() || kind.is_dir() {
                    // Reading says what is wrong with a folder.
                    return Ok(file);
                }
                Err(io::Error::other("only a file can be read again, not a pipe or a device"))
            }
        }
    }
}

/// A text with the name of its file, so that an offset can be told as line and column.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) text: String,
    /// The offset of the first octet of each line.
    lines: Vec<usize>,
}

impl Source {
    pub(super) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let lines = std::iter::once(0)
            .chain(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at + 1))
            .collect();
        Self { name: name.into(), text, lines }
    }

    /// Reads a file of at most [`FILE_BYTES_MAX`] that is UTF-8.
    pub(super) fn load(path: &Path, reading: Reading) -> io::Result<Self> {
        let mut octets = Vec::new();
        reading.open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut octets)?;
        if octets.len() as u64 > FILE_BYTES_MAX {
            return Err(io::Error::other(format!("the file has more than {FILE_BYTES_MAX} bytes")));
        }
        let text = String::from_utf8(octets).map_err(|error| not_utf8(&error))?;
        Ok(Self::new(path.display().to_string(), text))
    }

    /// The line, from 0, that holds `offset`.
    pub(super) fn line(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset) - 1
    }

    /// The text of a line, from 0, without its end.
    pub(super) fn line_text(&self, line: usize) -> &str {
        let end = self.lines.get(line + 1).copied().unwrap_or(self.text.len());
        self.text[self.lines[line]..end].trim_end_matches(['\n', '\r'])
    }

    /// The place of the first character of a line, from 0, that is not a space.
    pub(super) fn line_place(&self, line: usize) -> Place {
        let text = self.line_text(line);
        self.place(self.lines[line] + text.len() - text.trim_start().len())
    }

    pub(super) fn place(&self, offset: usize) -> Place {
        let line = self.line(offset);
        let before = self.text.get(self.lines[line]..offset).unwrap_or_default();
        let column = before.chars().filter(|c| *c != '\u{feff}').count() + 1;
        Place::Line { file: self.name.clone(), line: line + 1, column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_told_as_line_and_column_in_characters() {
        let source = Source::new("f", "ab\nä = 1\n");
        let check = |offset, line, column| {
            let expect = Place::Line { file: "f".into(), line, column };
            assert_eq!(source.place(offset), expect, "offset {offset}");
        };
        check(0, 1, 1);
        check(2, 1, 3);
        check(3, 2, 1);
        check(8, 2, 5);
        check(source.text.len(), 3, 1);
        assert_eq!(source.line_text(1), "ä = 1");
        let source = Source::new("f", "a\r\n  b\r\n");
        assert_eq!(source.line_text(1), "  b");
        assert_eq!(source.line_place(1), source.place(5));
    }

    #[test]
    fn problems_are_told_in_the_order_of_their_places() {
        let problem = |line| Problem {
            place: Place::Line { file: "f".into(), line, column: 1 },
            key: String::new(),
            what: format!("line {line} is wrong"),
            right: "write another".into(),
        };
        let problems = Problems::check(vec![problem(12), problem(2)]).expect_err("there are two");
        assert_eq!(
            problems.to_string(),
            "f:2:1: line 2 is wrong\n    write another\nf:12:1: line 12 is wrong\n    write another"
        );
        assert_eq!(Problems::check(Vec::new()), Ok(()));
    }
}
