//! What happens in a world: the operations, how they are drawn, and how they are told.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Client identifiers: `c0`, `c1`, …
pub(crate) const CLIENTS: usize = 4;

/// Topics that clients publish to. Two of them have two octets, one has a predefined id in MQTT-SN,
/// one is deeper than allowed, and one is not for clients.
pub(crate) const TOPICS: [&str; 12] = [
    "a",
    "a/b",
    "a/b/c",
    "a//c",
    "b",
    "b/b",
    "xy",
    "/a",
    PREDEFINED,
    "c/long/topic",
    "d/e/e/p/e/r",
    "$SYS/n",
];

/// Operations that follow, so that none begins a whole second after another by itself.
const OPS_MAX: usize = 34;

/// The topic that every MQTT-SN client knows by [`PREDEFINED_ID`].
pub(crate) const PREDEFINED: &str = "p/re";
pub(crate) const PREDEFINED_ID: u16 = 5;

/// Levels of a topic.
pub(crate) const LEVELS_MAX: usize = 5;

const FILTERS: [&str; 24] = [
    "#",
    "+",
    "a",
    "a/#",
    "a/+",
    "+/b",
    "+/+/c",
    "a/b/c",
    "a/+/c",
    "b",
    "b/#",
    "+/+",
    "xy",
    "/a",
    "/+",
    PREDEFINED,
    "p/+",
    "c/+/topic",
    "w/#",
    "w/+",
    "$SYS/#",
    "$SYS/broker/+",
    "+/broker/n",
    "d/e/e/p/e/r/#",
];

/// No two of them match the same topic, so that it can be told by which of them a message came.
const GROUPS: [&str; 4] = ["$share/g/a/#", "$share/g/b/#", "$share/h/c/+/topic", "$share/h/p/re"];

/// What a client speaks in one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    V31,
    V311,
    V5,
    Sn,
}

/// The bounds of a world.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Messages in flight to one client.
    pub(crate) window: u16,
    /// Messages that wait for one client.
    pub(crate) queue: usize,
    /// Messages of QoS 0 that wait for a sensor that takes none at present.
    pub(crate) queue_qos0: usize,
    pub(crate) filters: usize,
    pub(crate) retained: usize,
    /// Whether the journal is written, so that the process may end.
    pub(crate) is_durable: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Will {
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    /// The next two are for 5.0.
    pub(crate) delay_s: u32,
    pub(crate) expiry_s: Option<u32>,
}

#[derive(Clone, Debug)]
pub(crate) struct Connect {
    pub(crate) version: Version,
    pub(crate) is_clean: bool,
    /// For 5.0; in the others the session ends with its connection if it began clean.
    pub(crate) expiry_s: u32,
    pub(crate) has_keep_alive: bool,
    pub(crate) will: Option<Will>,
    /// The next three are for 5.0.
    pub(crate) receive_maximum: u16,
    pub(crate) takes_small_packets: bool,
    pub(crate) aliases: u16,
    /// For MQTT-SN: the client registers all topics at once, so that it is never told of them.
    pub(crate) registers: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) filter: &'static str,
    pub(crate) qos: u8,
    /// The rest is for 5.0.
    pub(crate) no_local: bool,
    pub(crate) as_published: bool,
    pub(crate) handling: u8,
}

#[derive(Clone, Debug)]
pub(crate) struct Publish {
    pub(crate) topic: &'static str,
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) size: Size,
    /// The next two are for 5.0.
    pub(crate) expiry_s: Option<u32>,
    pub(crate) by_alias: bool,
    /// Whether PUBREL follows PUBREC at once.
    pub(crate) releases: bool,
}

/// How much there is in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Empty,
    Small,
    /// More than clients of small packets take.
    Large,
}

/// What a client says in parting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parting {
    Plain,
    /// The next two are for 5.0; others leave plainly.
    WithWill,
    Expiry(u32),
}

/// The number of a client comes first.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Connect(usize, Connect),
    Disconnect(usize, Parting),
    /// The network fails, which nobody notices without a connection.
    Cut(usize),
    /// With a subscription identifier, 0 for none, in 5.0.
    Subscribe(usize, Vec<Subscription>, u32),
    Unsubscribe(usize, &'static str),
    Publish(usize, Publish),
    /// The last publication with DUP, as if its answer was lost.
    Repeat(usize),
    /// PUBREL for the oldest publication that waits for it.
    Release(usize),
    /// QoS −1.
    Unconnected(usize, &'static str, bool),
    /// From now on the client owes its acknowledgements, or gives them all.
    Hold(usize, bool),
    /// One acknowledgement that it owes, of so many; 5.0 may refuse the message.
    Ack(usize, usize, bool),
    /// Also wakes a sensor that sleeps.
    Ping(usize),
    /// For so many seconds.
    Sleep(usize, u16),
    /// The server publishes `$SYS/broker/n`.
    Sys,
    /// So many seconds pass.
    Pass(u64),
    /// The process dies and comes back.
    Restart,
}

/// A world and what happens in it.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) setup: Setup,
    pub(crate) ops: Vec<Op>,
}

/// Most clients connect and subscribe first, and then anything may happen.
pub(crate) fn histories() -> impl Strategy<Value = History> {
    any::<bool>().prop_flat_map(|has_groups| {
        let first = [(); CLIENTS].map(|()| {
            let wants = vec(subscriptions(has_groups), 1..3);
            let connect = prop::option::weighted(0.9, connects());
            (connect, prop::option::weighted(0.7, wants), prop::bool::weighted(0.3))
        });
        let then = vec(prop::option::weighted(0.95, ops(has_groups)), OPS_MAX);
        (setups(has_groups), first, then).prop_map(|(setup, first, then)| {
            let mut ops = Vec::new();
            for (c, (connect, wants, holds)) in first.into_iter().enumerate() {
                ops.extend(connect.map(|connect| Op::Connect(c, connect)));
                ops.extend(wants.map(|wants| Op::Subscribe(c, wants, c as u32)));
                ops.extend(holds.then_some(Op::Hold(c, true)));
            }
            ops.extend(then.into_iter().flatten());
            History { setup, ops }
        })
    })
}

/// With shared subscriptions queues are wide: who gets a message of a group is the broker's choice,
/// so that the model could not tell whose queue is full.
fn setups(has_groups: bool) -> impl Strategy<Value = Setup> {
    let queues = if has_groups { vec![1_000] } else { vec![2, 3, 5, 1_000] };
    (
        select(vec![1, 2, 3, 20]),
        select(queues),
        select(vec![1, 2, 1_000]),
        select(vec![3, 1_000]),
        select(vec![2, 1_000]),
        any::<bool>(),
    )
        .prop_map(move |(window, queue, queue_qos0, filters, retained, is_durable)| Setup {
            window,
            queue,
            queue_qos0: if has_groups { 1_000 } else { queue_qos0 },
            filters,
            retained,
            is_durable,
        })
}

fn ops(has_groups: bool) -> impl Strategy<Value = Op> {
    let client = 0..CLIENTS;
    let ids = select(vec![0, 0, 1, 2, 3]);
    let passes = select(vec![1, 1, 4, 9, 9, 31, 45, 60, 100]);
    prop_oneof![
        3 => (client.clone(), connects()).prop_map(|(c, connect)| Op::Connect(c, connect)),
        1 => (client.clone(), partings()).prop_map(|(c, parting)| Op::Disconnect(c, parting)),
        2 => client.clone().prop_map(Op::Cut),
        5 => (client.clone(), vec(subscriptions(has_groups), 1..3), ids)
            .prop_map(|(c, wants, id)| Op::Subscribe(c, wants, id)),
        1 => (client.clone(), filters(has_groups)).prop_map(|(c, f)| Op::Unsubscribe(c, f)),
        24 => (client.clone(), publications(has_groups))
            .prop_map(|(c, publish)| Op::Publish(c, publish)),
        1 => client.clone().prop_map(Op::Repeat),
        1 => client.clone().prop_map(Op::Release),
        1 => (client.clone(), select(vec!["xy", "/a", PREDEFINED]), any::<bool>())
            .prop_map(|(c, topic, retain)| Op::Unconnected(c, topic, retain)),
        4 => (client.clone(), prop::bool::weighted(0.8)).prop_map(|(c, holds)| Op::Hold(c, holds)),
        5 => (client.clone(), 0..3_usize, prop::bool::weighted(0.1))
            .prop_map(|(c, which, refuses)| Op::Ack(c, which, refuses)),
        3 => client.clone().prop_map(Op::Ping),
        2 => (client, select(vec![10, 100])).prop_map(|(c, s)| Op::Sleep(c, s)),
        1 => Just(Op::Sys),
        2 => passes.prop_map(Op::Pass),
        1 => Just(Op::Restart),
    ]
}

fn connects() -> impl Strategy<Value = Connect> {
    (
        select(vec![
            Version::V31,
            Version::V311,
            Version::V5,
            Version::V5,
            Version::Sn,
            Version::Sn,
        ]),
        prop::bool::weighted(0.15),
        select(vec![0, 60, 1_000, 1_000]),
        prop::bool::weighted(0.3),
        prop::option::weighted(0.5, wills()),
        select(vec![1, 2, 100]),
        prop::bool::weighted(0.2),
        select(vec![0, 1, 10]),
        any::<bool>(),
    )
        .prop_map(
            |(
                version,
                is_clean,
                expiry_s,
                has_keep_alive,
                will,
                receive_maximum,
                small,
                aliases,
                registers,
            )| {
                Connect {
                    version,
                    is_clean,
                    expiry_s,
                    // One that falls silent while it is told of a topic is for the simulator.
                    has_keep_alive: has_keep_alive && (version != Version::Sn || registers),
                    will,
                    receive_maximum,
                    takes_small_packets: small,
                    aliases,
                    registers,
                }
            },
        )
}

fn wills() -> impl Strategy<Value = Will> {
    let expiries = prop::option::weighted(0.3, select(vec![3, 30]));
    (0..3_u8, prop::bool::weighted(0.3), select(vec![0, 0, 4, 31]), expiries)
        .prop_map(|(qos, retain, delay_s, expiry_s)| Will { qos, retain, delay_s, expiry_s })
}

fn partings() -> impl Strategy<Value = Parting> {
    select(vec![Parting::Plain, Parting::WithWill, Parting::Expiry(0), Parting::Expiry(30)])
}

fn filters(has_groups: bool) -> BoxedStrategy<&'static str> {
    // The first ones match most of what is published.
    let plain = prop_oneof![2 => select(FILTERS.to_vec()), 1 => select(FILTERS[..6].to_vec())];
    if has_groups { prop_oneof![plain, select(GROUPS.to_vec())].boxed() } else { plain.boxed() }
}

fn subscriptions(has_groups: bool) -> impl Strategy<Value = Subscription> {
    let options = (0..3_u8, prop::bool::weighted(0.2), any::<bool>(), 0..3_u8);
    (filters(has_groups), options).prop_map(|(filter, (qos, no_local, as_published, handling))| {
        // It would be a protocol error [MQTT5-3.8.3-4].
        let no_local = no_local && !filter.starts_with("$share/");
        Subscription { filter, qos, no_local, as_published, handling }
    })
}

/// With shared subscriptions no message is empty: two of them could not be told apart, and so not
/// who of a group got which.
fn publications(has_groups: bool) -> impl Strategy<Value = Publish> {
    let least = if has_groups { Size::Small } else { Size::Empty };
    let sizes = prop_oneof![1 => Just(least), 12 => Just(Size::Small), 1 => Just(Size::Large)];
    let expiries = prop::option::weighted(0.2, select(vec![3, 8, 30]));
    let retain = prop::bool::weighted(0.3);
    let topics = prop_oneof![1 => select(TOPICS.to_vec()), 1 => select(TOPICS[..5].to_vec())];
    (topics, 0..3_u8, retain, sizes, expiries, any::<bool>(), any::<bool>()).prop_map(
        |(topic, qos, retain, size, expiry_s, by_alias, releases)| Publish {
            topic,
            qos,
            retain,
            size,
            expiry_s,
            by_alias,
            releases,
        },
    )
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.setup)?;
        for (number, op) in self.ops.iter().enumerate() {
            writeln!(f, "{number:3}. {op}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(c, connect) => write!(f, "c{c} connects: {connect}"),
            Self::Disconnect(c, parting) => write!(f, "c{c} leaves: {parting:?}"),
            Self::Cut(c) => write!(f, "c{c} loses its connection"),
            Self::Subscribe(c, wants, id) => {
                write!(f, "c{c} subscribes")?;
                if *id > 0 {
                    write!(f, " as {id}")?;
                }
                wants.iter().try_for_each(|want| write!(f, ", {want}"))
            }
            Self::Unsubscribe(c, filter) => write!(f, "c{c} unsubscribes from {filter}"),
            Self::Publish(c, publish) => write!(f, "c{c} publishes {publish}"),
            Self::Repeat(c) => write!(f, "c{c} repeats its last publication"),
            Self::Release(c) => write!(f, "c{c} sends the PUBREL that it owes"),
            Self::Unconnected(c, topic, retain) => {
                write!(f, "c{c} publishes {topic} QoS -1{}", flag(*retain, " RETAIN"))
            }
            Self::Hold(c, true) => write!(f, "c{c} acknowledges nothing from now on"),
            Self::Hold(c, false) => write!(f, "c{c} acknowledges everything from now on"),
            Self::Ack(c, which, refuses) => {
                write!(f, "c{c} acknowledges no. {which}{}", flag(*refuses, " with a refusal"))
            }
            Self::Ping(c) => write!(f, "c{c} pings"),
            Self::Sleep(c, seconds) => write!(f, "c{c} sleeps for {seconds} s"),
            Self::Sys => write!(f, "the server publishes $SYS/broker/n"),
            Self::Pass(seconds) => write!(f, "{seconds} s pass"),
            Self::Restart => write!(f, "the process dies and comes back"),
        }
    }
}

impl fmt::Display for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}{}", self.version, flag(self.is_clean, " clean"))?;
        f.write_str(flag(self.has_keep_alive, " keep-alive"))?;
        match self.version {
            Version::V5 => {
                write!(f, " expiry {} receive max {}", self.expiry_s, self.receive_maximum)?;
                write!(f, " aliases {}", self.aliases)?;
                f.write_str(flag(self.takes_small_packets, " small packets"))?;
            }
            Version::Sn => f.write_str(flag(self.registers, " registers all"))?,
            Version::V31 | Version::V311 => {}
        }
        self.will.as_ref().map_or(Ok(()), |will| write!(f, ", {will:?}"))
    }
}

impl fmt::Display for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { filter, qos, no_local, as_published, handling } = self;
        write!(f, "{filter} QoS {qos}{}", flag(*no_local, " no-local"))?;
        f.write_str(flag(*as_published, " as-published"))?;
        write!(f, " handling {handling}")
    }
}

impl fmt::Display for Publish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, qos, retain, size, expiry_s, by_alias, releases } = self;
        write!(f, "{topic} QoS {qos}{} {size:?}", flag(*retain, " RETAIN"))?;
        if let Some(expiry_s) = expiry_s {
            write!(f, " expiry {expiry_s}")?;
        }
        f.write_str(flag(*by_alias, " by alias"))?;
        f.write_str(flag(*qos == 2 && !*releases, ", PUBREL later"))
    }
}

const fn flag(is_set: bool, text: &str) -> &str {
    if is_set { text } else { "" }
}
