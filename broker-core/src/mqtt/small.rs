//! The small packets of a client: PUBACK, PUBREC, PUBREL, PUBCOMP, DISCONNECT, AUTH.
//!
//! In MQTT 5.0 all of them end early where there is nothing more to say: without properties, and
//! without a reason code if that is success.

use super::codes;
use super::error::Fault;
use super::property;
use super::read::Reader;
use super::version::Version;
use crate::api::{Ack, AckKind, Disconnect};
use crate::property::Property;
use crate::reason::ReasonCode;

/// Reads PUBACK, PUBREC, PUBREL or PUBCOMP.
#[inline]
pub(super) fn ack(kind: AckKind, body: &[u8], version: Version) -> Result<Ack, Fault> {
    let mut reader = Reader::new(body);
    let id = reader.packet_id()?;
    let mut reason = ReasonCode::Success;
    if version == Version::V5 && !reader.is_empty() {
        reason = read_reason(&mut reader, |reason| codes::is_of_ack(kind, reason))?;
        if !reader.is_empty() {
            property::read(&mut reader, &property::ACK, |_| {})?;
        }
    }
    reader.end()?;
    Ok(Ack { kind, id, reason, token: 0 })
}

/// Reads DISCONNECT. `session_expiry_s` is that of CONNECT.
pub(super) fn disconnect(
    body: &[u8],
    version: Version,
    session_expiry_s: u32,
) -> Result<Disconnect, Fault> {
    let mut reader = Reader::new(body);
    let mut reason = ReasonCode::Success;
    let mut new_expiry_s = None;
    if version == Version::V5 && !reader.is_empty() {
        reason = read_reason(&mut reader, codes::is_of_client_disconnect)?;
        if !reader.is_empty() {
            property::read(&mut reader, &property::DISCONNECT, |property| {
                if let Property::SessionExpiryInterval(seconds) = property {
                    new_expiry_s = Some(seconds);
                }
            })?;
        }
    }
    reader.end()?;
    if session_expiry_s == 0 && new_expiry_s.is_some_and(|seconds| seconds > 0) {
        return Err(Fault::ExpiryRaised);
    }
    Ok(Disconnect { reason, keep_will: false, session_expiry_s: new_expiry_s })
}

/// An AUTH as it was received.
#[derive(Debug)]
pub(super) struct Auth<'a> {
    pub(super) reason: ReasonCode,
    pub(super) method: &'a str,
    pub(super) data: Option<&'a [u8]>,
}

/// Reads AUTH: a client continues or begins anew [MQTT5-3.15.2-1], and names its method either way
/// [MQTT5-4.12.0-5]. One without a body would be the success that only servers tell.
pub(super) fn auth(body: &[u8]) -> Result<Auth<'_>, Fault> {
    let mut reader = Reader::new(body);
    if reader.is_empty() {
        return Err(Fault::BadReasonCode(ReasonCode::Success as u8));
    }
    let reason = read_reason(&mut reader, codes::is_of_client_auth)?;
    let (mut method, mut data) = (None, None);
    if !reader.is_empty() {
        property::read(&mut reader, &property::AUTH, |property| {
            if let Property::AuthenticationMethod(name) = property {
                method = Some(name);
            } else if let Property::AuthenticationData(octets) = property {
                data = Some(octets);
            }
        })?;
    }
    reader.end()?;
    let method = method.ok_or(Fault::AuthenticationMethod)?;
    Ok(Auth { reason, method, data })
}

fn read_reason(
    reader: &mut Reader<'_>,
    is_of_packet: impl FnOnce(ReasonCode) -> bool,
) -> Result<ReasonCode, Fault> {
    let octet = reader.u8("reason code")?;
    ReasonCode::from_u8(octet)
        .filter(|reason| is_of_packet(*reason))
        .ok_or(Fault::BadReasonCode(octet))
}
