//! What passes on the connections of MQTT clients, packet by packet, as the gateway hears and says
//! it: the bounds of a connection are looked at here, and the ledger is told of the rest.

mod connect;
mod past;

use super::book::{Book, Party, Publication};
use super::features::Feature;
use super::hub::Conn;
use super::ledger::Ledger;
use super::ledger::five::{Fresh, Left, bits};
use super::model::Wants;
use super::wire::{MqttPublish, Version, mqtt, u16_at};
use super::wire5::Properties;
use connect::Connect;
use past::{Past, Session};

/// A connection is known to be over when it is closed, not by silence.
const NEVER_MS: u64 = 1 << 50;

/// The least time after a restart by which a will is published that was due meanwhile.
const PATIENCE_MS: u64 = 60_000;

/// Reasons of DISCONNECT.
const TAKEN_OVER: u8 = 0x8E;

/// What the machine is set up for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The gateway keeps its state on a disk: it has a publication when it says so.
    pub(crate) is_kept: bool,
    /// The longest session expiry.
    pub(crate) expiry_s_max: u32,
    /// Messages under way to a client, at most.
    pub(crate) window: u16,
}

/// What is known of one client's session, as the gateway has to see it.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    rules: Rules,
    pub(crate) is_connected: bool,
    version: Version,
    /// The connection that the session has, or had last.
    conn: Conn,
    /// CONNACK was said there: before that nothing else may be [MQTT5-3.14.0-1].
    is_greeted: bool,
    expiry_ms: u64,
    /// How long the will is put off, if there is one.
    delay_ms: Option<u64>,
    past: Past,
    /// What CONNACK has to say; `None`: that is open.
    pub(crate) is_resumed: Option<bool>,
    /// Publications that were not acknowledged yet.
    published: Vec<(u16, Publication)>,
    /// Messages of QoS 1 and 2 that were said in this connection and not acknowledged.
    under_way: Vec<(u16, Option<Publication>)>,
    /// How many these may be: what the client takes, and the window that it was given.
    receive_maximum: u16,
    window: u16,
    packet_max: u32,
    /// Connections that another one took the place of, and what they were told.
    replaced: Vec<(Conn, Version, Option<u8>)>,
}

impl Stream {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            is_connected: false,
            is_greeted: false,
            version: Version::default(),
            conn: 0,
            expiry_ms: 0,
            delay_ms: None,
            past: Past::new(),
            is_resumed: None,
            published: Vec::new(),
            under_way: Vec::new(),
            receive_maximum: u16::MAX,
            window: rules.window,
            packet_max: 0,
            replaced: Vec::new(),
        }
    }

    /// Other settings, for connections that begin from now on.
    pub(crate) const fn reloaded(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// The gateway hears a packet of a virtual client.
    pub(crate) fn heard(
        &mut self,
        party: Party,
        conn: Conn,
        octets: &[u8],
        ledger: &mut Ledger,
        book: &Book,
    ) {
        let Some((whole, body)) = super::wire::first_packet(octets) else { return };
        let id = u16_at(body, 0);
        let is_refused = body.get(2).is_some_and(|reason| *reason >= 0x80);
        match whole[0] >> 4 {
            mqtt::CONNECT => {
                if let Some(connect) = Connect::read(body) {
                    self.connect(party, conn, &connect, ledger, book);
                }
            }
            mqtt::SUBSCRIBE => self.subscribe(party, body, ledger),
            mqtt::UNSUBSCRIBE => {
                let filter = String::from_utf8_lossy(body.get(4..).unwrap_or_default());
                ledger.unsubscribed(party, &filter);
            }
            mqtt::PUBLISH => {
                let publish = MqttPublish::read(self.version, whole[0], body);
                let publish = publish.and_then(|it| Some((book.read(it.data)?, it)));
                if let Some((publication, publish)) = publish {
                    ledger.arrived(publication, publish.is_dup());
                    if publish.qos() == 0 || !self.rules.is_kept {
                        // It is there with that, whatever becomes of the answer.
                        ledger.accepted(publication);
                    }
                    if publish.qos() > 0 {
                        self.published.retain(|(id, _)| *id != publish.id);
                        self.published.push((publish.id, publication));
                    }
                }
            }
            mqtt::PUBACK | mqtt::PUBCOMP => self.acknowledged(party, id, is_refused, ledger),
            mqtt::PUBREC if is_refused => self.acknowledged(party, id, is_refused, ledger),
            mqtt::DISCONNECT => self.disconnect(party, body, ledger),
            _ => {}
        }
    }

    fn connect(
        &mut self,
        party: Party,
        conn: Conn,
        connect: &Connect<'_>,
        ledger: &mut Ledger,
        book: &Book,
    ) {
        let Connect { version, is_clean, ref properties, ref will } = *connect;
        let now = ledger.now;
        let session = self.leave_former(party, conn, is_clean, ledger);
        let fresh = match session {
            _ if is_clean => Fresh::Yes,
            Session::Yes => Fresh::No,
            Session::Unsure => Fresh::Maybe,
            Session::No => Fresh::Yes,
        };
        self.note_features(version, is_clean, fresh, ledger);
        self.is_resumed = match fresh {
            Fresh::No => Some(true),
            Fresh::Maybe => None,
            Fresh::Yes => Some(false),
        };
        let expiry_s = match version {
            Version::V31 | Version::V311 if is_clean => 0,
            Version::V31 | Version::V311 => u32::MAX,
            Version::V5 => properties.session_expiry_s.unwrap_or(0),
        };
        if version.is_5() && expiry_s > self.rules.expiry_s_max {
            ledger.features.count(Feature::ExpiryCut);
        }
        self.expiry_ms = u64::from(expiry_s.min(self.rules.expiry_s_max)) * 1_000;
        self.receive_maximum = properties.receive_maximum.unwrap_or(u16::MAX);
        self.window = self.rules.window;
        self.packet_max = properties.packet_maximum.unwrap_or(0);
        (self.version, self.conn, self.is_connected) = (version, conn, true);
        self.is_greeted = false;
        self.published.clear();
        self.under_way.clear();
        ledger.client_connected(party, fresh, self.packet_max);
        ledger.set_fleeting(party, self.expiry_ms == 0);
        self.delay_ms = will.as_ref().map(|will| u64::from(will.delay_s) * 1_000);
        if let Some(will) = will.as_ref().and_then(|will| book.read(will.payload)) {
            ledger.wills.arm(will, ledger.turn, [now; 2], NEVER_MS);
        }
        self.past.here(ledger.turn, self.expiry_ms, self.delay_ms);
    }

    /// What becomes of the connection and the will that there were. Whether there is a session to
    /// go on with.
    fn leave_former(
        &mut self,
        party: Party,
        conn: Conn,
        is_clean: bool,
        ledger: &mut Ledger,
    ) -> Session {
        let (now, turn) = (ledger.now, ledger.turn);
        let mut session = self.past.session(now);
        if self.is_connected && conn != self.conn {
            if self.is_greeted {
                self.replaced.push((self.conn, self.version, None));
            }
            ledger.link_ended(party);
            if self.expiry_ms == 0 {
                session = Session::No;
            }
        }
        let ends = is_clean || session == Session::No;
        let is_put_off = !self.is_connected || self.put_off_ms() > Some(0);
        if !is_put_off || is_clean || (self.is_connected && ends) {
            ledger.wills.lost(party, now);
        } else if session == Session::Unsure {
            ledger.wills.doubted(party, now);
        } else if ledger.wills.given_up(party, turn, now) {
            ledger.features.count(Feature::WillCancelled);
        }
        session
    }

    fn note_features(&self, version: Version, is_clean: bool, fresh: Fresh, ledger: &mut Ledger) {
        let features = &mut ledger.features;
        if version == Version::V31 {
            features.count(Feature::Connected31);
        }
        if !version.is_5() {
            return;
        }
        features.count(Feature::Connected5);
        let is_of_before = self.past.is_of_before;
        if is_clean {
            features.count(Feature::CleanStart);
        } else if fresh == Fresh::No {
            features.count(Feature::SessionResumed);
            if is_of_before {
                features.count(Feature::SessionOutlivedCrash);
            }
        } else if self.past.has_expired(ledger.now) {
            features.count(Feature::SessionExpired);
            if is_of_before {
                features.count(Feature::SessionExpiredOverCrash);
            }
        }
    }

    /// How long the will is put off when the connection ends: not beyond the session.
    fn put_off_ms(&self) -> Option<u64> {
        self.delay_ms.map(|delay_ms| delay_ms.min(self.expiry_ms))
    }

    fn subscribe(&self, party: Party, body: &[u8], ledger: &mut Ledger) {
        let rest = body.get(2..).unwrap_or_default();
        let read = if self.version.is_5() { Properties::read(rest) } else { None };
        let (properties, rest) = read.unwrap_or_else(|| (Properties::default(), rest));
        let end = 2 + usize::from(u16_at(rest, 0));
        let filter = String::from_utf8_lossy(rest.get(2..end).unwrap_or_default());
        let options = rest.get(end).copied().unwrap_or_default();
        let wants = Wants {
            id: bits(&properties.identifiers).unwrap_or_default(),
            no_local: options & 0x04 != 0,
            as_published: options & 0x08 != 0,
            handling: options >> 4 & 3,
        };
        ledger.subscribed_with(party, &filter, options & 3, wants);
    }

    fn acknowledged(&mut self, party: Party, id: u16, is_refused: bool, ledger: &mut Ledger) {
        let Some(place) = self.under_way.iter().position(|(it, _)| *it == id) else { return };
        let (_, publication) = self.under_way.swap_remove(place);
        if is_refused {
            ledger.features.count(Feature::Refused);
        }
        if let Some(publication) = publication {
            ledger.acknowledged(party, publication);
        }
    }

    fn disconnect(&mut self, party: Party, body: &[u8], ledger: &mut Ledger) {
        let reason = body.first().copied().unwrap_or(0);
        let properties = body.get(1..).and_then(Properties::read);
        let expiry_s = properties.and_then(|(it, _)| it.session_expiry_s);
        if let Some(expiry_s) = expiry_s {
            self.expiry_ms = u64::from(expiry_s.min(self.rules.expiry_s_max)) * 1_000;
            ledger.features.count(Feature::ExpiryChanged);
        }
        if reason == 0 {
            ledger.wills.given_up(party, ledger.turn, ledger.now);
            self.delay_ms = None;
        } else {
            ledger.features.count(Feature::LeftWithWill);
        }
        self.ended(party, ledger);
    }

    /// A packet leaves for the client on one of its connections, written since `since`.
    pub(crate) fn said(
        &mut self,
        party: Party,
        [conn, since]: [u64; 2],
        whole: &[u8],
        ledger: &mut Ledger,
        book: &Book,
    ) {
        let Some((whole, body)) = super::wire::first_packet(whole) else { return };
        let kind = whole[0] >> 4;
        if conn == self.conn {
            self.is_greeted |= kind == mqtt::CONNACK;
            ledger.check(party, self.is_greeted, "something was said before CONNACK");
        } else {
            let replaced = self.replaced.iter_mut().find(|it| it.0 == conn);
            if let Some(replaced) = replaced.filter(|_| kind == mqtt::DISCONNECT) {
                replaced.2 = Some(body.first().copied().unwrap_or(0));
            }
        }
        if self.packet_max > 0 && conn == self.conn {
            let fits = whole.len() <= self.packet_max as usize;
            ledger.check(party, fits, "a packet is larger than the client takes");
        }
        let code = if self.version.is_5() { body.get(2).copied().unwrap_or(0) } else { 0 };
        match kind {
            mqtt::CONNACK if self.is_resumed.is_none() && self.version != Version::V31 => {
                if body.first() == Some(&1) {
                    ledger.session_found(party);
                } else {
                    ledger.session_fresh(party);
                }
            }
            mqtt::PUBACK | mqtt::PUBREC => {
                let id = u16_at(body, 0);
                if let Some(place) = self.published.iter().position(|(it, _)| *it == id) {
                    let publication = self.published.swap_remove(place).1;
                    if code >= 0x80 {
                        ledger.features.count(Feature::RefusedByGateway);
                    } else {
                        ledger.accepted(publication);
                        if self.version.is_5() {
                            ledger.reasoned(publication, code);
                        }
                    }
                }
            }
            mqtt::PUBLISH => self.say_publish(party, [conn, since], whole, body, ledger, book),
            _ => {}
        }
    }

    fn say_publish(
        &mut self,
        party: Party,
        [conn, since]: [u64; 2],
        whole: &[u8],
        body: &[u8],
        ledger: &mut Ledger,
        book: &Book,
    ) {
        let Some(publish) = MqttPublish::read(self.version, whole[0], body) else { return };
        let publication = book.read(publish.data);
        if publish.qos() > 0 && conn == self.conn {
            self.under_way.retain(|(id, _)| *id != publish.id);
            self.under_way.push((publish.id, publication));
            let most = self.receive_maximum.min(self.window);
            let count = self.under_way.len();
            if count == usize::from(self.receive_maximum) {
                ledger.features.count(Feature::ReceiveMaximum);
            }
            let what = "more messages are under way than the client takes";
            ledger.check(party, count <= usize::from(most), what);
        }
        if let Some(publication) = publication {
            let properties = self.version.is_5().then_some(&publish.properties);
            let (qos, is_dup, is_kept) = (publish.qos(), publish.is_dup(), self.rules.is_kept);
            ledger.left(party, &Left { publication, qos, is_dup, properties, since, is_kept });
        }
    }

    /// Whether it is this connection that the session has, or had last.
    pub(crate) const fn has(&self, conn: Conn) -> bool {
        self.conn == conn
    }

    /// A connection is over for the gateway.
    pub(crate) fn ended(&mut self, party: Party, ledger: &mut Ledger) {
        if !std::mem::replace(&mut self.is_connected, false) {
            return;
        }
        let (now, turn, wall_offset) = (ledger.now, ledger.turn, ledger.wall_offset);
        ledger.link_ended(party);
        ledger.reads_from(party, u64::MAX);
        let put_off_ms = self.put_off_ms();
        match put_off_ms {
            Some(1..) => {
                let delay_ms = put_off_ms.unwrap_or_default();
                let is_session = self.delay_ms > put_off_ms;
                let feature =
                    if is_session { Feature::WillAtSessionEnd } else { Feature::WillDelayed };
                let due = now + delay_ms;
                ledger.wills.delayed(party, now, [due, due], feature);
            }
            Some(0) | None => ledger.wills.lost(party, now),
        }
        if self.expiry_ms == 0 {
            self.past.gone(turn);
            ledger.session_fresh(party);
        } else {
            let put_off_ms = put_off_ms.filter(|it| *it > 0);
            let until = self.past.away(turn, [now, self.expiry_ms], put_off_ms, wall_offset);
            ledger.lasts_until(party, until);
        }
    }

    /// The gateway has closed a connection. What it said may not have left, if nobody read it.
    pub(crate) fn closed(&mut self, party: Party, conn: Conn, is_read: bool, ledger: &mut Ledger) {
        let Some(place) = self.replaced.iter().position(|it| it.0 == conn) else { return };
        let (_, version, told) = self.replaced.swap_remove(place);
        if !version.is_5() {
            ledger.check(party, told.is_none(), "DISCONNECT was said to a client of MQTT 3");
        } else if is_read {
            ledger.features.count(Feature::TakenOver);
            let is_right = told == Some(TAKEN_OVER);
            ledger.check(party, is_right, "a connection was not told that its session is taken");
        }
    }

    /// The gateway was ended, and knows what was so after `safe_turn`, which was at `safe_at`.
    pub(crate) fn crashed(&mut self, safe_turn: u64, safe_at: u64, now: u64) {
        self.past.crashed(safe_turn, safe_at, now);
        self.is_connected = false;
        self.replaced.clear();
    }

    /// Another process has begun, with what was kept.
    pub(crate) fn resumed(&mut self, party: Party, ledger: &mut Ledger) {
        let now = ledger.now;
        self.past.resumed(ledger.turn, now, ledger.wall_offset);
        ledger.reads_from(party, u64::MAX);
        match self.past.session(now) {
            Session::Yes => {}
            Session::Unsure => ledger.session_doubted(party),
            Session::No => ledger.session_fresh(party),
        }
        ledger.lasts_until(party, self.past.lasts_until());
        if let Some([due, last]) = self.past.will_due() {
            let by = last.max(now + PATIENCE_MS);
            ledger.wills.delayed(party, now, [due, by], Feature::WillDelayed);
        } else {
            ledger.wills.doubted(party, now);
        }
    }

    /// The gateway begins anew with nothing.
    pub(crate) fn restarted(&mut self) {
        self.past = Past::new();
        self.is_connected = false;
        self.replaced.clear();
    }

    /// The gateway has told everybody that it ends: wills are not published.
    pub(crate) fn stopped(&mut self, party: Party, ledger: &mut Ledger) {
        if !std::mem::replace(&mut self.is_connected, false) {
            return;
        }
        ledger.wills.end(party, ledger.now);
        self.delay_ms = None;
        // Its time begins with the next process.
        self.past.here(ledger.turn, self.expiry_ms, None);
        ledger.link_ended(party);
        ledger.reads_from(party, u64::MAX);
    }
}
