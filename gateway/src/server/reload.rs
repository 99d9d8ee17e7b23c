//! SIGHUP: the configuration is read again, and what differs takes effect.
//!
//! ```text
//! SIGHUP → a thread reads the files, checks them, makes the settings of each part → a turn ends →
//! everything is applied → the next turn begins
//! ```
//!
//! Reading takes as long as the disk does, and what a new password costs; the loop waits for
//! neither. Between two turns nothing is under way, so nobody sees half of the change. What cannot
//! be read, or is wrong in any place, changes nothing at all: the log says what is wrong, and
//! everything goes on as before [CVE-2017-7652 is a broker that did otherwise]. A signal that comes
//! while files are read has them read once more: what was written before a signal counts.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use broker_core::limits::BrokerConfig;
use broker_core::mqtt;
use broker_core::reason::ReasonCode;
use broker_core::time::Now;
use broker_core::users::Users;
use mio::Waker;
use tracing::{error, info, warn};

use super::settings::{self, Queues};
use super::stop::Phase;
use super::tcp::LinkState;
use super::{NetLimits, Server, token};
use crate::cli::CliArgs;
use crate::config::{Change, Class, Config, ListenerKind, Problems};
use crate::logging::CONFIGURATION;
use crate::sn;

/// Problems and changes that are told one by one; of more it is told how many.
const TOLD_MAX: usize = 100;

/// What is needed to read the configuration again.
pub(super) struct Reload {
    args: CliArgs,
    /// What is in force.
    running: Arc<Config>,
    /// The file descriptors of the process.
    descriptors: u64,
    waker: Arc<Waker>,
    under_way: Option<Receiver<Result<Prepared, Problems>>>,
    /// A signal came since the files were opened.
    is_asked_again: bool,
    reloads: u64,
    failures: u64,
    /// Changes that wait for the next start.
    waiting: u64,
}

/// Another configuration, ready to be applied.
struct Prepared {
    /// But for what needs a restart.
    config: Config,
    changes: Vec<Change>,
    broker: BrokerConfig,
    queues: Queues,
    mqtt: mqtt::Settings,
    sn: sn::Settings,
    limits: NetLimits,
    /// Users that are new or have another password, and the names of those that stay.
    users: Users,
    kept_users: BTreeSet<String>,
}

impl Reload {
    pub(super) fn new(args: CliArgs, running: Config, descriptors: u64, waker: Arc<Waker>) -> Self {
        Self {
            args,
            running: Arc::new(running),
            descriptors,
            waker,
            under_way: None,
            is_asked_again: false,
            reloads: 0,
            failures: 0,
            waiting: 0,
        }
    }

    /// For `$SYS`.
    pub(super) const fn counts(&self) -> [(&'static str, u64); 3] {
        [
            ("reloads", self.reloads),
            ("reloads_failed", self.failures),
            ("changes_waiting", self.waiting),
        ]
    }

    /// Begins to read.
    fn begin(&mut self, users: Users) {
        self.is_asked_again = false;
        let (sender, receiver) = sync_channel(1);
        let (args, running) = (self.args.clone(), Arc::clone(&self.running));
        let (descriptors, waker) = (self.descriptors, Arc::clone(&self.waker));
        let begun = thread::Builder::new().name("reload".to_owned()).spawn(move || {
            let config = Config::load_again(&args);
            let prepared = config.map(|config| prepare(config, &running, descriptors, users));
            // A loop that is gone needs no configuration.
            let _ = sender.send(prepared);
            let _ = waker.wake();
        });
        match begun {
            Ok(_) => self.under_way = Some(receiver),
            Err(error) => self.fail(&format!("no thread can be started to read it: {error}")),
        }
    }

    fn fail(&mut self, why: &str) {
        self.failures += 1;
        error!(
            target: CONFIGURATION,
            "SIGHUP: not reloaded, the configuration in force stays: {why}"
        );
    }

    fn refuse(&mut self, problems: &Problems) {
        for problem in problems.iter().take(TOLD_MAX) {
            let (key, what, right) = (&problem.key, &problem.what, &problem.right);
            let colon = if key.is_empty() { "" } else { ": " };
            error!(target: CONFIGURATION, "{}: {key}{colon}{what}: {right}", problem.place);
        }
        let count = problems.iter().count();
        self.fail(&format!("{count} {}", if count == 1 { "problem" } else { "problems" }));
    }
}

/// Makes what each part needs; on the thread that reads.
fn prepare(mut config: Config, running: &Config, descriptors: u64, mut users: Users) -> Prepared {
    let changes = running.diff(&config);
    config.keep_started(running);
    let mut kept_users = BTreeSet::new();
    for user in &config.users {
        if running.users.contains(user) {
            kept_users.insert(user.name.clone());
        } else {
            settings::add_user(&mut users, user);
        }
    }
    Prepared {
        changes,
        // What is asked of the machine at the start is not taken from here.
        broker: settings::broker(&config, false, 0),
        queues: settings::queues(&config),
        mqtt: settings::mqtt(&config),
        sn: settings::sn(&config, false),
        limits: settings::net(&config, descriptors),
        users,
        kept_users,
        config,
    }
}

impl Server {
    /// SIGHUP came.
    pub(super) fn ask_reload(&mut self) {
        if self.reload.args.config.is_none() {
            warn!(
                target: CONFIGURATION,
                "SIGHUP: there is no configuration file to read again: start with --config FILE"
            );
        } else if self.reload.under_way.is_some() {
            self.reload.is_asked_again = true;
        } else {
            self.reload.begin(self.users.successor());
        }
    }

    /// Applies what has been read, if anything has.
    pub(super) fn hear_reload(&mut self, now: Now) {
        let Some(receiver) = &self.reload.under_way else { return };
        let outcome = match receiver.try_recv() {
            Err(TryRecvError::Empty) => return,
            Err(TryRecvError::Disconnected) => None,
            Ok(outcome) => Some(outcome),
        };
        self.reload.under_way = None;
        if self.phase != Phase::Serving {
            return;
        }
        match outcome {
            Some(Ok(prepared)) => self.apply(now, prepared),
            Some(Err(problems)) => self.reload.refuse(&problems),
            None => self.reload.fail("it could not be read to its end"),
        }
        if self.reload.is_asked_again {
            self.reload.begin(self.users.successor());
        }
    }

    /// Everything at once: no part has done anything since the last turn ended.
    fn apply(&mut self, now: Now, prepared: Prepared) {
        let Prepared {
            mut config,
            mut changes,
            broker,
            queues,
            mqtt,
            sn,
            limits,
            users,
            kept_users,
        } = prepared;
        let running = Arc::clone(&self.reload.running);
        if config.log.level > running.log.level {
            self.log.configure(&config.log, config.limits.log_lines_per_s);
        }
        self.broker.reconfigure(now, broker);
        self.broker.set_queue_limits(queues.mqtt, queues.sn);
        self.sn_topic_ids_max = sn.topic_ids_max;
        if !self.sn.set_settings(now, sn) {
            warn!(
                target: CONFIGURATION,
                "the predefined topics stay as they were: connected sensors go by too many earlier \
                 meanings; send SIGHUP again when they have connected anew"
            );
            config.predefined.clone_from(&running.predefined);
            changes.retain(|change| !change.key.starts_with("mqtt_sn.predefined"));
        }
        self.mqtt = mqtt;
        self.limits = limits;
        self.links.set_connect_timeout(limits.connect_timeout);
        self.users.replace(users, |name| kept_users.contains(name));
        self.apply_listeners(&config);
        if config.on_disk_full != running.on_disk_full {
            self.set_on_disk_full(config.on_disk_full);
        }
        self.end_unwelcome(now);
        config.notes.iter().for_each(|note| warn!(target: CONFIGURATION, "{note}"));
        self.reload.tell(&changes);
        self.log.configure(&config.log, config.limits.log_lines_per_s);
        self.reload.running = Arc::new(config);
    }

    fn apply_listeners(&mut self, config: &Config) {
        for listener in &mut self.listeners {
            let configured = &config.listeners[listener.configured];
            listener.durability = settings::durability(configured);
            listener.allow_anonymous = configured.allow_anonymous;
            if let ListenerKind::Ws(ws) = &configured.kind {
                listener.ws = Some(Arc::new(settings::ws(config, ws)));
            }
        }
        for (_, link) in self.links.iter_mut() {
            link.allow_anonymous = self.listeners[link.listener].allow_anonymous;
        }
        let ports = self.ports.iter().map(|port| &config.listeners[port.configured]);
        let max_datagram = ports.clone().filter_map(|l| settings::max_datagram(&l.kind)).collect();
        let durability: Vec<_> = ports.map(settings::durability).collect();
        self.sn.set_max_datagram(max_datagram);
        self.sn.set_durability(&durability);
    }

    /// Disconnects whoever would not be let in any more: users that are gone, and clients without a
    /// name where one is needed by now. Who is still welcome stays, whatever the password is now.
    fn end_unwelcome(&mut self, now: Now) {
        let Self { links, users, .. } = self;
        let is_unwelcome = |user: Option<&str>, allow_anonymous: bool| {
            user.map_or(!allow_anonymous, |user| !users.contains(user))
        };
        let talks = links.iter().filter(|(_, link)| {
            // Who has not come in yet is judged then.
            link.state == LinkState::Open && !link.is_unidentified
        });
        let unwelcome: Vec<_> = talks
            .filter(|(_, link)| is_unwelcome(link.user.as_deref(), link.allow_anonymous))
            .map(|(key, _)| key)
            .collect();
        for key in unwelcome {
            let link = token::link_id(key);
            self.broker.lost(now, link);
            self.close_link(now, link, ReasonCode::NotAuthorized);
        }
    }
}

impl Reload {
    fn tell(&mut self, changes: &[Change]) {
        let needs_restart = |change: &&Change| change.class == Class::Restart;
        for change in changes.iter().take(TOLD_MAX) {
            match change.class {
                Class::Live => info!(target: CONFIGURATION, "{change}"),
                Class::NewLinks => {
                    info!(target: CONFIGURATION, "{change}, for what connects from now on");
                }
                Class::Restart => {
                    warn!(target: CONFIGURATION, "{change} needs a restart and is not applied");
                }
            }
        }
        if changes.len() > TOLD_MAX {
            let more = changes.len() - TOLD_MAX;
            info!(target: CONFIGURATION, "and {more} more changes");
        }
        let waiting = changes.iter().filter(needs_restart).count();
        self.reloads += 1;
        self.waiting = waiting as u64;
        let count = changes.len();
        info!(target: CONFIGURATION, "reloaded: {count} changes, {waiting} need a restart");
    }
}
