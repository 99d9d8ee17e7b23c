//! The processes that are measured.

use std::env;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use system_tests::foreign::mosquitto::Mosquitto;
use system_tests::process::{PATIENCE, Process};
use system_tests::repository;

use crate::load::Address;
use crate::options::Options;

/// What a server is compared as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The bare relay.
    Floor,
    Gateway,
    /// Another gateway.
    Against,
    Mosquitto,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Gateway => "gateway",
            Self::Against => "against",
            Self::Mosquitto => "mosquitto",
        }
    }
}

/// Where the programs are.
pub(crate) struct Programs {
    gateway: PathBuf,
    against: Option<PathBuf>,
    bench: PathBuf,
}

impl Programs {
    /// Builds the gateway in the profile of this program, unless the command line names one.
    ///
    /// # Errors
    /// It does not build, or what the command line names is not there.
    pub(crate) fn find(options: &Options) -> io::Result<Self> {
        let mut named = options.gateway.iter().chain(&options.against);
        if let Some(missing) = named.find(|path| !path.is_file()) {
            return Err(io::Error::other(format!("there is no {}", missing.display())));
        }
        let bench = env::current_exe()?;
        let gateway = match &options.gateway {
            Some(path) => path.clone(),
            None => build(&bench)?,
        };
        Ok(Self { gateway, against: options.against.clone(), bench })
    }
}

/// A running server.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    process: Held,
    pub(crate) address: Address,
}

enum Held {
    Ours(Process),
    Mosquitto(Mosquitto),
}

impl Server {
    /// Starts all that take part, the floor first. Mosquitto only where the scenario is one of
    /// MQTT over TCP, and if it is installed.
    ///
    /// # Errors
    /// A server does not start.
    pub(crate) fn start_all(programs: &Programs, with_mosquitto: bool) -> io::Result<Vec<Self>> {
        let mut relay = Command::new(&programs.bench);
        let mut servers = vec![Self::start(Kind::Floor, relay.arg("relay"))?];
        servers.push(Self::start(Kind::Gateway, &mut gateway(&programs.gateway))?);
        if let Some(against) = &programs.against {
            servers.push(Self::start(Kind::Against, &mut gateway(against))?);
        }
        if with_mosquitto && let Some(mosquitto) = Mosquitto::start() {
            let address = Address { mqtt: mosquitto.mqtt(), mqtt_sn: None };
            let process = Held::Mosquitto(mosquitto);
            servers.push(Self { kind: Kind::Mosquitto, process, address });
        }
        Ok(servers)
    }

    fn start(kind: Kind, command: &mut Command) -> io::Result<Self> {
        let process = Process::spawn(kind.name(), command);
        let line = process.next_line(PATIENCE).unwrap_or_default();
        let address = ready_address(&line).ok_or_else(|| {
            io::Error::other(format!("no ready line but `{line}`\n{}", process.log()))
        })?;
        Ok(Self { kind, process: Held::Ours(process), address })
    }

    pub(crate) fn process(&self) -> &Process {
        match &self.process {
            Held::Ours(process) => process,
            Held::Mosquitto(mosquitto) => mosquitto.process(),
        }
    }
}

fn gateway(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.args(["--mqtt", "127.0.0.1:0", "--mqtt-sn", "127.0.0.1:0"]);
    command
}

/// The first address of each kind in `ready mqtt=A,… mqtt-sn=B,…`.
pub(crate) fn ready_address(line: &str) -> Option<Address> {
    let words = line.strip_prefix("ready ")?;
    let find = |kind: &str| -> Option<SocketAddr> {
        let mut fields = words.split(' ').filter_map(|word| word.split_once('='));
        let (_, addresses) = fields.find(|(name, _)| *name == kind)?;
        addresses.split(',').next()?.parse().ok()
    };
    Some(Address { mqtt: find("mqtt")?, mqtt_sn: find("mqtt-sn") })
}

/// The gateway beside this program, brought up to date.
pub(crate) fn build(bench: &Path) -> io::Result<PathBuf> {
    let profile_dir = bench.parent().expect("a program lies in a folder");
    let target_dir = profile_dir.parent().expect("target/<profile>");
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(other) => other,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(repository::root());
    command.args(["build", "--quiet", "-p", "gateway", "--bin", "mqtt-sn-gw"]);
    command.args(["--profile", profile, "--target-dir"]).arg(target_dir);
    if command.status()?.success() {
        return Ok(profile_dir.join("mqtt-sn-gw"));
    }
    Err(io::Error::other("the gateway does not build"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_of_each_kind_is_taken() {
        let line = "ready mqtt=127.0.0.1:7,[::1]:8 mqtt-sn=127.0.0.1:9";
        let address = ready_address(line).expect("a ready line");
        assert_eq!(address.mqtt, "127.0.0.1:7".parse().expect("an address"));
        assert_eq!(address.mqtt_sn, Some("127.0.0.1:9".parse().expect("an address")));
        assert!(ready_address("ready mqtt-sn=127.0.0.1:9").is_none());
        assert!(ready_address("").is_none());
    }
}
