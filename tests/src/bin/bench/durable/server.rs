//! The servers that are compared: the gateway in both modes, and Mosquitto with its SQLite plugin.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use system_tests::foreign::mosquitto::Mosquitto;
use system_tests::process::Process;
use tempfile::TempDir;

use super::Options;
use crate::server::{build, ready_address};

/// How long a start with a large store may take.
const START_PATIENCE: Duration = Duration::from_secs(300);

/// Bounds that no load here comes near, and `$SYS` every second.
const CONFIG: &str = "
data_dir = \"data\"
[[listener]]
kind = \"mqtt\"
bind = \"127.0.0.1:0\"
[limits]
memory_bytes = 17179869184
sessions = 1000000
connections_per_source_unidentified = 1000
queue_messages = 10000000
queue_bytes = 4294967296
retained_messages = 10000000
retained_bytes = 4294967296
[sys]
interval_s = 1
";

/// Where the programs are.
pub(super) struct Programs {
    gateway: PathBuf,
    /// Mosquitto and its plugin.
    mosquitto: Option<(PathBuf, PathBuf)>,
}

impl Programs {
    /// Builds the gateway in the profile of this program, unless the command line names one.
    pub(super) fn find(options: &Options) -> io::Result<Self> {
        let named = options.gateway.iter().chain(&options.mosquitto).chain(&options.plugin);
        if let Some(missing) = named.into_iter().find(|path| !path.is_file()) {
            return Err(io::Error::other(format!("there is no {}", missing.display())));
        }
        // Servers run in folders of their own.
        let gateway = match &options.gateway {
            Some(path) => path.canonicalize()?,
            None => build(&std::env::current_exe()?)?,
        };
        let mosquitto = match (&options.mosquitto, &options.plugin) {
            (Some(program), Some(plugin)) => {
                Some((program.canonicalize()?, plugin.canonicalize()?))
            }
            (_, _) => None,
        };
        Ok(Self { gateway, mosquitto })
    }

    /// What can be compared.
    pub(super) fn kinds(&self) -> Vec<Kind> {
        let mut kinds = vec![Kind::Memory, Kind::Disk];
        kinds.extend(self.mosquitto.is_some().then_some(Kind::Sqlite));
        kinds
    }
}

/// What a server is compared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The gateway with `durability = "memory"`.
    Memory,
    /// The gateway with its default.
    Disk,
    /// Mosquitto with its SQLite plugin, `sync full` and `flush_period 0`: every round of its loop
    /// ends with a commit. It acknowledges before that commit nevertheless.
    Sqlite,
}

/// A running server.
pub(super) struct Server {
    held: Held,
    pub(super) mqtt: SocketAddr,
    /// From the start of the process to its ready line.
    pub(super) start: Duration,
}

enum Held {
    Gateway(Process),
    Mosquitto(Mosquitto),
}

impl Server {
    /// Lets its threads run before all others on the machine.
    pub(super) fn put_ahead(&self) -> io::Result<()> {
        let id = self.process().id().to_string();
        let status = Command::new("chrt").args(["-a", "-f", "-p", "1", &id]).status()?;
        if status.success() { Ok(()) } else { Err(io::Error::other("chrt is refused")) }
    }

    /// Starts a server that keeps its data in `folder`.
    pub(super) fn start(programs: &Programs, kind: Kind, folder: &Path) -> io::Result<Self> {
        match (kind, &programs.mosquitto) {
            (Kind::Memory, _) => Self::start_gateway(&programs.gateway, folder, "memory"),
            (Kind::Disk, _) => Self::start_gateway(&programs.gateway, folder, "disk"),
            (Kind::Sqlite, None) => Err(io::Error::other("no Mosquitto was named")),
            (Kind::Sqlite, Some((program, plugin))) => {
                Self::start_mosquitto(program, plugin, folder)
            }
        }
    }

    fn start_gateway(program: &Path, folder: &Path, durability: &str) -> io::Result<Self> {
        let config = format!("durability = \"{durability}\"{CONFIG}");
        fs::write(folder.join("gateway.toml"), config)?;
        let mut command = Command::new(program);
        command.current_dir(folder).args(["--config", "gateway.toml"]);
        let began = Instant::now();
        let process = Process::spawn("gateway", &mut command);
        let line = process.next_line(START_PATIENCE).unwrap_or_default();
        let start = began.elapsed();
        let address = ready_address(&line).ok_or_else(|| {
            io::Error::other(format!("no ready line but `{line}`\n{}", process.log()))
        })?;
        Ok(Self { held: Held::Gateway(process), mqtt: address.mqtt, start })
    }

    fn start_mosquitto(program: &Path, plugin: &Path, folder: &Path) -> io::Result<Self> {
        // Started by root it becomes somebody else, who has to write there.
        fs::set_permissions(folder, Permissions::from_mode(0o777))?;
        let (plugin, folder) = (plugin.display(), folder.display());
        let began = Instant::now();
        let mosquitto = Mosquitto::with_program(
            program,
            &format!(
                "max_queued_messages 0\nmax_inflight_messages 0\nplugin {plugin}\n\
                 plugin_opt_db_file {folder}/mosquitto.sqlite3\nplugin_opt_sync full\n\
                 plugin_opt_flush_period 0"
            ),
        );
        let mqtt = mosquitto.mqtt();
        Ok(Self { held: Held::Mosquitto(mosquitto), mqtt, start: began.elapsed() })
    }

    pub(super) fn process(&self) -> &Process {
        match &self.held {
            Held::Gateway(process) => process,
            Held::Mosquitto(mosquitto) => mosquitto.process(),
        }
    }

    /// Ends it without a word.
    pub(super) fn kill(self) {
        if let Held::Gateway(mut process) = self.held {
            process.kill();
        }
    }
}

/// A folder for the data of one server, in `folder`.
pub(super) fn data_folder(folder: &Path) -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("bench-durable-").tempdir_in(folder)
}
