//! A disk that fails when it is told to, for one gateway, on any machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use system_tests::client::mqtt::{MqttClient, Version};
use system_tests::gateway::{Builder, Gateway};
use tempfile::TempDir;

const SOURCE: &str = include_str!("faulty_disk.c");

/// How soon after the end of its troubles a gateway has to be well (DU4).
pub(crate) const RECOVERY: Duration = Duration::from_secs(5);

/// The folder of a gateway, and what its disk is told.
pub(crate) struct FaultyDisk {
    dir: TempDir,
}

impl FaultyDisk {
    pub(crate) fn new() -> Self {
        let disk = Self { dir: tempfile::tempdir().expect("a folder") };
        disk.heal();
        disk
    }

    /// A gateway that keeps its state there.
    pub(crate) fn gateway(&self) -> Builder {
        let top = format!("data_dir = \"{}\"", self.folder().display());
        self.below(Gateway::builder().top(&top))
    }

    /// Lets whatever a gateway does with its folder go through the library.
    fn below(&self, builder: Builder) -> Builder {
        builder
            .env("LD_PRELOAD", library())
            .env("FAULTY_FOLDER", self.folder())
            .env("FAULTY_ORDERS", self.orders())
    }

    /// The same for a start of which nobody knows how it ends.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("LD_PRELOAD", library());
        command.env("FAULTY_FOLDER", self.folder()).env("FAULTY_ORDERS", self.orders());
        command.args(["--mqtt", "127.0.0.1:0", "--mqtt-sn", "127.0.0.1:0", "--data-dir"]);
        command.arg(self.folder());
        command
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn orders(&self) -> PathBuf {
        self.dir.path().join("orders")
    }

    /// See `faulty_disk.c`.
    pub(crate) fn order(&self, order: &str) {
        let draft = self.dir.path().join("draft");
        fs::write(&draft, order).expect("the folder is ours");
        // At once: half an order is never read.
        fs::rename(&draft, self.orders()).expect("the folder is ours");
    }

    pub(crate) fn heal(&self) {
        self.order("");
    }

    /// Octets of all files in the store.
    pub(crate) fn used(&self) -> u64 {
        let files = fs::read_dir(self.folder().join("store")).expect("it is there").flatten();
        files.filter_map(|file| Some(file.metadata().ok()?.len())).sum()
    }
}

/// The library, built once by whatever compiler links Rust programs here.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a folder of cargo's");
        let (source, library) = (dir.join("faulty_disk.c"), dir.join("faulty_disk.so"));
        fs::write(&source, SOURCE).expect("the folder is ours");
        let mut command = Command::new("cc");
        command.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
        let built = command.output().expect("cc is there, since it linked this test");
        let complaint = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "the faulty disk does not build:\n{complaint}");
        library
    })
}

/// A publisher of MQTT 5.0, who is told whether something was taken.
pub(crate) struct Teller {
    client: MqttClient,
    /// What was acknowledged, in its order.
    pub(crate) accepted: Vec<String>,
    count: usize,
    payload: String,
}

/// What MQTT 5.0 is told while nothing can be kept.
pub(crate) const QUOTA_EXCEEDED: u8 = 0x97;

impl Teller {
    pub(crate) fn connect(gateway: &Gateway, client_id: &str, payload_bytes: usize) -> Self {
        let client = MqttClient::options(client_id).version(Version::V5).connect(gateway.mqtt());
        Self { client, accepted: Vec::new(), count: 0, payload: "x".repeat(payload_bytes) }
    }

    /// Publishes at QoS 1, retained on a topic of its own; whether it was taken.
    #[track_caller]
    pub(crate) fn tell(&mut self) -> bool {
        self.count += 1;
        let topic = format!("told/{}", self.count);
        let text = format!("{} {}", self.count, self.payload);
        match self.client.retain_with(&topic, &text, "") {
            QUOTA_EXCEEDED => false,
            reason => {
                assert!(reason < 0x80, "{reason:#x}");
                self.accepted.push(topic);
                true
            }
        }
    }

    /// Publishes until nothing more is taken.
    #[track_caller]
    pub(crate) fn tell_until_refused(&mut self) {
        while self.tell() {
            assert!(self.count < 5_000, "there is no end");
        }
    }

    /// Publishes until something is taken, which has to be soon.
    #[track_caller]
    pub(crate) fn tell_until_taken(&mut self) {
        let began = Instant::now();
        while !self.tell() {
            assert!(began.elapsed() < RECOVERY, "there is no trouble any more");
        }
    }
}

/// Waits until `$SYS` says that the store is so.
#[track_caller]
pub(crate) fn wait_for_health(gateway: &Gateway, health: &str) {
    let mut client = MqttClient::connect(gateway.mqtt(), "health-watcher");
    client.subscribe("$SYS/broker/store/health", 0);
    while client.next_message().text() != health {}
}

/// A client that was away gets each of these, in this order, and others at most between them: what
/// was refused may have been kept nevertheless.
#[track_caller]
pub(crate) fn assert_kept(gateway: &Gateway, reader: &str, accepted: &[String]) {
    let mut reader = MqttClient::options(reader).persistent().connect(gateway.mqtt());
    assert!(reader.session_present);
    for topic in accepted {
        while reader.next_message().topic != *topic {}
    }
}
