//! Answers on their way out.

use super::Broker;
use crate::api::{Ack, ConnAck, LinkId, Outgoing, Output, PacketId, WillPart};
use crate::reason::ReasonCode;

/// An [`Output`] that owns what it says, waiting for its turn.
#[derive(Debug)]
pub(super) enum Control {
    Send { link: LinkId, packet: Answer },
    Close { link: LinkId, reason: ReasonCode },
    SessionEnded { client_id: Box<str> },
    SysTick,
}

/// An [`Outgoing`] other than a publication.
#[derive(Debug)]
pub(super) enum Answer {
    ConnAck {
        reason: ReasonCode,
        session_present: bool,
        assigned_client_id: Option<Box<str>>,
        session_expiry_s: u32,
    },
    Ack(Ack),
    SubAck {
        id: PacketId,
        token: u32,
        reasons: Vec<ReasonCode>,
    },
    UnsubAck {
        id: PacketId,
        token: u32,
        reasons: Vec<ReasonCode>,
    },
    WillAck {
        part: WillPart,
        reason: ReasonCode,
    },
    Pong,
}

impl Control {
    pub(super) const fn ack(link: LinkId, ack: Ack) -> Self {
        Self::Send { link, packet: Answer::Ack(ack) }
    }

    pub(super) const fn pong(link: LinkId) -> Self {
        Self::Send { link, packet: Answer::Pong }
    }

    /// Octets of memory beside its own.
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Self::Send {
                packet: Answer::SubAck { reasons, .. } | Answer::UnsubAck { reasons, .. },
                ..
            } => reasons.capacity() as u64,
            Self::Send { .. } | Self::Close { .. } | Self::SessionEnded { .. } | Self::SysTick => 0,
        }
    }
}

impl Broker {
    /// Lends an answer. Deliveries that waited for it may follow.
    pub(super) fn lend_control(&mut self, control: Control) -> Output<'_> {
        if let Control::Send { link, packet } = &control {
            self.let_deliveries_follow(*link, packet);
        }
        match self.lent_control.insert(control) {
            Control::Send { link, packet } => Output::Send { link: *link, packet: packet.lend() },
            Control::Close { link, reason } => Output::Close { link: *link, reason: *reason },
            Control::SessionEnded { client_id } => Output::SessionEnded { client_id },
            Control::SysTick => Output::SysTick,
        }
    }

    fn let_deliveries_follow(&mut self, link: LinkId, answer: &Answer) {
        let is_greeting = match answer {
            Answer::ConnAck { .. } => true,
            Answer::SubAck { .. } => false,
            Answer::Ack(_) | Answer::UnsubAck { .. } | Answer::WillAck { .. } | Answer::Pong => {
                return;
            }
        };
        let Some(key) = self.by_link.get(&link).copied() else { return };
        let Some(link) = &mut self.session(key).link else { return };
        if is_greeting {
            link.greeted = true;
        } else {
            link.subscribing -= 1;
        }
        self.make_ready(key);
    }
}

impl Answer {
    fn lend(&self) -> Outgoing<'_> {
        match self {
            Self::ConnAck { reason, session_present, assigned_client_id, session_expiry_s } => {
                Outgoing::ConnAck(ConnAck {
                    reason: *reason,
                    session_present: *session_present,
                    assigned_client_id: assigned_client_id.as_deref(),
                    session_expiry_s: *session_expiry_s,
                })
            }
            Self::Ack(ack) => Outgoing::Ack(*ack),
            Self::SubAck { id, token, reasons } => {
                Outgoing::SubAck { id: *id, token: *token, reasons }
            }
            Self::UnsubAck { id, token, reasons } => {
                Outgoing::UnsubAck { id: *id, token: *token, reasons }
            }
            Self::WillAck { part, reason } => Outgoing::WillAck { part: *part, reason: *reason },
            Self::Pong => Outgoing::Pong,
        }
    }
}
