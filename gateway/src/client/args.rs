//! The options of `pub` and `sub`: what was typed, and what it means.
//!
//! What clap cannot say in one clear line is checked here, before anything is sent.

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::iter;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use broker_core::topic::{TopicFilter, TopicName};
use clap::{ArgAction, Args};
use sn_codec::QoS;

use super::failure::Failure;
use super::session::{Options, Retry, Topic, Will};

/// Characters of a generated client id; 23 please every gateway (SN-005).
const GENERATED_ID_CHARACTERS: usize = 16;

/// The options that both commands have.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct ConnectionArgs {
    /// Where the gateway is: a name or an IP address
    #[arg(short = 'h', long, value_name = "HOST", default_value = "localhost")]
    pub(super) host: String,

    /// The UDP port of the gateway
    #[arg(short, long, default_value_t = 1883, value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) port: u16,

    /// The client id; without it one is made up
    #[arg(short, long, value_name = "ID")]
    id: Option<String>,

    /// Make the client id of PREFIX and the number of this process
    #[arg(short = 'I', long, value_name = "PREFIX", conflicts_with = "id")]
    id_prefix: Option<String>,

    /// Seconds within which the gateway hears of this client; 0: it does not mind silence
    #[arg(short, long, value_name = "SECONDS", default_value_t = 60)]
    keepalive: u16,

    /// Keep the session: subscriptions, and what comes for them in between (needs --id)
    #[arg(short = 'c', long)]
    disable_clean_session: bool,

    /// What the gateway publishes if this client vanishes
    #[arg(long, value_name = "TOPIC")]
    will_topic: Option<String>,

    /// Its payload; without it there is none
    #[arg(long, value_name = "MESSAGE", requires = "will_topic", allow_hyphen_values = true)]
    will_payload: Option<OsString>,

    /// Its QoS: 0, 1 or 2
    #[arg(
        long,
        value_name = "QOS",
        requires = "will_topic",
        value_parser = clap::value_parser!(u8).range(..=2)
    )]
    will_qos: Option<u8>,

    /// Have it retained
    #[arg(long, requires = "will_topic")]
    will_retain: bool,

    /// Register a topic name of two octets like any other, instead of sending it as it is
    #[arg(long)]
    no_short: bool,

    /// Milliseconds after which a message without an answer is sent again
    #[arg(
        long,
        value_name = "MS",
        default_value_t = 2_000,
        value_parser = clap::value_parser!(u32).range(1..=3_600_000)
    )]
    retry_ms: u32,

    /// How often it is sent again
    #[arg(long, value_name = "N", default_value_t = 4)]
    retry_max: u8,

    /// Show every packet on standard error, by name and in hex
    #[arg(short, long)]
    pub(super) debug: bool,

    /// Do not say what goes wrong
    #[arg(long)]
    pub(super) quiet: bool,

    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

/// The options of `pub`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct PubArgs {
    /// The topic to publish to; two octets are sent as they are, a longer name is registered
    #[arg(short, long, allow_hyphen_values = true)]
    topic: Option<String>,

    /// The topic to publish to, by an id that the gateway knows beforehand
    #[arg(
        long,
        value_name = "ID",
        conflicts_with = "topic",
        value_parser = clap::value_parser!(u16).range(1..=0xFFFE)
    )]
    predefined: Option<u16>,

    /// Publish MESSAGE
    #[arg(short, long, allow_hyphen_values = true)]
    message: Option<OsString>,

    /// Publish what is in FILE
    #[arg(short, long)]
    file: Option<PathBuf>,

    /// Publish each line of standard input
    #[arg(short = 'l', long)]
    stdin_line: bool,

    /// Publish all of standard input
    #[arg(short = 's', long)]
    stdin_file: bool,

    /// Publish a message of nothing
    #[arg(short, long)]
    null_message: bool,

    /// 0, 1 or 2, or -1: send to a predefined id or a two-octet topic without connecting
    #[arg(
        short,
        long,
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(i8).range(-1..=2)
    )]
    qos: i8,

    /// Have the message retained
    #[arg(short, long)]
    pub(super) retain: bool,

    /// Publish it N times
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    repeat: Option<u32>,

    /// Seconds between two of these, also parts of one
    #[arg(
        long,
        value_name = "SECONDS",
        requires = "repeat",
        allow_negative_numbers = true,
        value_parser = seconds
    )]
    repeat_delay: Option<Duration>,

    #[command(flatten, next_help_heading = "Connection")]
    pub(super) connection: ConnectionArgs,
}

/// The options of `sub`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SubArgs {
    /// A topic to subscribe to, possibly with wildcards; may be repeated
    #[arg(short, long = "topic", value_name = "TOPIC", allow_hyphen_values = true)]
    topics: Vec<String>,

    /// A topic to subscribe to, by an id that the gateway knows beforehand; may be repeated
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=0xFFFE))]
    predefined: Vec<u16>,

    /// A topic to unsubscribe from, after subscribing to the others; may be repeated
    #[arg(short = 'U', long = "unsubscribe", value_name = "TOPIC", allow_hyphen_values = true)]
    unsubscribe: Vec<String>,

    /// 0, 1 or 2
    #[arg(
        short,
        long,
        default_value_t = 0,
        allow_negative_numbers = true,
        value_parser = clap::value_parser!(u8).range(..=2)
    )]
    qos: u8,

    /// Sleep, and collect what came in between every SECONDS
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) sleep: Option<u16>,

    /// End after COUNT messages
    #[arg(short = 'C', long, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) count: Option<u32>,

    /// End SECONDS after the connection was made, with exit status 27
    #[arg(
        short = 'W',
        long,
        value_name = "SECONDS",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub(super) timeout: Option<u32>,

    /// End as soon as all subscriptions stand
    #[arg(short = 'E', long)]
    pub(super) exit_subscribed: bool,

    /// Print `topic payload` instead of the payload alone
    #[arg(short, long)]
    pub(super) verbose: bool,

    /// Print nothing behind a payload, where there is a line end otherwise
    #[arg(short = 'N', long)]
    pub(super) no_newline: bool,

    /// Leave out messages that were retained before
    #[arg(short = 'R', long)]
    pub(super) no_retained: bool,

    #[command(flatten, next_help_heading = "Connection")]
    pub(super) connection: ConnectionArgs,
}

/// Where the messages of `pub` come from.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    /// One message, given.
    Given(Vec<u8>),
    /// One message in a file.
    File(PathBuf),
    /// One message on standard input.
    Stdin,
    /// Each line of standard input.
    StdinLines,
}

/// How often a message is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Repeat {
    pub(super) times: u32,
    /// The least time between the end of one and the beginning of the next.
    pub(super) delay: Duration,
}

impl ConnectionArgs {
    pub(super) const fn retry(&self) -> Retry {
        Retry { after: Duration::from_millis(self.retry_ms as u64), times: self.retry_max }
    }

    pub(super) fn options(&self, command: &str) -> Result<Options, Failure> {
        if self.disable_clean_session && self.id.is_none() {
            return Err(Failure::usage("-c keeps the session of a client id: give one with -i ID"));
        }
        let client_id = match (&self.id, &self.id_prefix) {
            (Some(id), _) => id.clone(),
            (None, Some(prefix)) => format!("{prefix}{}", process::id()),
            (None, None) => generated_id(command),
        };
        Ok(Options {
            client_id,
            clean_session: !self.disable_clean_session,
            keep_alive_s: self.keepalive,
            will: self.will()?,
            retry: self.retry(),
        })
    }

    fn will(&self) -> Result<Option<Will>, Failure> {
        let Some(topic) = &self.will_topic else { return Ok(None) };
        check_name("--will-topic", topic)?;
        Ok(Some(Will {
            topic: topic.clone(),
            payload: self.will_payload.as_ref().map_or_else(Vec::new, octets),
            qos: qos(self.will_qos.unwrap_or(0)),
            retain: self.will_retain,
        }))
    }

    fn topic(&self, name: &str) -> Topic {
        if self.no_short { Topic::Name(name.to_owned()) } else { Topic::shortest(name) }
    }
}

impl PubArgs {
    pub(super) fn topic(&self) -> Result<Topic, Failure> {
        let topic = match (&self.topic, self.predefined) {
            (Some(name), _) => {
                check_name("-t", name)?;
                self.connection.topic(name)
            }
            (None, Some(id)) => Topic::Predefined(id),
            (None, None) => {
                return Err(Failure::usage("name the topic with -t TOPIC or --predefined ID"));
            }
        };
        match &topic {
            Topic::Name(name) if self.qos() == QoS::MinusOne => Err(Failure::usage(format!(
                "-q -1 sends without connecting, so {name:?} cannot be registered: take \
                 --predefined ID or a topic name of two octets"
            ))),
            Topic::Name(_) | Topic::Predefined(_) | Topic::Short(_) => Ok(topic),
        }
    }

    pub(super) fn qos(&self) -> QoS {
        u8::try_from(self.qos).map_or(QoS::MinusOne, qos)
    }

    pub(super) fn content(&self) -> Result<Content, Failure> {
        let given = [
            self.message.as_ref().map(|message| Content::Given(octets(message))),
            self.file.clone().map(Content::File),
            self.stdin_line.then_some(Content::StdinLines),
            self.stdin_file.then_some(Content::Stdin),
            self.null_message.then_some(Content::Given(Vec::new())),
        ];
        let mut given = given.into_iter().flatten();
        match (given.next(), given.next()) {
            (Some(Content::StdinLines), None) if self.repeat.is_some() => Err(Failure::usage(
                "--repeat repeats one message: take -m, -f, -s or -n with it, not -l",
            )),
            (Some(content), None) => Ok(content),
            (None, _) => Err(Failure::usage(
                "say what to publish with one of -m MESSAGE, -f FILE, -l, -s, -n",
            )),
            (Some(_), Some(_)) => {
                Err(Failure::usage("only one of -m, -f, -l, -s and -n can be published"))
            }
        }
    }

    pub(super) fn repeat(&self) -> Repeat {
        let delay = self.repeat_delay.unwrap_or_default();
        Repeat { times: self.repeat.unwrap_or(1), delay }
    }

    /// Refuses what has no place in a message without a connection.
    pub(super) fn check_unconnected(&self) -> Result<(), Failure> {
        let ConnectionArgs { id, id_prefix, disable_clean_session, will_topic, .. } =
            &self.connection;
        let useless = [
            ("-i", id.is_some()),
            ("-I", id_prefix.is_some()),
            ("-c", *disable_clean_session),
            ("--will-topic", will_topic.is_some()),
        ];
        match useless.iter().find(|(_, given)| *given) {
            Some((option, _)) if self.qos() == QoS::MinusOne => Err(Failure::usage(format!(
                "-q -1 sends without connecting, where {option} means nothing: leave one of them out"
            ))),
            Some(_) | None => Ok(()),
        }
    }
}

impl SubArgs {
    /// What to subscribe to.
    pub(super) fn topics(&self) -> Result<Vec<Topic>, Failure> {
        if self.topics.is_empty() && self.predefined.is_empty() && self.unsubscribe.is_empty() {
            return Err(Failure::usage("name a topic with -t TOPIC or --predefined ID"));
        }
        let predefined = self.predefined.iter().map(|id| Topic::Predefined(*id));
        Ok(self.filters("-t", &self.topics)?.into_iter().chain(predefined).collect())
    }

    /// What to unsubscribe from.
    pub(super) fn unsubscribe(&self) -> Result<Vec<Topic>, Failure> {
        self.filters("-U", &self.unsubscribe)
    }

    pub(super) fn qos(&self) -> QoS {
        qos(self.qos)
    }

    fn filters(&self, option: &str, filters: &[String]) -> Result<Vec<Topic>, Failure> {
        for filter in filters {
            if let Err(error) = TopicFilter::new(filter) {
                return Err(Failure::usage(format!("{option} {filter:?}: {error}")));
            }
        }
        Ok(filters.iter().map(|filter| self.connection.topic(filter)).collect())
    }
}

fn check_name(option: &str, name: &str) -> Result<(), Failure> {
    match TopicName::new(name) {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::usage(format!("{option} {name:?}: {error}"))),
    }
}

fn octets(text: &OsString) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// Numbers were bounded by clap.
const fn qos(level: u8) -> QoS {
    match level {
        0 => QoS::AtMostOnce,
        1 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

/// Seconds with a fraction, at most a day.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write seconds from 0 to 86400".to_owned())
}

/// A client id that nobody else has. The standard library seeds its hashers by the system's random
/// numbers.
fn generated_id(command: &str) -> String {
    let mut rng = fastrand::Rng::with_seed(RandomState::new().hash_one(process::id()));
    let random = iter::repeat_with(|| rng.alphanumeric());
    let id: String =
        format!("{command}-").chars().chain(random).take(GENERATED_ID_CHARACTERS).collect();
    id
}
