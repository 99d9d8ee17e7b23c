//! What was said on a link, for the message of a failing test.

use std::collections::VecDeque;
use std::fmt;

use crate::hex::dump;

/// Packets that a failure shows.
const KEPT: usize = 16;

/// The last packets of a link, both directions.
#[derive(Debug)]
pub struct Trace {
    name: String,
    lines: VecDeque<String>,
}

impl Trace {
    /// An empty trace of the link called `name`.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_owned(), lines: VecDeque::with_capacity(KEPT) }
    }

    /// A packet that the test sent.
    pub fn sent(&mut self, octets: &[u8]) {
        self.push(format!("> {}", dump(octets)));
    }

    /// A packet that came.
    pub fn came(&mut self, octets: &[u8]) {
        self.push(format!("< {}", dump(octets)));
    }

    /// Anything else worth a line.
    pub fn note(&mut self, text: &str) {
        self.push(format!("  ({text})"));
    }

    /// Ends the test with what was expected, what came, and the conversation so far.
    #[track_caller]
    pub fn fail(&self, expected: &str, came: &str) -> ! {
        panic!("{}:\nexpected {expected}\ncame     {came}\n{self}", self.name);
    }

    fn push(&mut self, line: String) {
        if self.lines.len() == KEPT {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }
}

impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the last packets (> to the server, < from it):")?;
        self.lines.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[should_panic(expected = "client:\nexpected 20 02 00 01\ncame     20 02 00 00\n")]
    fn a_failure_shows_the_expected_beside_what_came() {
        Trace::new("client").fail("20 02 00 01", "20 02 00 00");
    }

    #[test]
    fn the_oldest_lines_go_first() {
        let mut trace = Trace::new("client");
        (0..=KEPT).for_each(|number| trace.note(&format!("line {number}")));
        let text = trace.to_string();
        assert!(!text.contains("(line 0)") && text.contains("(line 1)"));
        assert_eq!(text.lines().count(), KEPT + 1);
    }
}
