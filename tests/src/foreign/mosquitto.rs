//! Debian's Mosquitto as the broker to compare with: it checks that a scenario is right before
//! the scenario judges us, and benchmarks measure it in the same run.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::foreign::{found, program};
use crate::process::Process;

/// Starts are repeated when somebody else took the port in between.
const STARTS_MAX: usize = 10;

/// A running Mosquitto.
#[derive(Debug)]
pub struct Mosquitto {
    process: Process,
    address: SocketAddr,
    _dir: TempDir,
}

impl Mosquitto {
    /// A broker on 127.0.0.1 that lets everybody in and keeps nothing on disk; none, and said so,
    /// if Mosquitto is not installed.
    #[track_caller]
    pub fn start() -> Option<Self> {
        Self::with_config("")
    }

    /// The same with further lines of configuration.
    #[track_caller]
    pub fn with_config(more: &str) -> Option<Self> {
        let program = found("mosquitto", program("mosquitto"))?;
        Some(Self::with_program(&program, more))
    }

    /// The same of another build.
    #[track_caller]
    pub fn with_program(program: &Path, more: &str) -> Self {
        let mut starts = (0..STARTS_MAX).map(|_| Self::try_start(program, more));
        let started = starts.find_map(|started| started);
        started.unwrap_or_else(|| panic!("no free port for mosquitto in {STARTS_MAX} starts"))
    }

    /// One start; none if the port was taken.
    #[track_caller]
    fn try_start(program: &Path, more: &str) -> Option<Self> {
        let address = free_address();
        let (dir, config) = folder_with(&format!(
            "listener {} {}\nallow_anonymous true\npersistence false\n{more}\n",
            address.port(),
            address.ip()
        ));
        let mut command = Command::new(program);
        let process = Process::spawn("mosquitto", command.arg("-c").arg(config));
        // Later versions also say which user they are running as, before they listen.
        if process.wait_for_log_end(" running") {
            return Some(Self { process, address, _dir: dir });
        }
        assert!(process.log().contains("Address already in use"), "{}", process.log());
        None
    }

    /// Where it serves MQTT.
    pub fn mqtt(&self) -> SocketAddr {
        self.address
    }

    /// The process, for its memory and its CPU time.
    pub fn process(&self) -> &Process {
        &self.process
    }
}

/// Mosquitto does not know port 0: an address that was free a moment ago.
fn free_address() -> SocketAddr {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
    free.expect("a free port")
}

fn folder_with(config: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::Builder::new().prefix("mosquitto-").tempdir().expect("a folder");
    let file = dir.path().join("mosquitto.conf");
    fs::write(&file, config).expect("the folder is ours");
    (dir, file)
}
