//! Files of predefined topics, in the spellings that users own already.
//!
//! | format | one entry |
//! |---|---|
//! | `paho` | `client, topic, id`; `*` or `COMMON` for every client |
//! | `bisquitt` | YAML: `client:`, and below it `id: topic` |
//! | `triples` | `client;topic;id`, or `topic;id` for every client |
//! | `words` | `client topic id` |
//!
//! Empty lines are left out, and so is what follows a `#` that begins a line or stands behind a
//! space.

use super::names::{Clients, Topic};
use super::problem::{Problem, Source};
use super::sections::{Limits, TOPIC_IDS};
use super::setting::{Mistake, Word, choices, clip};
use super::topics::{Entry, check_client, check_topic};
use super::yaml;

choices! {
    /// How a file of predefined topics is written.
    pub(super) enum Spelling {
        /// Lines of the Paho gateway: `client, topic, id`.
        Paho = "paho",
        /// YAML of bisquitt: client → id → topic.
        Bisquitt = "bisquitt",
        /// Lines with semicolons: `client;topic;id`.
        Triples = "triples",
        /// Lines with spaces: `client topic id`.
        Words = "words",
    }
}

/// The three texts of an entry, before they are understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Triple {
    pub(super) client: String,
    pub(super) topic: String,
    pub(super) id: String,
}

/// Reads a file; where `spelling` is not given, its first line tells it.
pub(super) fn read(
    source: &Source,
    spelling: Option<Spelling>,
    limits: &Limits,
    problems: &mut Vec<Problem>,
) -> Vec<Entry> {
    let mut entries = Vec::new();
    for (line, triple) in triples(source, spelling) {
        let place = source.line_place(line);
        let mut tell = |key: &str, Mistake { what, right }| {
            problems.push(Problem { place: place.clone(), key: key.into(), what, right });
        };
        let Triple { client, topic, id } = match triple {
            Ok(triple) => triple,
            Err(mistake) => {
                tell("", mistake);
                continue;
            }
        };
        let client = Clients::parse(&client).and_then(|c| check_client(&c, limits).map(|()| c));
        let topic = Topic::parse(&topic).and_then(|t| check_topic(&t, limits).map(|()| t));
        let client = client.map_err(|mistake| tell("client", mistake));
        let topic = topic.map_err(|mistake| tell("topic", mistake));
        let id = topic_id(&id).map_err(|mistake| tell("id", mistake));
        if let (Ok(client), Ok(topic), Ok(id)) = (client, topic, id) {
            entries.push(Entry { place, key: "id", client, id, topic });
        }
    }
    entries
}

/// The entries by line, from 0, or what is wrong with it.
fn triples(source: &Source, spelling: Option<Spelling>) -> Vec<(usize, Result<Triple, Mistake>)> {
    let text = source.text.trim_start_matches('\u{feff}');
    let lines = text.lines().enumerate().filter_map(|(n, line)| Some((n, content(line)?)));
    let Some((first, first_text)) = lines.clone().next() else { return Vec::new() };
    match spelling.or_else(|| guess(first_text)) {
        Some(Spelling::Bisquitt) => yaml::read(text),
        Some(Spelling::Words) => lines.map(|(n, line)| (n, words(line))).collect(),
        Some(Spelling::Triples) => lines
            .map(|(n, line)| (n, fields(line, ';').or_else(|mistake| pair(line).ok_or(mistake))))
            .collect(),
        Some(Spelling::Paho) => lines
            .map(|(n, line)| {
                let triple = fields(line, ',').map(|mut triple| {
                    // The word of older Paho gateways for every client.
                    if triple.client == "COMMON" {
                        triple.client = "*".into();
                    }
                    triple
                });
                (n, triple)
            })
            .collect(),
        None => vec![(
            first,
            Err(Mistake::new(
                format!("the format of \"{}\" is not known", clip(first_text)),
                "write \"client, topic, id\" on each line, or name the predefined_format",
            )),
        )],
    }
}

/// What a line says, if anything.
fn content(line: &str) -> Option<&str> {
    let end = line.find(" #").or_else(|| line.find("\t#")).unwrap_or(line.len());
    Some(line[..end].trim()).filter(|text| !text.is_empty() && !text.starts_with('#'))
}

/// The spelling of a file that begins with `line`.
fn guess(line: &str) -> Option<Spelling> {
    // What stands before the number at the end separates it from the topic.
    let before_id = line.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end();
    let has_id = before_id.len() < line.len();
    match before_id.chars().next_back()? {
        ';' if has_id => Some(Spelling::Triples),
        ',' if has_id => Some(Spelling::Paho),
        ':' => Some(Spelling::Bisquitt),
        _ if line == "---" || line.contains(": ") => Some(Spelling::Bisquitt),
        _ if line.contains(';') => Some(Spelling::Triples),
        _ if line.contains(',') => Some(Spelling::Paho),
        _ if line.split_whitespace().count() == 3 => Some(Spelling::Words),
        _ => None,
    }
}

/// `client<sep>topic<sep>id`, where the topic may hold the separator too.
fn fields(line: &str, separator: char) -> Result<Triple, Mistake> {
    line.split_once(separator)
        .and_then(|(client, rest)| Some((client, rest.rsplit_once(separator)?)))
        .map(|(client, (topic, id))| triple(client, topic, id))
        .ok_or_else(|| {
            Mistake::new(
                format!("\"{}\" does not have three parts", clip(line)),
                format!("write client{separator} topic{separator} id"),
            )
        })
}

/// `topic;id`, for every client.
fn pair(line: &str) -> Option<Triple> {
    line.split_once(';').map(|(topic, id)| triple("*", topic, id))
}

fn words(line: &str) -> Result<Triple, Mistake> {
    match line.split_whitespace().collect::<Vec<_>>().as_slice() {
        [client, topic, id] => Ok(triple(client, topic, id)),
        _ => Err(Mistake::new(
            format!("\"{}\" does not have three words", clip(line)),
            "write client topic id",
        )),
    }
}

fn triple(client: &str, topic: &str, id: &str) -> Triple {
    let [client, topic, id] = [client, topic, id].map(|part| part.trim().to_owned());
    Triple { client, topic, id }
}

fn topic_id(text: &str) -> Result<u16, Mistake> {
    text.parse()
        .ok()
        .filter(|id| TOPIC_IDS.contains(id) && text.bytes().all(|b| b.is_ascii_digit()))
        .ok_or_else(|| {
            Mistake::new(
                format!("\"{}\" is not a topic id", clip(text)),
                format!("write an integer from {} to {}", TOPIC_IDS.start(), TOPIC_IDS.end()),
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries as `client|id|topic`, then the problems as `t:line:column: key: what | right`.
    fn check(spelling: Option<Spelling>, text: &str, expect: &[&str]) {
        let source = Source::new("t", text);
        let mut problems = Vec::new();
        let entries = read(&source, spelling, &Limits::default(), &mut problems);
        let told = problems.iter().map(|problem| problem.to_string().replace("\n    ", " | "));
        let got: Vec<String> = entries
            .iter()
            .map(|Entry { client, id, topic, .. }| format!("{client}|{id}|{topic}"))
            .chain(told)
            .collect();
        assert_eq!(got, expect, "{text}");
    }

    #[test]
    fn a_paho_file_is_read() {
        let text = "\u{feff}# ClientID, TopicName, TopicID\r\n\r\n*, a/b, 1\r\ndev1,a/c,2 # two\r\n\
                    COMMON, a, comma, 3\r\n";
        check(None, text, &["*|1|a/b", "dev1|2|a/c", "*|3|a, comma"]);
        check(Some(Spelling::Paho), text, &["*|1|a/b", "dev1|2|a/c", "*|3|a, comma"]);
    }

    #[test]
    fn semicolon_triples_are_read() {
        check(
            None,
            "dev1;a/b;1\nmessages;2\n*;a;b,c;3",
            &["dev1|1|a/b", "*|2|messages", "*|3|a;b,c"],
        );
    }

    #[test]
    fn words_are_read() {
        check(None, "* a/b 1\ndev1\ta/c   2\n", &["*|1|a/b", "dev1|2|a/c"]);
    }

    #[test]
    fn the_yaml_of_bisquitt_is_read() {
        let text =
            "---\nclient1:\n  1: device/1/data\n  2: device/1/config\n\"*\":\n  1: any/data\n";
        let expect = ["client1|1|device/1/data", "client1|2|device/1/config", "*|1|any/data"];
        check(None, text, &expect);
        check(Some(Spelling::Bisquitt), text, &expect);
        check(None, &text[4..], &expect);
    }

    #[test]
    fn an_empty_file_has_no_topics() {
        check(None, "", &[]);
        check(None, "# nothing yet\n\n", &[]);
        check(Some(Spelling::Bisquitt), "---\n", &[]);
    }

    #[test]
    fn every_wrong_line_is_told() {
        check(
            None,
            "*, a, 1\n*, b\n*, c, 0\n  *, d, 65535\n*, e/#, 5\n, f, 6\n*, g, 7",
            &[
                "*|1|a",
                "*|7|g",
                "t:2:1: \"*, b\" does not have three parts | write client, topic, id",
                "t:3:1: id: \"0\" is not a topic id | write an integer from 1 to 65534",
                "t:4:3: id: \"65535\" is not a topic id | write an integer from 1 to 65534",
                "t:5:1: topic: \"e/#\" has a wildcard, which is for subscriptions | write one topic name without \
             + and #",
                "t:6:1: client: a client id is empty | write the id that the client connects with",
            ],
        );
        check(
            None,
            "a;b;c;+1\njust",
            &[
                "t:1:1: id: \"+1\" is not a topic id | write an integer from 1 to 65534",
                "t:2:1: \"just\" does not have three parts | write client; topic; id",
            ],
        );
        check(
            Some(Spelling::Words),
            "a b",
            &["t:1:1: \"a b\" does not have three words | write client topic id"],
        );
    }

    #[test]
    fn a_format_that_cannot_be_told_is_a_problem() {
        check(
            None,
            "# topics\nhello\n",
            &["t:2:1: the format of \"hello\" is not known | write \
             \"client, topic, id\" on each line, or name the predefined_format"],
        );
    }
}
