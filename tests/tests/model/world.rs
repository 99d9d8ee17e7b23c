//! One world: clients and model side by side, led through a history.

use std::collections::BTreeMap;

use crate::clients::{Clients, Publication, Step, WillText};
use crate::model::{Checked, Model};
use crate::op::{CLIENTS, Connect, Op, Parting, Publish, Setup, Size, Version};

/// Between two operations, in milliseconds. Times in histories are whole seconds, so deadlines of
/// different operations never fall on one moment; and wills in line are tried again within it.
const STEP: u64 = 21;

/// What a client remembers of what it has published.
#[derive(Debug, Default)]
struct Memory {
    last: Option<Publication>,
    /// Whether the last publication went over the present connection.
    is_fresh: bool,
    /// Publications of QoS 2 that wait for PUBREL.
    unreleased: Vec<u16>,
}

/// See the [module](self).
pub(crate) struct World {
    clients: Clients,
    model: Model,
    memories: Vec<Memory>,
}

impl World {
    pub(crate) fn new(setup: Setup) -> Self {
        let memories = (0..CLIENTS).map(|_| Memory::default()).collect();
        Self { clients: Clients::new(&setup), model: Model::new(setup), memories }
    }

    /// How often what happened.
    pub(crate) fn tally(&self) -> &BTreeMap<&'static str, u64> {
        &self.model.tally
    }

    /// Does one operation with both and compares. One that makes no sense at this point does
    /// nothing.
    pub(crate) fn step(&mut self, number: usize, op: &Op) -> Checked {
        self.pass(STEP)?;
        match op {
            Op::Connect(c, connect) => self.connect(number, *c, connect),
            Op::Disconnect(c, parting) => self.disconnect(*c, *parting),
            Op::Cut(c) => match self.model.version(*c) {
                Some(Version::V31 | Version::V311 | Version::V5) => {
                    self.memories[*c].is_fresh = false;
                    self.both(|clients| clients.cut(*c), |model| model.cut(*c))
                }
                Some(Version::Sn) | None => Ok(()),
            },
            Op::Subscribe(c, wants, id) => {
                let Some(version) = self.model.version(*c) else { return Ok(()) };
                // A SUBSCRIBE of MQTT-SN names one.
                let wants = if version == Version::Sn { &wants[..1] } else { wants };
                self.both(
                    |clients| clients.subscribe(*c, version, wants, *id),
                    |model| model.subscribe(*c, wants, *id),
                )
            }
            Op::Unsubscribe(c, filter) => {
                let Some(version) = self.model.version(*c) else { return Ok(()) };
                self.both(
                    |clients| clients.unsubscribe(*c, version, filter),
                    |model| model.unsubscribe(*c, filter),
                )
            }
            Op::Publish(c, publish) => self.publish(number, *c, publish),
            Op::Repeat(c) => self.repeat(*c),
            Op::Release(c) => {
                let Some(version) = self.model.version(*c) else { return Ok(()) };
                let unreleased = &mut self.memories[*c].unreleased;
                if unreleased.is_empty() {
                    return Ok(());
                }
                let id = unreleased.remove(0);
                self.release(*c, version, id)
            }
            Op::Unconnected(c, topic, retain) => {
                self.publish_unconnected(number, *c, topic, *retain)
            }
            Op::Hold(c, holds) => self.hold(*c, *holds),
            Op::Ack(c, which, refuses) => self.acknowledge(*c, *which, *refuses),
            Op::Ping(c) => {
                let Some(version) = self.model.version(*c) else { return Ok(()) };
                let sleeps = self.model.is_asleep_or_awake(*c);
                self.both(|clients| clients.ping(*c, version, sleeps), |model| model.ping(*c))
            }
            Op::Sleep(c, seconds) => {
                if self.model.version(*c) != Some(Version::Sn) {
                    return Ok(());
                }
                self.both(|clients| clients.sleep(*c, *seconds), |model| model.sleep(*c, *seconds))
            }
            Op::Sys => {
                let value = number.to_string();
                self.both(|clients| clients.publish_sys(&value), |model| model.publish_sys(&value))
            }
            Op::Pass(seconds) => {
                // What the last words of sensors begin must not end at the very last moment.
                let millis = seconds * 1_000;
                self.quieten_sensors(millis + STEP)?;
                self.pass(STEP)?;
                self.pass(millis)
            }
            Op::Restart => {
                if !self.model.can_tell_of_restart() {
                    return Ok(());
                }
                self.memories.iter_mut().for_each(|memory| memory.is_fresh = false);
                self.both(Clients::restart, Model::restart)
            }
        }
    }

    /// Who is silent for too long is lost. Then everybody comes back to its session and
    /// acknowledges all, so that what waits is seen.
    pub(crate) fn end(&mut self) -> Checked {
        self.step(0, &Op::Pass(45))?;
        for c in 0..CLIENTS {
            self.pass(STEP)?;
            if self.model.is_waited_for(c) {
                let connect = Connect {
                    version: Version::V5,
                    is_clean: false,
                    expiry_s: 1_000,
                    has_keep_alive: false,
                    will: None,
                    receive_maximum: 2,
                    takes_small_packets: false,
                    aliases: 2,
                    registers: false,
                };
                self.connect(0, c, &connect)?;
            }
            self.step(0, &Op::Ping(c))?;
            self.hold(c, false)?;
        }
        Ok(())
    }

    /// The clients do something, and the model is told what they heard of it.
    fn both(
        &mut self,
        act: impl FnOnce(&mut Clients),
        tell: impl FnOnce(&mut Model) -> Checked,
    ) -> Checked {
        act(&mut self.clients);
        let heard = self.clients.take_heard();
        self.model.observe(heard, tell)
    }

    /// From one thing that is due to the next, so that it is known what was heard of which.
    fn pass(&mut self, millis: u64) -> Checked {
        let until = self.model.now + millis;
        while self.model.now < until {
            let left = until - self.model.now;
            let passed = self.clients.pass(left);
            let heard = self.clients.take_heard();
            self.model.observe(heard, |model| model.pass(passed))?;
        }
        Ok(())
    }

    /// Sensors answer before time passes, as repetitions on the radio are for the simulator; but
    /// one that will be lost for its silence says nothing.
    fn quieten_sensors(&mut self, millis: u64) -> Checked {
        for c in 0..CLIENTS {
            if self.model.version(c) == Some(Version::Sn) {
                self.hold(c, self.model.falls_silent(c, millis))?;
            }
        }
        Ok(())
    }

    fn hold(&mut self, c: usize, holds: bool) -> Checked {
        let version = self.model.version(c);
        self.both(
            |clients| clients.set_holding(c, version, holds),
            |model| model.set_holding(c, holds),
        )
    }

    fn connect(&mut self, number: usize, c: usize, connect: &Connect) -> Checked {
        let is_5 = connect.version == Version::V5;
        let will = connect.will.as_ref().map(|will| WillText {
            topic: format!("w/c{c}"),
            payload: format!("w{number}"),
            qos: will.qos,
            retain: will.retain,
            delay_s: if is_5 { will.delay_s } else { 0 },
            expiry_s: will.expiry_s.filter(|_| is_5),
        });
        self.memories[c].is_fresh = false;
        self.both(
            |clients| clients.connect(c, connect, will.clone()),
            |model| model.connect(c, connect, will.clone()),
        )
    }

    fn disconnect(&mut self, c: usize, parting: Parting) -> Checked {
        let Some(version) = self.model.version(c) else { return Ok(()) };
        let (with_will, expiry_s) = match parting {
            Parting::WithWill if version == Version::V5 => (true, None),
            Parting::Expiry(expiry_s)
                if version == Version::V5 && self.model.may_change_expiry(c) =>
            {
                (false, Some(expiry_s))
            }
            Parting::Plain | Parting::WithWill | Parting::Expiry(_) => (false, None),
        };
        self.memories[c].is_fresh = false;
        let reason = if with_will { 4 } else { 0 };
        self.both(
            |clients| clients.disconnect(c, version, reason, expiry_s),
            |model| model.disconnect(c, with_will, expiry_s),
        )
    }

    fn publish(&mut self, number: usize, c: usize, publish: &Publish) -> Checked {
        let Some(version) = self.model.version(c) else { return Ok(()) };
        let payload = match publish.size {
            Size::Empty => String::new(),
            Size::Small => format!("m{number}"),
            Size::Large => format!("m{number:0300}"),
        };
        let is_5 = version == Version::V5;
        let id = number as u16 + 1;
        let publication = Publication {
            topic: publish.topic,
            payload,
            qos: publish.qos,
            retain: publish.retain,
            dup: false,
            id: if publish.qos > 0 { id } else { 0 },
            expiry_s: publish.expiry_s.filter(|_| is_5),
            by_alias: publish.by_alias,
        };
        self.say(c, version, &publication)?;
        let memory = &mut self.memories[c];
        memory.last = Some(publication);
        memory.is_fresh = true;
        match (publish.qos, publish.releases) {
            (2, true) if self.model.has_received(c, id) => self.release(c, version, id),
            (2, false) => {
                memory.unreleased.push(id);
                Ok(())
            }
            (_, _) => Ok(()),
        }
    }

    fn say(&mut self, c: usize, version: Version, publication: &Publication) -> Checked {
        self.both(
            |clients| clients.publish(c, version, publication),
            |model| model.publish(c, publication),
        )
    }

    /// QoS 1 is repeated in its connection only: in another one it would be a new message, or not,
    /// as the version has it.
    fn repeat(&mut self, c: usize) -> Checked {
        let Some(version) = self.model.version(c) else { return Ok(()) };
        let memory = &self.memories[c];
        let Some(last) = &memory.last else { return Ok(()) };
        let may_repeat = match last.qos {
            0 => false,
            1 => memory.is_fresh,
            _ => memory.unreleased.contains(&last.id),
        };
        if !may_repeat {
            return Ok(());
        }
        let expiry_s = last.expiry_s.filter(|_| version == Version::V5);
        let again = Publication { dup: true, by_alias: false, expiry_s, ..last.clone() };
        self.say(c, version, &again)
    }

    fn release(&mut self, c: usize, version: Version, id: u16) -> Checked {
        self.both(|clients| clients.release(c, version, id), |model| model.release(c, id))
    }

    fn publish_unconnected(
        &mut self,
        number: usize,
        c: usize,
        topic: &'static str,
        retain: bool,
    ) -> Checked {
        let payload = format!("m{number}");
        let publication = Publication {
            topic,
            payload: payload.clone(),
            qos: 0,
            retain,
            dup: false,
            id: 0,
            expiry_s: None,
            by_alias: false,
        };
        self.both(
            |clients| clients.publish_unconnected(c, topic, &payload, retain),
            |model| model.publish_unconnected(c, &publication),
        )
    }

    fn acknowledge(&mut self, c: usize, which: usize, refuses: bool) -> Checked {
        let Some(version) = self.model.version(c) else { return Ok(()) };
        let owed = self.model.owed(c);
        let Some((step, id)) = owed.get(which % owed.len().max(1)).copied() else { return Ok(()) };
        let refuses = refuses && version == Version::V5 && step != Step::Comp;
        self.both(
            |clients| clients.acknowledge(c, version, step, id, refuses),
            |model| model.acknowledge(c, step, id, refuses),
        )
    }
}
