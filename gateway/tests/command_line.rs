//! The program itself: what it prints and the status it exits with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use mqtt_sn_gw::cli::CliArgs;
use mqtt_sn_gw::config::{Config, PredefinedTopic};

/// A fresh folder for the files of one test.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(test);
        if folder.exists() {
            fs::remove_dir_all(&folder).expect("the folder of an earlier run goes");
        }
        fs::create_dir_all(&folder).expect("the folder can be made");
        Self(folder)
    }

    fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        let path = self.0.join(name);
        fs::write(&path, text).expect("the file can be written");
        path.display().to_string()
    }
}

fn run(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mqtt-sn-gw"))
        .args(words)
        .output()
        .expect("the program can be started")
}

/// The exit status, stdout and stderr.
fn outcome(words: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = run(words);
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (status.code(), text(stdout), text(stderr))
}

const TWO_PROBLEMS: &str = "[mqtt_sn]\nretry-ms = 1\ngateway_id = 256\n";

fn two_problems(file: &str) -> String {
    format!(
        "{file}:2:1: mqtt_sn.retry-ms: there is no such key\n    did you mean `retry_ms`?\n\
         {file}:3:14: mqtt_sn.gateway_id: 256 is out of bounds\n    write an integer from 1 to 255\n"
    )
}

#[test]
fn check_says_ok_to_a_good_file() {
    let folder = Folder::new("check_says_ok_to_a_good_file");
    let file = folder.write("gw.toml", "[[listener]]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\n");
    let ok = format!("ok: {file}: mqtt=127.0.0.1:0 predefined-topics=0\n");
    assert_eq!(outcome(&["check", "--config", &file]), (Some(0), ok, String::new()));
}

#[test]
fn check_notes_what_was_hardly_meant() {
    let folder = Folder::new("check_notes_what_was_hardly_meant");
    let file = folder.write("gw.toml", "[mqtt_sn]\nadvertise_s = 900\n");
    let (status, stdout, stderr) = outcome(&["check", "--config", &file]);
    let note = format!("note: {file}:2:15: mqtt_sn.advertise_s: no listener has a multicast group");
    assert_eq!((status, stderr.as_str()), (Some(0), ""));
    assert!(stdout.starts_with("ok: ") && stdout.contains(&note), "{stdout}");
}

#[test]
fn check_tells_every_problem_and_exits_with_2() {
    let folder = Folder::new("check_tells_every_problem_and_exits_with_2");
    let file = folder.write("gw.toml", TWO_PROBLEMS);
    let expect = (Some(2), String::new(), two_problems(&file));
    assert_eq!(outcome(&["check", "--config", &file]), expect);
}

#[test]
fn a_start_is_refused_in_the_words_of_check() {
    let folder = Folder::new("a_start_is_refused_in_the_words_of_check");
    let file = folder.write("gw.toml", TWO_PROBLEMS);
    assert_eq!(outcome(&["--config", &file]), (Some(2), String::new(), two_problems(&file)));
}

#[test]
fn an_open_listener_is_refused_in_two_lines() {
    let (status, stdout, stderr) = outcome(&["--mqtt", "0.0.0.0:0"]);
    assert_eq!((status, stdout.as_str()), (Some(2), ""));
    let lines: Vec<&str> = stderr.lines().collect();
    let [what, right] = lines.as_slice() else { panic!("{stderr}") };
    assert!(what.contains("--mqtt: 0.0.0.0:0 can be reached from other machines"), "{what}");
    assert!(right.contains("allow_anonymous = true") && right.contains("--config"), "{right}");
}

#[test]
fn a_file_that_cannot_be_read_is_told() {
    let folder = Folder::new("a_file_that_cannot_be_read_is_told");
    let check = |file: &str, why: &str| {
        let (status, stdout, stderr) = outcome(&["check", "--config", file]);
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{file}");
        assert!(stderr.starts_with(&format!("{file}: the file cannot be read: ")), "{stderr}");
        assert!(stderr.contains(why), "{stderr}");
    };
    check(&folder.0.join("none.toml").display().to_string(), "No such file");
    check(&folder.0.display().to_string(), "directory");
    let latin1 = folder.write("latin1.toml", b"# \xC3\xA4\r\n# \xC3\xA4\xE4\n");
    check(&latin1, "line 2, column 4 is not UTF-8\n    save the file as UTF-8\n");
    check(&folder.write("large.toml", vec![b'\n'; (16 << 20) + 1]), "more than 16777216 bytes");
}

#[test]
fn a_wrong_command_line_exits_with_2() {
    let check = |words: &[&str], what: &str| {
        let (status, stdout, stderr) = outcome(words);
        assert_eq!((status, stdout.as_str()), (Some(2), ""), "{words:?}");
        assert!(stderr.contains(what), "{words:?}: {stderr}");
    };
    check(&["--confg", "x"], "a similar argument exists: '--config'");
    check(&["--config", "a", "--config", "b"], "cannot be used multiple times");
    check(&["--data-dir", "a", "--data-dir", "b"], "cannot be used multiple times");
    check(&["--log-format", "xml"], "possible values: text, json");
    check(&["check"], "--config <FILE>");
    check(&["--mqtt", "1883", "check", "--config", "x"], "cannot be used with");
    check(&["chek"], "'check'");
    check(&["--mqtt"], "a value is required");
}

#[test]
fn help_and_version_are_printed() {
    let (status, stdout, _) = outcome(&["--version"]);
    assert_eq!((status, stdout), (Some(0), format!("mqtt-sn-gw {}\n", env!("CARGO_PKG_VERSION"))));
    let (status, stdout, _) = outcome(&["--help"]);
    assert_eq!(status, Some(0));
    for word in ["--config <FILE>", "--mqtt-sn <ADDR>", "check", "memory_bytes", "268435456"] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
}

#[test]
fn predefined_topics_come_from_files_of_every_spelling() {
    let folder = Folder::new("predefined_topics_come_from_files_of_every_spelling");
    folder
        .write("paho.conf", "# ClientID, TopicName, TopicID\n*, paho/one, 1\nnode, paho/two, 2\n");
    folder.write("bisquitt.yaml", "---\n\"*\":\n  3: yaml/three\n");
    folder.write("triples.txt", "node;triple/four;4\n");
    let file = folder.write(
        "gw.toml",
        "[mqtt_sn]\npredefined_file = [\"paho.conf\", \"bisquitt.yaml\", \"triples.txt\"]\n\
         [[mqtt_sn.predefined]]\nid = 5\ntopic = \"toml/five\"\n",
    );
    let args = CliArgs { config: Some(file.into()), ..CliArgs::default() };
    let topic = |id, topic: &str, client: Option<&str>| PredefinedTopic {
        id,
        topic: topic.into(),
        client: client.map(Into::into),
    };
    assert_eq!(
        Config::load(&args).expect("all is right").predefined,
        [
            topic(1, "paho/one", None),
            topic(3, "yaml/three", None),
            topic(5, "toml/five", None),
            topic(2, "paho/two", Some("node")),
            topic(4, "triple/four", Some("node")),
        ]
    );
}

#[test]
fn problems_in_files_of_predefined_topics_are_told_with_their_places() {
    let folder = Folder::new("problems_in_files_of_predefined_topics_are_told");
    let topics = folder.write("topics.csv", "*, a, 1\n*, b, 0\n*, c, 1\n");
    let file = folder.write(
        "gw.toml",
        "[mqtt_sn]\npredefined_file = [\"none.csv\", \"topics.csv\"]\n\
         [[mqtt_sn.predefined]]\nid = 1\ntopic = \"d\"\n",
    );
    let none = folder.0.join("none.csv").display().to_string();
    let (status, _, stderr) = outcome(&["check", "--config", &file]);
    assert_eq!(status, Some(2));
    let expect = format!(
        "{file}:2:20: mqtt_sn.predefined_file: {none} cannot be read: No such file or directory \
         (os error 2)\n    write the path of a file; a relative one starts at the folder of this \
         file\n\
         {topics}:1:1: id: 1 of client \"*\" is \"d\" at {file}:4:6\n    write another id, or drop \
         one of the two\n\
         {topics}:2:1: id: \"0\" is not a topic id\n    write an integer from 1 to 65534\n\
         {topics}:3:1: id: 1 of client \"*\" is \"d\" at {file}:4:6\n    write another id, or drop \
         one of the two\n"
    );
    assert_eq!(stderr, expect);
}

#[test]
fn the_format_that_is_named_is_the_one_that_is_read() {
    let folder = Folder::new("the_format_that_is_named_is_the_one_that_is_read");
    let topics = folder.write("topics.txt", "node,1;topic;7\n");
    let config = |format: &str| {
        let text = format!(
            "[mqtt_sn]\npredefined_file = \"{topics}\"\npredefined_format = \"{format}\"\n"
        );
        let file = folder.write(&format!("{format}.toml"), text);
        Config::load(&CliArgs { config: Some(file.into()), ..CliArgs::default() })
    };
    let predefined = config("triples").expect("three parts").predefined;
    assert_eq!(predefined[0].client.as_deref(), Some("node,1"));
    assert!(config("paho").is_err() && config("bisquitt").is_err() && config("words").is_err());
}
