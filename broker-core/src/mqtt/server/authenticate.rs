//! AUTH: a client shows who it is, before the broker hears of it or again later (MQTT 5.0).
//!
//! CONNECT with a method → AUTH 0x18 back and forth → CONNACK; and on a live connection AUTH 0x19 →
//! AUTH 0x18 back and forth → AUTH 0x00. Whoever fails is told why and gone: [MQTT5-4.12.0-4],
//! [MQTT5-4.12.1-2].

use super::{Phase, ServerConn};
use crate::api::{Connect, Incoming};
use crate::auth::{Exchange, Gate, Step};
use crate::mqtt::answer;
use crate::mqtt::connect::{self, Protocol};
use crate::mqtt::error::Fault;
use crate::mqtt::read::Reader;
use crate::mqtt::settings::Settings;
use crate::mqtt::sink::Sink;
use crate::mqtt::small;
use crate::reason::ReasonCode;

/// How a client shows who it is.
#[derive(Debug)]
pub(super) struct Authentication {
    /// That of CONNECT; no other one may be named later [MQTT5-4.12.0-5], [MQTT5-4.12.1-1].
    method: Box<str>,
    /// What is under way.
    exchange: Option<Exchange>,
    /// Who it is, once that was shown. Nobody becomes somebody else later.
    user: Option<Box<str>>,
    /// The body of CONNECT, which waits for the first exchange to end.
    connect: Box<[u8]>,
    /// What CONNACK tells.
    data: Vec<u8>,
}

impl Authentication {
    /// Method and data for CONNACK.
    pub(super) fn last_words(&self) -> (&str, &[u8]) {
        (&self.method, &self.data)
    }

    /// Octets held on the heap, this struct included; of an exchange about as many.
    pub(super) fn memory(&self) -> usize {
        const PER_EXCHANGE: usize = 512;
        let exchange = if self.exchange.is_some() { PER_EXCHANGE } else { 0 };
        size_of::<Self>() + self.method.len() + self.connect.len() + self.data.capacity() + exchange
    }
}

impl ServerConn {
    pub(super) fn authentication(&self) -> Option<&Authentication> {
        self.extras.as_ref()?.authentication.as_deref()
    }

    /// CONNECT names a method. `accept` hears who the client is if that is clear at once; otherwise
    /// its body is kept until it is.
    pub(super) fn begin_authentication(
        &mut self,
        gate: Gate<'_>,
        method: &str,
        data: Option<&[u8]>,
        connect: &[u8],
        out: &mut impl Sink,
        accept: impl FnOnce(&str),
    ) -> Result<(), Fault> {
        let step = gate.authenticator.begin(method, data).map_err(Fault::NotAuthenticated)?;
        let mut authentication = Box::new(Authentication {
            method: method.into(),
            exchange: None,
            user: None,
            connect: Box::default(),
            data: Vec::new(),
        });
        match step {
            Step::Challenge { data, exchange } => {
                self.say_auth(ReasonCode::ContinueAuthentication, method, &data, out)?;
                authentication.exchange = Some(exchange);
                authentication.connect = connect.into();
                self.phase = Phase::Authenticating;
            }
            Step::Done { user, data } => {
                authentication.data = data;
                accept(&user);
                authentication.user = Some(user);
            }
        }
        self.extras.get_or_insert_default().authentication = Some(authentication);
        Ok(())
    }

    /// An AUTH of the client: a step of what is under way, or the beginning of another exchange on
    /// a live connection. Everything else is out of order [MQTT5-4.12.0-3], [MQTT5-4.12.0-7].
    pub(super) fn authenticate(
        &mut self,
        settings: &Settings,
        gate: Gate<'_>,
        body: &[u8],
        out: &mut impl Sink,
        hear: impl FnOnce(Incoming<'_>),
    ) -> Result<(), Fault> {
        let auth = small::auth(body)?;
        let extras = self.extras.as_mut().ok_or(Fault::NoAuthentication)?;
        let authentication = extras.authentication.as_mut().ok_or(Fault::NoAuthentication)?;
        if auth.method != &*authentication.method {
            return Err(Fault::AuthenticationMethod);
        }
        let begins_anew = auth.reason == ReasonCode::ReAuthenticate;
        let step = match (authentication.exchange.take(), begins_anew) {
            (Some(exchange), false) => gate.authenticator.go_on(exchange, auth.data),
            (None, true) if self.phase == Phase::Connected => {
                gate.authenticator.begin(auth.method, auth.data)
            }
            (Some(_), true) | (None, _) => return Err(Fault::NoAuthentication),
        };
        match step.map_err(Fault::NotAuthenticated)? {
            Step::Challenge { data, exchange } => {
                authentication.exchange = Some(exchange);
                self.say_auth(ReasonCode::ContinueAuthentication, auth.method, &data, out)
            }
            Step::Done { user, data } if self.phase == Phase::Authenticating => {
                authentication.data = data;
                let connect = core::mem::take(&mut authentication.connect);
                let user_name = &**authentication.user.insert(user);
                self.phase = Phase::Connecting;
                replay(&connect, user_name, settings, hear)
            }
            Step::Done { user, data } if authentication.user.as_deref() == Some(&*user) => {
                self.say_auth(ReasonCode::Success, auth.method, &data, out)
            }
            Step::Done { .. } => Err(Fault::NotAuthenticated(ReasonCode::NotAuthorized)),
        }
    }

    fn say_auth(
        &self,
        reason: ReasonCode,
        method: &str,
        data: &[u8],
        out: &mut impl Sink,
    ) -> Result<(), Fault> {
        let max = self.outbound_bytes_max;
        answer::auth(reason, method, data, max, out).map_err(|size| Fault::TooLarge { size, max })
    }
}

/// Lets the broker hear a CONNECT that has waited.
fn replay(
    connect: &[u8],
    user_name: &str,
    settings: &Settings,
    hear: impl FnOnce(Incoming<'_>),
) -> Result<(), Fault> {
    let mut reader = Reader::new(connect);
    let protocol = Protocol::read(&mut reader)?;
    let request = connect::decode(reader, protocol.version, settings)?;
    hear(Incoming::Connect(Connect { user_name: Some(user_name), ..request.connect }));
    Ok(())
}
