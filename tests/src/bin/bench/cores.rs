//! Which core runs what.
//!
//! Done by `taskset` and `chrt` of util-linux, so that the benchmark needs no unsafe code. Threads
//! that a process starts later inherit its place.

use std::fs;
use std::process::{self, Command, Stdio};

use crate::options::Cores;

/// The cores that this process may use, as it found them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// All of them, in the notation of `taskset`.
    all: String,
    first: String,
    last: String,
}

impl Machine {
    /// To be asked before anything is placed, since that narrows the choice.
    pub(crate) fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self::parse(&status).unwrap_or_else(|| Self {
            all: "0".to_owned(),
            first: "0".to_owned(),
            last: "0".to_owned(),
        })
    }

    /// Reads `Cpus_allowed_list: 0-1,4`.
    fn parse(status: &str) -> Option<Self> {
        let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?;
        let all = list.trim().to_owned();
        let first = all.split(['-', ',']).next()?.to_owned();
        let last = all.rsplit(['-', ',']).next()?.to_owned();
        Some(Self { all, first, last })
    }

    /// What a placement means here.
    pub(crate) fn describe(&self, cores: Cores) -> String {
        let Self { all, first, last } = self;
        match cores {
            Cores::Apart => format!("load on core {first}, server on core {last}"),
            Cores::Shared => format!("load and server in turns on core {last}"),
            Cores::Free => format!("load and server anywhere on cores {all}"),
        }
    }

    /// Places this process, which is the load, and the servers. `false` if the system refuses.
    pub(crate) fn place(&self, cores: Cores, servers: impl Iterator<Item = u32>) -> bool {
        // Batch: whoever wakes waits for the one that runs.
        let (load, server, policy) = match cores {
            Cores::Apart => (&self.first, &self.last, "--other"),
            Cores::Shared => (&self.last, &self.last, "--batch"),
            Cores::Free => (&self.all, &self.all, "--other"),
        };
        let place = |process: u32, list: &str| {
            let process = process.to_string();
            succeeds("taskset", &["-a", "-p", "-c", list, &process])
                && succeeds("chrt", &["-a", policy, "-p", "0", &process])
        };
        servers.fold(place(process::id(), load), |all, process| all & place(process, server))
    }
}

fn succeeds(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_cores_is_read() {
        let check = |list: &str, first: &str, last: &str| {
            let status = format!("Cpus_allowed:\t3\nCpus_allowed_list:\t{list}\nx: 1\n");
            let [all, first, last] = [list, first, last].map(str::to_owned);
            assert_eq!(Machine::parse(&status), Some(Machine { all, first, last }));
        };
        check("0-1", "0", "1");
        check("3", "3", "3");
        check("1,3-5,8", "1", "8");
        assert_eq!(Machine::parse("x: 1"), None);
    }
}
