//! The folder: who may have it, what becomes of a damaged one, and how it is looked at.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use system_tests::client::mqtt::MqttClient;
use system_tests::gateway::{self, Finished, Gateway};

const KEEP: usize = 40;

/// A store of `KEEP` retained messages, closed in order.
fn written() -> Gateway {
    let mut gateway = Gateway::start();
    let mut client = MqttClient::connect(gateway.mqtt(), "client");
    for number in 0..KEEP {
        client.publish_retained(&format!("kept/{number}"), number.to_string(), 1);
    }
    assert!(gateway.terminate().success());
    gateway
}

fn data(gateway: &Gateway) -> PathBuf {
    gateway.dir().join("data")
}

fn log_file(gateway: &Gateway) -> PathBuf {
    data(gateway).join("store/0000000001.log")
}

/// How many of the messages are there.
fn kept(gateway: &Gateway) -> usize {
    let mut client = MqttClient::connect(gateway.mqtt(), "reader");
    client.subscribe("kept/#", 0);
    client.subscribe("end", 0);
    client.publish("end", "", 0);
    std::iter::repeat_with(|| client.next_message()).take_while(|m| m.topic != "end").count()
}

/// Changes one octet in the middle of the log.
fn damage(gateway: &Gateway) {
    let file = log_file(gateway);
    let mut octets = fs::read(&file).expect("it is there");
    let middle = octets.len() / 2;
    octets[middle] ^= 1;
    fs::write(&file, octets).expect("the folder is ours");
}

/// A start in this folder, which is expected to end at once.
fn start_in(dir: &Path, folder: &str) -> Finished {
    let listeners = ["--mqtt", "127.0.0.1:0", "--mqtt-sn", "127.0.0.1:0"];
    gateway::run(dir, &[&listeners[..], &["--data-dir", folder]].concat())
}

/// The start was refused: status 2, nothing ready, and these two lines last.
#[track_caller]
fn assert_refused(refused: &Finished, what: &str, advice: &str) {
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""), "{}", refused.stderr);
    let lines: Vec<_> = refused.stderr.lines().collect();
    let [first, second] = lines[..] else { panic!("not two lines: {}", refused.stderr) };
    assert!(first.starts_with("mqtt-sn-gw: cannot use the data folder: "), "{first}");
    assert!(first.contains(what), "{first}");
    assert!(second.starts_with("    ") && second.contains(advice), "{second}");
}

#[test]
fn a_folder_in_use_is_refused() {
    let gateway = Gateway::start();
    let refused = start_in(gateway.dir(), "data");
    assert_refused(&refused, "data is in use by another process", "stop the other gateway");
    MqttClient::connect(gateway.mqtt(), "client").disconnect();
}

/// Also for root, who may write into folders that are read-only.
#[test]
fn a_folder_that_cannot_be_made_is_refused() {
    let gateway = written();
    let refused = start_in(gateway.dir(), "gateway.toml/data");
    assert_refused(&refused, "gateway.toml/data", "choose a folder that this user may write");
}

#[test]
fn a_store_of_a_later_version_is_refused_and_left_alone() {
    let gateway = written();
    let file = log_file(&gateway);
    let mut octets = fs::read(&file).expect("it is there");
    octets[16] = 200;
    let crc = crc32(&octets[..36]);
    octets[36..40].copy_from_slice(&crc.to_le_bytes());
    fs::write(&file, &octets).expect("the folder is ours");
    let refused = start_in(gateway.dir(), "data");
    assert_refused(&refused, "0000000001.log has format 200", "use the version that wrote it");
    assert!(fs::read(&file).expect("it is there") == octets, "nothing is changed");
}

/// CRC-32 as of zip and Ethernet.
fn crc32(octets: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 };
    !octets.iter().fold(!0, |crc, octet| (0..8).fold(crc ^ u32::from(*octet), |crc, _| step(crc)))
}

#[test]
fn a_damaged_store_is_set_aside_and_named() {
    let mut gateway = written();
    damage(&gateway);
    let damaged = fs::read(log_file(&gateway)).expect("it is there");
    gateway.restart();
    assert!(gateway.process().wait_for_log("0000000001.log is damaged at octet "));
    assert!(gateway.process().wait_for_log("store.damaged-"));
    assert_eq!(kept(&gateway), 0);
    let aside = fs::read_dir(data(&gateway)).expect("it is there").flatten();
    let aside = aside.map(|entry| entry.path());
    let aside: Vec<_> = aside.filter(|path| path.to_string_lossy().contains(".damaged-")).collect();
    let [aside] = &aside[..] else { panic!("set aside once: {aside:?}") };
    assert!(fs::read(aside.join("0000000001.log")).expect("as it was") == damaged);
}

#[test]
fn recover_brings_back_what_can_be_read() {
    let mut gateway = written();
    damage(&gateway);
    let dir = gateway.dir().to_owned();
    let listeners = ["--mqtt", "127.0.0.1:0", "--mqtt-sn", "127.0.0.1:0"];
    let mut command = Command::new(gateway::binary());
    command.current_dir(&dir).args(listeners).args(["--data-dir", "data", "--recover"]);
    let mut recovering = system_tests::process::Process::spawn("mqtt-sn-gw", &mut command);
    recovering.next_line(system_tests::process::PATIENCE).expect("a ready line");
    assert!(recovering.wait_for_log("what could be read of it is used"));
    recovering.signal("TERM");
    assert!(recovering.wait().success());
    gateway.restart();
    let kept = kept(&gateway);
    assert!((KEEP / 2..KEEP).contains(&kept), "{kept} of {KEEP}");
}

/// `store ACTION` with this standard input: what it prints.
#[track_caller]
fn store(dir: &Path, action: &str, folder: &str, input: &str) -> String {
    let mut command = Command::new(gateway::binary());
    command.current_dir(dir).args(["store", action, "--data-dir", folder]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program is there");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "store {action}: {complaint}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn a_store_is_listed_verified_exported_and_imported() {
    let mut gateway = written();
    let dir = gateway.dir().to_owned();
    let told = store(&dir, "list", "data", "");
    assert!(told.lines().last().is_some_and(|line| line.starts_with("all ")), "{told}");
    assert!(store(&dir, "verify", "data", "").starts_with("ok: "));
    let exported = store(&dir, "export", "data", "");
    assert!(exported.lines().count() >= KEEP);
    let told = store(&dir, "import", "copy", &exported);
    assert_eq!(told, format!("imported {} records\n", exported.lines().count()));
    assert_eq!(store(&dir, "export", "copy", ""), exported);
    damage(&gateway);
    let wrong = gateway::run(&dir, &["store", "verify", "--data-dir", "data"]);
    assert_eq!(wrong.code, Some(1));
    assert!(wrong.stderr.contains("0000000001.log is damaged at octet "), "{}", wrong.stderr);
    fs::remove_dir_all(data(&gateway)).expect("the folder is ours");
    fs::rename(dir.join("copy"), data(&gateway)).expect("the folder is ours");
    gateway.restart();
    assert_eq!(kept(&gateway), KEEP);
}

#[test]
fn with_durability_memory_the_folder_is_left_alone() {
    let mut gateway = Gateway::builder().top("durability = \"memory\"").start();
    MqttClient::connect(gateway.mqtt(), "client").publish_retained("kept/1", "x", 1);
    assert_eq!(kept(&gateway), 1);
    gateway.kill9();
    assert!(!data(&gateway).exists());
    gateway.restart();
    assert_eq!(kept(&gateway), 0);
}
