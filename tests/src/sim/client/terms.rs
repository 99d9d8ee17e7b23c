//! What the gateway has told a client of MQTT 5.0 in CONNACK, and the aliases of the connection.

use std::collections::BTreeMap;

use crate::sim::wire5::Properties;

/// What the gateway is set up for, as its CONNACK has to say it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    pub(crate) receive_maximum: u16,
    pub(crate) alias_maximum: u16,
    pub(crate) keep_alive_s_max: Option<u16>,
    pub(crate) expiry_s_max: u32,
    pub(crate) packet_bytes_max: u32,
}

impl Offer {
    /// What of it a client that asked for a session expiry and a keep alive was told otherwise.
    pub(super) fn difference(
        &self,
        told: &Properties<'_>,
        expiry_s: u32,
        keep_alive_s: u16,
    ) -> Option<&'static str> {
        let shorter = self.keep_alive_s_max.filter(|max| *max < keep_alive_s);
        let expiry_cut = Some(self.expiry_s_max).filter(|max| *max < expiry_s);
        let checks = [
            (told.receive_maximum == Some(self.receive_maximum), "Receive Maximum"),
            (told.alias_maximum.unwrap_or(0) == self.alias_maximum, "Topic Alias Maximum"),
            (told.server_keep_alive_s == shorter, "Server Keep Alive"),
            (told.session_expiry_s == expiry_cut, "Session Expiry Interval"),
            (told.packet_maximum == Some(self.packet_bytes_max), "Maximum Packet Size"),
            (told.others.is_empty(), "what is not served"),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map(|(_, what)| what)
    }
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Terms {
    /// Messages that the client may have under way.
    pub(super) receive_maximum: u16,
    /// Aliases that it may set.
    pub(super) alias_maximum: u16,
    pub(super) keep_alive_s: u16,
    /// Topics of its own aliases, from 1 on.
    own: Vec<String>,
    /// Topics of those of the gateway.
    others: BTreeMap<u16, String>,
}

/// How a client names a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name {
    Whole,
    /// It has an alias from now on, which may have meant another topic.
    New {
        alias: u16,
        is_moved: bool,
    },
    Alias(u16),
}

impl Terms {
    /// How to name a topic; `chance` decides which alias has to make room.
    pub(super) fn name(&mut self, topic: &str, chance: u32) -> Name {
        if self.alias_maximum == 0 {
            return Name::Whole;
        }
        let number = |place: usize| u16::try_from(place + 1).expect("no more than the maximum");
        if let Some(place) = self.own.iter().position(|known| known == topic) {
            return Name::Alias(number(place));
        }
        if self.own.len() < usize::from(self.alias_maximum) {
            self.own.push(topic.to_owned());
            return Name::New { alias: number(self.own.len() - 1), is_moved: false };
        }
        if !chance.is_multiple_of(4) {
            return Name::Whole;
        }
        let place = chance as usize / 4 % self.own.len();
        topic.clone_into(&mut self.own[place]);
        Name::New { alias: number(place), is_moved: true }
    }

    /// The topic that the gateway means, of `maximum` aliases that it may set.
    pub(super) fn resolve(
        &mut self,
        topic: &[u8],
        alias: Option<u16>,
        maximum: u16,
    ) -> Result<String, &'static str> {
        let name = String::from_utf8_lossy(topic).into_owned();
        let Some(alias) = alias else {
            return if topic.is_empty() { Err("a PUBLISH has no topic") } else { Ok(name) };
        };
        if alias == 0 || alias > maximum {
            return Err("a topic alias is higher than the client takes");
        }
        if !topic.is_empty() {
            self.others.insert(alias, name.clone());
            return Ok(name);
        }
        self.others.get(&alias).cloned().ok_or("a topic alias came before its topic")
    }
}
