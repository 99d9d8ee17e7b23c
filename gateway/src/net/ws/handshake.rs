//! The opening handshake (RFC 6455, section 4): an HTTP request that becomes a WebSocket.
//!
//! Any path is taken, and any header that is not looked at here is of no matter. Extensions are
//! never agreed upon, compression included: nothing beyond the standards is needed to talk
//! [MQTT-7.0.0-2].

use std::fmt;
use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use httparse::{EMPTY_HEADER, Header, Request};
use sha1_smol::Sha1;

/// Octets of a request; browsers send one to two thousand, cookies included.
pub const HEAD_BYTES_MAX: usize = 8 << 10;

/// Header lines of a request.
pub const HEADERS_MAX: usize = 64;

/// What ends a request.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// What every request for a WebSocket begins with.
const METHOD: &[u8] = b"GET ";

/// Appended to the key of a client before it is hashed (1.3).
const KEY_SALT: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Octets of a key.
const KEY_BYTES: usize = 16;

/// The version of WebSocket that RFC 6455 describes; there is no other.
const VERSION: &[u8] = b"13";

/// The subprotocols that are served, the preferred one first: the standard's name [MQTT-6.0.0-4],
/// and the one that clients had before there was a standard.
const SUBPROTOCOLS: [&str; 2] = ["mqtt", "mqttv3.1"];

/// Who may come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The origins whose pages may connect; empty = all. Only browsers say where they come from,
    /// and whoever does not say is no browser and may come.
    pub origins: Vec<String>,
    /// The largest frame that is taken from a client, in octets.
    pub frame_bytes_max: u64,
}

/// Why a request did not become a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is not HTTP.
    NotHttp,
    /// It is HTTP, but not a GET.
    Method,
    /// HTTP/1.0.
    HttpVersion,
    /// More than 8 KiB, or 64 lines.
    TooLarge,
    /// No `Host`, or two.
    Host,
    /// It does not ask for a WebSocket.
    Upgrade,
    /// Another version of WebSocket.
    Version,
    /// No `Sec-WebSocket-Key`, two of them, or one that is not 16 octets in base64.
    Key,
    /// It offers no subprotocol of ours.
    Subprotocol,
    /// The page that it comes from may not connect.
    Origin,
}

impl Refusal {
    /// The status line, and headers that belong to it.
    const fn status(self) -> &'static str {
        match self {
            Self::NotHttp | Self::HttpVersion | Self::Host | Self::Key | Self::Subprotocol => {
                "400 Bad Request"
            }
            Self::Origin => "403 Forbidden",
            Self::Method => "405 Method Not Allowed\r\nAllow: GET",
            Self::Upgrade => "426 Upgrade Required\r\nUpgrade: websocket",
            Self::Version => {
                "426 Upgrade Required\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"
            }
            Self::TooLarge => "431 Request Header Fields Too Large",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotHttp => "this is not an HTTP request",
            Self::Method => "a WebSocket begins with GET",
            Self::HttpVersion => "a WebSocket needs HTTP/1.1",
            Self::TooLarge => "the request is too large",
            Self::Host => "the request needs one Host",
            Self::Upgrade => "this address serves MQTT over WebSocket",
            Self::Version => "the version of WebSocket must be 13",
            Self::Key => "the request needs one Sec-WebSocket-Key of 16 octets",
            Self::Subprotocol => "the subprotocol mqtt must be offered",
            Self::Origin => "pages of this origin may not connect",
        })
    }
}

/// A request as far as it has come.
#[derive(Debug)]
pub(super) struct Handshake {
    policy: Arc<Policy>,
    head: Vec<u8>,
}

/// How far a handshake is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The request is not there as a whole.
    Incomplete,
    /// It is; so many octets of those read last belong to it.
    Done(usize, Result<&'static str, Refusal>),
}

impl Handshake {
    pub(super) const fn new(policy: Arc<Policy>) -> Self {
        Self { policy, head: Vec::new() }
    }

    /// Takes what was read; when the request is whole, the answer is put into `answer`: the
    /// subprotocol that was chosen, or why not.
    ///
    /// Work: the request is looked through for its end once, and parsed once.
    pub(super) fn read(&mut self, octets: &[u8], answer: &mut Vec<u8>) -> Step {
        let before = self.head.len();
        let room = HEAD_BYTES_MAX - before;
        self.head.extend_from_slice(&octets[..octets.len().min(room)]);
        // The end may have begun in what was there before.
        let from = before.saturating_sub(HEAD_END.len() - 1);
        let end = self.head[from..].windows(HEAD_END.len()).position(|four| four == HEAD_END);
        let result = match end {
            Some(at) => {
                self.head.truncate(from + at + HEAD_END.len());
                upgrade(&self.head, &self.policy)
            }
            None => match self.check_beginning() {
                Ok(()) if octets.len() >= room => Err(Refusal::TooLarge),
                Ok(()) => return Step::Incomplete,
                Err(refusal) => Err(refusal),
            },
        };
        let used = self.head.len() - before;
        Step::Done(
            used,
            result.map(|accepted| accepted.put(answer)).inspect_err(|refusal| {
                put_refusal(*refusal, answer);
            }),
        )
    }

    pub(super) const fn memory(&self) -> usize {
        self.head.capacity()
    }

    /// Whoever does not begin like a request for a WebSocket need not be heard to the end: the
    /// wrong port, most of the time.
    fn check_beginning(&self) -> Result<(), Refusal> {
        // Empty lines before a request are of no matter (RFC 9112, 2.2), here as for the parser.
        let is_line_end = |octet: &u8| matches!(octet, b'\r' | b'\n');
        let from = self.head.iter().position(|octet| !is_line_end(octet));
        let head = &self.head[from.unwrap_or(self.head.len())..];
        let len = head.len().min(METHOD.len());
        if head[..len] == METHOD[..len] {
            return Ok(());
        }
        let word = head.split(|octet| *octet == b' ').next().unwrap_or_default();
        if word.len() <= 7 && word.iter().all(u8::is_ascii_uppercase) {
            // Perhaps the beginning of another method.
            return if word.len() < head.len() { Err(Refusal::Method) } else { Ok(()) };
        }
        Err(Refusal::NotHttp)
    }
}

/// A request that becomes a WebSocket.
struct Accepted {
    key: [u8; 24],
    subprotocol: &'static str,
}

impl Accepted {
    fn put(self, answer: &mut Vec<u8>) -> &'static str {
        let mut hash = Sha1::new();
        hash.update(&self.key);
        hash.update(KEY_SALT);
        let accept = BASE64_STANDARD.encode(hash.digest().bytes());
        let subprotocol = self.subprotocol;
        let text = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: {subprotocol}\r\n\r\n"
        );
        answer.extend_from_slice(text.as_bytes());
        subprotocol
    }
}

fn put_refusal(refusal: Refusal, answer: &mut Vec<u8>) {
    let (status, body) = (refusal.status(), format!("{refusal}\n"));
    let text = format!(
        "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Type: text/plain\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    answer.extend_from_slice(text.as_bytes());
}

/// Judges a whole request (4.2.1).
fn upgrade(head: &[u8], policy: &Policy) -> Result<Accepted, Refusal> {
    let mut headers = [EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal::TooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Refusal::NotHttp),
    }
    if request.method != Some("GET") {
        return Err(Refusal::Method);
    }
    if request.version != Some(1) {
        return Err(Refusal::HttpVersion);
    }
    let headers = &*request.headers;
    one(headers, "host").ok_or(Refusal::Host)?;
    if !has_token(headers, "upgrade", "websocket") || !has_token(headers, "connection", "upgrade") {
        return Err(Refusal::Upgrade);
    }
    if one(headers, "sec-websocket-version") != Some(VERSION) {
        return Err(Refusal::Version);
    }
    let key = one(headers, "sec-websocket-key").and_then(valid_key).ok_or(Refusal::Key)?;
    let origin = values(headers, "origin").next();
    if origin.is_some_and(|origin| !policy.admits(origin)) {
        return Err(Refusal::Origin);
    }
    // [MQTT-6.0.0-3]: who does not offer it does not speak MQTT here.
    let offers = |name: &str| {
        tokens(headers, "sec-websocket-protocol").any(|token| token == name.as_bytes())
    };
    let subprotocol =
        SUBPROTOCOLS.into_iter().find(|name| offers(name)).ok_or(Refusal::Subprotocol)?;
    Ok(Accepted { key, subprotocol })
}

impl Policy {
    /// Scheme and host are the same in capitals.
    fn admits(&self, origin: &[u8]) -> bool {
        let is_same = |own: &String| own.as_bytes().eq_ignore_ascii_case(origin);
        self.origins.is_empty() || self.origins.iter().any(is_same)
    }
}

/// A key as it was sent, if it is 16 octets in base64.
fn valid_key(value: &[u8]) -> Option<[u8; 24]> {
    let mut octets = [0; KEY_BYTES + 2];
    let is_valid = BASE64_STANDARD.decode_slice(value, &mut octets) == Ok(KEY_BYTES);
    value.try_into().ok().filter(|_| is_valid)
}

/// The values of all headers with this name.
fn values<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let named = headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    named.map(|header| header.value.trim_ascii())
}

/// The value of a header that must be there once.
fn one<'h>(headers: &'h [Header<'h>], name: &'h str) -> Option<&'h [u8]> {
    let mut values = values(headers, name);
    values.next().filter(|value| !value.is_empty() && values.next().is_none())
}

/// The elements of a header that is a list, which may stand on several lines.
fn tokens<'h>(headers: &'h [Header<'h>], name: &'h str) -> impl Iterator<Item = &'h [u8]> {
    let lists = values(headers, name);
    lists.flat_map(|list| list.split(|octet| *octet == b',')).map(<[u8]>::trim_ascii)
}

fn has_token(headers: &[Header<'_>], name: &str, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token.as_bytes()))
}
