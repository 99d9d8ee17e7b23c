//! As much YAML as bisquitt's files of predefined topics need.
//!
//! ```yaml
//! ---
//! client1:
//!   1: device/000001/data
//! "*":
//!   1: device/any/data
//! ```
//!
//! Two levels of block mappings with plain or quoted scalars and comments. Everything else of
//! YAML is a clear error: no crate that reads all of it is both small and kept.

use super::setting::{Mistake, clip};
use super::topic_file::Triple;

/// The entries by line, from 0, or what is wrong with it.
pub(super) fn read(text: &str) -> Vec<(usize, Result<Triple, Mistake>)> {
    let mut reader = Reader::default();
    let lines = text.lines().enumerate().take_while(|(_, line)| *line != "...");
    lines.filter_map(|(n, line)| Some((n, reader.line(line.trim_end()).transpose()?))).collect()
}

/// Where in the file the reader is.
#[derive(Default)]
struct Reader {
    client: Option<String>,
    /// How far the entries of this client are indented.
    indent: Option<usize>,
}

impl Reader {
    /// The entry on a line, if there is one.
    fn line(&mut self, line: &str) -> Result<Option<Triple>, Mistake> {
        let rest = line.trim_start_matches(' ');
        let indent = line.len() - rest.len();
        if rest.is_empty() || rest.starts_with('#') || line == "---" {
            return Ok(None);
        }
        if rest.starts_with('\t') {
            return Err(Mistake::new("a tab stands in the indentation", "indent with spaces"));
        }
        let (key, value) = key(rest)?;
        if indent == 0 {
            *self = Self { client: Some(key), indent: None };
            return match value {
                "" | "{}" | "~" | "null" => Ok(None),
                _ => Err(Mistake::new(
                    format!("\"{}\" stands on the line of a client", clip(value)),
                    "write each \"id: topic\" on a line of its own below, indented",
                )),
            };
        }
        let Some(client) = self.client.clone() else {
            return Err(Mistake::new(
                "this line is indented, and there is no client above it",
                "begin with a line \"client:\", or \"*\": for every client",
            ));
        };
        let expected = *self.indent.get_or_insert(indent);
        if indent != expected {
            return Err(Mistake::new(
                format!("this line is indented by {indent}, the one above by {expected}"),
                format!("indent by {expected}"),
            ));
        }
        Ok(Some(Triple { client, topic: scalar(value)?, id: key }))
    }
}

/// `key: value` in two; the value is cut of its comment and may be empty.
fn key(text: &str) -> Result<(String, &str), Mistake> {
    let no_colon = || {
        Mistake::new(
            format!("\"{}\" has no colon", clip(text)),
            "write \"client:\", and below it \"id: topic\"",
        )
    };
    let (key, rest) = match quoted(text)? {
        Some((key, rest)) => (key, rest.trim_start().strip_prefix(':').ok_or_else(no_colon)?),
        None => {
            let end = text
                .match_indices(':')
                .map(|(at, _)| at)
                .find(|at| text[at + 1..].is_empty() || text[at + 1..].starts_with([' ', '\t']))
                .ok_or_else(no_colon)?;
            (text[..end].trim_end().to_owned(), &text[end + 1..])
        }
    };
    // A lone star is an alias to YAML, and never meant as one.
    if key != "*" {
        check_plain(text, &key)?;
    }
    Ok((key, without_comment(rest)))
}

/// A topic: plain or quoted.
fn scalar(text: &str) -> Result<String, Mistake> {
    match quoted(text)? {
        Some((scalar, rest)) if without_comment(rest).is_empty() => Ok(scalar),
        Some((_, rest)) => Err(Mistake::new(
            format!("\"{}\" stands behind the closing quote", clip(rest.trim())),
            "end the line at the quote",
        )),
        None => {
            check_plain(text, text)?;
            Ok(text.to_owned())
        }
    }
}

/// Refuses plain text that means something else to YAML.
fn check_plain(text: &str, scalar: &str) -> Result<(), Mistake> {
    let special = !text.starts_with(['"', '\''])
        && (scalar.starts_with(['&', '*', '!', '|', '>', '%', '@', '`', '[', ']', '{', '}', ','])
            || scalar.starts_with("- ")
            || scalar.starts_with("? ")
            || scalar.contains(": "));
    if special {
        return Err(Mistake::new(
            format!("\"{}\" means more to YAML than is read here", clip(scalar)),
            "write text between quotes, and one \"id: topic\" a line",
        ));
    }
    Ok(())
}

fn without_comment(text: &str) -> &str {
    let text = text.trim();
    // Within quotes a # is text; behind them the caller looks again.
    if text.starts_with(['"', '\'']) {
        return text;
    }
    let end = if text.starts_with('#') { Some(0) } else { text.find(" #") };
    text[..end.unwrap_or(text.len())].trim_end()
}

/// A quoted scalar at the beginning of `text`, and what follows it; none if it is not quoted.
fn quoted(text: &str) -> Result<Option<(String, &str)>, Mistake> {
    let Some(quote @ ('"' | '\'')) = text.chars().next() else { return Ok(None) };
    let mut scalar = String::new();
    let mut chars = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' if quote == '"' => match chars.next() {
                Some((_, escaped @ ('\\' | '"' | '/'))) => scalar.push(escaped),
                _ => {
                    return Err(Mistake::new(
                        format!("{} has an escape that is not read here", clip(text)),
                        "write the character itself",
                    ));
                }
            },
            // Two single quotes are one.
            '\'' if quote == '\'' && chars.peek().is_some_and(|(_, next)| *next == '\'') => {
                chars.next();
                scalar.push('\'');
            }
            c if c == quote => return Ok(Some((scalar, &text[at + 1..]))),
            c => scalar.push(c),
        }
    }
    let what = format!("{} has no closing quote", clip(text));
    Err(Mistake::new(what, format!("end the text with {quote}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each line as `line client|id|topic` or `line what | right`.
    fn check(text: &str, expect: &[&str]) {
        let got: Vec<String> = read(text)
            .into_iter()
            .map(|(line, triple)| match triple {
                Ok(Triple { client, topic, id }) => format!("{line} {client}|{id}|{topic}"),
                Err(Mistake { what, right }) => format!("{line} {what} | {right}"),
            })
            .collect();
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn clients_and_their_topics_are_read() {
        check(
            "# all\n---\n\"*\": # every\n  1: a/b # one\n\n  2: c\nd:\n        3: e f\n...\nx",
            &["3 *|1|a/b", "5 *|2|c", "7 d|3|e f"],
        );
        check("*:\n 1: a\n", &["1 *|1|a"]);
        check("a: {}\nb: ~\nc:\n", &[]);
    }

    #[test]
    fn quotes_are_taken_off() {
        check(
            "'it''s':\n  \"1\": \"a \\\"b\\\" #c\\\\\" # end\n  '2': 'x: #y'\n",
            &["1 it's|1|a \"b\" #c\\", "2 it's|2|x: #y"],
        );
        check("a:b:\n  1: c:d\n", &["1 a:b|1|c:d"]);
    }

    #[test]
    fn what_is_not_read_is_told() {
        check(
            "  1: a\n",
            &["0 this line is indented, and there is no client above it | begin with \
             a line \"client:\", or \"*\": for every client"],
        );
        check("a:\n\t1: b\n", &["1 a tab stands in the indentation | indent with spaces"]);
        check(
            "a:\n  1: b\n   2: c\n",
            &["1 a|1|b", "2 this line is indented by 3, the one above by 2 | indent by 2"],
        );
        check(
            "a: {1: b}\n",
            &["0 \"{1: b}\" stands on the line of a client | write each \"id: \
             topic\" on a line of its own below, indented"],
        );
        check(
            "a:\n  - b\n",
            &["1 \"- b\" has no colon | write \"client:\", and below it \"id: \
             topic\""],
        );
        for text in ["&x b", "|", "{c: d}", "[c]", "!!str c", "c: d"] {
            check(
                &format!("a:\n  1: {text}\n"),
                &[&format!(
                    "1 \"{text}\" means more to YAML than is read here | write text between quotes, \
                 and one \"id: topic\" a line"
                )],
            );
        }
        check("a:\n  1: \"b\n", &["1 \\\"b has no closing quote | end the text with \""]);
        check(
            "a:\n  1: \"b\\q\"\n",
            &["1 \\\"b\\\\q\\\" has an escape that is not read here | write the character itself"],
        );
        check(
            "a:\n  1: 'b' c\n",
            &["1 \"c\" stands behind the closing quote | end the line at the quote"],
        );
    }
}
