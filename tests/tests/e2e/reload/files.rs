//! What cannot be read or is wrong changes nothing: above all not who may come in (CVE-2017-7652).

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use system_tests::client::mqtt::MqttClient;
use system_tests::gateway::{Builder, Gateway, binary};
use system_tests::process::{PATIENCE, Process};
use system_tests::sys::{EVERY_SECOND, Sys};

const USER: &str = "[[user]]\nname = \"u\"\npassword = \"pencil\"";
const FOR_USERS: &str = "allow_anonymous = false";

fn guarded() -> Builder {
    Gateway::builder().listener("mqtt", "127.0.0.1:0", FOR_USERS).text(USER)
}

/// The listener is for users still, and for the same ones.
#[track_caller]
fn is_guarded(gateway: &Gateway) {
    let mut stranger = MqttClient::open(gateway.mqtt());
    stranger.send_connect(&MqttClient::options("stranger"));
    stranger.expect("20 02 00 05");
    let user = MqttClient::options("user").user("u", Some("pencil"));
    user.connect(gateway.mqtt()).disconnect();
}

/// A reading that fails leaves everything as it was, and the next good one is taken.
#[track_caller]
fn check_kept(spoil: impl Fn(&Gateway), repair: impl Fn(&Gateway), told: &[&str]) {
    let mut gateway = guarded().start();
    let mut witness = MqttClient::options("w").user("u", Some("pencil")).connect(gateway.mqtt());
    witness.subscribe("t", 1);
    gateway.write_config(Gateway::builder().listener("mqtt", "127.0.0.1:0", ""));
    spoil(&gateway);
    let log = gateway.hang_up();
    for text in told.iter().chain(&["not reloaded, the configuration in force stays"]) {
        assert!(log.contains(text), "no `{text}` in\n{log}");
    }
    repair(&gateway);
    is_guarded(&gateway);
    witness.publish("t", "still here", 1);
    witness.expect_message("t", "still here", 1);
    let log = gateway.reload(guarded().limits("queue_messages = 77"));
    assert!(log.contains("limits.queue_messages: 1000 → 77"), "{log}");
    assert!(log.contains("reloaded: 1 changes, 0 need a restart"), "{log}");
    is_guarded(&gateway);
    witness.publish("t", "and here", 1);
    witness.expect_message("t", "and here", 1);
}

#[test]
fn a_broken_file_changes_nothing() {
    let spoil = |gateway: &Gateway| {
        let text = fs::read_to_string(gateway.config_file()).expect("it is there");
        fs::write(gateway.config_file(), format!("{text}[limits]\nqueue_mesages = 5\n[")).unwrap();
    };
    check_kept(spoil, |_| {}, &["gateway.toml:7:"]);
}

#[test]
fn a_wrong_value_changes_nothing_and_is_told_with_its_place_and_what_would_be_right() {
    let spoil = |gateway: &Gateway| {
        let text = "[limits]\nqueue_messages = 9\nsessions = 0\n[mqtt_sn]\nretry-ms = 5\n";
        fs::write(gateway.config_file(), text).expect("the folder is ours");
    };
    let told = [
        "gateway.toml:3:12: limits.sessions: 0 is out of bounds: write an integer from 1 to",
        "gateway.toml:5:1: mqtt_sn.retry-ms: there is no such key: did you mean `retry_ms`?",
        "2 problems",
    ];
    check_kept(spoil, |_| {}, &told);
}

#[test]
fn a_missing_file_changes_nothing() {
    let spoil = |gateway: &Gateway| fs::remove_file(gateway.config_file()).expect("it was there");
    check_kept(spoil, |_| {}, &["gateway.toml", "cannot be read", "name a file that exists"]);
}

/// A folder in its place, so that nobody can read it, root included.
#[test]
fn an_unreadable_file_changes_nothing() {
    let spoil = |gateway: &Gateway| {
        fs::remove_file(gateway.config_file()).expect("it was there");
        fs::create_dir(gateway.config_file()).expect("the folder is ours");
    };
    let repair = |gateway: &Gateway| fs::remove_dir(gateway.config_file()).expect("ours");
    check_kept(spoil, repair, &["cannot be read"]);
}

/// Whoever opened it would wait for a writer, and every later signal for that.
#[test]
fn a_pipe_is_not_waited_for() {
    let spoil = |gateway: &Gateway| {
        fs::remove_file(gateway.config_file()).expect("it was there");
        make_pipe(&gateway.config_file());
    };
    let repair = |gateway: &Gateway| fs::remove_file(gateway.config_file()).expect("ours");
    check_kept(spoil, repair, &["cannot be read: only a file can be read again"]);
}

#[test]
fn a_pipe_of_topics_is_not_waited_for() {
    let spoil = |gateway: &Gateway| {
        make_pipe(&gateway.config_file().with_file_name("pipe"));
        let text = "[mqtt_sn]\npredefined_file = \"pipe\"\n";
        fs::write(gateway.config_file(), text).expect("the folder is ours");
    };
    check_kept(spoil, |_| {}, &["gateway.toml:2:", "pipe cannot be read: only a file"]);
}

/// The process is held in the middle of its first reading by a pipe; what is written there counts.
#[test]
fn a_sighup_that_comes_before_the_gateway_is_ready_ends_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.toml");
    make_pipe(&file);
    let mut command = Command::new(binary());
    let mut process = Process::spawn("mqtt-sn-gw", command.arg("--config").arg(&file));
    // Opening waits until the process has opened its end.
    let mut pipe = fs::File::options().write(true).open(&file).expect("a reader has come");
    process.signal("HUP");
    let text = "[[listener]]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\n";
    pipe.write_all(text.as_bytes()).expect("the process reads");
    drop(pipe);
    let ready = process.next_line(PATIENCE).expect("a ready line");
    assert!(ready.starts_with("ready mqtt=127.0.0.1:"), "{ready}");
    assert!(process.wait_for_log("cannot be read: only a file can be read again"));
    process.signal("TERM");
    assert!(process.wait().success());
}

#[track_caller]
fn make_pipe(path: &Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo is there").success());
}

/// It would take all users away, and is as a rule a file that somebody has begun to write.
#[test]
fn an_empty_file_changes_nothing() {
    for text in ["", "\n \n"] {
        let spoil = |gateway: &Gateway| {
            fs::write(gateway.config_file(), text).expect("the folder is ours");
        };
        check_kept(spoil, |_| {}, &["there is nothing in the file: write a comment into it"]);
    }
}

#[test]
fn an_unreadable_file_of_topics_changes_nothing() {
    let spoil = |gateway: &Gateway| {
        let text = "[mqtt_sn]\npredefined_file = \"nowhere.csv\"\n";
        fs::write(gateway.config_file(), text).expect("the folder is ours");
    };
    check_kept(spoil, |_| {}, &["gateway.toml:2:", "mqtt_sn.predefined_file", "nowhere.csv"]);
}

/// CVE-2017-7652: the broker there went on without its security settings.
#[test]
fn with_no_file_descriptor_left_nothing_changes() {
    let limit = |gateway: &Gateway, max: &str| {
        let id = gateway.process().id().to_string();
        let set =
            Command::new("prlimit").args(["--pid", &id, &format!("--nofile={max}:")]).status();
        assert!(set.expect("prlimit is there").success());
    };
    let spoil = |gateway: &Gateway| limit(gateway, "3");
    check_kept(spoil, |gateway| limit(gateway, "512"), &["cannot be read", "Too many open files"]);
}

#[test]
fn without_a_file_there_is_nothing_to_read_and_that_is_said() {
    let mut command = Command::new(binary());
    let command = command.args(["--mqtt", "127.0.0.1:0", "--mqtt-sn", "127.0.0.1:0"]);
    let process = Process::spawn("mqtt-sn-gw", command);
    process.next_line(PATIENCE).expect("a ready line");
    process.signal("HUP");
    assert!(process.wait_for_log("there is no configuration file to read again"));
    process.signal("HUP");
    assert!(process.wait_for_log_lines("no configuration file", 2));
}

/// docs/sys-topics.md
#[test]
fn readings_are_counted() {
    let mut gateway = Gateway::builder().text(EVERY_SECOND).start();
    let mut sys = Sys::watch(gateway.mqtt());
    sys.wait_for("configuration/reloads", |count| count == 0);
    gateway.reload(Gateway::builder().text(EVERY_SECOND).limits("sessions = 50"));
    gateway.reload(Gateway::builder().text(EVERY_SECOND).top("data_dir = \"elsewhere\""));
    fs::write(gateway.config_file(), "[[").expect("the folder is ours");
    gateway.hang_up();
    sys.wait_for("configuration/reloads", |count| count == 2);
    sys.wait_for("configuration/reloads_failed", |count| count == 1);
    assert_eq!(sys.wait_for("configuration/changes_waiting", |count| count > 0), 1);
    assert_eq!(sys.wait_for("limits/sessions/max", |max| max != 50), 100_000);
}
