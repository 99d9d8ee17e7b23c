//! The configuration at its public edge: a text goes in, a [`Config`] or all problems come out.

mod keys;
mod listeners;
mod mqtt;
mod reload;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::cli::Command;

/// The problems of a text, as the user reads them, or the empty string.
fn problems(text: &str) -> String {
    Config::parse("gw.toml", text).err().map(|problems| problems.to_string()).unwrap_or_default()
}

/// Expects exactly these problems, given as lines without the indentation of the advice.
#[track_caller]
fn check(text: &str, expect: &[&str]) {
    let problems = problems(text);
    let got: Vec<&str> = problems.lines().map(str::trim_start).collect();
    assert_eq!(got, expect, "{text}");
}

#[track_caller]
fn good(text: &str) -> Config {
    Config::parse("gw.toml", text).unwrap_or_else(|problems| panic!("{text}\n{problems}"))
}

/// The listeners as `kind address`, with a `?` where the address may be left out.
fn listeners(config: &Config) -> Vec<String> {
    config
        .listeners
        .iter()
        .map(|l| format!("{} {}{}", l.word(), l.bind, if l.optional { "?" } else { "" }))
        .collect()
}

fn args(words: &[&str]) -> CliArgs {
    match crate::cli::parse_from([&["mqtt-sn-gw"], words].concat()).expect("the words are right") {
        Command::Serve(args) => args,
        command @ (Command::Check(_) | Command::Pub(_) | Command::Sub(_) | Command::Store(_)) => {
            panic!("{command:?}")
        }
    }
}

/// The text with the command line over it.
fn apply(text: &str, words: &[&str]) -> Result<Config, Problems> {
    Config::from_source(
        &Source::new("gw.toml", text),
        (Path::new(""), Reading::First),
        &args(words),
    )
}

const DEFAULT_LISTENERS: [&str; 4] =
    ["mqtt 127.0.0.1:1883", "mqtt [::1]:1883?", "mqtt-sn 127.0.0.1:1883", "mqtt-sn [::1]:1883?"];

#[test]
fn an_empty_file_is_the_secure_default() {
    let config = good("");
    assert_eq!(config, Config::default());
    assert_eq!(listeners(&config), DEFAULT_LISTENERS);
    assert_eq!(config.data_dir, None);
    assert_eq!(config.mqtt_sn, SnSettings::default());
    assert_eq!(config.limits, Limits::default());
    assert!(config.predefined.is_empty() && config.forwarders.is_empty());
    assert!(config.clients.is_empty() && config.notes.is_empty());
}

#[test]
fn the_defaults_of_the_contract_hold() {
    let Config { mqtt_sn, limits, sys, log, .. } = Config::default();
    assert_eq!((mqtt_sn.gateway_id, mqtt_sn.advertise_s, mqtt_sn.max_datagram), (1, 0, 1_024));
    assert_eq!((mqtt_sn.retry_ms, mqtt_sn.retry_max), (10_000, 4));
    assert_eq!((mqtt_sn.awake_retry_ms, mqtt_sn.awake_retry_max), (4_000, 3));
    assert_eq!((mqtt_sn.wake_rebind, mqtt_sn.takeover_probe_ms), (WakeRebind::SameIp, 2_000));
    assert!(mqtt_sn.qos_minus_one && !mqtt_sn.qos_minus_one_names);
    assert!(mqtt_sn.deduplicate && !mqtt_sn.will_on_reconnect);
    assert_eq!((limits.memory_bytes, limits.sessions), (268_435_456, 100_000));
    assert_eq!((limits.connections, limits.connections_per_source_unidentified), (None, 64));
    assert_eq!((limits.packet_bytes, limits.connect_packet_bytes), (1 << 20, 16_384));
    assert_eq!((limits.queue_messages, limits.queue_bytes), (1_000, 1 << 20));
    assert_eq!((limits.queue_overflow, limits.inflight), (QueueOverflow::RejectNew, 20));
    assert_eq!((limits.filters_per_session, limits.topic_ids_per_client), (1_000, 1_024));
    assert_eq!((limits.retained_messages, limits.retained_bytes), (100_000, 64 << 20));
    assert_eq!((limits.topic_levels, limits.client_id_bytes), (128, 256));
    assert_eq!((limits.connect_timeout_s, limits.session_expiry_s), (10, 7 * 86_400));
    assert_eq!((limits.write_stall_s, limits.log_lines_per_s), (60, 10));
    assert_eq!(sys, SysSettings { interval_s: 10 });
    assert_eq!(log, LogSettings { format: LogFormat::Text, level: LogLevel::Info });
}

#[test]
fn the_sample_of_the_contract_is_read() {
    let config = good(
        r#"
        data_dir = "/var/lib/mqtt-sn-gw"
        [[listener]]
        kind = "mqtt"
        bind = "127.0.0.1:1883"
        [[listener]]
        kind = "mqtt-sn"
        bind = "127.0.0.1:1883"
        multicast = ["225.1.1.1"]
        [mqtt_sn]
        gateway_id = 1
        retry_ms = 10000
        retry_max = 4
        awake_retry_ms = 4000
        awake_retry_max = 3
        advertise_s = 0
        max_datagram = 1024
        [[mqtt_sn.predefined]]
        id = 1
        topic = "predef/one"
        client = "*"
        [[mqtt_sn.forwarder]]
        address = "192.168.1.20"
        [[mqtt_sn.client]]
        id = "node7"
        max_datagram = 128
        swap_topic_id_octets = true
        [limits]
        memory_bytes = 268435456
        "#,
    );
    assert_eq!(config.data_dir.as_deref(), Some(Path::new("/var/lib/mqtt-sn-gw")));
    assert_eq!(listeners(&config), ["mqtt 127.0.0.1:1883", "mqtt-sn 127.0.0.1:1883"]);
    let group = Group { address: [225, 1, 1, 1].into(), interface: None };
    let sn = SnListener { multicast: vec![group], multicast_ttl: 1, max_datagram: 1_024 };
    assert_eq!(config.listeners[1].kind, ListenerKind::MqttSn(sn));
    let topic = PredefinedTopic { id: 1, topic: "predef/one".into(), client: None };
    assert_eq!(config.predefined, [topic]);
    assert!(config.forwarders[0].contains([192, 168, 1, 20].into()));
    let client = ClientSettings {
        id: "node7".into(),
        max_datagram: Some(128),
        retry_ms: None,
        swap_topic_id_octets: true,
        no_dup: false,
        no_register: false,
    };
    assert_eq!(config.clients, [client]);
    assert_eq!(config.notes.len(), 0, "{:?}", config.notes);
    assert_eq!(config.summary(), "mqtt=127.0.0.1:1883 mqtt-sn=127.0.0.1:1883 predefined-topics=1");
}

#[test]
fn a_listener_may_promise_less_than_the_file_and_not_more() {
    let listener = |more| format!("[[listener]]\nkind = \"mqtt\"\nbind = \"127.0.0.1:1\"\n{more}");
    for (more, expected) in [
        ("", None),
        ("durability = \"disk\"", Some(Durability::Disk)),
        ("durability = \"memory\"", Some(Durability::Memory)),
    ] {
        assert_eq!(good(&listener(more)).listeners[0].durability, expected);
    }
    assert_eq!(good("").on_disk_full, OnDiskFull::Refuse);
    assert_eq!(good("on_disk_full = \"degrade\"").on_disk_full, OnDiskFull::Degrade);
    let in_memory = |more| format!("durability = \"memory\"\n{}", listener(more));
    good(&in_memory("durability = \"memory\""));
    check(
        &in_memory("durability = \"disk\""),
        &[
            "gw.toml:5:14: listener.durability: the file says durability = \"memory\", so nothing \
             is kept on disk",
            "leave it out, or move durability = \"memory\" to the other listeners",
        ],
    );
}

#[test]
fn every_problem_is_told_at_once() {
    check(
        "[[listener]]\nkind = \"mqtt\"\nbind = \"0.0.0.0:1883\"\n\n[mqtt_sn]\ngateway_id = 256\n\
         retry-ms = 10\nretry_max = \"4\"\n[limits]\nsessions = 0\n",
        &[
            "gw.toml:3:8: listener.bind: 0.0.0.0:1883 can be reached from other machines, and \
             nothing says who may come in",
            "write allow_anonymous = true under this [[listener]] to serve everybody who can \
             reach it",
            "gw.toml:6:14: mqtt_sn.gateway_id: 256 is out of bounds",
            "write an integer from 1 to 255",
            "gw.toml:7:1: mqtt_sn.retry-ms: there is no such key",
            "did you mean `retry_ms`?",
            "gw.toml:8:13: mqtt_sn.retry_max: \"4\" is a string",
            "write an integer from 1 to 100",
            "gw.toml:10:12: limits.sessions: 0 is out of bounds",
            "write an integer from 1 to 100000000",
        ],
    );
}

#[test]
fn an_unknown_key_is_told_with_the_nearest_or_its_home() {
    let unknown = |text, place, right| {
        check(text, &[&format!("gw.toml:{place}: there is no such key"), right]);
    };
    unknown("datadir = \"x\"", "1:1: datadir", "did you mean `data_dir`?");
    unknown("[limit]\nsessions = 5", "1:2: limit", "did you mean `limits`?");
    unknown("[mqtt-sn]", "1:2: mqtt-sn", "did you mean `mqtt_sn`?");
    unknown("[[listeners]]", "1:3: listeners", "did you mean `listener`?");
    unknown("[mqtt_sn]\nretyr_ms = 1", "2:1: mqtt_sn.retyr_ms", "did you mean `retry_ms`?");
    unknown(
        "[limits]\nmax_connections = 1",
        "2:1: limits.max_connections",
        "did you mean `connections`?",
    );
    unknown("[log]\nlvl = 1", "2:1: log.lvl", "did you mean `level`?");
    unknown("sessions = 1", "1:1: sessions", "it belongs under [limits]");
    unknown("[sys]\ndata_dir = \"x\"", "2:1: sys.data_dir", "it belongs before the first table");
    unknown(
        "[limits]\nretry_ms = 1",
        "2:1: limits.retry_ms",
        "it belongs under [mqtt_sn] or [[mqtt_sn.client]]",
    );
    unknown("[log]\nxyz = 1", "2:1: log.xyz", "known here: format, level");
    unknown("[sys]\n\"a\\nb\" = 1", "2:1: sys.a\\nb", "known here: interval_s");
}

#[test]
fn a_value_of_the_wrong_type_is_told_with_the_right_one() {
    let wrong = |value, what| {
        check(
            &format!("[sys]\ninterval_s = {value}"),
            &[
                &format!("gw.toml:2:14: sys.interval_s: {what}"),
                "write an integer from 0 to 86400 seconds",
            ],
        );
    };
    wrong("\"10s\"", "\"10s\" is a string");
    wrong("1.5", "1.5 is a float");
    wrong("true", "true is a boolean");
    wrong("[1]", "this is a list");
    wrong("{ s = 1 }", "this is a table");
    wrong("2026-01-01", "2026-01-01 is a date or time");
    wrong("-1", "-1 is out of bounds");
    wrong("0xFFFFF", "0xFFFFF is out of bounds");
    wrong("99999999999999999999999", "99999999999999999999999 is out of bounds");
    check(
        "[mqtt_sn]\ndeduplicate = \"yes\"",
        &["gw.toml:2:15: mqtt_sn.deduplicate: \"yes\" is a string", "write true or false"],
    );
    check(
        "[limits]\nqueue_overflow = \"drop\"",
        &[
            "gw.toml:2:18: limits.queue_overflow: \"drop\" is not known here",
            "write \"reject-new\", \"drop-oldest\" or \"disconnect\"",
        ],
    );
    check("data_dir = 7", &["gw.toml:1:12: data_dir: 7 is an integer", "write a path"]);
    check(
        "data_dir = \"/dev/null\"",
        &["gw.toml:1:12: data_dir: /dev/null is not a folder", "write the path of a folder"],
    );
}

#[test]
fn tables_with_the_wrong_brackets_are_told() {
    check(
        "[listener]\nkind = \"mqtt\"",
        &[
            "gw.toml:1:1: listener: [listener] with single brackets opens one table",
            "write [[listener]] on a line of its own, once for each",
        ],
    );
    check(
        "[[limits]]",
        &[
            "gw.toml:1:1: limits: [[limits]] opens a list of tables",
            "write [limits] on a line of its own, once",
        ],
    );
    check(
        "limits = 5\nlistener = [1]",
        &[
            "gw.toml:1:10: limits: 5 is an integer",
            "write [limits] on a line of its own, once",
            "gw.toml:2:13: listener: 1 is an integer",
            "write [[listener]] on a line of its own, once for each",
        ],
    );
    check(
        "mqtt_sn.predefined.id = 5",
        &[
            "gw.toml:1:9: mqtt_sn.predefined: [mqtt_sn.predefined] with single brackets opens one \
         table",
            "write [[mqtt_sn.predefined]] on a line of its own, once for each",
        ],
    );
}

#[test]
fn broken_syntax_is_told_beside_the_other_problems() {
    check(
        "data_dir = /var\n[limits]\nsessions =\ninflight = 0\ninflight = 5\nbind = 127.0.0.1\n",
        &[
            "gw.toml:1:12: string values must be quoted",
            "write it between quotes: \"...\"",
            "gw.toml:3:11: the value is missing",
            "write it behind the =",
            "gw.toml:4:12: limits.inflight: 0 is out of bounds",
            "write an integer from 1 to 65535",
            "gw.toml:5:1: this key or table stands here for the second time",
            "keep one of the two",
            "gw.toml:6:13: invalid float",
            "write text, such as an address, between quotes: \"...\"",
        ],
    );
    // The kind may be what the broken line says, so it is not told as missing.
    check(
        "[[listener]]\nkind \"mqtt\"\nbind = \"127.0.0.1:1883\"",
        &["gw.toml:2:6: key with no value", "expected `=`"],
    );
    // The keys below a broken header are in no table that could be judged.
    check("[mqtt_sn\nretry_ms = 1\nfoo = 2", &["gw.toml:1:9: unclosed table", "expected `]`"]);
}

#[test]
fn a_table_without_a_key_that_it_needs_is_told() {
    check(
        "[[listener]]\n[[mqtt_sn.predefined]]\n[[mqtt_sn.forwarder]]\n[[mqtt_sn.client]]",
        &[
            "gw.toml:1:1: listener.kind: [[listener]] needs this key",
            "write kind = \"mqtt\", \"mqtt-sn\" or \"ws\"",
            "gw.toml:1:1: listener.bind: [[listener]] needs this key",
            "write bind = \"127.0.0.1:1883\" or another address",
            "gw.toml:2:1: mqtt_sn.predefined.id: [[mqtt_sn.predefined]] needs this key",
            "write id = NUMBER, from 1 to 65534",
            "gw.toml:2:1: mqtt_sn.predefined.topic: [[mqtt_sn.predefined]] needs this key",
            "write topic = \"NAME\"",
            "gw.toml:3:1: mqtt_sn.forwarder.address: [[mqtt_sn.forwarder]] needs this key",
            "write address = \"IP\" or \"IP/PREFIX\"",
            "gw.toml:4:1: mqtt_sn.client.id: [[mqtt_sn.client]] needs this key",
            "write id = \"CLIENT ID\"",
        ],
    );
}

#[test]
fn options_go_before_the_file() {
    let file = "data_dir = \"a\"\n[log]\nformat = \"text\"\nlevel = \"warn\"\n";
    let config = apply(file, &[]).expect("good");
    assert_eq!(config.log, LogSettings { format: LogFormat::Text, level: LogLevel::Warn });
    let config = apply(file, &["--data-dir", "b", "--log-format", "json", "-v"]).expect("good");
    assert_eq!(config.data_dir.as_deref(), Some(Path::new("b")));
    assert_eq!(config.log, LogSettings { format: LogFormat::Json, level: LogLevel::Debug });
    let level = |file, words: &[&str]| apply(file, words).expect("good").log.level;
    assert_eq!(level(file, &["-vv"]), LogLevel::Trace);
    assert_eq!(level("", &["-v", "-v", "-v"]), LogLevel::Trace);
    assert_eq!(level("[log]\nlevel = \"trace\"", &["-v"]), LogLevel::Trace);
}

/// Words that a configuration is made of, so that chance meets the cases that matter.
const WORDS: [&str; 40] = [
    "data_dir",
    "listener",
    "mqtt_sn",
    "limits",
    "sys",
    "log",
    "predefined",
    "forwarder",
    "client",
    "kind",
    "bind",
    "multicast",
    "allow_anonymous",
    "id",
    "topic",
    "address",
    "retry_ms",
    "memory_bytes",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "\n",
    " ",
    "\"",
    "'",
    "\"\"\"",
    "\"mqtt-sn\"",
    "\"127.0.0.1:1883\"",
    "0",
    "-1",
    "70000",
    "true",
    "#",
];

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(text in any::<String>()) {
        let _ = Config::parse("gw.toml", &text);
    }

    #[test]
    fn no_mix_of_words_makes_the_reader_panic(words in vec(select(&WORDS[..]), 0..60)) {
        if let Err(problems) = Config::parse("gw.toml", &words.concat()) {
            prop_assert!(problems.iter().all(|p| !p.what.is_empty() && !p.right.is_empty()));
        }
    }

    #[test]
    fn no_file_of_predefined_topics_makes_the_reader_panic(
        text in "[a-c*;,:{}\"'\\\\ \t\n#0-9-]{0,80}",
        spelling in select(&[None, Some("paho"), Some("bisquitt"), Some("triples"), Some("words")][..]),
    ) {
        let spelling = spelling.map(|word| word.parse().expect("a known word"));
        let source = Source::new("t", text);
        let mut problems = Vec::new();
        let entries = topic_file::read(&source, spelling, &Limits::default(), &mut problems);
        prop_assert!(entries.len() + problems.len() <= 3 * source.text.lines().count());
    }
}
