//! What a client is for.

use crate::sim::wire::Version;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub(crate) struct Role {
    pub(crate) version: Version,
    pub(crate) filters: Vec<Wish>,
    pub(crate) goal: u32,
    pub(crate) interval_ms: u64,
    /// Publications under way at once.
    pub(crate) window: usize,
    /// CleanSession, or Clean Start.
    pub(crate) is_clean: bool,
    pub(crate) has_will: bool,
    pub(crate) keep_alive_s: u16,
    pub(crate) padding_max: usize,
    /// It leaves by itself about so often; 0: never.
    pub(crate) leaves_every_ms: u64,
    pub(crate) five: Five,
}

/// A subscription that it wants.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wish {
    pub(crate) filter: String,
    pub(crate) qos: u8,
    /// Of 5.0, as SUBSCRIBE has them.
    pub(crate) options: u8,
    pub(crate) has_id: bool,
}

/// What only a client of 5.0 asks for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Five {
    pub(crate) expiry_s: u32,
    /// It asks for Clean Start now and then.
    pub(crate) starts_anew: bool,
    pub(crate) will_delay_s: u32,
    /// 0: as many as there are identifiers.
    pub(crate) receive_maximum: u16,
    /// 0: any size.
    pub(crate) packet_maximum: u32,
    pub(crate) alias_maximum: u16,
    /// It uses aliases, as many as the gateway takes.
    pub(crate) has_aliases: bool,
    /// It refuses some of the messages that it is sent.
    pub(crate) refuses: bool,
}
