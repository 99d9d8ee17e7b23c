//! The system calls of a process, counted by `perf stat`.
//!
//! Counting costs the process some time at each call, so it is done in a slice of its own whose
//! CPU time nobody looks at. It needs `perf` and the right to trace system calls.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::process::Command;

use system_tests::foreign;
use system_tests::process::Process;
use tempfile::TempDir;

/// All system calls.
const ALL: &str = "raw_syscalls:sys_enter";

/// Those of a server of datagrams and streams.
const BY_NAME: [&str; 12] = [
    "epoll_wait",
    "epoll_ctl",
    "recvmmsg",
    "recvfrom",
    "recvmsg",
    "read",
    "sendmmsg",
    "sendto",
    "sendmsg",
    "write",
    "writev",
    "futex",
];

/// How often each system call was made; those that were not are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) total: u64,
    pub(crate) by_name: Vec<(String, u64)>,
}

/// Counts the system calls that `process` makes while `work` is done; none if this machine has no
/// `perf` or refuses it.
///
/// # Errors
/// Those of `work`.
pub(crate) fn count(
    process: u32,
    work: impl FnOnce() -> io::Result<()>,
) -> io::Result<Option<Calls>> {
    let Some(perf) = foreign::program("perf") else { return Ok(None) };
    let folder = TempDir::new()?;
    let (control, result) = (folder.path().join("control"), folder.path().join("result"));
    if !Command::new("mkfifo").arg(&control).status()?.success() {
        return Ok(None);
    }
    // Opened for both, so that neither side waits for the other.
    let mut commands = OpenOptions::new().read(true).write(true).open(&control)?;
    let mut perf = Command::new(perf);
    perf.args(["stat", "-x", ",", "-D", "-1", "-e", ALL]);
    for name in BY_NAME {
        perf.args(["-e", &format!("syscalls:sys_enter_{name}")]);
    }
    perf.args(["-p", &process.to_string()]).arg("-o").arg(&result);
    let mut perf = perf_controlled(perf, &control);
    commands.write_all(b"enable\n")?;
    if !perf.wait_for_log("Events enabled") {
        return Ok(None);
    }
    work()?;
    perf.signal("INT");
    perf.wait();
    Ok(Some(parse(&fs::read_to_string(result)?)))
}

fn perf_controlled(mut command: Command, control: &std::path::Path) -> Process {
    Process::spawn("perf", command.arg(format!("--control=fifo:{}", control.display())))
}

/// Reads the lines `COUNT,UNIT,EVENT,…` of `perf stat -x,`.
fn parse(text: &str) -> Calls {
    let mut calls = Calls::default();
    for line in text.lines() {
        let mut fields = line.split(',');
        let (Some(count), Some(event)) = (fields.next(), fields.nth(1)) else { continue };
        let Ok(count) = count.parse() else { continue };
        match event.strip_prefix("syscalls:sys_enter_") {
            Some(name) if count > 0 => calls.by_name.push((name.to_owned(), count)),
            None if event == ALL => calls.total = count,
            Some(_) | None => {}
        }
    }
    calls
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_lines_of_perf() {
        let text = "# started on Sunday\n\n\
                    1200,,raw_syscalls:sys_enter,1000,100.00,,\n\
                    0,,syscalls:sys_enter_read,1000,100.00,,\n\
                    400,,syscalls:sys_enter_sendto,1000,100.00,,\n\
                    <not counted>,,syscalls:sys_enter_write,0,100.00,,\n";
        let by_name = vec![("sendto".to_owned(), 400)];
        assert_eq!(parse(text), Calls { total: 1200, by_name });
    }
}
