//! The bounds of every key, and keys that contradict each other.

use super::super::reference::sections;
use super::super::sections::SESSION_BYTES;
use super::super::table::Key;
use super::*;

/// The text in which `key` of the table `header` has the value `value`, with what else the table
/// needs so that the value is looked at.
fn with_key(header: &str, key: &str, value: i128) -> String {
    let needs = match header {
        "[[listener]]" => "kind = \"mqtt-sn\"\nbind = \"127.0.0.1:0\"",
        "[[mqtt_sn.predefined]]" => "topic = \"a\"",
        "[[mqtt_sn.client]]" => "id = \"a\"",
        _ => "",
    };
    format!("{header}\n{needs}\n{key} = {value}\n")
}

#[test]
fn every_bound_is_kept_and_one_more_is_refused() {
    let mut seen = 0;
    for section in sections() {
        for Key { name, values, .. } in section.keys {
            let Some((low, high)) = bounds(&values) else { continue };
            seen += 1;
            let out_of_bounds = |value: i128| {
                let problems = problems(&with_key(section.header, name, value));
                problems.contains(&format!(".{name}: {value} is out of bounds\n    write {values}"))
            };
            assert!(out_of_bounds(low - 1), "{name} below {low}");
            assert!(!out_of_bounds(low), "{name} at {low}");
            assert!(!out_of_bounds(high), "{name} at {high}");
            assert!(out_of_bounds(high + 1), "{name} above {high}");
        }
    }
    assert!(seen > 40, "only {seen} keys have bounds");
}

/// The bounds in the words of the reference.
fn bounds(values: &str) -> Option<(i128, i128)> {
    let (low, rest) = values.strip_prefix("an integer from ")?.split_once(" to ")?;
    let high = rest.split(' ').next()?;
    Some((low.parse().ok()?, high.parse().ok()?))
}

#[test]
fn limits_that_contradict_each_other_are_told() {
    check(
        "[limits]\nmemory_bytes = 1048576\npacket_bytes = 2000000\nretained_bytes = 1048577",
        &[
            "gw.toml:3:16: limits.packet_bytes: 2000000 is more than memory_bytes (1048576)",
            "write at most 1048576, or raise memory_bytes",
            "gw.toml:4:18: limits.retained_bytes: 1048577 is more than memory_bytes (1048576)",
            "write at most 1048576, or raise memory_bytes",
        ],
    );
    check(
        "[limits]\nsessions = 1000000",
        &[
            "gw.toml:2:12: limits.sessions: 1000000 sessions need 600000000 bytes, and memory_bytes \
         is 268435456",
            "write at most 447392, or raise memory_bytes to 600000000",
        ],
    );
    check(
        "[limits]\npacket_bytes = 1000\nconnect_packet_bytes = 1001\nqueue_bytes = 999",
        &[
            "gw.toml:3:24: limits.connect_packet_bytes: 1001 is more than packet_bytes (1000), which \
         holds for every packet",
            "write at most 1000",
            "gw.toml:4:15: limits.queue_bytes: a packet of packet_bytes (1000) would never fit into a \
         queue of 999",
            "write at least 1000, or lower packet_bytes",
        ],
    );
    check(
        "[limits]\nconnections = 10\nconnections_per_source_unidentified = 11",
        &[
            "gw.toml:3:39: limits.connections_per_source_unidentified: 11 is more than connections \
         (10)",
            "write at most 10",
        ],
    );
    check(
        "[limits]\nqueue_messages = 5\n[mqtt_sn]\nsleep_queue_qos0_messages = 6",
        &[
            "gw.toml:4:29: mqtt_sn.sleep_queue_qos0_messages: 6 is more than limits.queue_messages (5)",
            "write at most 5, or raise limits.queue_messages",
        ],
    );
    check(
        "[mqtt_sn]\nqos_minus_one = false\nqos_minus_one_names = true",
        &[
            "gw.toml:3:23: mqtt_sn.qos_minus_one_names: true adds a form to QoS −1, and qos_minus_one \
         = false switches QoS −1 off",
            "write qos_minus_one = true, or leave this key out",
        ],
    );
}

#[test]
fn a_default_gives_way_to_what_is_written() {
    let limits = |text: &str| good(&format!("[limits]\n{text}")).limits;
    assert_eq!(limits("packet_bytes = 1000").connect_packet_bytes, 1_000);
    assert_eq!(limits("packet_bytes = 2000000").queue_bytes, 2_000_000);
    assert_eq!(limits("memory_bytes = 4000000").retained_bytes, 1_000_000);
    assert_eq!(limits("memory_bytes = 1048576").sessions, 100_000);
    assert_eq!(limits("queue_bytes = 300").packet_bytes, 1 << 20);
    let most = limits(&format!("sessions = {}", (256 << 20) / SESSION_BYTES)).sessions;
    assert_eq!(most, 447_392);
    good("[limits]\nqueue_messages = 5");
    good("[limits]\nconnections = 1");
}

#[test]
fn predefined_topics_are_checked_together() {
    check(
        "[[mqtt_sn.predefined]]\nid = 0\ntopic = \"a/+\"\n\
         [[mqtt_sn.predefined]]\nid = 65535\ntopic = \"a\"\nclient = \"\"\n",
        &[
            "gw.toml:2:6: mqtt_sn.predefined.id: 0 is out of bounds",
            "write an integer from 1 to 65534",
            "gw.toml:3:9: mqtt_sn.predefined.topic: \"a/+\" has a wildcard, which is for \
             subscriptions",
            "write one topic name without + and #",
            "gw.toml:5:6: mqtt_sn.predefined.id: 65535 is out of bounds",
            "write an integer from 1 to 65534",
            "gw.toml:7:10: mqtt_sn.predefined.client: a client id is empty",
            "write the id that the client connects with",
        ],
    );
    check(
        "[limits]\nclient_id_bytes = 23\ntopic_levels = 2\n\
         [[mqtt_sn.predefined]]\nid = 1\ntopic = \"a\"\n\
         [[mqtt_sn.predefined]]\nid = 1\ntopic = \"b\"\n\
         [[mqtt_sn.predefined]]\nid = 2\ntopic = \"a/b/c\"\nclient = \"123456789012345678901234\"\n\
         [[mqtt_sn.client]]\nid = \"123456789012345678901234\"\n\
         [[mqtt_sn.client]]\nid = \"123456789012345678901234\"\n",
        &[
            "gw.toml:8:6: mqtt_sn.predefined.id: 1 of client \"*\" is \"a\" at gw.toml:5:6",
            "write another id, or drop one of the two",
            "gw.toml:12:9: mqtt_sn.predefined.topic: the topic has 3 levels",
            "write at most limits.topic_levels (2)",
            "gw.toml:13:10: mqtt_sn.predefined.client: the client id has 24 bytes",
            "write at most limits.client_id_bytes (23)",
            "gw.toml:15:6: mqtt_sn.client.id: the client id has 24 bytes",
            "write at most limits.client_id_bytes (23)",
            "gw.toml:17:6: mqtt_sn.client.id: the client id has 24 bytes",
            "write at most limits.client_id_bytes (23)",
            "gw.toml:17:6: mqtt_sn.client.id: \"123456789012345678901234\" stands in another \
             [[mqtt_sn.client]]",
            "put all keys of a client under one header",
        ],
    );
    let config = good(
        "[[mqtt_sn.predefined]]\nid = 1\ntopic = \"b\"\nclient = \"n\"\n\
         [[mqtt_sn.predefined]]\nid = 1\ntopic = \"a\"\n",
    );
    let topic = |topic: &str, client: Option<&str>| PredefinedTopic {
        id: 1,
        topic: topic.into(),
        client: client.map(Into::into),
    };
    assert_eq!(config.predefined, [topic("a", None), topic("b", Some("n"))]);
}

#[test]
fn a_forwarder_stands_in_a_file_once() {
    check(
        "[[mqtt_sn.forwarder]]\naddress = \"10.0.0.1\"\n\
         [[mqtt_sn.forwarder]]\naddress = \"10.0.0.1/32\"\n",
        &[
            "gw.toml:4:11: mqtt_sn.forwarder.address: 10.0.0.1/32 stands in another \
             [[mqtt_sn.forwarder]]",
            "drop one of the two",
        ],
    );
}

#[test]
fn what_was_hardly_meant_is_noted() {
    let notes = |text: &str| -> Vec<String> {
        good(text).notes.iter().map(|note| format!("{} {}", note.place, note.what)).collect()
    };
    assert_eq!(
        notes("[mqtt_sn]\nadvertise_s = 900"),
        ["gw.toml:2:15 no listener has a multicast group to advertise to"]
    );
    assert_eq!(
        notes(
            "[mqtt_sn]\nadvertise_s = 900\n[[listener]]\nkind = \"mqtt-sn\"\nbind = \"1883\"\n\
             multicast = \"225.1.1.1\""
        ),
        [""; 0]
    );
}

#[test]
fn a_file_of_formats_without_files_is_told() {
    check(
        "[mqtt_sn]\npredefined_format = \"paho\"",
        &[
            "gw.toml:2:21: mqtt_sn.predefined_format: there is no predefined_file that this could be \
         the format of",
            "write predefined_file = \"PATH\", or leave this key out",
        ],
    );
}
