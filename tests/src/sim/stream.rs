//! What the gateway hears on the connections of MQTT clients, packet by packet, for the ledger.

use super::book::{Book, Party, Publication};
use super::ledger::Ledger;
use super::wire::{MqttPublish, mqtt, u16_at};

/// A connection is known to be over when it is closed, not by silence.
const NEVER_MS: u64 = 1 << 50;

/// What is known of one client's session, as the gateway has to see it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) is_connected: bool,
    /// The gateway keeps its state on a disk: it has a publication when it says so.
    is_kept: bool,
    is_clean: bool,
    session: Session,
    /// What CONNACK has to say; `None`: that is open.
    pub(crate) is_resumed: Option<bool>,
    /// Publications that were not acknowledged yet.
    published: Vec<(u16, Publication)>,
}

/// Whether the gateway has a session of the client that it goes on with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Session {
    #[default]
    No,
    /// It was heard and not told that there is one.
    Unsure,
    Yes,
}

impl Stream {
    pub(crate) fn new(is_kept: bool) -> Self {
        Self { is_kept, ..Self::default() }
    }

    /// The gateway hears a packet of a virtual client.
    pub(crate) fn heard(&mut self, party: Party, octets: &[u8], ledger: &mut Ledger, book: &Book) {
        let Some((whole, body)) = super::wire::first_packet(octets) else { return };
        match whole[0] >> 4 {
            mqtt::CONNECT => {
                let flags = body.get(7).copied().unwrap_or_default();
                self.is_clean = flags & 0x02 != 0;
                self.is_connected = true;
                self.is_resumed = match self.session {
                    Session::No => Some(false),
                    Session::Unsure => (self.is_clean).then_some(false),
                    Session::Yes => Some(!self.is_clean),
                };
                self.session = match self.session {
                    _ if self.is_clean => Session::No,
                    Session::No | Session::Unsure => Session::Unsure,
                    Session::Yes => Session::Yes,
                };
                self.published.clear();
                ledger.session_begun(party, !self.is_clean, true);
                ledger.lasts_until(party, u64::MAX);
                if flags & 0x04 != 0 {
                    let id_end = 12 + usize::from(u16_at(body, 10));
                    let topic_end = id_end + 2 + usize::from(u16_at(body, id_end));
                    let will = book.read(body.get(topic_end + 2..).unwrap_or_default());
                    if let Some(will) = will {
                        // The one before goes with the connection that is taken over.
                        ledger.wills.lost(party, ledger.now);
                        ledger.wills.arm(will, ledger.turn, [ledger.now; 2], NEVER_MS);
                    }
                }
            }
            mqtt::SUBSCRIBE => {
                let end = 4 + usize::from(u16_at(body, 2));
                let filter = String::from_utf8_lossy(body.get(4..end).unwrap_or_default());
                ledger.subscribed(party, &filter, body.get(end).copied().unwrap_or_default());
            }
            mqtt::UNSUBSCRIBE => {
                let filter = String::from_utf8_lossy(body.get(4..).unwrap_or_default());
                ledger.unsubscribed(party, &filter);
            }
            mqtt::PUBLISH => {
                let publish = MqttPublish::read(whole[0], body);
                let publish = publish.and_then(|it| Some((it, book.read(it.data)?)));
                if let Some((publish, publication)) = publish {
                    ledger.arrived(publication, publish.is_dup());
                    if publish.qos() == 0 || !self.is_kept {
                        // It is there with that, whatever becomes of the answer.
                        ledger.accepted(publication);
                    } else {
                        self.published.retain(|(id, _)| *id != publish.id);
                        self.published.push((publish.id, publication));
                    }
                }
            }
            mqtt::DISCONNECT => {
                ledger.wills.end(party, ledger.now);
                self.ended(party, ledger);
            }
            _ => {}
        }
    }

    /// A packet leaves for the client.
    pub(crate) fn said(&mut self, party: Party, whole: &[u8], ledger: &mut Ledger, book: &Book) {
        let Some((whole, body)) = super::wire::first_packet(whole) else { return };
        match whole[0] >> 4 {
            mqtt::CONNACK if !self.is_clean => self.session = Session::Yes,
            mqtt::PUBACK | mqtt::PUBREC => {
                let id = u16_at(body, 0);
                if let Some(place) = self.published.iter().position(|(it, _)| *it == id) {
                    ledger.accepted(self.published.swap_remove(place).1);
                }
            }
            mqtt::PUBLISH => {
                let publish = MqttPublish::read(whole[0], body).filter(|it| it.qos() == 1);
                if let Some(publication) = publish.and_then(|it| book.read(it.data)) {
                    ledger.sent(party, publication);
                }
            }
            _ => {}
        }
    }

    /// A connection is over for the gateway.
    pub(crate) fn ended(&mut self, party: Party, ledger: &mut Ledger) {
        if std::mem::replace(&mut self.is_connected, false) {
            ledger.wills.lost(party, ledger.now);
            if self.is_clean {
                ledger.session_over(party);
            }
        }
    }

    /// The gateway begins anew with nothing.
    pub(crate) const fn restarted(&mut self) {
        self.session = Session::No;
        self.is_connected = false;
    }

    /// The gateway has told everybody that it ends: wills are not published.
    pub(crate) fn stopped(&mut self, party: Party, ledger: &mut Ledger) {
        ledger.wills.end(party, ledger.now);
        self.ended(party, ledger);
    }
}
