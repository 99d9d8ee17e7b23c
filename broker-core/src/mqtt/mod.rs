//! MQTT as a server speaks it: versions 3.1, 3.1.1 and 5.0, without I/O.
//!
//! A [`ServerConn`] is one client's connection. Octets go in at [`ServerConn::receive`], which
//! hears [`Incoming`](crate::api::Incoming); [`ServerConn::send`] turns
//! [`Outgoing`](crate::api::Outgoing) into octets. Neither has a buffer: input is borrowed from the
//! caller, output goes to a [`Sink`].
//!
//! ```
//! use broker_core::api::{ConnAck, Incoming, Outgoing};
//! use broker_core::mqtt::{PacketType, Received, Sent, ServerConn, Settings};
//! use broker_core::reason::ReasonCode;
//!
//! let settings = Settings::default();
//! let mut conn = ServerConn::new();
//! let mut out = Vec::new();
//!
//! let connect = b"\x10\x0D\0\x04MQTT\x04\x02\0\x3C\0\x01a";
//! let mut client_id = String::new();
//! let received = conn.receive(&settings, connect, &mut out, |incoming| {
//!     if let Incoming::Connect(connect) = incoming {
//!         client_id.push_str(connect.client_id);
//!     }
//! });
//! assert_eq!(received, Ok(Received::Packet { used: 15, kind: PacketType::Connect }));
//! assert_eq!(client_id, "a");
//!
//! let answer = Outgoing::ConnAck(ConnAck {
//!     reason: ReasonCode::Success,
//!     session_present: false,
//!     assigned_client_id: None,
//!     session_expiry_s: 0,
//! });
//! assert_eq!(conn.send(answer, &mut out), Sent::Packet(PacketType::ConnAck));
//! assert_eq!(out, b"\x20\x02\0\0");
//! ```
//!
//! What a packet has to be is checked here and nowhere behind: what is heard is well-formed and
//! allowed by the protocol at this point. What a packet means, and who may do what, is the
//! broker's.
//!
//! | File | Idea |
//! |---|---|
//! | `server.rs` | the connection: what may come when, limits, what is said at the end |
//! | `frame.rs` | packet types, flags, remaining length: what is refused before it is buffered |
//! | `connect.rs` `publish.rs` `subscribe.rs` `small.rs` | the packets of a client |
//! | `answer.rs` | the packets of a server |
//! | `property.rs` `codes.rs` | which property and which reason code may stand where |
//! | `words.rs` | what is said beside a reason code |
//! | `alias.rs` | topic aliases that a client has set |
//! | `naming.rs` | topic aliases that the server sets |
//! | `read.rs` `write.rs` | fields |
//! | `error.rs` | what can be wrong, and what 5.0 calls it |
//! | `settings.rs` `version.rs` `sink.rs` | what the caller brings |
//!
//! # Differences between the versions
//!
//! MQTT 3.1 is read as 3.1.1 but for this: flags of packets other than PUBLISH and the reserved
//! connect flag are not looked at; DUP at QoS 0 is; a user name or password that the flags announce
//! may be missing; an empty client identifier is refused; an empty SUBSCRIBE passes; CONNACK does
//! not tell of the session; and where 3.1.1 has the return code 0x80 in SUBACK, 3.1 is told
//! "granted QoS 0", for it has no word for no. Its strings have to be well-formed UTF-8 as in the
//! later versions.
//!
//! Properties and reason codes are dropped on the way to clients before 5.0.

mod alias;
mod answer;
mod codes;
mod connect;
mod error;
mod frame;
mod naming;
mod property;
mod publish;
mod read;
mod server;
mod settings;
mod sink;
mod small;
mod subscribe;
mod version;
mod words;
mod write;

pub use error::{Fault, Field, Violation};
pub use frame::PacketType;
pub use server::{Received, Sent, ServerConn};
pub use settings::{Features, Redirect, Settings};
pub use sink::Sink;
pub use version::Versions;
