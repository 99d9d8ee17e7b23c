//! The real program, one process for each test.
//!
//! ```no_run
//! use system_tests::gateway::Gateway;
//!
//! let gateway = Gateway::builder().mqtt_sn("retry_ms = 200").predefined(5, "pre/five").start();
//! println!("MQTT at {}, MQTT-SN at {}", gateway.mqtt(), gateway.mqtt_sn());
//! ```
//!
//! It listens on ports that the system chose, keeps its files in a folder of its own, and is
//! killed by its id when the value is dropped; if the test is failing then, its log is printed.

mod reload;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::process::{PATIENCE, Process, Silence};
use crate::repository;

/// A running gateway.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    ready: Ready,
    builder: Builder,
    dir: TempDir,
}

impl Gateway {
    /// The defaults: one MQTT and one MQTT-SN listener on 127.0.0.1.
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A gateway with settings of its own.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Where it serves MQTT over TCP.
    pub fn mqtt(&self) -> SocketAddr {
        self.endpoints("mqtt")[0]
    }

    /// Where it serves MQTT-SN over UDP.
    pub fn mqtt_sn(&self) -> SocketAddr {
        self.endpoints("mqtt-sn")[0]
    }

    /// All addresses of one kind of listener, in the order of the ready line.
    #[track_caller]
    pub fn endpoints(&self, kind: &str) -> &[SocketAddr] {
        let field = self.ready.0.iter().find(|(name, _)| name == kind);
        &field.unwrap_or_else(|| panic!("no listener of kind {kind} is ready")).1
    }

    /// The folder of its configuration and data.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The process, for its log, its memory and its CPU time.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Asks it to end (SIGTERM) and returns its exit status.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.process.signal("TERM");
        self.wait()
    }

    /// Waits until it has ended and returns its exit status.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        self.process.wait()
    }

    /// Ends it as a power cut would.
    pub fn kill9(&mut self) {
        self.process.kill();
    }

    /// Starts it again with the same files and, so that clients find it, on the same ports. Ends
    /// it first (SIGTERM) if it still runs.
    #[track_caller]
    pub fn restart(&mut self) {
        self.terminate();
        let config = self.builder.config_text(&self.ready);
        fs::write(self.dir.path().join(CONFIG_FILE), config).expect("the folder is ours");
        (self.process, self.ready) = self.builder.spawn(self.dir.path());
    }
}

const CONFIG_FILE: &str = "gateway.toml";

/// What a gateway is started with.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    top: String,
    listeners: Vec<Listener>,
    mqtt_sn: String,
    limits: String,
    rest: String,
    args: Vec<String>,
    env: Vec<(String, OsString)>,
    descriptors: Option<u32>,
}

#[derive(Clone, Debug)]
struct Listener {
    kind: String,
    bind: String,
    more: String,
}

impl Builder {
    /// Lines before the first table, `data_dir = …` for example.
    pub fn top(mut self, lines: &str) -> Self {
        self.top.push_str(&ended(lines));
        self
    }

    /// One more listener; `more` are further lines of its table. The first call replaces the two
    /// default listeners.
    pub fn listener(mut self, kind: &str, bind: &str, more: &str) -> Self {
        let (kind, bind, more) = (kind.to_owned(), bind.to_owned(), ended(more));
        self.listeners.push(Listener { kind, bind, more });
        self
    }

    /// Lines of the table `mqtt_sn`.
    pub fn mqtt_sn(mut self, lines: &str) -> Self {
        self.mqtt_sn.push_str(&ended(lines));
        self
    }

    /// A predefined topic id for all clients.
    pub fn predefined(self, id: u16, topic: &str) -> Self {
        self.predefined_for("*", id, topic)
    }

    /// A predefined topic id for one client.
    pub fn predefined_for(self, client: &str, id: u16, topic: &str) -> Self {
        let table = "[[mqtt_sn.predefined]]";
        self.text(&format!("{table}\nid = {id}\ntopic = \"{topic}\"\nclient = \"{client}\""))
    }

    /// Lines of the table `limits`.
    pub fn limits(mut self, lines: &str) -> Self {
        self.limits.push_str(&ended(lines));
        self
    }

    /// Further tables, appended to the configuration as they are.
    pub fn text(mut self, tables: &str) -> Self {
        self.rest.push_str(&ended(tables));
        self
    }

    /// One more argument of the command line.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Lets the process have no more than so many file descriptors.
    pub fn descriptors(mut self, max: u32) -> Self {
        self.descriptors = Some(max);
        self
    }

    /// Starts the gateway and waits for its ready line.
    #[track_caller]
    pub fn start(self) -> Gateway {
        let dir = tempfile::Builder::new().prefix("mqtt-sn-gw-").tempdir().expect("a folder");
        let config = self.config_text(&Ready::default());
        fs::write(dir.path().join(CONFIG_FILE), config).expect("the folder is ours");
        let (process, ready) = self.spawn(dir.path());
        Gateway { process, ready, builder: self, dir }
    }

    /// The configuration file. Listeners that were ready before get their addresses back.
    fn config_text(&self, before: &Ready) -> String {
        let mut text = self.top.clone();
        if !self.top.contains("data_dir") {
            text.insert_str(0, "data_dir = \"data\"\n");
        }
        let standard = ["mqtt", "mqtt-sn"].map(|kind| Listener {
            kind: kind.to_owned(),
            bind: "127.0.0.1:0".to_owned(),
            more: String::new(),
        });
        let listeners =
            if self.listeners.is_empty() { standard.as_slice() } else { &self.listeners };
        let mut known = before.clone();
        for Listener { kind, bind, more } in listeners {
            let bind = known.take_first(kind).unwrap_or_else(|| bind.clone());
            let table = format!("[[listener]]\nkind = \"{kind}\"\nbind = \"{bind}\"\n{more}");
            text.push_str(&table);
        }
        for (table, lines) in [("mqtt_sn", &self.mqtt_sn), ("limits", &self.limits)] {
            if !lines.is_empty() {
                write!(text, "[{table}]\n{lines}").expect("a string takes everything");
            }
        }
        text + &self.rest
    }

    #[track_caller]
    fn spawn(&self, dir: &Path) -> (Process, Ready) {
        let mut command = match self.descriptors {
            None => Command::new(binary()),
            Some(max) => {
                let mut limited = Command::new("prlimit");
                limited.arg(format!("--nofile={max}:{max}")).arg(binary());
                limited
            }
        };
        command.current_dir(dir).arg("--config").arg(CONFIG_FILE).args(&self.args);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let process = Process::spawn("mqtt-sn-gw", &mut command);
        match process.next_line(PATIENCE) {
            Ok(line) => match Ready::parse(&line) {
                Some(ready) => (process, ready),
                None => panic!("not a ready line: `{line}`\n{}", process.log()),
            },
            Err(silence) => panic!("no ready line ({silence:?})\n{}", process.log()),
        }
    }
}

fn ended(lines: &str) -> String {
    if lines.is_empty() || lines.ends_with('\n') { lines.to_owned() } else { format!("{lines}\n") }
}

/// The ready line: the addresses of each kind of listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Ready(Vec<(String, Vec<SocketAddr>)>);

impl Ready {
    fn parse(line: &str) -> Option<Self> {
        let fields = line.strip_prefix("ready ")?.split(' ').map(|field| {
            let (kind, addresses) = field.split_once('=')?;
            let addresses = addresses.split(',').map(|address| address.parse().ok());
            Some((kind.to_owned(), addresses.collect::<Option<Vec<_>>>()?))
        });
        fields.collect::<Option<Vec<_>>>().map(Self)
    }

    fn take_first(&mut self, kind: &str) -> Option<String> {
        let (_, addresses) = self.0.iter_mut().find(|(name, _)| name == kind)?;
        (!addresses.is_empty()).then(|| addresses.remove(0).to_string())
    }
}

/// The program under test: `MQTT_SN_GW_BIN`, or the one of the profile that the tests were built
/// with, brought up to date once.
///
/// Cargo does not build the binary of one package for the tests of another, and a binary left
/// from yesterday would be tested in its place, so the build is always asked for.
pub fn binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| match env::var_os("MQTT_SN_GW_BIN") {
        Some(path) => PathBuf::from(path),
        None => build(),
    })
}

fn build() -> PathBuf {
    let test = env::current_exe().expect("the test knows its own file");
    // target/<profile>/deps/<test>
    let profile_dir = test.parent().and_then(Path::parent).expect("cargo's layout");
    let target_dir = profile_dir.parent().expect("cargo's layout");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(repository::root());
    command.args(["build", "--quiet", "-p", "gateway", "--bin", "mqtt-sn-gw"]);
    command.args(["--profile", profile, "--target-dir"]).arg(target_dir);
    let built = command.output().expect("cargo is there, since it ran this test");
    let complaint = String::from_utf8_lossy(&built.stderr);
    assert!(built.status.success(), "the gateway does not build:\n{complaint}");
    profile_dir.join("mqtt-sn-gw")
}

/// A run of the program that ended by itself.
#[derive(Debug)]
pub struct Finished {
    /// The exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Runs the program with `args` in `dir` until it ends: for `check`, `--version`, and starts that
/// have to be refused. Fails if it goes on running.
#[track_caller]
pub fn run(dir: &Path, args: &[&str]) -> Finished {
    let mut process =
        Process::spawn("mqtt-sn-gw", Command::new(binary()).current_dir(dir).args(args));
    let mut stdout = String::new();
    loop {
        match process.next_line(PATIENCE) {
            Ok(line) => stdout.push_str(&ended(&line)),
            Err(Silence::Ended) => break,
            Err(Silence::Timeout) => panic!("it goes on running: {args:?}\n{stdout}"),
        }
    }
    let code = process.wait().code();
    Finished { code, stdout, stderr: process.stderr() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ready_line_names_every_listener() {
        let line = "ready mqtt=127.0.0.1:1883,[::1]:1883 mqtt-sn=127.0.0.1:1883";
        let ready = Ready::parse(line).expect("a ready line");
        let (kind, addresses) = &ready.0[0];
        assert_eq!((kind.as_str(), addresses.len()), ("mqtt", 2));
        assert_eq!(ready.0[1].1, ["127.0.0.1:1883".parse().unwrap()]);
        for wrong in
            ["", "ready", "ready mqtt", "ready mqtt=", "ready mqtt=x", "Ready mqtt=[::1]:1"]
        {
            assert_eq!(Ready::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_configuration_is_put_together_in_the_order_that_toml_wants() {
        let builder = Gateway::builder()
            .limits("memory_bytes = 1000000")
            .predefined(5, "pre/five")
            .mqtt_sn("retry_ms = 200")
            .mqtt_sn("retry_max = 2")
            .top("data_dir = \"d\"");
        let text = builder.config_text(&Ready::default());
        let lines = [
            "data_dir = \"d\"",
            "[[listener]]",
            "kind = \"mqtt\"",
            "bind = \"127.0.0.1:0\"",
            "[[listener]]",
            "kind = \"mqtt-sn\"",
            "bind = \"127.0.0.1:0\"",
            "[mqtt_sn]",
            "retry_ms = 200",
            "retry_max = 2",
            "[limits]",
            "memory_bytes = 1000000",
            "[[mqtt_sn.predefined]]",
            "id = 5",
            "topic = \"pre/five\"",
            "client = \"*\"",
        ];
        assert_eq!(text.lines().collect::<Vec<_>>(), lines);
    }

    #[test]
    fn a_restart_asks_for_the_ports_it_had() {
        let builder = Gateway::builder()
            .listener("mqtt", "127.0.0.1:0", "")
            .listener("mqtt", "[::1]:0", "")
            .listener("mqtt-sn", "127.0.0.1:0", "multicast = [\"225.1.1.1\"]");
        let ready = Ready::parse("ready mqtt=127.0.0.1:7,[::1]:8 mqtt-sn=127.0.0.1:9").unwrap();
        let text = builder.config_text(&ready);
        let binds: Vec<_> = text.lines().filter(|line| line.starts_with("bind")).collect();
        let expect = ["bind = \"127.0.0.1:7\"", "bind = \"[::1]:8\"", "bind = \"127.0.0.1:9\""];
        assert_eq!(binds, expect);
        assert!(text.ends_with("multicast = [\"225.1.1.1\"]\n"));
    }
}
