//! What a process has used so far, read from `/proc`.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks whether a process has come to rest.
const LOOK: Duration = Duration::from_micros(200);

/// How long a process may go on after its load has ended.
const REST_PATIENCE: Duration = Duration::from_secs(10);

/// CPU time and context switches of a process, all threads together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// User and system time, in nanoseconds. The scheduler's own account, exact while no thread of
    /// the process runs.
    pub(crate) cpu_ns: u64,
    /// How often a thread went to sleep.
    pub(crate) sleeps: u64,
    /// How often a thread was interrupted by another.
    pub(crate) preemptions: u64,
}

impl Usage {
    /// Waits until every thread of the process sleeps, then reads.
    ///
    /// The scheduler books the time of a thread when the thread stops running, so only then the
    /// account has no open item.
    ///
    /// # Errors
    /// The process has ended, does not come to rest within ten seconds, or its kernel keeps no
    /// such account.
    pub(crate) fn at_rest(process: u32) -> io::Result<Self> {
        let deadline = Instant::now() + REST_PATIENCE;
        while !is_at_rest(process)? {
            if Instant::now() > deadline {
                return Err(io::Error::other(format!("process {process} does not come to rest")));
            }
            thread::sleep(LOOK);
        }
        let mut usage = Self::default();
        for task in tasks(process)? {
            let account = fs::read_to_string(task.join("schedstat"))?;
            let status = fs::read_to_string(task.join("status"))?;
            usage.cpu_ns += first_number(&account);
            usage.sleeps += field(&status, "voluntary_ctxt_switches:");
            usage.preemptions += field(&status, "nonvoluntary_ctxt_switches:");
        }
        if usage.cpu_ns == 0 {
            return Err(io::Error::other("this kernel keeps no account of CPU time by thread"));
        }
        Ok(usage)
    }

    /// What was used since `before`.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns - before.cpu_ns,
            sleeps: self.sleeps - before.sleeps,
            preemptions: self.preemptions - before.preemptions,
        }
    }

    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            cpu_ns: self.cpu_ns + other.cpu_ns,
            sleeps: self.sleeps + other.sleeps,
            preemptions: self.preemptions + other.preemptions,
        }
    }
}

fn tasks(process: u32) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(format!("/proc/{process}/task"))?.map(|entry| Ok(entry?.path())).collect()
}

fn is_at_rest(process: u32) -> io::Result<bool> {
    for task in tasks(process)? {
        let stat = fs::read_to_string(task.join("stat"))?;
        // The state is the word behind the name, which stands in parentheses.
        let state = stat.rsplit(')').next().and_then(|rest| rest.trim_start().chars().next());
        if state != Some('S') {
            return Ok(false);
        }
    }
    Ok(true)
}

fn first_number(text: &str) -> u64 {
    text.split_whitespace().next().and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn field(text: &str, name: &str) -> u64 {
    text.lines().find_map(|line| line.strip_prefix(name)).map_or(0, first_number)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use system_tests::process::{PATIENCE, Process};

    use super::*;

    #[test]
    fn work_between_two_rests_is_accounted_for() {
        let script = "while read line; do i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; \
                      echo done; done";
        let mut worker = Process::spawn("sh", Command::new("sh").args(["-c", script]));
        let mut work = || {
            worker.tell("go");
            assert_eq!(worker.next_line(PATIENCE).as_deref(), Ok("done"));
            Usage::at_rest(worker.id()).expect("it runs")
        };
        let (first, second) = (work(), work());
        let used = second.since(first);
        assert!(used.cpu_ns > 100_000, "{used:?}");
        assert!(used.sleeps >= 1, "{used:?}");
        assert_eq!(first.plus(used), second);
    }
}
