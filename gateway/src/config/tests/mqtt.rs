//! `[mqtt]` and `[[mqtt.share]]`.

use super::*;

#[test]
fn versions_are_words_and_there_is_at_least_one() {
    assert_eq!(good("").mqtt.versions, [MqttVersion::V31, MqttVersion::V311, MqttVersion::V5]);
    assert_eq!(good("[mqtt]\nversions = \"5\"").mqtt.versions, [MqttVersion::V5]);
    check(
        "[mqtt]\nversions = []",
        &[
            "gw.toml:2:12: mqtt.versions: nobody could connect",
            "write at least one of \"3.1\", \"3.1.1\" or \"5\"",
        ],
    );
    check(
        "[mqtt]\nversions = [\"3.1.1\", \"4\", 5]",
        &[
            "gw.toml:2:22: mqtt.versions: \"4\" is not known here",
            "write \"3.1\", \"3.1.1\" or \"5\"",
            "gw.toml:2:27: mqtt.versions: 5 is an integer",
            "write \"3.1\", \"3.1.1\" or \"5\", or a list of such",
        ],
    );
}

#[test]
fn groups_are_named_once_and_choose_by_a_known_strategy() {
    let config = good(
        "[mqtt]\nshare_strategy = \"round-robin\"\n\
         [[mqtt.share]]\nname = \"workers\"\nstrategy = \"by-topic\"",
    );
    assert_eq!(config.mqtt.share_strategy, ShareChoice::RoundRobin);
    assert_eq!(
        config.shares.into_iter().collect::<Vec<_>>(),
        [("workers".to_owned(), ShareChoice::ByTopic)]
    );
    check(
        "[[mqtt.share]]\nname = \"a/b\"\nstrategy = \"random\"",
        &[
            "gw.toml:2:8: mqtt.share.name: \"a/b\" cannot be a share name",
            "write what stands between $share/ and the next /",
            "gw.toml:3:12: mqtt.share.strategy: \"random\" is not known here",
            "write \"least-outstanding\", \"round-robin\", \"by-publisher\" or \"by-topic\"",
        ],
    );
    let twice = "[[mqtt.share]]\nname = \"a\"\nstrategy = \"by-topic\"\n";
    check(
        &twice.repeat(2),
        &[
            "gw.toml:5:8: mqtt.share.name: \"a\" stands in another [[mqtt.share]]",
            "drop one of the two",
        ],
    );
    check(
        "[[mqtt.share]]",
        &[
            "gw.toml:1:1: mqtt.share.name: [[mqtt.share]] needs this key",
            "write name = \"SHARE NAME\"",
            "gw.toml:1:1: mqtt.share.strategy: [[mqtt.share]] needs this key",
            "write strategy = \"least-outstanding\", \"round-robin\", \"by-publisher\" or \"by-topic\"",
        ],
    );
}

#[test]
fn texts_that_cannot_be_what_they_are_for_are_told() {
    let config = good(
        "[mqtt]\nresponse_topics = \"answers\"\nserver_reference = \"b:1883\"\nserver_moved = true",
    );
    assert_eq!(config.mqtt.response_topics.as_deref(), Some("answers"));
    assert_eq!(config.mqtt.server_reference.as_deref(), Some("b:1883"));
    let wild = problems("[mqtt]\nresponse_topics = \"a/#\"");
    assert!(wild.starts_with("gw.toml:2:19: mqtt.response_topics: "), "{wild}");
    check(
        "[mqtt]\nserver_reference = \"\"",
        &[
            "gw.toml:2:20: mqtt.server_reference: \"\" tells nothing",
            "write a text, or leave the key out",
        ],
    );
    check(
        "[mqtt]\nserver_moved = true",
        &[
            "gw.toml:2:16: mqtt.server_moved: no other server is named",
            "write server_reference = \"HOST:PORT\" too",
        ],
    );
    check(
        &format!("[mqtt]\nserver_reference = \"{}\"", "a".repeat(1_025)),
        &[
            "gw.toml:2:20: mqtt.server_reference: the reference has 1025 bytes",
            "write at most 1024",
        ],
    );
}
