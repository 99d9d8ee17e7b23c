//! A child process that cannot outlive its test.
//!
//! Lines of its standard output are events to wait for; its standard error is a log of bounded
//! size, shown when the test fails. Dropping the value kills the process by its id.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for any one event before it fails. Generous, because the machine may be
/// busy and a passing test never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How long the end of the log of an ended process is waited for.
const END_PATIENCE: Duration = Duration::from_secs(2);

/// Octets of standard error that are kept.
const LOG_OCTETS_MAX: usize = 256 * 1024;

/// Lines of standard output that may wait for the test; then the process waits.
const LINES_MAX: usize = 4096;

/// Why no line came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Silence {
    /// The time ran out.
    Timeout,
    /// The process closed its standard output, as it does by ending.
    Ended,
}

/// A running (or ended) child process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    log: Arc<Log>,
    status: Option<ExitStatus>,
}

impl Process {
    /// Starts `command` with all three standard streams connected to the test.
    #[track_caller]
    pub fn spawn(name: &str, command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{name}: {command:?}: {error}"));
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let (sender, lines) = sync_channel(LINES_MAX);
        thread::spawn(move || each_line(stdout, |line| sender.send(line).is_ok()));
        let log = Arc::new(Log::default());
        let filled = Arc::clone(&log);
        thread::spawn(move || {
            each_line(stderr, |line| filled.push(line));
            filled.close();
        });
        Self { name: name.to_owned(), child, stdin, lines, log, status: None }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Writes a line to the standard input of the process.
    #[track_caller]
    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("standard input is open");
        if let Err(error) = stdin.write_all(format!("{line}\n").as_bytes()) {
            panic!("{} does not listen to `{line}`: {error}\n{}", self.name, self.log());
        }
    }

    /// Closes the standard input of the process.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// The next line of standard output.
    pub fn next_line(&self, patience: Duration) -> Result<String, Silence> {
        self.lines.recv_timeout(patience).map_err(|error| match error {
            RecvTimeoutError::Timeout => Silence::Timeout,
            RecvTimeoutError::Disconnected => Silence::Ended,
        })
    }

    /// Standard error, or as much of its end as is kept. Complete once the process has ended.
    pub fn stderr(&self) -> String {
        if self.status.is_some() {
            self.log.wait_for_end();
        }
        self.log.text()
    }

    /// The kept end of standard error, with a headline.
    pub fn log(&self) -> String {
        format!("standard error of {}:\n{}", self.name, self.stderr())
    }

    /// Waits for a line of standard error that contains `text`, also one that came earlier.
    /// `false` if the process ended without it.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) -> bool {
        let (found, ended) = self.log.wait_for(|line| line.contains(text));
        assert!(found || ended, "no `{text}` in {}", self.log());
        found
    }

    /// The same for so many lines; `false` if the process ended without them.
    #[track_caller]
    pub fn wait_for_log_lines(&self, text: &str, count: usize) -> bool {
        let (found, ended) = self.log.wait_for_lines(|line| line.contains(text), count);
        assert!(found || ended, "no {count} lines with `{text}` in {}", self.log());
        found
    }

    /// The same for a line that ends with `text`.
    #[track_caller]
    pub fn wait_for_log_end(&self, text: &str) -> bool {
        let (found, ended) = self.log.wait_for(|line| line.ends_with(text));
        assert!(found || ended, "no line that ends with `{text}` in {}", self.log());
        found
    }

    /// Sends a signal by name, `TERM` for example.
    pub fn signal(&self, name: &str) {
        if self.status.is_none() {
            // The shell's builtin: the harness stays free of unsafe code and of one more package.
            let sent = Command::new("sh")
                .args(["-c", "kill -s \"$0\" \"$1\"", name, &self.id().to_string()])
                .status();
            assert!(sent.is_ok_and(|status| status.success()), "cannot signal {}", self.name);
        }
    }

    /// Waits until the process has ended and returns its exit status.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Standard output is closed when the process ends; that event has a time-out, `wait` has
        // none.
        while self.status.is_none() {
            match self.next_line(deadline.saturating_duration_since(Instant::now())) {
                Ok(_) => {}
                Err(Silence::Ended) => break,
                Err(Silence::Timeout) => panic!("{} does not end\n{}", self.name, self.log()),
            }
        }
        self.reap()
    }

    /// Kills the process (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) -> ExitStatus {
        if self.status.is_none() {
            // An error means that it has ended already, which is what is wanted.
            let _already_ended = self.child.kill();
        }
        self.reap()
    }

    /// Resident memory in octets.
    pub fn rss_bytes(&self) -> u64 {
        self.status_kib("VmRSS:") * 1024
    }

    /// The largest resident memory so far, in octets.
    pub fn peak_rss_bytes(&self) -> u64 {
        self.status_kib("VmHWM:") * 1024
    }

    /// CPU time of the threads that are running, user and system together.
    pub fn cpu_time(&self) -> Duration {
        self.scheduled(0)
    }

    /// For how long these threads were ready to run while others had the processors.
    pub fn cpu_wait(&self) -> Duration {
        self.scheduled(1)
    }

    /// The sum of a field of `schedstat`, in nanoseconds there.
    fn scheduled(&self, field: usize) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.id())).expect("the process runs");
        let spent = tasks.flatten().filter_map(|task| {
            let text = fs::read_to_string(task.path().join("schedstat")).ok()?;
            text.split_whitespace().nth(field)?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    fn status_kib(&self, key: &str) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let text = fs::read_to_string(path).expect("the process runs");
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("a known key");
        let number = line.split_whitespace().next().expect("a value behind the key");
        number.parse().expect("a number of KiB")
    }

    fn reap(&mut self) -> ExitStatus {
        if let Some(status) = self.status {
            return status;
        }
        let status = self.child.wait().expect("a child can be waited for");
        self.status = Some(status);
        status
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
    }
}

/// Gives each line to `take` until the stream ends or `take` has enough.
fn each_line(stream: impl Read, mut take: impl FnMut(String) -> bool) {
    let mut reader = BufReader::new(stream);
    let mut octets = Vec::new();
    while reader.read_until(b'\n', &mut octets).is_ok_and(|count| count > 0) {
        let line = String::from_utf8_lossy(&octets).trim_end().to_owned();
        octets.clear();
        if !take(line) {
            return;
        }
    }
}

/// The last lines of a stream.
#[derive(Debug, Default)]
struct Log {
    lines: Mutex<LogLines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct LogLines {
    kept: VecDeque<String>,
    octets: usize,
    closed: bool,
}

impl Log {
    fn lock(&self) -> MutexGuard<'_, LogLines> {
        self.lines.lock().expect("no thread panics while it holds the log")
    }

    fn push(&self, line: String) -> bool {
        let mut lines = self.lock();
        lines.octets += line.len();
        lines.kept.push_back(line);
        while lines.octets > LOG_OCTETS_MAX {
            let oldest = lines.kept.pop_front().expect("octets are counted by line");
            lines.octets -= oldest.len();
        }
        self.changed.notify_all();
        true
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn text(&self) -> String {
        self.lock().kept.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Standard error stays open while a grandchild holds it: then its end is not waited for.
    fn wait_for_end(&self) {
        let lines = self.lock();
        let waited = self.changed.wait_timeout_while(lines, END_PATIENCE, |lines| !lines.closed);
        drop(waited.expect("as in lock()"));
    }

    /// Waits for such a line, or for the end: whether the one and the other is there.
    fn wait_for(&self, is_it: impl Fn(&str) -> bool) -> (bool, bool) {
        self.wait_for_lines(is_it, 1)
    }

    fn wait_for_lines(&self, is_it: impl Fn(&str) -> bool, count: usize) -> (bool, bool) {
        let is_one = |line: &&String| is_it(line);
        let found = |lines: &LogLines| lines.kept.iter().filter(is_one).count() >= count;
        let waiting = |lines: &mut LogLines| !lines.closed && !found(lines);
        let waited = self.changed.wait_timeout_while(self.lock(), PATIENCE, waiting);
        let (lines, _) = waited.expect("as in lock()");
        (found(&lines), lines.closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Process {
        Process::spawn("sh", Command::new("sh").args(["-c", script]))
    }

    #[test]
    fn lines_come_in_order_and_then_the_end() {
        let process = shell("echo one; echo two");
        assert_eq!(process.next_line(PATIENCE), Ok("one".to_owned()));
        assert_eq!(process.next_line(PATIENCE), Ok("two".to_owned()));
        assert_eq!(process.next_line(PATIENCE), Err(Silence::Ended));
    }

    #[test]
    fn a_signal_ends_it_with_the_status_it_chose() {
        let mut process = shell("trap 'exit 7' TERM; echo ready; read line");
        assert_eq!(process.next_line(PATIENCE), Ok("ready".to_owned()));
        process.signal("TERM");
        process.close_stdin();
        assert_eq!(process.wait().code(), Some(7));
    }

    #[test]
    fn the_log_keeps_its_end_only() {
        let count = LOG_OCTETS_MAX / 8 + 100;
        let process =
            shell(&format!("i=0; while [ $i -lt {count} ]; do echo line$i; i=$((i+1)); done >&2"));
        assert!(process.wait_for_log(&format!("line{}", count - 1)));
        let log = process.log();
        assert!(!log.contains("line0\n"), "the beginning is gone");
        assert!(log.len() <= LOG_OCTETS_MAX * 2, "bounded: {} octets", log.len());
        assert!(!process.wait_for_log("never said"), "its end is noticed");
    }

    #[test]
    fn memory_and_time_of_a_running_process_are_read() {
        let mut process =
            shell("i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; read l");
        assert_eq!(process.next_line(PATIENCE), Ok("done".to_owned()));
        assert!(process.rss_bytes() > 100_000);
        assert!(process.peak_rss_bytes() >= process.rss_bytes());
        assert!(process.cpu_time() > Duration::from_micros(100));
        assert_eq!(process.kill().code(), None, "killed by a signal");
    }
}
