//! A virtual sensor, written from the specification alone (SN 6): one request at a time, repeated
//! until it is answered, and every message of the gateway answered as it has to be.
//!
//! ```text
//! off ─ CONNECT [will] ─▶ active: subscribe, register, publish, ping ─ DISCONNECT(d) ─▶ asleep
//!  ▲                         │  ▲                                        │   │ ▲
//!  └── DISCONNECT, silence ──┘  └──────────────── CONNECT ───────────────┘   └─┘ PINGREQ: a visit
//! ```

mod ears;
mod receive;
mod search;
mod will;

use fastrand::Rng;

use super::book::{self, Book, Publication, WILL_NUMBER};
use super::features::Feature;
use super::kind::{Kind, TopicForm};
use super::ledger::Ledger;
use super::place::Place;
use super::will_parts::{self, Change};
use super::wire::{self, Octets, frame, sn};

use will::WILL_MS;

pub(crate) use ears::Ears;
pub(crate) use search::asks_group;

/// How late a sensor wakes up at most, where it is not told when.
const NAP_MS: u64 = 10_000;

/// By so much one that sleeps on says that it sleeps longer, in seconds.
const MORE_S: u16 = 30;

/// How often one pings that does not have to, its keep alive being 0.
const IDLE_PING_MS: u64 = 100_000;

/// More than a datagram takes that is not late.
const GUARD_MS: u64 = 200;

/// Everything that a sensor can see and do.
pub(crate) struct Cx<'a> {
    pub(crate) now: u64,
    /// Nothing has been lost for a while.
    pub(crate) is_calm: bool,
    pub(crate) book: &'a Book,
    pub(crate) rng: &'a mut Rng,
    pub(crate) ledger: &'a mut Ledger,
    /// What it sends.
    pub(crate) out: &'a mut Vec<Octets>,
}

/// How far a sensor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Without a connection; the radio is on.
    Off,
    Active,
    /// The radio is off.
    Asleep,
    /// Collecting its messages.
    Visiting,
    /// Without power.
    Dead,
}

/// What it waits for an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Search,
    Connect,
    WillTopic,
    WillMessage,
    Register,
    Publish,
    Release,
    Subscribe(u8),
    Unsubscribe(u8),
    ChangeWill(Change),
    Ping,
    Visit,
    Sleep,
    /// It sleeps already, and goes on with it.
    SleepOn,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) ask: Ask,
    pub(crate) tries: u8,
    pub(crate) msg_id: u16,
}

/// How far its current publication is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// There is none.
    Idle,
    Publish,
    Release,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Sensor {
    pub(crate) index: u32,
    pub(crate) place: Place,
    pub(crate) phase: Phase,
    pub(crate) request: Option<Request>,
    /// It was sent, or repeated, since all faults are over.
    was_asked_in_calm: bool,
    /// When it does something by itself, in milliseconds.
    pub(crate) due: u64,
    last_id: u16,
    /// The id of its topic, 0 if it knows none.
    topic_id: u16,
    step: Step,
    publish_id: u16,
    was_sent: bool,
    /// The number of its current or next publication.
    pub(crate) next: u32,
    publish_at: u64,
    awake_until: u64,
    spoke_at: u64,
    /// It has heard of its gateway, and not lost it since.
    knows_gateway: bool,
    /// Its session had a will when it was connected last, which a CONNECT may keep.
    has_will: bool,
    keeps_will: bool,
    /// Messages that its will has had.
    wills: u32,
    /// When it changes its will.
    will_at: u64,
    pub(crate) ears: Option<Box<Ears>>,
}

impl Sensor {
    pub(crate) fn new(index: u32, book: &Book, begins_at: u64) -> Self {
        let kind = book.kind(index);
        let ears = (!kind.wishes.is_empty()).then(|| Box::new(Ears::new(kind.wishes.len())));
        Self {
            index,
            place: Place::first(index, book),
            phase: Phase::Off,
            request: None,
            was_asked_in_calm: false,
            due: begins_at,
            last_id: 0,
            topic_id: 0,
            step: Step::Idle,
            publish_id: 0,
            was_sent: false,
            next: 0,
            publish_at: begins_at,
            awake_until: 0,
            spoke_at: begins_at,
            knows_gateway: false,
            has_will: false,
            keeps_will: false,
            wills: 0,
            will_at: 0,
            ears,
        }
    }

    /// Whether it has published and subscribed to everything.
    pub(crate) fn is_done(&self, kind: &Kind) -> bool {
        let hears = self.ears.as_ref().is_none_or(|ears| ears.is_complete());
        self.next >= kind.goal && self.step == Step::Idle && hears
    }

    /// Its time has come.
    pub(crate) fn wake(&mut self, cx: &mut Cx<'_>) {
        let book = cx.book;
        let kind = book.kind(self.index);
        match (self.phase, self.request) {
            (Phase::Dead, _) => self.reboot(cx),
            (_, Some(request)) if request.ask == Ask::Search => self.search_again(request, cx),
            (_, Some(request)) if request.tries < kind.retries => {
                self.request = Some(Request { tries: request.tries + 1, ..request });
                self.send_request(cx);
            }
            (_, Some(request)) => self.give_up(request.ask, cx),
            (Phase::Off, None) if kind.is_unconnected() => self.publish_unconnected(cx, kind),
            (Phase::Off, None) => self.begin_connection(cx),
            (Phase::Active, None) => self.next_job(cx),
            (Phase::Asleep | Phase::Visiting, None) => {
                let has_news = self.next < kind.goal && self.publish_at <= cx.now;
                let is_incomplete = self.ears.as_ref().is_some_and(|ears| !ears.is_complete());
                let is_idle = self.phase == Phase::Asleep && self.step == Step::Idle;
                if kind.talks_in_sleep && is_idle && !is_incomplete && cx.rng.bool() {
                    self.talk_in_sleep(has_news, cx, kind);
                } else if has_news || self.step != Step::Idle || is_incomplete {
                    self.connect(cx);
                } else {
                    let sleeps_on = kind.sleeps_on && cx.rng.u32(..4) == 0;
                    self.phase = Phase::Visiting;
                    self.ask(if sleeps_on { Ask::SleepOn } else { Ask::Visit }, cx);
                }
            }
        }
    }

    /// It wakes up and says something without connecting, as it may (12.4), and then collects its
    /// messages.
    fn talk_in_sleep(&mut self, has_news: bool, cx: &mut Cx<'_>, kind: &Kind) {
        self.phase = Phase::Visiting;
        let knows_topic = kind.topic != TopicForm::Name || self.topic_id != 0;
        if has_news && knows_topic {
            cx.ledger.features.count(Feature::PublishedAsleep);
            self.begin_publication(cx, kind);
        } else if kind.changes_will && !cx.is_calm {
            self.change_will(cx);
        } else {
            self.ask(Ask::Visit, cx);
        }
    }

    /// It does not wait any longer for an answer.
    fn give_up(&mut self, ask: Ask, cx: &mut Cx<'_>) {
        self.request = None;
        // What came since may have let it wait for an answer that was lost before.
        if cx.is_calm && self.was_asked_in_calm {
            cx.ledger.violation(self.index, &format!("{ask:?} was never answered in calm"));
        }
        match ask {
            Ask::Visit => self.fall_asleep(cx),
            // It sleeps whether the gateway knows or not (17.7).
            Ask::Sleep | Ask::SleepOn => self.fall_asleep(cx),
            Ask::Search | Ask::Connect | Ask::WillTopic | Ask::WillMessage => {
                self.knows_gateway = false;
                self.stay_off(cx);
            }
            Ask::Register
            | Ask::Publish
            | Ask::Release
            | Ask::Subscribe(_)
            | Ask::Unsubscribe(_)
            | Ask::ChangeWill(_)
            | Ask::Ping => {
                self.phase = Phase::Off;
                self.knows_gateway = false;
                self.begin_connection(cx);
            }
        }
    }

    fn stay_off(&mut self, cx: &mut Cx<'_>) {
        self.phase = Phase::Off;
        self.due = cx.now + cx.rng.u64(1_000..=2 * NAP_MS);
    }

    fn fall_asleep(&mut self, cx: &mut Cx<'_>) {
        let sleep_ms = u64::from(cx.book.kind(self.index).sleep_s) * 1_000;
        self.request = None;
        self.phase = Phase::Asleep;
        self.due = cx.now + cx.rng.u64(sleep_ms / 2..=sleep_ms);
    }

    /// Connects, and looks for the gateway before if it has to.
    fn begin_connection(&mut self, cx: &mut Cx<'_>) {
        if cx.book.kind(self.index).searches && !self.knows_gateway {
            self.ask(Ask::Search, cx);
        } else {
            self.connect(cx);
        }
    }

    fn connect(&mut self, cx: &mut Cx<'_>) {
        let kind = cx.book.kind(self.index);
        self.phase = Phase::Off;
        self.keeps_will = kind.keeps_will && !kind.clean && self.has_will && cx.rng.bool();
        self.wills += u32::from(!self.keeps_will);
        self.topic_id = 0;
        if kind.clean {
            // From another port, so that nothing of the old session is taken for the new one's.
            self.place.port += 1;
            if kind.qos == 2 && self.step != Step::Idle {
                // Its exchange goes with the session; a new one could be a second delivery.
                self.finish_publication(cx);
            }
            if let Some(ears) = &mut self.ears {
                ears.forget_session();
            }
        }
        if let Some(ears) = &mut self.ears {
            ears.forget_names();
        }
        self.ask(Ask::Connect, cx);
    }

    /// CONNACK has come.
    fn connected(&mut self, cx: &mut Cx<'_>) {
        let kind = cx.book.kind(self.index);
        let was_repeated = self.request.take().is_some_and(|request| request.tries > 0);
        self.phase = Phase::Active;
        self.has_will = kind.will.is_some();
        self.awake_until = cx.now + kind.awake_ms;
        self.will_at = cx.now + cx.rng.u64(..WILL_MS);
        if kind.clean && was_repeated {
            // Its last CONNECT may still be on its way, and would clean what follows.
            self.due = cx.now + GUARD_MS;
        } else {
            self.next_job(cx);
        }
    }

    /// What there is to do for a connected sensor that waits for nothing.
    fn next_job(&mut self, cx: &mut Cx<'_>) {
        let book = cx.book;
        let kind = book.kind(self.index);
        let needs_id = kind.topic == TopicForm::Name && self.topic_id == 0;
        if self.phase == Phase::Visiting {
            self.go_on_visit(needs_id, cx);
            return;
        }
        let wish = self.ears.as_ref().and_then(|ears| ears.missing());
        if let Some(wish) = wish {
            self.ask(Ask::Subscribe(wish), cx);
        } else if needs_id && (self.next < kind.goal || self.step == Step::Publish) {
            self.ask(Ask::Register, cx);
        } else if self.step == Step::Release {
            self.ask(Ask::Release, cx);
        } else if self.step == Step::Publish {
            self.ask(Ask::Publish, cx);
        } else if self.next < kind.goal && self.publish_at <= cx.now {
            self.begin_publication(cx, kind);
        } else if kind.changes_will && self.will_at <= cx.now {
            self.change_will(cx);
        } else if kind.sleeps() && self.awake_until <= cx.now {
            self.ask(Ask::Sleep, cx);
        } else if self.ping_at(kind) <= cx.now {
            self.ask(Ask::Ping, cx);
        } else {
            self.due = self.ping_at(kind);
            if self.next < kind.goal {
                self.due = self.due.min(self.publish_at);
            }
            if kind.sleeps() {
                self.due = self.due.min(self.awake_until);
            }
            if kind.changes_will {
                self.due = self.due.min(self.will_at);
            }
        }
    }

    /// The same for one that talks in its sleep.
    fn go_on_visit(&mut self, needs_id: bool, cx: &mut Cx<'_>) {
        match self.step {
            Step::Release => self.ask(Ask::Release, cx),
            Step::Publish if needs_id => self.begin_connection(cx),
            Step::Publish => self.ask(Ask::Publish, cx),
            Step::Idle => self.ask(Ask::Visit, cx),
        }
    }

    fn ping_at(&self, kind: &Kind) -> u64 {
        let pause_ms = match kind.keep_alive_s {
            0 => IDLE_PING_MS,
            seconds => u64::from(seconds) * 700,
        };
        self.spoke_at + pause_ms
    }

    fn begin_publication(&mut self, cx: &mut Cx<'_>, kind: &Kind) {
        self.publish_at = cx.now + kind.interval_ms - cx.rng.u64(0..=kind.interval_ms / 8);
        self.was_sent = false;
        let drops_wish = kind.is_fickle && cx.rng.u32(..4) == 0;
        if kind.qos == 0 {
            let publish = self.publish_message(cx, 0);
            self.send(publish, cx);
            self.next += 1;
            self.next_job(cx);
        } else {
            self.publish_id = self.next_id();
            self.step = Step::Publish;
            let ears = self.ears.as_ref().filter(|_| drops_wish);
            let registers = kind.topic == TopicForm::Name && kind.registers_again;
            match ears.and_then(|ears| ears.any(cx.rng)) {
                Some(wish) => self.ask(Ask::Unsubscribe(wish), cx),
                None if registers && cx.rng.u32(..3) == 0 => self.ask(Ask::Register, cx),
                None => self.ask(Ask::Publish, cx),
            }
        }
    }

    fn finish_publication(&mut self, cx: &mut Cx<'_>) {
        self.step = Step::Idle;
        cx.ledger.finished(self.publication());
        self.next += 1;
    }

    fn publish_unconnected(&mut self, cx: &mut Cx<'_>, kind: &Kind) {
        if self.next >= kind.goal {
            self.due = u64::MAX;
            return;
        }
        let publish = self.publish_message(cx, 0);
        self.send(publish, cx);
        self.next += 1;
        self.due = cx.now + kind.interval_ms;
    }

    pub(crate) const fn publication(&self) -> Publication {
        Publication { party: self.index, number: self.next }
    }

    fn next_id(&mut self) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.last_id
    }

    /// Begins a request.
    fn ask(&mut self, ask: Ask, cx: &mut Cx<'_>) {
        let msg_id = match ask {
            Ask::Register | Ask::Subscribe(_) | Ask::Unsubscribe(_) => self.next_id(),
            Ask::Publish | Ask::Release => self.publish_id,
            Ask::Search
            | Ask::Connect
            | Ask::WillTopic
            | Ask::WillMessage
            | Ask::ChangeWill(_)
            | Ask::Ping
            | Ask::Visit
            | Ask::Sleep
            | Ask::SleepOn => 0,
        };
        self.request = Some(Request { ask, tries: 0, msg_id });
        self.send_request(cx);
    }

    fn send_request(&mut self, cx: &mut Cx<'_>) {
        let Some(request) = self.request else { return };
        self.was_asked_in_calm = cx.is_calm;
        self.due = cx.now + cx.book.kind(self.index).retry_ms;
        if request.ask == Ask::Search {
            self.due = cx.now + search::pause_ms(request.tries, cx.rng);
        }
        let octets = self.request_message(request, cx);
        self.was_sent |= request.ask == Ask::Publish;
        self.send(octets, cx);
    }

    fn send(&mut self, octets: Octets, cx: &mut Cx<'_>) {
        self.spoke_at = cx.now;
        cx.out.push(octets);
    }

    fn request_message(&self, request: Request, cx: &Cx<'_>) -> Octets {
        let kind = cx.book.kind(self.index);
        let id = client_id(self.index);
        let msg_id = request.msg_id.to_be_bytes();
        match request.ask {
            Ask::Search => search::message(self.index),
            Ask::Connect => {
                let has_will = kind.will.is_some() && !self.keeps_will;
                let will = if has_will { wire::WILL } else { 0 };
                let flags = will | if kind.clean { wire::CLEAN } else { 0 };
                let keep_alive = kind.keep_alive_s.to_be_bytes();
                frame(sn::CONNECT, &[&[flags, 1], &keep_alive, id.as_bytes()])
            }
            Ask::WillTopic => self.will_topic(sn::WILLTOPIC, will_parts::FIRST, kind),
            Ask::WillMessage => self.will_message(sn::WILLMSG, WILL_NUMBER + self.wills, cx),
            Ask::ChangeWill(Change::Topic(topic)) => self.will_topic(sn::WILLTOPICUPD, topic, kind),
            Ask::ChangeWill(Change::Message(number)) => {
                self.will_message(sn::WILLMSGUPD, number, cx)
            }
            Ask::Register => {
                let mut topic = String::new();
                cx.book.topic(self.publication(), &mut topic);
                frame(sn::REGISTER, &[&[0, 0], &msg_id, topic.as_bytes()])
            }
            Ask::Publish => self.publish_message(cx, request.msg_id),
            Ask::Release => frame(sn::PUBREL, &[&msg_id]),
            Ask::Subscribe(wish) => {
                let (wish, qos) = kind.wishes[usize::from(wish)];
                let (form, name) = ears::filter(wish, self.index);
                frame(sn::SUBSCRIBE, &[&[qos << 5 | form], &msg_id, &name])
            }
            Ask::Unsubscribe(wish) => {
                let (wish, _) = kind.wishes[usize::from(wish)];
                let (form, name) = ears::filter(wish, self.index);
                frame(sn::UNSUBSCRIBE, &[&[form], &msg_id, &name])
            }
            Ask::Ping => frame(sn::PINGREQ, &[]),
            Ask::Visit => frame(sn::PINGREQ, &[id.as_bytes()]),
            Ask::Sleep => frame(sn::DISCONNECT, &[&kind.sleep_s.to_be_bytes()]),
            Ask::SleepOn => frame(sn::DISCONNECT, &[&(kind.sleep_s + MORE_S).to_be_bytes()]),
        }
    }

    fn publish_message(&self, cx: &Cx<'_>, msg_id: u16) -> Octets {
        let kind = cx.book.kind(self.index);
        let publication = self.publication();
        let manner = cx.book.manner(publication);
        let (form, topic) = match kind.topic {
            TopicForm::Name => (0, self.topic_id.to_be_bytes()),
            TopicForm::Predefined => (1, book::predefined_id(self.index).to_be_bytes()),
            TopicForm::Short => {
                let name = book::short_name(self.index);
                (2, [name.as_bytes()[0], name.as_bytes()[1]])
            }
        };
        let retain = if manner.retain { wire::RETAIN } else { 0 };
        let dup = if self.was_sent && msg_id != 0 { wire::DUP } else { 0 };
        let flags = dup | manner.qos << 5 | retain | form;
        let payload = cx.book.payload(publication, kind.padding_max);
        frame(sn::PUBLISH, &[&[flags], &topic, &msg_id.to_be_bytes(), &payload])
    }

    /// The power is gone until then.
    pub(crate) fn die(&mut self, until: u64) {
        self.phase = Phase::Dead;
        self.request = None;
        self.due = until;
    }

    /// Back from a power cut, with what flash memory keeps.
    pub(crate) fn reboot(&mut self, cx: &mut Cx<'_>) {
        let kind = cx.book.kind(self.index);
        self.phase = Phase::Off;
        self.request = None;
        self.knows_gateway = false;
        self.has_will = false;
        if kind.qos < 2 {
            // What keeps a session and has exchanges of QoS 2 must not begin its numbers anew.
            self.last_id = cx.rng.u16(..1_000);
        }
        self.place.port += 1;
        if self.step != Step::Idle {
            if kind.qos == 2 {
                self.finish_publication(cx);
            } else {
                self.publish_id = self.next_id();
                self.was_sent = false;
            }
        }
        if let Some(ears) = &mut self.ears {
            ears.forget_exchanges();
            cx.ledger.amnesia(self.index);
        }
        self.due = cx.now + cx.rng.u64(1..3_000);
    }
}

/// The client id of a sensor.
pub(crate) fn client_id(sensor: u32) -> String {
    format!("s{sensor}")
}
