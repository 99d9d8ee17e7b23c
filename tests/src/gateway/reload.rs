//! Another configuration for a gateway that runs.

use std::fs;
use std::path::PathBuf;

use super::{Builder, CONFIG_FILE, Gateway, Ready};

/// What the one line has that ends each reading of a file, whatever came of it.
const OUTCOME: &str = "reloaded";

impl Gateway {
    /// The configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.dir.path().join(CONFIG_FILE)
    }

    /// Writes the file of `builder` over the configuration file, which the gateway does not notice.
    pub fn write_config(&mut self, builder: Builder) {
        // The addresses as they were at the start: a port that the system chose is another one.
        let text = builder.config_text(&Ready::default());
        self.builder = builder;
        // It may be reading: the file is the old or the new one.
        let new = self.config_file().with_extension("new");
        fs::write(&new, text).expect("the folder is ours");
        fs::rename(new, self.config_file()).expect("the folder is ours");
    }

    /// Has the gateway read its file again (SIGHUP), waits until it has, and returns what it logged
    /// meanwhile. For a test that sends one signal at a time.
    #[track_caller]
    pub fn hang_up(&self) -> String {
        let before = self.process.stderr();
        let read = before.lines().filter(|line| line.contains(OUTCOME)).count();
        self.process.signal("HUP");
        assert!(self.process.wait_for_log_lines(OUTCOME, read + 1), "{}", self.process.log());
        let log = self.process.stderr();
        log.lines().skip(before.lines().count()).map(|line| format!("{line}\n")).collect()
    }

    /// Gives the gateway the file of `builder`, which has to be taken; returns the log.
    #[track_caller]
    pub fn reload(&mut self, builder: Builder) -> String {
        self.write_config(builder);
        let log = self.hang_up();
        assert!(log.contains(" reloaded: "), "{log}");
        log
    }
}
