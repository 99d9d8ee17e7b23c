//! A device as the specification wants it: one request at a time, repeated until it is answered,
//! and every message of the gateway answered as it has to be (SN 6.13, 10.13, 10.14).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use broker_core::api::QoS;

use crate::farm::Q0;

const RETRY_MS: u64 = 10_000;
const RETRIES: u32 = 4;
/// Between two tries of a visit that came to nothing.
const NAP_MS: u64 = 20_000;
/// How often an idle client says that it is there.
const PING_MS: u64 = 25_000;

/// What a device does, one after the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Goal {
    Connect,
    /// With the will `gone` to w/ID.
    ConnectWithWill,
    Register(&'static str),
    Subscribe(&'static str, QoS),
    SubscribeShort([u8; 2]),
    SubscribePredefined(u16),
    Unsubscribe(&'static str),
    Publish(&'static str, String, QoS),
    ChangeWillTopic,
    ChangeWillMessage,
    Ping,
    /// DISCONNECT with a duration in seconds.
    Sleep(u16),
    /// PINGREQ until PINGRESP.
    Visit,
    /// Visits with naps in between until it has heard so many different messages, all in all.
    Collect(usize),
    /// A service publishes for it.
    Service(&'static str, String, QoS),
    /// Until it has heard so many different messages, all in all.
    Hear(usize),
    Disconnect,
}

/// The request that waits for its answer.
#[derive(Debug)]
struct Request {
    octets: Vec<u8>,
    /// Type of the answer, and where the MsgId stands in it.
    awaits: u8,
    id_at: Option<usize>,
    tries: u32,
    deadline: u64,
}

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) id: &'static str,
    pub(crate) address: String,
    goals: VecDeque<Goal>,
    request: Option<Request>,
    /// A request that has to be repeated when the device is connected again.
    interrupted: Option<Request>,
    sent: Vec<Vec<u8>>,
    publications: Vec<(String, String, QoS)>,
    is_connected: bool,
    /// The radio is off.
    is_off: bool,
    nap_until: Option<u64>,
    spoke_at: u64,
    last_id: u16,
    ids: BTreeMap<String, u16>,
    names: BTreeMap<u16, String>,
    /// MsgIds of QoS 2 that were received, and those whose exchange is over.
    open: BTreeSet<u16>,
    over: VecDeque<(u16, Vec<u8>)>,
    contents: BTreeMap<u16, Vec<u8>>,
    /// What it has heard: topic, payload and QoS.
    pub(crate) heard: Vec<(String, String, u8)>,
    /// What happened in its visits: P for PINGREQ, m for a message, R for PINGRESP.
    pub(crate) visits: String,
    /// How often it was told to connect again, or gave up.
    pub(crate) reconnects: u32,
}

fn message(msg_type: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    let mut octets = vec![u8::try_from(body.len() + 2).expect("short"), msg_type];
    octets.extend(body);
    octets
}

const fn flags(qos: QoS) -> u8 {
    (qos as u8) << 5
}

impl Device {
    pub(crate) fn new(id: &'static str, address: &str, goals: &[Goal]) -> Self {
        Self {
            id,
            address: address.to_owned(),
            goals: goals.iter().cloned().collect(),
            request: None,
            interrupted: None,
            sent: Vec::new(),
            publications: Vec::new(),
            is_connected: false,
            is_off: false,
            nap_until: None,
            spoke_at: 0,
            last_id: 0,
            ids: BTreeMap::new(),
            names: BTreeMap::from([(5, "a/predefined".to_owned())]),
            open: BTreeSet::new(),
            over: VecDeque::new(),
            contents: BTreeMap::new(),
            heard: Vec::new(),
            visits: String::new(),
            reconnects: 0,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.goals.is_empty() && self.request.is_none()
    }

    pub(crate) fn describe(&self) -> String {
        let goal = self.goals.front();
        format!("{goal:?} {:?} heard {} {}", self.request, self.heard.len(), self.visits)
    }

    pub(crate) fn take_sent(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.sent)
    }

    pub(crate) fn publications(&mut self) -> Vec<(String, String, QoS)> {
        core::mem::take(&mut self.publications)
    }

    pub(crate) fn deadline(&self) -> Option<u64> {
        let request = self.request.as_ref().map(|request| request.deadline);
        let idle = self.is_idle().then_some(self.spoke_at + PING_MS);
        request.into_iter().chain(self.nap_until).chain(idle).min()
    }

    fn is_visiting(&self) -> bool {
        matches!(self.goals.front(), Some(Goal::Visit | Goal::Collect(_)))
    }

    fn distinct(&self) -> usize {
        self.heard.iter().map(|(topic, payload, _)| (topic, payload)).collect::<BTreeSet<_>>().len()
    }

    fn is_idle(&self) -> bool {
        let waits = matches!(self.goals.front(), Some(Goal::Hear(n)) if self.distinct() < *n);
        self.request.is_none() && waits && self.is_connected && !self.is_off
    }

    /// Repeats what is due and goes on to the next goal.
    pub(crate) fn act(&mut self, now: u64) {
        if self.nap_until.is_some_and(|until| until <= now) {
            self.nap_until = None;
        }
        if let Some(request) = &mut self.request
            && request.deadline <= now
        {
            if request.tries < RETRIES {
                request.tries += 1;
                request.deadline = now + RETRY_MS;
                if matches!(request.octets[1], 0x0C | 0x12) {
                    request.octets[2] |= 0x80;
                }
                let octets = request.octets.clone();
                self.say(now, octets);
            } else {
                self.give_up(now);
            }
        }
        if self.is_idle() && self.spoke_at + PING_MS <= now {
            self.ask(now, message(0x16, &[]), 0x17, None);
        }
        while self.request.is_none() && self.nap_until.is_none() && !self.goals.is_empty() {
            if !self.begin_next(now) {
                break;
            }
        }
    }

    /// Too many tries: a visit is tried again later, everything else in a new connection.
    fn give_up(&mut self, now: u64) {
        let Some(request) = self.request.take() else { return };
        if self.is_visiting() {
            self.is_off = true;
            self.nap_until = Some(now + NAP_MS);
        } else {
            self.connect_again(request);
        }
    }

    fn connect_again(&mut self, request: Request) {
        self.reconnects += 1;
        self.is_connected = false;
        let is_connecting = matches!(request.octets[1], 0x04 | 0x07 | 0x09);
        let is_repeatable = matches!(request.octets[1], 0x0C | 0x10);
        if is_repeatable {
            self.interrupted = Some(Request { tries: 0, ..request });
        }
        if self.is_visiting() {
            self.goals.push_front(Goal::Sleep(600));
        }
        if !is_connecting {
            self.goals.push_front(Goal::Connect);
        }
    }

    /// Begins the goal in front; `false` if it has to wait.
    fn begin_next(&mut self, now: u64) -> bool {
        let Some(goal) = self.goals.front().cloned() else { return false };
        let id = self.id.as_bytes();
        match goal {
            Goal::Connect | Goal::ConnectWithWill => {
                let (flag, awaits) =
                    if goal == Goal::Connect { (0x00, 0x05) } else { (0x08, 0x06) };
                self.is_off = false;
                self.ask(now, message(0x04, &[&[flag, 0x01, 0x00, 0x3C], id]), awaits, None);
            }
            Goal::Register(name) => {
                let msg_id = self.next_id();
                let register = message(0x0A, &[&[0, 0], &msg_id, name.as_bytes()]);
                self.ask(now, register, 0x0B, Some(4));
            }
            Goal::Subscribe(name, qos) => {
                let msg_id = self.next_id();
                let subscribe = message(0x12, &[&[flags(qos)], &msg_id, name.as_bytes()]);
                self.ask(now, subscribe, 0x13, Some(5));
            }
            Goal::SubscribeShort(name) => {
                let msg_id = self.next_id();
                self.ask(now, message(0x12, &[&[0x22], &msg_id, &name]), 0x13, Some(5));
            }
            Goal::SubscribePredefined(id) => {
                let msg_id = self.next_id();
                let id = id.to_be_bytes();
                self.ask(now, message(0x12, &[&[0x41], &msg_id, &id]), 0x13, Some(5));
            }
            Goal::Unsubscribe(name) => {
                let msg_id = self.next_id();
                let unsubscribe = message(0x14, &[&[0], &msg_id, name.as_bytes()]);
                self.ask(now, unsubscribe, 0x15, Some(2));
            }
            Goal::Publish(name, payload, qos) => self.publish(now, name, &payload, qos),
            Goal::ChangeWillTopic => self.ask(now, message(0x1A, &[&[0x20], b"w/2"]), 0x1B, None),
            Goal::ChangeWillMessage => self.ask(now, message(0x1C, &[b"2"]), 0x1D, None),
            Goal::Ping => self.ask(now, message(0x16, &[]), 0x17, None),
            Goal::Sleep(seconds) => {
                self.ask(now, message(0x18, &[&seconds.to_be_bytes()]), 0x18, None);
            }
            Goal::Visit | Goal::Collect(_) => {
                self.is_off = false;
                self.visits.push('P');
                self.ask(now, message(0x16, &[id]), 0x17, None);
            }
            Goal::Service(topic, payload, qos) => {
                self.publications.push((topic.to_owned(), payload, qos));
                self.goals.pop_front();
            }
            Goal::Hear(n) if self.distinct() >= n => drop(self.goals.pop_front()),
            Goal::Hear(_) => return false,
            Goal::Disconnect => self.ask(now, message(0x18, &[]), 0x18, None),
        }
        true
    }

    fn publish(&mut self, now: u64, name: &str, payload: &str, qos: QoS) {
        let topic = self.ids.get(name).expect("registered before").to_be_bytes();
        let payload = payload.as_bytes();
        if qos == Q0 {
            self.say(now, message(0x0C, &[&[0], &topic, &[0, 0], payload]));
            self.goals.pop_front();
            return;
        }
        let msg_id = self.next_id();
        let (awaits, id_at) = if qos == QoS::AtLeastOnce { (0x0D, 4) } else { (0x0F, 2) };
        let publish = message(0x0C, &[&[flags(qos)], &topic, &msg_id, payload]);
        self.ask(now, publish, awaits, Some(id_at));
    }

    fn next_id(&mut self) -> [u8; 2] {
        self.last_id += 1;
        self.last_id.to_be_bytes()
    }

    fn say(&mut self, now: u64, octets: Vec<u8>) {
        self.spoke_at = now;
        self.sent.push(octets);
    }

    fn ask(&mut self, now: u64, octets: Vec<u8>, awaits: u8, id_at: Option<usize>) {
        let deadline = now + RETRY_MS;
        self.request = Some(Request { octets: octets.clone(), awaits, id_at, tries: 0, deadline });
        self.say(now, octets);
    }

    pub(crate) fn receive(&mut self, now: u64, octets: &[u8]) {
        if self.is_off {
            return;
        }
        if self.is_visiting()
            && let Some(request) = &mut self.request
        {
            request.deadline = now + RETRY_MS;
        }
        match octets[1] {
            0x0A => {
                let name = String::from_utf8(octets[6..].to_vec()).expect("a name");
                self.names.insert(u16::from_be_bytes([octets[2], octets[3]]), name);
                self.say(now, message(0x0B, &[&octets[2..6], &[0]]));
            }
            0x0C => self.hear(now, octets),
            0x10 => {
                let id = u16::from_be_bytes([octets[2], octets[3]]);
                if self.open.remove(&id) {
                    self.over.push_back((id, self.contents.remove(&id).unwrap_or_default()));
                    if self.over.len() > 16 {
                        self.over.pop_front();
                    }
                }
                self.say(now, message(0x0E, &[&octets[2..4]]));
            }
            0x16 => self.say(now, message(0x17, &[])),
            msg_type => self.take_answer(now, msg_type, octets),
        }
    }

    fn hear(&mut self, now: u64, octets: &[u8]) {
        let flags = octets[2];
        let topic = u16::from_be_bytes([octets[3], octets[4]]);
        let name = match flags & 0x03 {
            0x02 => String::from_utf8(octets[3..5].to_vec()).ok(),
            _ => self.names.get(&topic).cloned(),
        };
        let Some(name) = name else {
            self.say(now, message(0x0D, &[&octets[3..7], &[2]]));
            return;
        };
        let msg_id = u16::from_be_bytes([octets[5], octets[6]]);
        let qos = flags >> 5 & 0x03;
        let content = [&octets[3..5], &octets[7..]].concat();
        let is_known = qos == 2
            && (self.open.contains(&msg_id) || self.over.contains(&(msg_id, content.clone())));
        if !is_known {
            let payload = String::from_utf8(octets[7..].to_vec()).expect("text");
            self.heard.push((name, payload, qos));
            self.visits.push('m');
        }
        match qos {
            1 => self.say(now, message(0x0D, &[&octets[3..7], &[0]])),
            2 => {
                if !is_known {
                    self.open.insert(msg_id);
                    self.contents.insert(msg_id, content);
                }
                self.say(now, message(0x0F, &[&octets[5..7]]));
            }
            _ => {}
        }
    }

    /// What is no message of the gateway is the answer that is waited for, or comes too late.
    fn take_answer(&mut self, now: u64, msg_type: u8, octets: &[u8]) {
        let Some(request) = &self.request else {
            if msg_type == 0x18 && self.is_connected {
                self.is_connected = false;
                self.reconnects += 1;
                self.goals.push_front(Goal::Connect);
            }
            return;
        };
        let id_of = |octets: &[u8], at: usize| octets.get(at..at + 2).map(<[u8]>::to_vec);
        let asked_at = match request.octets[1] {
            0x0A => 4,
            0x0C => 5,
            0x10 => 2,
            _ => 3,
        };
        let fits =
            request.id_at.is_none_or(|at| id_of(octets, at) == id_of(&request.octets, asked_at));
        if msg_type != request.awaits || !fits {
            if msg_type == 0x18 {
                // The gateway does not know us.
                let request = self.request.take().expect("looked at above");
                self.connect_again(request);
            }
            return;
        }
        let request = self.request.take().expect("looked at above");
        self.go_on(now, msg_type, octets, request);
    }

    fn go_on(&mut self, now: u64, msg_type: u8, octets: &[u8], request: Request) {
        let topic = self.id.as_bytes();
        match (msg_type, self.goals.front().cloned()) {
            (0x06, _) => self.ask(now, message(0x07, &[&[0x20], b"w/", topic]), 0x08, None),
            (0x08, _) => self.ask(now, message(0x09, &[b"gone"]), 0x05, None),
            (0x0F, _) => self.ask(now, message(0x10, &[&octets[2..4]]), 0x0E, Some(2)),
            (0x05, _) => {
                assert_eq!(octets[2], 0, "CONNACK");
                self.is_connected = true;
                self.goals.pop_front();
                if let Some(request) = self.interrupted.take() {
                    self.ask(now, request.octets, request.awaits, request.id_at);
                }
            }
            (0x0B, Some(Goal::Register(name))) => {
                assert_eq!(octets[6], 0, "REGACK");
                self.learn(u16::from_be_bytes([octets[2], octets[3]]), name);
            }
            (0x13, Some(Goal::Subscribe(name, _))) => {
                assert_eq!(octets[7], 0, "SUBACK");
                self.learn(u16::from_be_bytes([octets[3], octets[4]]), name);
            }
            (0x0D, Some(Goal::Publish(..))) => {
                assert_eq!(octets[6], 0, "PUBACK");
                self.goals.pop_front();
            }
            (0x17, Some(Goal::Visit | Goal::Collect(_))) => {
                self.visits.push('R');
                self.is_off = true;
                if matches!(self.goals.front(), Some(Goal::Collect(n)) if self.distinct() < *n) {
                    self.nap_until = Some(now + NAP_MS);
                } else {
                    self.goals.pop_front();
                }
            }
            (0x17, Some(Goal::Hear(_))) => {}
            (0x18, Some(Goal::Sleep(_) | Goal::Disconnect)) => {
                self.is_off = true;
                self.is_connected = false;
                self.goals.pop_front();
            }
            (_, Some(goal)) => {
                assert!(!matches!(goal, Goal::Hear(_)), "{request:?}");
                self.goals.pop_front();
            }
            (_, None) => {}
        }
    }

    fn learn(&mut self, id: u16, name: &str) {
        if id != 0 {
            self.ids.insert(name.to_owned(), id);
            self.names.insert(id, name.to_owned());
        }
        self.goals.pop_front();
    }
}
