//! Listeners of the file, of the command line, and the default ones.

use std::net::SocketAddr;

use super::*;

#[test]
fn a_listener_beyond_loopback_needs_a_word() {
    for bind in ["0.0.0.0:1883", "[::]:1883", "192.0.2.1:0", "[2001:db8::1]:1883"] {
        for kind in ["mqtt", "mqtt-sn", "ws"] {
            let text = format!("[[listener]]\nkind = \"{kind}\"\nbind = \"{bind}\"\n");
            let refusal = [
                &format!(
                    "gw.toml:3:8: listener.bind: {bind} can be reached from other machines, and \
                     nothing says who may come in"
                ),
                "write allow_anonymous = true under this [[listener]] to serve everybody who can \
                 reach it",
            ];
            check(&text, &refusal);
            let config = good(&format!("{text}allow_anonymous = true"));
            assert_eq!(listeners(&config), [format!("{kind} {bind}")]);
            assert!(config.listeners[0].allow_anonymous);
        }
    }
    for bind in ["127.0.0.1:0", "127.1.2.3:1883", "[::1]:1883", "[::ffff:127.0.0.1]:1"] {
        good(&format!("[[listener]]\nkind = \"mqtt\"\nbind = \"{bind}\"\n"));
    }
}

/// `allow_anonymous = false` is for listeners whose clients can name a user.
#[test]
fn a_listener_for_users_only_needs_users() {
    let listener = |kind: &str, bind: &str, rest: &str| {
        format!("[[listener]]\nkind = \"{kind}\"\nbind = \"{bind}\"\n{rest}")
    };
    let only_users = "allow_anonymous = false\n";
    let user = "[[user]]\nname = \"u\"\npassword = \"p\"\n";
    let nobody = "gw.toml:4:19: listener.allow_anonymous: false would serve nobody: ";
    check(
        &listener("mqtt", "1883", only_users),
        &[
            &format!("{nobody}there is no [[user]]"),
            "add a [[user]], or leave it out: only this machine can connect",
        ],
    );
    check(
        &listener("ws", "0.0.0.0:1884", only_users),
        &[
            &format!("{nobody}there is no [[user]]"),
            "add a [[user]], or write allow_anonymous = true under this [[listener]] to serve \
             everybody who can reach it",
        ],
    );
    check(
        &listener("mqtt-sn", "1883", &format!("{only_users}{user}")),
        &[
            &format!("{nobody}MQTT-SN has no user names"),
            "leave it out: only this machine can connect",
        ],
    );
    check(
        &listener("mqtt", "0.0.0.0:1883", user),
        &[
            "gw.toml:3:8: listener.bind: 0.0.0.0:1883 can be reached from other machines, and \
             nothing says who may come in",
            "write allow_anonymous = false under this [[listener]] to serve users only, or write \
             allow_anonymous = true under this [[listener]] to serve everybody who can reach it",
        ],
    );
    for (kind, bind) in [("mqtt", "0.0.0.0:1883"), ("ws", "[::]:80"), ("mqtt", "127.0.0.1:0")] {
        let config = good(&listener(kind, bind, &format!("{only_users}{user}")));
        assert!(!config.listeners[0].allow_anonymous);
    }
}

#[test]
fn kinds_of_later_versions_are_told_as_such() {
    for kind in ["mqtts", "wss", "mqtt-sn-dtls"] {
        check(
            &format!("[[listener]]\nkind = \"{kind}\"\nbind = \"127.0.0.1:1883\""),
            &[
                &format!("gw.toml:2:8: listener.kind: \"{kind}\" is not in this version"),
                "write \"mqtt\", \"mqtt-sn\" or \"ws\"",
            ],
        );
    }
    check(
        "[[listener]]\nkind = \"tcp\"\nbind = \"127.0.0.1:1883\"",
        &[
            "gw.toml:2:8: listener.kind: \"tcp\" is not known here",
            "write \"mqtt\", \"mqtt-sn\" or \"ws\"",
        ],
    );
}

#[test]
fn a_file_with_a_listener_has_no_default_ones() {
    let config = good("[[listener]]\nkind = \"mqtt-sn\"\nbind = \"localhost:1884\"");
    assert_eq!(listeners(&config), ["mqtt-sn 127.0.0.1:1884", "mqtt-sn [::1]:1884?"]);
}

#[test]
fn a_listener_stands_in_a_file_once() {
    let two = |first: &str, second: &str| {
        format!(
            "[[listener]]\nkind = \"mqtt\"\nbind = \"{first}\"\n[[listener]]\nkind = \"mqtt\"\n\
             bind = \"{second}\"\n"
        )
    };
    check(
        &two("1883", "127.0.0.1:1883"),
        &[
            "gw.toml:6:8: listener.bind: 127.0.0.1:1883 is bound already at gw.toml:3:8",
            "write another address, or drop one of the two",
        ],
    );
    good(&two("127.0.0.1:0", "127.0.0.1:0"));
    good(&two("127.0.0.1:1883", "127.0.0.2:1883"));
    good(
        "[[listener]]\nkind = \"mqtt\"\nbind = \"1\"\n[[listener]]\nkind = \"mqtt-sn\"\nbind = \"1\"",
    );
}

#[test]
fn mqtt_and_websocket_have_the_ports_of_tcp_together() {
    let two = |first: &str, second: &str| {
        let table = |kind| format!("[[listener]]\nkind = \"{kind}\"\nbind = \"127.0.0.1:1883\"\n");
        table(first) + &table(second)
    };
    check(
        &two("mqtt", "ws"),
        &[
            "gw.toml:6:8: listener.bind: 127.0.0.1:1883 is bound already at gw.toml:3:8",
            "write another address, or drop one of the two",
        ],
    );
    good(&two("mqtt-sn", "ws"));
    let problems = apply("", &["--mqtt", "127.0.0.1:7", "--ws", "127.0.0.1:7"]);
    assert_eq!(
        problems.expect_err("one address for both").to_string(),
        "command line: --ws: 127.0.0.1:7 is that of mqtt already\n    give another address"
    );
}

#[test]
fn a_websocket_listener_may_name_the_pages_that_connect() {
    let text = |kind: &str, origins: &str| {
        format!("[[listener]]\nkind = \"{kind}\"\nbind = \"127.0.0.1:8083\"\norigins = {origins}")
    };
    let origins = |text: &str| match &good(text).listeners[0].kind {
        ListenerKind::Ws(ws) => ws.origins.clone(),
        ListenerKind::Mqtt | ListenerKind::MqttSn(_) => panic!("a WebSocket listener"),
    };
    let farm = ["https://farm.example", "http://[::1]:3000", "null"];
    assert_eq!(origins(&text("ws", &format!("{farm:?}"))), farm);
    assert_eq!(origins(&text("ws", "\"https://farm.example\"")), farm[..1]);
    assert_eq!(origins(&text("ws", "[]")), [""; 0]);
    for wrong in ["farm.example", "https://farm.example/path", "https://*", "://x", "*", ""] {
        check(
            &text("ws", &format!("[\"{wrong}\"]")),
            &[
                &format!("gw.toml:4:12: listener.origins: \"{wrong}\" is not the origin of a page"),
                "write what the browser shows before the path: \"https://example.org\"",
            ],
        );
    }
    check(
        &text("mqtt", "[\"https://farm.example\"]"),
        &[
            "gw.toml:4:11: listener.origins: this key is for kind = \"ws\", and the kind is \"mqtt\"",
            "leave it out, or change the kind",
        ],
    );
}

#[test]
fn listeners_and_forwarders_are_bounded() {
    let listener = "[[listener]]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\n";
    let most = listener::LISTENERS_MAX;
    good(&listener.repeat(most));
    check(
        &listener.repeat(most + 1),
        &["gw.toml:193:1: listener: there are too many listeners", "keep at most 64"],
    );
    let forwarders = |count: usize| -> String {
        let one =
            |n| format!("[[mqtt_sn.forwarder]]\naddress = \"10.0.{}.{}\"\n", n / 256, n % 256);
        (0..count).map(one).collect()
    };
    assert_eq!(good(&forwarders(FORWARDERS_MAX)).forwarders.len(), FORWARDERS_MAX);
    check(
        &forwarders(FORWARDERS_MAX + 1),
        &[
            "gw.toml:2049:1: mqtt_sn.forwarder: there are too many forwarders",
            "keep at most 1024, or write networks: \"IP/PREFIX\"",
        ],
    );
}

#[test]
fn an_mqtt_sn_listener_has_settings_of_its_own() {
    let sn = |config: &Config, index: usize| match &config.listeners[index].kind {
        ListenerKind::MqttSn(sn) => sn.clone(),
        ListenerKind::Mqtt | ListenerKind::Ws(_) => panic!("an MQTT-SN listener"),
    };
    let config = good(
        "[mqtt_sn]\nmax_datagram = 512\n[[listener]]\nkind = \"mqtt-sn\"\nbind = \"1883\"\n\
         multicast = [\"225.1.1.1%1\", \"ff02::1%1\"]\nmulticast_ttl = 4\n\
         [[listener]]\nkind = \"mqtt-sn\"\nbind = \"1884\"\nmax_datagram = 255\n",
    );
    let group = |address: &str| Group { address: address.parse().expect("ip"), interface: Some(1) };
    let expect = |group| SnListener { multicast: vec![group], multicast_ttl: 4, max_datagram: 512 };
    assert_eq!(sn(&config, 0), expect(group("225.1.1.1")));
    assert_eq!(sn(&config, 1), expect(group("ff02::1")));
    assert_eq!(sn(&config, 2).max_datagram, 255);
    let default = good("[mqtt_sn]\nmax_datagram = 512");
    assert_eq!(sn(&default, 2).max_datagram, 512);
    let one = good("[[listener]]\nkind = \"mqtt-sn\"\nbind = \"1883\"\nmulticast = \"225.1.1.1\"");
    assert_eq!(sn(&one, 0).multicast.len(), 1);
}

#[test]
fn groups_that_a_listener_cannot_join_are_told() {
    let text = |kind, groups: &str| {
        format!(
            "[[listener]]\nkind = \"{kind}\"\nbind = \"127.0.0.1:1883\"\nmulticast = [{groups}]"
        )
    };
    check(
        &text("mqtt", "\"225.1.1.1\""),
        &[
            "gw.toml:4:13: listener.multicast: this key is for kind = \"mqtt-sn\", and the kind is \
         \"mqtt\"",
            "leave it out, or change the kind",
        ],
    );
    check(
        &text("mqtt-sn", "\"225.1.1.1\", 5, \"10.0.0.1\""),
        &[
            "gw.toml:4:27: listener.multicast: 5 is an integer",
            "write \"GROUP\" or \"GROUP%INTERFACE\", or a list of such",
            "gw.toml:4:30: listener.multicast: \"10.0.0.1\" is not a multicast group",
            "write an address from 224.0.0.0 to 239.255.255.255 or one that begins with ff, without a \
         port",
        ],
    );
    check(
        &text("mqtt-sn", "\"ff02::1\", \"225.1.1.1\", \"225.1.1.1\""),
        &[
            "gw.toml:4:14: listener.multicast: ff02::1 is an IPv6 group, and 127.0.0.1:1883 an IPv4 \
         address",
            "name an IPv4 group, or add a [[listener]] with an IPv6 address",
            "gw.toml:4:38: listener.multicast: 225.1.1.1 stands here twice",
            "keep one of them",
        ],
    );
    let groups = |count| (0..count).map(|n| format!("\"225.1.1.{n}\",")).collect::<String>();
    good(&text("mqtt-sn", &groups(listener::GROUPS_MAX)));
    check(
        &text("mqtt-sn", &groups(listener::GROUPS_MAX + 1)),
        &["gw.toml:4:264: listener.multicast: there are 21 groups", "write at most 20"],
    );
}

#[test]
fn the_command_line_replaces_the_listeners_of_a_kind() {
    let file = "[[listener]]\nkind = \"mqtt\"\nbind = \"127.0.0.1:1\"\n\
                [[listener]]\nkind = \"mqtt-sn\"\nbind = \"127.0.0.1:2\"\n";
    let got = |text, words: &[&str]| listeners(&apply(text, words).expect("all is right"));
    assert_eq!(got("", &[]), DEFAULT_LISTENERS);
    assert_eq!(got(file, &[]), ["mqtt 127.0.0.1:1", "mqtt-sn 127.0.0.1:2"]);
    assert_eq!(
        got("", &["--mqtt", "127.0.0.1:0"]),
        ["mqtt 127.0.0.1:0", DEFAULT_LISTENERS[2], DEFAULT_LISTENERS[3]]
    );
    assert_eq!(
        got("", &["--mqtt-sn", "0", "--mqtt-sn", "[::1]:5"]),
        [
            DEFAULT_LISTENERS[0],
            DEFAULT_LISTENERS[1],
            "mqtt-sn 127.0.0.1:0",
            "mqtt-sn [::1]:0?",
            "mqtt-sn [::1]:5",
        ]
    );
    let ws = "[[listener]]\nkind = \"ws\"\nbind = \"127.0.0.1:3\"\n";
    assert_eq!(got(ws, &[]), ["ws 127.0.0.1:3"]);
    assert_eq!(got(ws, &["--ws", "127.0.0.1:0"]), ["ws 127.0.0.1:0"]);
    assert_eq!(got("", &["--ws", "127.0.0.1:0"])[..4], DEFAULT_LISTENERS);
    assert_eq!(
        got("", &["--ws", "127.0.0.1:0", "--ws", "5"])[4..],
        ["ws 127.0.0.1:0", "ws 127.0.0.1:5", "ws [::1]:5?",]
    );
    assert_eq!(got(file, &["--mqtt", "127.0.0.1:7"]), ["mqtt 127.0.0.1:7", "mqtt-sn 127.0.0.1:2"]);
    assert_eq!(
        got(file, &["--mqtt-sn", "127.0.0.1:7"]),
        ["mqtt 127.0.0.1:1", "mqtt-sn 127.0.0.1:7"]
    );
}

#[test]
fn the_command_line_alone_opens_nothing_to_other_machines() {
    let refused =
        |text, words: &[&str]| apply(text, words).expect_err("it must be refused").to_string();
    assert_eq!(
        refused("", &["--mqtt", "0.0.0.0:1883", "--mqtt-sn", "[::]:1883"]),
        "command line: --mqtt: 0.0.0.0:1883 can be reached from other machines, and nothing says \
         who may come in\n    put a [[listener]] with kind = \"mqtt\", bind = \"0.0.0.0:1883\" and \
         allow_anonymous = true into a file and start with --config FILE\n\
         command line: --mqtt-sn: [::]:1883 can be reached from other machines, and nothing says \
         who may come in\n    put a [[listener]] with kind = \"mqtt-sn\", bind = \"[::]:1883\" and \
         allow_anonymous = true into a file and start with --config FILE"
    );
    let file = "[[listener]]\nkind = \"mqtt-sn\"\nbind = \"0.0.0.0:1883\"\nmulticast_ttl = 9\n\
                allow_anonymous = true\n";
    let config = apply(file, &["--mqtt-sn", "0.0.0.0:1883"]).expect("the file gives leave");
    let ListenerKind::MqttSn(sn) = &config.listeners[0].kind else { panic!("{config:?}") };
    assert_eq!((config.listeners.len(), sn.multicast_ttl), (1, 9));
    assert!(refused(file, &["--mqtt-sn", "0.0.0.0:1884"]).contains("0.0.0.0:1884 can be reached"));
    assert!(refused(file, &["--mqtt", "0.0.0.0:1883"]).contains("0.0.0.0:1883 can be reached"));
}

#[test]
fn wrong_addresses_of_the_command_line_are_told_together() {
    let words =
        ["--mqtt", "x:1", "--mqtt", "1", "--mqtt", "127.0.0.1:1", "--data-dir", "/dev/null"];
    let problems = apply("", &words).expect_err("three are wrong");
    let told: Vec<String> =
        problems.iter().map(|problem| format!("{} {}", problem.key, problem.what)).collect();
    assert_eq!(
        told,
        [
            "--mqtt \"x\" is not an IP address",
            "--mqtt 127.0.0.1:1 is given twice",
            "--data-dir /dev/null is not a folder",
        ]
    );
}

#[test]
fn a_scope_reaches_the_socket_address() {
    let config = good(
        "[[listener]]\nkind = \"mqtt-sn\"\nbind = \"[fe80::1%3]:1883\"\nallow_anonymous = true",
    );
    let SocketAddr::V6(bind) = config.listeners[0].bind else { panic!("an IPv6 address") };
    assert_eq!(bind.scope_id(), 3);
}
