//! What differs between two configurations, and when that takes effect.

use std::fs;

use super::super::reference::sections;
use super::super::table::Key;
use super::*;
use crate::config::Class;

/// The changes as they are logged, each with its class.
fn diff(old: &str, new: &str) -> Vec<String> {
    let changes = good(old).diff(&good(new));
    changes.iter().map(|change| format!("{change} ({})", change.class)).collect()
}

/// What surrounds a key so that it counts, and two values of it.
fn example(header: &str, key: &str) -> Option<(&'static str, &'static str, &'static str)> {
    const MQTT: &str = "kind = \"mqtt\"\nbind = \"127.0.0.1:1\"";
    const SN: &str = "kind = \"mqtt-sn\"\nbind = \"127.0.0.1:1\"";
    const WS: &str = "kind = \"ws\"\nbind = \"127.0.0.1:1\"";
    const VERIFIERS: [&str; 2] = [
        "verifier = \"SCRAM-SHA-256$4096:c2FsdA==$\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"",
        "verifier = \"SCRAM-SHA-256$4097:c2FsdA==$\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"",
    ];
    Some(match (header, key) {
        ("", "data_dir") => ("", "data_dir = \"/a\"", "data_dir = \"/b\""),
        ("", "durability") => ("", "", "durability = \"memory\""),
        ("", "on_disk_full") => ("", "", "on_disk_full = \"degrade\""),
        ("[[listener]]", "kind") => ("bind = \"1\"", "kind = \"mqtt\"", "kind = \"ws\""),
        ("[[listener]]", "bind") => ("kind = \"ws\"", "bind = \"1\"", "bind = \"2\""),
        ("[[listener]]", "allow_anonymous") => (
            "kind = \"mqtt\"\nbind = \"127.0.0.1:1\"\n#",
            "allow_anonymous = true\n[[user]]\nname = \"a\"\npassword = \"b\"",
            "allow_anonymous = false\n[[user]]\nname = \"a\"\npassword = \"b\"",
        ),
        ("[[listener]]", "durability") => (MQTT, "", "durability = \"memory\""),
        ("[[listener]]", "multicast") => (SN, "", "multicast = [\"225.1.1.1\"]"),
        ("[[listener]]", "multicast_ttl") => (SN, "", "multicast_ttl = 7"),
        ("[[listener]]", "max_datagram") => (SN, "", "max_datagram = 77"),
        ("[[listener]]", "origins") => (WS, "", "origins = [\"https://a.example\"]"),
        ("[mqtt]", "versions") => ("", "", "versions = [\"5\"]"),
        ("[mqtt]", "response_topics") => ("", "", "response_topics = \"a\""),
        ("[mqtt]", "server_reference") => ("", "", "server_reference = \"b\""),
        ("[mqtt]", "server_moved") => ("server_reference = \"b\"", "", "server_moved = true"),
        ("[mqtt]", "share_strategy") => ("", "", "share_strategy = \"by-topic\""),
        ("[[mqtt.share]]", "name") => ("strategy = \"by-topic\"", "name = \"a\"", "name = \"b\""),
        ("[[mqtt.share]]", "strategy") => {
            ("name = \"a\"", "strategy = \"by-topic\"", "strategy = \"round-robin\"")
        }
        ("[mqtt_sn]", "wake_rebind") => ("", "", "wake_rebind = \"any\""),
        ("[[mqtt_sn.predefined]]", "id") => ("topic = \"t\"", "id = 1", "id = 2"),
        ("[[mqtt_sn.predefined]]", "topic") => ("id = 1", "topic = \"t\"", "topic = \"u\""),
        ("[[mqtt_sn.predefined]]", "client") => {
            ("id = 1\ntopic = \"t\"", "client = \"a\"", "client = \"b\"")
        }
        ("[[mqtt_sn.forwarder]]", "address") => {
            ("", "address = \"10.0.0.1\"", "address = \"10.0.0.2\"")
        }
        ("[[mqtt_sn.client]]", "max_datagram") => ("id = \"a\"", "", "max_datagram = 77"),
        ("[[mqtt_sn.client]]", "retry_ms") => ("id = \"a\"", "", "retry_ms = 77"),
        ("[[mqtt_sn.client]]", "swap_topic_id_octets") => {
            ("id = \"a\"", "", "swap_topic_id_octets = true")
        }
        ("[[mqtt_sn.client]]", "no_dup") => ("id = \"a\"", "", "no_dup = true"),
        ("[[mqtt_sn.client]]", "no_register") => ("id = \"a\"", "", "no_register = true"),
        ("[[mqtt_sn.client]]", "id") => ("no_dup = true", "id = \"a\"", "id = \"b\""),
        ("[[user]]", "name") => ("password = \"p\"", "name = \"a\"", "name = \"b\""),
        ("[[user]]", "password") => ("name = \"a\"", "password = \"p\"", "password = \"q\""),
        ("[[user]]", "verifier") => ("name = \"a\"", VERIFIERS[0], VERIFIERS[1]),
        ("[limits]", "queue_overflow") => ("", "", "queue_overflow = \"drop-oldest\""),
        ("[log]", "format") => ("", "", "format = \"json\""),
        ("[log]", "level") => ("", "", "level = \"debug\""),
        _ => return None,
    })
}

/// Values of a key that has no example: numbers and truths.
fn values(key: &str, takes: &str) -> Vec<String> {
    let mut numbers: Vec<u64> = takes.split(' ').filter_map(|word| word.parse().ok()).collect();
    numbers.extend(numbers.clone().iter().map(|number| number + 1));
    numbers.extend([100_000, 1 << 20, 2 << 20]);
    let numbers = numbers.iter().map(u64::to_string);
    numbers.chain(["true".into(), "false".into()]).map(|value| format!("{key} = {value}")).collect()
}

/// Every key that the document tells: a change of it is found, is told under its name, and has the
/// class that the document says.
#[test]
fn a_change_of_every_key_is_found_with_its_class() {
    let path: PathBuf =
        [env!("CARGO_MANIFEST_DIR"), "..", "docs", "configuration.md"].iter().collect();
    let document = fs::read_to_string(path).expect("docs/configuration.md is there");
    for section in sections() {
        let title = match section.header {
            "" => "<!-- keys before the first table -->".to_owned(),
            header => format!("<!-- keys of {header} -->"),
        };
        let rows = document.split(&title).nth(1).and_then(|rest| rest.split("<!-- end -->").next());
        let rows = rows.expect("each table is told");
        for Key { name, values: takes, class, .. } in section.keys {
            let row = rows.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
            let row = row.unwrap_or_else(|| panic!("no row of {name}"));
            assert!(row.contains(&format!("| {class} |")), "{name} is {class} in the document");
            if name.starts_with("predefined_f") {
                // What the files say counts, and is compared: see below.
                continue;
            }
            let header = section.header;
            let found = match example(header, name) {
                Some((around, old, new)) => diff(
                    &format!("{header}\n{around}\n{old}"),
                    &format!("{header}\n{around}\n{new}"),
                ),
                None => values(name, &takes)
                    .iter()
                    .filter_map(|line| Config::parse("gw.toml", &format!("{header}\n{line}")).ok())
                    .map(|new| good("").diff(&new))
                    .find(|changes| !changes.is_empty())
                    .unwrap_or_else(|| panic!("no other value of {header} {name}"))
                    .iter()
                    .map(|change| format!("{change} ({})", change.class))
                    .collect(),
            };
            let table = header.trim_matches(['[', ']']);
            let is_told = |change: &String| {
                let told = change.split([' ', ':']).next().unwrap_or_default();
                // A whole table that came or went is told by its name.
                told == format!("{table}.{name}").trim_start_matches('.') || told == table
            };
            assert!(
                found
                    .iter()
                    .any(|change| is_told(change) && change.ends_with(&format!("({class})"))),
                "{header} {name} ({class}): {found:?}"
            );
        }
    }
}

#[test]
fn nothing_differs_where_only_the_text_does() {
    let old = "# a\n[limits]\nqueue_messages = 1_000\n";
    assert_eq!(diff(old, "[sys]\n[limits]\n"), Vec::<String>::new());
}

#[test]
fn a_change_is_told_with_its_table_and_both_values() {
    let listeners = "[[listener]]\nkind = \"mqtt\"\nbind = \"127.0.0.1:1\"\n\
                     [[listener]]\nkind = \"mqtt-sn\"\nbind = \"127.0.0.1:1\"\n";
    let old = format!("{listeners}[limits]\nqueue_messages = 7\n[mqtt_sn]\nretry_ms = 50\n");
    let new = "[[listener]]\nkind = \"mqtt-sn\"\nbind = \"127.0.0.1:1\"\nmax_datagram = 99\n\
               [[listener]]\nkind = \"ws\"\nbind = \"127.0.0.1:2\"\n\
               [mqtt]\nmaximum_qos = 1\n[[mqtt_sn.predefined]]\nid = 3\ntopic = \"a\"\n\
               [limits]\nqueue_messages = 9\n";
    assert_eq!(
        diff(&old, new),
        [
            "listener of mqtt 127.0.0.1:1: there → none (restart)",
            "listener of ws 127.0.0.1:2: none → there (restart)",
            "listener.max_datagram of mqtt-sn 127.0.0.1:1: 1024 → 99 (at once)",
            "mqtt.maximum_qos: 2 → 1 (new links)",
            "mqtt_sn.retry_ms: 50 → 10000 (at once)",
            "mqtt_sn.predefined of 3 for \"*\": none → \"a\" (at once)",
            "limits.queue_messages: 7 → 9 (at once)",
        ]
    );
}

#[test]
fn secrets_are_never_told() {
    let user = |secret: &str| format!("[[user]]\nname = \"a\"\npassword = \"{secret}\"\n");
    let told = diff(&user("pencil"), &user("crayon"));
    assert_eq!(told, ["user.password of \"a\": a password → another password (at once)"]);
    let told = diff(&user("pencil"), "");
    assert_eq!(told, ["user of \"a\": there → none (at once)"]);
}

/// Files of predefined topics are read again, too: what they say is what is compared.
#[test]
fn what_the_named_files_say_is_compared() {
    let dir = tempfile::tempdir().expect("a folder");
    let (config, topics) = (dir.path().join("gw.toml"), dir.path().join("topics"));
    fs::write(&config, "[mqtt_sn]\npredefined_file = \"topics\"\n").expect("ours");
    let args = CliArgs { config: Some(config), ..CliArgs::default() };
    let load = |text: &str| {
        fs::write(&topics, text).expect("ours");
        Config::load(&args).expect("it is good")
    };
    let old = load("a/b;1\nc/d;2\n");
    let new = load("a/b;1\nc/e;2\nnode;f;3\n");
    let changes: Vec<String> = old.diff(&new).iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "mqtt_sn.predefined.topic of 2 for \"*\": \"c/d\" → \"c/e\"",
            "mqtt_sn.predefined of 3 for \"node\": none → \"f\"",
        ]
    );
}

/// The command line goes before the file, at a reload as at the start.
#[test]
fn what_the_command_line_says_does_not_change() {
    let dir = tempfile::tempdir().expect("a folder");
    let config = dir.path().join("gw.toml");
    let words = ["--mqtt", "2000", "--data-dir", "/d", "--log-format", "json", "-v"];
    let args = CliArgs { config: Some(config.clone()), ..args(&words) };
    let load = |text: &str| {
        fs::write(&config, text).expect("ours");
        Config::load(&args).expect("it is good")
    };
    let old = load("data_dir = \"/a\"\n");
    let new = load(
        "data_dir = \"/b\"\n[[listener]]\nkind = \"mqtt\"\nbind = \"3000\"\n\
         [[listener]]\nkind = \"mqtt-sn\"\nbind = \"1883\"\n[log]\nformat = \"text\"\nlevel = \"warn\"\n",
    );
    assert_eq!(old.diff(&new), []);
}

#[test]
fn what_needs_a_restart_stays_and_is_told_again() {
    let listener = |port: u16, more: &str| {
        format!("[[listener]]\nkind = \"mqtt-sn\"\nbind = \"127.0.0.1:{port}\"\n{more}\n")
    };
    let running = good(&format!("{}{}", listener(1, ""), listener(2, "max_datagram = 50")));
    let file = format!(
        "data_dir = \"/d\"\n{}{}[limits]\nsessions = 7\n",
        listener(2, "max_datagram = 60\nmulticast_ttl = 9"),
        listener(3, "")
    );
    let wanted = good(&file);
    let mut in_force = wanted.clone();
    in_force.keep_started(&running);
    assert_eq!(in_force.limits.sessions, 7);
    assert_eq!(in_force.data_dir, None);
    let ports: Vec<u16> = in_force.listeners.iter().map(|found| found.bind.port()).collect();
    assert_eq!(ports, [1, 2]);
    let left = in_force.diff(&wanted);
    let left: Vec<String> = left.iter().map(|change| change.key.clone()).collect();
    assert_eq!(left, ["data_dir", "listener", "listener", "listener.multicast_ttl"]);
    assert!(in_force.diff(&wanted).iter().all(|change| change.class == Class::Restart));
}
