//! Who a client is: what a connection asks before the broker hears of it.
//!
//! A client shows who it is with a user name and a password in CONNECT, or in an exchange of AUTH
//! packets (MQTT 5.0). Both are questions to an [`Authenticator`], which answers at once and
//! without I/O; the connection keeps the state between two steps of an exchange and everything that
//! the protocol wants of it.

use crate::reason::ReasonCode;
use crate::scram;
use crate::time::Instant;

/// Knows who may come in.
pub trait Authenticator: core::fmt::Debug {
    /// Judges the user name and the password of a CONNECT without an authentication method.
    ///
    /// # Errors
    /// What the client is told in CONNACK: [`ReasonCode::BadUserNameOrPassword`],
    /// [`ReasonCode::NotAuthorized`] for one that does not say who it is, or
    /// [`ReasonCode::ServerBusy`] if it should try again.
    fn check(
        &mut self,
        now: Instant,
        user_name: Option<&str>,
        password: Option<&[u8]>,
    ) -> Result<(), ReasonCode>;

    /// Begins an exchange with what the client says first, if it says anything.
    ///
    /// # Errors
    /// [`ReasonCode::BadAuthenticationMethod`] for a method that is not served
    /// [MQTT5-4.12.0-1], else [`ReasonCode::NotAuthorized`].
    fn begin(&mut self, method: &str, data: Option<&[u8]>) -> Result<Step, ReasonCode>;

    /// Goes on with what the client says next.
    ///
    /// # Errors
    /// [`ReasonCode::NotAuthorized`]: it is not who it says, or does not keep to the method.
    fn go_on(&mut self, exchange: Exchange, data: Option<&[u8]>) -> Result<Step, ReasonCode>;
}

/// An exchange between two steps.
pub type Exchange = scram::Exchange;

/// What a step of an exchange comes to.
#[derive(Debug)]
pub enum Step {
    /// The client is to be told this and to go on.
    Challenge {
        /// What it is told.
        data: Vec<u8>,
        /// What is known so far.
        exchange: Exchange,
    },
    /// The client is who it says.
    Done {
        /// Who.
        user: Box<str>,
        /// What it is told with the good news.
        data: Vec<u8>,
    },
}

/// Whom a connection asks, and when.
#[derive(Debug)]
pub struct Gate<'a> {
    /// Whom.
    pub authenticator: &'a mut dyn Authenticator,
    /// The present time: what costs work is only done so often.
    pub now: Instant,
}

/// Lets everybody in and serves no method.
#[derive(Clone, Copy, Debug, Default)]
pub struct Everybody;

impl Authenticator for Everybody {
    fn check(
        &mut self,
        _now: Instant,
        _user_name: Option<&str>,
        _password: Option<&[u8]>,
    ) -> Result<(), ReasonCode> {
        Ok(())
    }

    fn begin(&mut self, _method: &str, _data: Option<&[u8]>) -> Result<Step, ReasonCode> {
        Err(ReasonCode::BadAuthenticationMethod)
    }

    fn go_on(&mut self, _exchange: Exchange, _data: Option<&[u8]>) -> Result<Step, ReasonCode> {
        Err(ReasonCode::NotAuthorized)
    }
}
