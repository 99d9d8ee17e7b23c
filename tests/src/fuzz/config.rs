//! What an operator writes: a configuration, a file of predefined topics, an address.
//!
//! What is wrong has a place in the text and words in one line; what is right keeps the promises
//! of [`Config`]; what was understood can be written down and is understood again.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use mqtt_sn_gw::cli::CliArgs;
use mqtt_sn_gw::config::{Config, Place, PredefinedTopic, Problems};

use super::Target;
use super::digest::Digest;

/// A configuration.
pub const CONFIG: Target =
    Target { name: "config", dictionary: "config", bytes_max: 2_048, run: config };

/// A file of predefined topics; the first octet chooses its spelling.
pub const TOPIC_FILE: Target =
    Target { name: "topic_file", dictionary: "topics", bytes_max: 512, run: topic_file };

/// An address to listen on; the first octet chooses what for.
pub const ADDRESS: Target =
    Target { name: "address", dictionary: "address", bytes_max: 128, run: address };

/// How problems call the text.
const NAME: &str = "fuzz.toml";

static DEFAULTS: LazyLock<Config> = LazyLock::new(Config::default);

fn config(octets: &[u8]) -> u64 {
    // Files that are no text are refused before.
    let Ok(text) = str::from_utf8(octets) else { return 0 };
    // Files that it names are those of the machine.
    if ["_file", "data_dir", "%"].iter().any(|word| text.contains(word)) {
        return 0;
    }
    match Config::parse(NAME, text) {
        Ok(config) => {
            check_config(&config);
            let mut digest = Digest::new();
            digest.octets(config.summary().as_bytes());
            digest.end()
        }
        Err(problems) => check_problems(&problems, text),
    }
}

fn check_config(config: &Config) {
    assert!(config.forwarders.len() <= 1_024 && config.users.len() <= 4_096);
    check_predefined(&config.predefined);
    let distinct = |names: Vec<&String>| {
        let count = names.len();
        assert_eq!(names.into_iter().collect::<BTreeSet<_>>().len(), count, "one stands twice");
    };
    distinct(config.clients.iter().map(|client| &client.id).collect());
    distinct(config.users.iter().map(|user| &user.name).collect());
    assert!(!config.listeners.is_empty(), "nobody could come");
    assert!(config.notes.iter().all(|note| !note.what.is_empty() && !note.right.is_empty()));
    assert_eq!(config.file, None);
    if config.predefined.is_empty() {
        return;
    }
    // What was understood in these words is understood again.
    assert_eq!(
        &Config::parse(NAME, &toml(&config.predefined)).map(|c| c.predefined),
        &Ok(config.predefined.clone())
    );
}

fn check_predefined(topics: &[PredefinedTopic]) {
    let keys: Vec<_> = topics.iter().map(|topic| (&topic.client, topic.id)).collect();
    assert!(keys.is_sorted() && keys.windows(2).all(|pair| pair[0] != pair[1]), "{keys:?}");
    for PredefinedTopic { id, topic, client } in topics {
        assert!((1..=65_534).contains(id) && !topic.is_empty());
        assert!(!topic.contains(['+', '#', '\0']), "{topic:?} is no topic name");
        assert!(client.as_ref().is_none_or(|client| !client.is_empty()));
    }
}

/// Every problem has a place in the text, and can be told.
fn check_problems(problems: &Problems, text: &str) -> u64 {
    let mut digest = Digest::new();
    let lines = text.lines().count().max(1) + 1;
    let mut last = 0;
    for problem in problems.iter() {
        assert!(!problem.what.is_empty() && !problem.right.is_empty(), "{problem:?}");
        assert!(!problem.what.ends_with('.') && !problem.what.contains('\n'), "{problem:?}");
        if let Place::Line { file, line, column } = &problem.place {
            assert_eq!(file, NAME);
            assert!((1..=lines).contains(line), "line {line} of {lines}");
            let end = text.lines().nth(line - 1).map_or(0, |line| line.chars().count());
            assert!((1..=end + 2).contains(column), "column {column} of {end}: {problem:?}");
            assert!(*line >= last, "problems come in the order of lines");
            last = *line;
        }
        digest.octets(problem.to_string().as_bytes());
    }
    assert!(problems.iter().next().is_some(), "refused for nothing");
    digest.end()
}

fn topic_file(octets: &[u8]) -> u64 {
    const SPELLINGS: [Option<&str>; 5] =
        [None, Some("paho"), Some("bisquitt"), Some("triples"), Some("words")];
    let (choice, text) = octets.split_first().unwrap_or((&0, &[]));
    let Ok(text) = str::from_utf8(text) else { return 0 };
    let spelling = SPELLINGS[usize::from(*choice) % SPELLINGS.len()];
    match DEFAULTS.predefined_topics(NAME, text, spelling) {
        Ok(topics) => {
            check_predefined(&topics);
            let again = Config::parse(NAME, &toml(&topics)).map(|config| config.predefined);
            assert_eq!(again.as_ref(), Ok(&topics), "as tables of a configuration");
            let again = DEFAULTS.predefined_topics(NAME, &yaml(&topics), Some("bisquitt"));
            assert_eq!(again.as_ref(), Ok(&topics), "as YAML");
            let mut digest = Digest::new();
            topics.iter().for_each(|topic| digest.octets(topic.topic.as_bytes()));
            digest.end()
        }
        Err(problems) => check_problems(&problems, text),
    }
}

/// Predefined topics in the words of a configuration.
fn toml(topics: &[PredefinedTopic]) -> String {
    topics.iter().fold(String::new(), |text, PredefinedTopic { id, topic, client }| {
        let client = client.as_ref().map(|client| format!("client = {}\n", quoted(client)));
        let topic = quoted(topic);
        let client = client.unwrap_or_default();
        format!("{text}[[mqtt_sn.predefined]]\nid = {id}\ntopic = {topic}\n{client}")
    })
}

/// A text of TOML: the characters that cannot stand there are written by their number.
fn quoted(text: &str) -> String {
    let escaped = text.chars().map(|character| match character {
        '"' | '\\' | '\0'..' ' | '\x7F' => format!("\\u{:04X}", u32::from(character)),
        other => other.to_string(),
    });
    format!("\"{}\"", escaped.collect::<String>())
}

/// The same as a file of bisquitt.
fn yaml(topics: &[PredefinedTopic]) -> String {
    let single = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let mut text = String::from("---\n");
    for PredefinedTopic { id, topic, client } in topics {
        let client = client.as_deref().unwrap_or("*");
        text += &format!("{}:\n  {id}: {}\n", single(client), single(topic));
    }
    text
}

fn address(octets: &[u8]) -> u64 {
    let (choice, text) = octets.split_first().unwrap_or((&0, &[]));
    let Ok(text) = str::from_utf8(text) else { return 0 };
    // Names of interfaces are those of the machine.
    if text.contains('%') {
        return 0;
    }
    let typed = vec![text.to_owned()];
    let args = match choice % 3 {
        0 => CliArgs { mqtt: typed, ..CliArgs::default() },
        1 => CliArgs { mqtt_sn: typed, ..CliArgs::default() },
        _ => CliArgs { ws: typed, ..CliArgs::default() },
    };
    let mut digest = Digest::new();
    match Config::load(&args) {
        Ok(config) => {
            assert!(!config.listeners.is_empty());
            for listener in &config.listeners {
                let bound = listener.bind;
                assert!(!bound.ip().is_multicast());
                assert_eq!(bound.ip(), bound.ip().to_canonical());
                digest.octets(bound.to_string().as_bytes());
                // An address says itself.
                let again = CliArgs { mqtt: vec![bound.to_string()], ..CliArgs::default() };
                let again = Config::load(&again).expect("it was one before");
                assert!(again.listeners.iter().any(|other| other.bind == bound));
            }
        }
        Err(problems) => {
            let told = problems.iter().all(|p| !p.what.is_empty() && !p.right.is_empty());
            assert!(told, "{problems:?}");
            digest.number(1);
        }
    }
    digest.end()
}
