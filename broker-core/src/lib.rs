//! The MQTT broker as a pure function of inputs and time.
//!
//! [`Broker`] owns all truth: sessions, subscriptions, messages, retained messages, wills. It knows
//! no socket, file, thread or clock; whoever drives it brings those and says what time it is. So
//! the same code serves sensors in production, a million of them in a simulation, and the fuzzer.
//! Who talks to it needs nothing beyond the standards [MQTT-7.0.0-2].
//!
//! # The contract
//!
//! Three kinds of methods: `handle…`, `lost` and `set_…` are inputs and do a bounded amount of work
//! each; [`Broker::poll_output`] lends one output at a time; the rest are getters.
//!
//! * **Drain, but stop where you like.** After inputs, call `poll_output` until it returns `None`,
//!   or until you have had enough for now: answers stand in a queue, deliveries are made on demand
//!   for links with credit. Nothing is lost, the order on each link is kept, and the memory for
//!   outputs is bounded by the inputs.
//! * **Time.** Call [`Broker::handle_timeout`] when [`Broker::next_timeout`] says so. A moment that
//!   has passed means that there is more to do at once.
//! * **Credit.** A link that cannot take more is paused with [`Broker::set_credit`]; what is for it
//!   waits, bounded, in its session. A slow reader, a sleeping sensor and a full window are the
//!   same.
//! * **Durability.** With [`Durability::Gated`](limits::Durability::Gated), [`Broker::take_journal`]
//!   gives the changes of a turn, to be stored together; answers that promise something, and
//!   messages of QoS 2, wait for [`Broker::committed`] to say that they are. After a restart
//!   [`Broker::restore`] takes what was stored. With
//!   [`Durability::Memory`](limits::Durability::Memory) nothing is kept and nothing waits.
//!
//! ```
//! use broker_core::Broker;
//! use broker_core::api::*;
//! use broker_core::limits::{BrokerConfig, Durability, Limits};
//! use broker_core::property::Properties;
//! use broker_core::time::Now;
//! use broker_core::topic::{TopicFilter, TopicName};
//!
//! let mut broker = Broker::new(
//!     BrokerConfig {
//!         limits: Limits::default(),
//!         durability: Durability::Memory,
//!         validate_payload_format: false,
//!         shares: Default::default(),
//!         sys_interval: None,
//!         version: "example".into(),
//!         seed: 1,
//!     },
//!     Now::default(),
//! );
//! let (link, now) = (LinkId(1), Now::from_millis(5));
//! let queue = QueueLimits {
//!     messages_max: 100,
//!     bytes_max: 1 << 20,
//!     paused_qos0_messages_max: 100,
//!     overflow: Overflow::RejectNew,
//! };
//! broker.handle(now, link, Incoming::Connect(Connect {
//!     dialect: Dialect::Mqtt311,
//!     client_id: "sensor",
//!     clean_start: true,
//!     session_expiry_s: 0,
//!     keep_alive: None,
//!     will: ConnectWill::None,
//!     will_on_takeover: true,
//!     user_name: None,
//!     password: None,
//!     credit: Credit::Window(20),
//!     queue,
//!     durability: Durability::Memory,
//!     properties: Properties::EMPTY,
//! }));
//! let filter = TopicFilter::new("+/temperature")?;
//! let requests = [SubscribeRequest { filter, options: SubscriptionOptions::default() }];
//! let subscribe = Subscribe { id: PacketId(1), token: 0, identifier: 0, requests: &requests };
//! broker.handle(now, link, Incoming::Subscribe(subscribe));
//! broker.handle(now, link, Incoming::Publish(Publish {
//!     topic: TopicName::new("barn/temperature")?,
//!     payload: Payload::Borrowed(b"21.5"),
//!     qos: QoS::AtMostOnce,
//!     retain: false,
//!     dup: false,
//!     id: PacketId(0),
//!     token: 0,
//!     properties: Properties::EMPTY,
//! }));
//!
//! let mut heard = Vec::new();
//! while let Some(Output::Send { packet, .. }) = broker.poll_output() {
//!     heard.push(match packet {
//!         Outgoing::ConnAck(ack) => format!("connected: {}", ack.reason),
//!         Outgoing::SubAck { .. } => "subscribed".to_owned(),
//!         Outgoing::Publish(delivery) => format!("{:?}", delivery.message.payload()),
//!         other => format!("{other:?}"),
//!     });
//! }
//! assert_eq!(heard, ["connected: success", "subscribed", "[50, 49, 46, 53]"]);
//! # Ok::<(), broker_core::topic::TopicError>(())
//! ```
//!
//! # The map
//!
//! | Module | Idea |
//! |---|---|
//! | [`api`] | the vocabulary: what links say and hear |
//! | `broker` | the machine, a file per concern |
//! | `session` | one client: queue, window, what it sent and did not release |
//! | [`share`] | shared subscriptions: who of a group gets a message |
//! | [`topic`], `trie`, `retained` | names and filters, subscribers, last message of a topic |
//! | [`journal`], `record` | what survives a restart, as octets |
//! | [`message`], [`property`], [`reason`] | what is carried |
//! | [`mqtt`] | the wire of MQTT 3.1, 3.1.1 and 5.0 |
//! | [`auth`], [`users`], [`scram`] | who may come in |
//! | [`limits`], [`stats`] | every bound, every counter |
//! | [`time`], [`timer`], [`key`], [`hash`] | tools |
#![forbid(unsafe_code)]

pub mod api;
pub mod auth;
mod broker;
pub mod hash;
pub mod journal;
pub mod key;
pub mod limits;
pub mod message;
pub mod mqtt;
pub mod property;
pub mod reason;
mod record;
mod retained;
pub mod scram;
mod session;
pub mod share;
pub mod stats;
mod subscription_ids;
pub mod time;
pub mod timer;
pub mod topic;
mod trie;
pub mod users;

pub use broker::{Broker, RestoreError, RestoreReport, SnapshotCursor};
