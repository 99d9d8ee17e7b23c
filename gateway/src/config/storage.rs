//! Where the state is kept.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::Config;
use super::setting::choices;

choices! {
    /// What an acknowledgement promises.
    pub enum Durability {
        /// That what it is for is on disk: it survives the process and a power loss.
        Disk = "disk",
        /// That what it is for is in memory: it ends with the process.
        Memory = "memory",
    }
}

choices! {
    /// What becomes of acknowledgements while the disk takes nothing.
    pub enum OnDiskFull {
        /// What cannot be kept is not acknowledged, and refused where the client can be told.
        Refuse = "refuse",
        /// They leave as with durability "memory".
        Degrade = "degrade",
    }
}

/// Where the state is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In memory, because of that.
    Memory(&'static str),
    /// In this folder, which was named.
    Named(PathBuf),
    /// In this folder, which nobody named: if it cannot be used, in memory.
    Default(PathBuf),
}

/// The name of our folder in that of the user's states.
const FOLDER: &str = "mqtt-sn-gw";

impl Config {
    /// Where the state is kept, given the variables of the environment.
    ///
    /// Without a named folder each configuration has one of its own among the user's states, so
    /// that two gateways, or two trials, do not find each other's clients. A gateway whose address
    /// is given on the command line or left to the system is taken for a trial: its state ends with
    /// it.
    pub fn storage(&self, variable: impl Fn(&str) -> Option<OsString>) -> Storage {
        if self.durability == Durability::Memory {
            return Storage::Memory("durability = \"memory\"");
        }
        if let Some(folder) = &self.data_dir {
            return Storage::Named(folder.clone());
        }
        if self.is_trial {
            return Storage::Memory("listeners on the command line and no --data-dir");
        }
        if self.listeners.iter().any(|listener| listener.bind.port() == 0) {
            return Storage::Memory("a port that the system chooses, and no data_dir");
        }
        let folder =
            |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        if let Some(own) = folder("STATE_DIRECTORY") {
            return Storage::Default(own);
        }
        let states = folder("XDG_STATE_HOME")
            .or_else(|| folder("HOME").map(|home| home.join(".local").join("state")));
        match states {
            Some(states) => Storage::Default(states.join(FOLDER).join(self.state_name())),
            None => Storage::Memory("no data_dir, and no home folder"),
        }
    }

    fn state_name(&self) -> String {
        let Some(file) = &self.file else { return "default".to_owned() };
        let stem = file.file_stem().unwrap_or_default().to_string_lossy();
        format!("{stem}-{:08x}", crc32fast::hash(absolute(file).as_os_str().as_encoded_bytes()))
    }
}

fn absolute(file: &Path) -> PathBuf {
    file.canonicalize().unwrap_or_else(|_| file.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::CliArgs;

    fn home(name: &str) -> Option<OsString> {
        (name == "HOME").then(|| "/users/me".into())
    }

    #[test]
    fn the_state_is_kept_in_a_folder_of_the_user_unless_told_otherwise() {
        let alone = Config::default();
        let default = PathBuf::from("/users/me/.local/state/mqtt-sn-gw/default");
        assert_eq!(alone.storage(home), Storage::Default(default));
        let systemd = |_: &str| Some("/var/lib/gw".into());
        assert_eq!(alone.storage(systemd), Storage::Default("/var/lib/gw".into()));
        assert!(matches!(alone.storage(|_| None), Storage::Memory(_)));
        let named = Config::parse("gw.toml", "data_dir = \"/d\"").expect("good");
        assert_eq!(named.storage(home), Storage::Named("/d".into()));
    }

    #[test]
    fn a_trial_ends_with_its_process_unless_a_folder_is_named() {
        let args = CliArgs { mqtt: vec!["2000".into()], ..CliArgs::default() };
        assert!(matches!(Config::load(&args).expect("good").storage(home), Storage::Memory(_)));
        let args = CliArgs { data_dir: Some("/d".into()), ..args };
        assert_eq!(Config::load(&args).expect("good").storage(home), Storage::Named("/d".into()));
        let text = "[[listener]]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"";
        let config = Config::parse("gw.toml", text).expect("good");
        assert!(matches!(config.storage(home), Storage::Memory(_)));
        let text = "data_dir = \"/d\"\ndurability = \"memory\"";
        let config = Config::parse("gw.toml", text).expect("good");
        assert!(matches!(config.storage(home), Storage::Memory(_)));
    }
}
