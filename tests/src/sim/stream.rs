//! What the gateway hears on the connections of MQTT clients, packet by packet, for the ledger.

use super::book::{Book, Party};
use super::ledger::Ledger;
use super::wire::{MqttPublish, mqtt, u16_at};

/// A connection is known to be over when it is closed, not by silence.
const NEVER_MS: u64 = 1 << 50;

/// What is known of one client's session, as the gateway has to see it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) is_connected: bool,
    is_clean: bool,
    /// It was connected without a clean session since the gateway began.
    has_session: bool,
    /// What CONNACK has to say.
    pub(crate) is_resumed: bool,
}

impl Stream {
    /// The gateway hears a packet of a virtual client.
    pub(crate) fn heard(&mut self, party: Party, octets: &[u8], ledger: &mut Ledger, book: &Book) {
        let Some((whole, body)) = super::wire::first_packet(octets) else { return };
        match whole[0] >> 4 {
            mqtt::CONNECT => {
                let flags = body.get(7).copied().unwrap_or_default();
                self.is_clean = flags & 0x02 != 0;
                self.is_connected = true;
                self.is_resumed = self.has_session && !self.is_clean;
                self.has_session = !self.is_clean;
                ledger.session_begun(party, !self.is_clean, true);
                ledger.lasts_until(party, u64::MAX);
                if flags & 0x04 != 0 {
                    let id_end = 12 + usize::from(u16_at(body, 10));
                    let topic_end = id_end + 2 + usize::from(u16_at(body, id_end));
                    let will = book.read(body.get(topic_end + 2..).unwrap_or_default());
                    if let Some(will) = will {
                        // The one before goes with the connection that is taken over.
                        ledger.wills.lost(party, ledger.now);
                        ledger.wills.arm(will, ledger.now, NEVER_MS);
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
                    // On a stream it is there with that, whatever becomes of the answer.
                    ledger.arrived(publication, publish.is_dup());
                    ledger.accepted(publication);
                }
            }
            mqtt::DISCONNECT => {
                ledger.wills.end(party, ledger.now);
                self.ended(party, ledger);
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
        self.has_session = false;
        self.is_connected = false;
    }
}
