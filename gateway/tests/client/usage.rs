//! What the command lines of `pub` and `sub` refuse: exit status 1, and one line that says what is
//! wrong and what would be right.

use std::process::Command;

#[track_caller]
fn check(words: &[&str], expect: &str) {
    let program = Command::new(env!("CARGO_BIN_EXE_mqtt-sn-gw")).args(words).output();
    let program = program.expect("the program can be started");
    let stderr = String::from_utf8(program.stderr).expect("UTF-8");
    assert_eq!(program.status.code(), Some(1), "{words:?}: {stderr}");
    assert!(program.stdout.is_empty(), "{words:?}");
    assert_eq!(stderr, format!("mqtt-sn-gw {}: {expect}\n", words[0]), "{words:?}");
}

#[test]
fn a_topic_and_a_message_are_needed() {
    check(&["pub"], "name the topic with -t TOPIC or --predefined ID");
    check(&["sub"], "name a topic with -t TOPIC or --predefined ID");
    let message = "say what to publish with one of -m MESSAGE, -f FILE, -l, -s, -n";
    check(&["pub", "-t", "a"], message);
    let one = "only one of -m, -f, -l, -s and -n can be published";
    check(&["pub", "-t", "a", "-m", "x", "-n"], one);
    check(&["pub", "-t", "a", "-l", "-s"], one);
}

#[test]
fn topics_are_checked() {
    let wildcard = "a topic name cannot hold the wildcards + and #";
    check(&["pub", "-t", "a/#", "-m", "x"], &format!("-t \"a/#\": {wildcard}"));
    check(&["pub", "-t", "", "-m", "x"], "-t \"\": it is empty");
    check(&["sub", "-t", "a/#/b"], "-t \"a/#/b\": # stands alone in the last level or not at all");
    check(&["sub", "-U", "a+"], "-U \"a+\": + stands alone in its level or not at all");
    check(
        &["pub", "-t", "a", "-m", "x", "--will-topic", "w/+"],
        &format!("--will-topic \"w/+\": {wildcard}"),
    );
}

#[test]
fn qos_minus_one_says_what_it_needs() {
    let needs = "-q -1 sends without connecting, so \"a/b\" cannot be registered: take \
                 --predefined ID or a topic name of two octets";
    check(&["pub", "-t", "a/b", "-m", "x", "-q", "-1"], needs);
    check(&["pub", "-t", "xy", "-m", "x", "-q", "-1", "--no-short"], &needs.replace("a/b", "xy"));
    let nothing = "-q -1 sends without connecting, where -i means nothing: leave one of them out";
    check(&["pub", "-t", "xy", "-m", "x", "-q", "-1", "-i", "me"], nothing);
}

#[test]
fn what_does_not_go_together_is_refused() {
    let id = "-c keeps the session of a client id: give one with -i ID";
    check(&["sub", "-t", "a", "-c"], id);
    check(&["pub", "-t", "a", "-m", "x", "-c"], id);
    let repeat = "--repeat repeats one message: take -m, -f, -s or -n with it, not -l";
    check(&["pub", "-t", "a", "-l", "--repeat", "2"], repeat);
}

#[test]
fn what_cannot_be_read_is_told() {
    let file = "-f /no/such/file: No such file or directory (os error 2)";
    check(&["pub", "-t", "a", "-f", "/no/such/file"], file);
    check(&["pub", "-t", "a", "-f", "/"], "-f /: Is a directory (os error 21)");
}

#[test]
fn unknown_options_and_values_are_refused_in_one_line() {
    let help = |command: &str| format!("; see mqtt-sn-gw {command} --help");
    check(
        &["pub", "--topc", "a"],
        &format!(
            "unexpected argument '--topc' found; tip: a similar argument exists: '--topic'{}",
            help("pub")
        ),
    );
    check(
        &["pub", "-t", "a", "-m", "x", "-q", "3"],
        &format!("invalid value '3' for '--qos <QOS>': 3 is not in -1..=2{}", help("pub")),
    );
    check(
        &["sub", "-t", "a", "-q", "-1"],
        &format!("invalid value '-1' for '--qos <QOS>': -1 is not in 0..=2{}", help("sub")),
    );
    check(
        &["pub", "-t", "a", "-m", "x", "--will-qos", "1"],
        &format!(
            "the following required arguments were not provided: --will-topic <TOPIC>{}",
            help("pub")
        ),
    );
    check(
        &["pub", "-t", "a", "-m", "x", "--repeat", "2", "--repeat-delay", "-1"],
        &format!(
            "invalid value '-1' for '--repeat-delay <SECONDS>': write seconds from 0 to 86400{}",
            help("pub")
        ),
    );
}

#[test]
fn help_is_printed() {
    for (command, option) in [("pub", "--stdin-line"), ("sub", "--sleep <SECONDS>")] {
        let program = Command::new(env!("CARGO_BIN_EXE_mqtt-sn-gw"))
            .args([command, "--help"])
            .output()
            .expect("the program can be started");
        let stdout = String::from_utf8(program.stdout).expect("UTF-8");
        assert!(program.status.success() && program.stderr.is_empty());
        assert!(stdout.contains(option) && stdout.contains("-h, --host <HOST>"), "{stdout}");
    }
}
