//! Listeners: those of the file, those of the command line, and the default ones.

use std::fmt;
use std::net::SocketAddr;

use super::address::{BindAddress, Group, Socket};
use super::problem::{Place, Problem};
use super::sections::{ListenerKeys, SnSettings};
use super::setting::{At, Mistake, Word, clip, one_of};
use super::storage::Durability;
use super::table::{Section, Table};

/// The port of MQTT, and by custom of MQTT-SN over UDP.
const PORT: u16 = 1883;

/// The `[[listener]]` tables of a file; each holds file descriptors for good.
pub(super) const LISTENERS_MAX: usize = 64;

/// The groups that one socket may join; more are refused by Linux unless it is told otherwise.
pub(super) const GROUPS_MAX: usize = 20;

/// One address where clients are served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// What is spoken there, with the settings of that.
    pub kind: ListenerKind,
    /// The address to bind, with the index of its interface where IPv6 needs one; port 0 lets
    /// the system choose.
    pub bind: SocketAddr,
    /// Nobody asked for this very address: leave it out without a word where the host has no
    /// such address, as with ::1 on a host without IPv6.
    pub optional: bool,
    /// Clients are served without a log-in. Beyond loopback the file has to say whether, and
    /// without it there have to be users.
    pub allow_anonymous: bool,
    /// What an acknowledgement to its clients promises; `None`: what the file says for all.
    pub durability: Option<Durability>,
}

/// What is spoken at a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListenerKind {
    /// MQTT over TCP.
    Mqtt,
    /// MQTT-SN over UDP.
    MqttSn(SnListener),
    /// MQTT over WebSocket.
    Ws(WsListener),
}

/// What a listener for WebSocket has besides its address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WsListener {
    /// The origins whose pages may connect; empty = all.
    pub origins: Vec<String>,
}

/// What an MQTT-SN listener has besides its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnListener {
    /// Groups to join, all of the address family of the listener; at most 20.
    pub multicast: Vec<Group>,
    /// How many routers a datagram to a group may cross.
    pub multicast_ttl: u8,
    /// The largest message sent from here, in octets; one client may have a limit of its own.
    pub max_datagram: u16,
}

impl Listener {
    fn new(kind: Kind, socket: Socket, section: &SnSettings) -> Self {
        let kind = match kind {
            Kind::Mqtt => ListenerKind::Mqtt,
            Kind::Ws => ListenerKind::Ws(WsListener::default()),
            Kind::MqttSn => ListenerKind::MqttSn(SnListener {
                multicast: Vec::new(),
                multicast_ttl: 1,
                max_datagram: section.max_datagram,
            }),
        };
        let Socket { address: bind, optional } = socket;
        Self { kind, bind, optional, allow_anonymous: true, durability: None }
    }

    /// Whether there is a group that ADVERTISE can be sent to.
    pub(super) fn has_group(&self) -> bool {
        match &self.kind {
            ListenerKind::Mqtt | ListenerKind::Ws(_) => false,
            ListenerKind::MqttSn(sn) => !sn.multicast.is_empty(),
        }
    }

    /// The word for what is spoken, as in the file.
    pub(super) fn word(&self) -> Kind {
        match self.kind {
            ListenerKind::Mqtt => Kind::Mqtt,
            ListenerKind::MqttSn(_) => Kind::MqttSn,
            ListenerKind::Ws(_) => Kind::Ws,
        }
    }
}

/// What is spoken at a listener, as the file names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Mqtt,
    MqttSn,
    Ws,
}

impl Kind {
    /// The kinds whose names are kept for later versions.
    const LATER: [&str; 3] = ["mqtts", "wss", "mqtt-sn-dtls"];

    /// The option of the command line that names listeners of this kind.
    fn option(self) -> &'static str {
        match self {
            Self::Mqtt => "--mqtt",
            Self::MqttSn => "--mqtt-sn",
            Self::Ws => "--ws",
        }
    }

    /// Whether two kinds cannot have the same port.
    fn shares_ports_with(self, other: Self) -> bool {
        (self == Self::MqttSn) == (other == Self::MqttSn)
    }

    /// The keys that only this kind has.
    const fn own_keys(self) -> &'static [&'static str] {
        match self {
            Self::Mqtt => &[],
            Self::MqttSn => &["multicast", "multicast_ttl", "max_datagram"],
            Self::Ws => &["origins"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mqtt => "mqtt",
            Self::MqttSn => "mqtt-sn",
            Self::Ws => "ws",
        })
    }
}

impl Word for Kind {
    fn expected() -> String {
        one_of(&["mqtt", "mqtt-sn", "ws"])
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        match text {
            "mqtt" => Ok(Self::Mqtt),
            "mqtt-sn" => Ok(Self::MqttSn),
            "ws" => Ok(Self::Ws),
            later if Self::LATER.contains(&later) => Err(Mistake::new(
                format!("\"{later}\" is not in this version"),
                format!("write {}", Self::expected()),
            )),
            other => Err(Mistake::new(
                format!("\"{}\" is not known here", clip(other)),
                format!("write {}", Self::expected()),
            )),
        }
    }
}

/// What the rest of the file says that listeners have to fit to.
#[derive(Debug, Clone, Copy)]
pub(super) struct FromAll {
    /// Whether there is somebody who can log in.
    pub(super) has_users: bool,
    /// What an acknowledgement promises, where a listener does not say otherwise.
    pub(super) durability: Durability,
}

/// The listeners of the file. The problems are told in the tables, which are finished.
pub(super) fn from_file(
    tables: Vec<Table<'_>>,
    section: &SnSettings,
    from_all: FromAll,
    problems: &mut Vec<Problem>,
) -> Vec<Listener> {
    let mut listeners: Vec<Listener> = Vec::new();
    let mut places: Vec<Place> = Vec::new();
    for (index, mut table) in tables.into_iter().enumerate() {
        if index == LISTENERS_MAX {
            let right = format!("keep at most {LISTENERS_MAX}");
            table.wrong_itself("there are too many listeners", right);
        }
        let keys = ListenerKeys::read(&mut table);
        let bind = keys.bind.clone();
        check_durability(&mut table, keys.durability.as_ref(), from_all.durability);
        for listener in read(&mut table, keys, section, from_all.has_users) {
            let at = bind.as_ref().map_or(0, |bind| bind.at);
            match twin(&listeners, &listener) {
                Some(index) => table.wrong(
                    at,
                    "bind",
                    format!("{} is bound already at {}", listener.bind, places[index]),
                    "write another address, or drop one of the two",
                ),
                None => {
                    places.push(table.source().place(at));
                    listeners.push(listener);
                }
            }
        }
        problems.extend(table.finish());
    }
    listeners
}

/// The listener that has the address already, if there is one: MQTT-SN has ports of its own. With
/// port 0 every socket gets its own.
fn twin(listeners: &[Listener], new: &Listener) -> Option<usize> {
    let same = |old: &Listener| old.word().shares_ports_with(new.word()) && old.bind == new.bind;
    listeners.iter().position(same).filter(|_| new.bind.port() != 0)
}

/// What one `[[listener]]` means: a listener for each of its addresses.
fn read(
    table: &mut Table<'_>,
    keys: ListenerKeys,
    section: &SnSettings,
    has_users: bool,
) -> Vec<Listener> {
    let kind = table.require("kind", keys.kind, "write kind = \"mqtt\", \"mqtt-sn\" or \"ws\"");
    let bind =
        table.require("bind", keys.bind, "write bind = \"127.0.0.1:1883\" or another address");
    let (Some(kind), Some(bind)) = (kind, bind) else { return Vec::new() };
    let kind = kind.value;
    let has_log_in = has_users && kind != Kind::MqttSn;
    let allowed = keys.allow_anonymous.as_ref();
    check_anonymous(table, kind, &bind, allowed, has_log_in);
    let allow_anonymous = allowed.is_none_or(|allowed| allowed.value);
    for other in [Kind::MqttSn, Kind::Ws].into_iter().filter(|other| *other != kind) {
        for key in other.own_keys() {
            if let Some(at) = table.given(key) {
                let what =
                    format!("this key is for kind = \"{other}\", and the kind is \"{kind}\"");
                table.wrong(at, key, what, "leave it out, or change the kind");
            }
        }
    }
    if kind == Kind::MqttSn {
        check_groups(table, &bind.value, &keys.multicast);
    }
    let settings = |socket: &Socket| match kind {
        Kind::Mqtt => ListenerKind::Mqtt,
        Kind::MqttSn => ListenerKind::MqttSn(SnListener {
            multicast: groups_of(&keys.multicast, socket),
            multicast_ttl: keys.multicast_ttl,
            max_datagram: keys.max_datagram.unwrap_or(section.max_datagram),
        }),
        Kind::Ws => ListenerKind::Ws(WsListener {
            origins: keys.origins.iter().map(ToString::to_string).collect(),
        }),
    };
    let durability = keys.durability.map(|durability| durability.value);
    let sockets = bind.value.sockets.into_iter();
    let listener = |socket| {
        let kind_settings = settings(&socket);
        let common = Listener::new(kind, socket, section);
        Listener { kind: kind_settings, allow_anonymous, durability, ..common }
    };
    sockets.map(listener).collect()
}

/// A listener beyond loopback serves whoever can reach it, or users only: the file must say which
/// on it. Users only needs users, and a protocol that has them.
fn check_anonymous(
    table: &mut Table<'_>,
    kind: Kind,
    bind: &At<BindAddress>,
    allowed: Option<&At<bool>>,
    has_log_in: bool,
) {
    const EVERYBODY: &str = "write allow_anonymous = true under this [[listener]] to serve \
                             everybody who can reach it";
    match allowed {
        Some(At { value: true, .. }) => {}
        Some(At { value: false, .. }) if has_log_in => {}
        Some(At { value: false, at }) => {
            let (what, users) = match kind {
                Kind::MqttSn => ("false would serve nobody: MQTT-SN has no user names", ""),
                Kind::Mqtt | Kind::Ws => {
                    ("false would serve nobody: there is no [[user]]", "add a [[user]], or ")
                }
            };
            let right = if is_open(&bind.value) {
                format!("{users}{EVERYBODY}")
            } else {
                format!("{users}leave it out: only this machine can connect")
            };
            table.wrong(*at, "allow_anonymous", what, right);
        }
        None if is_open(&bind.value) => {
            let users = "write allow_anonymous = false under this [[listener]] to serve users \
                         only, or ";
            let right = format!("{}{EVERYBODY}", if has_log_in { users } else { "" });
            table.wrong(bind.at, "bind", open_text(&bind.value), right);
        }
        None => {}
    }
}

/// A listener cannot promise what nothing is kept for.
fn check_durability(table: &mut Table<'_>, own: Option<&At<Durability>>, of_all: Durability) {
    if let Some(At { value: Durability::Disk, at }) = own
        && of_all == Durability::Memory
    {
        let what = "the file says durability = \"memory\", so nothing is kept on disk";
        let right = "leave it out, or move durability = \"memory\" to the other listeners";
        table.wrong(*at, "durability", what, right);
    }
}

fn is_open(bind: &BindAddress) -> bool {
    bind.sockets.iter().any(|socket| !socket.address.ip().is_loopback())
}

fn open_text(bind: &BindAddress) -> String {
    format!("{bind} can be reached from other machines, and nothing says who may come in")
}

fn check_groups(table: &mut Table<'_>, bind: &BindAddress, groups: &[At<Group>]) {
    for (index, group) in groups.iter().enumerate() {
        let At { value, at } = group;
        if index == GROUPS_MAX {
            let what = format!("there are {} groups", groups.len());
            table.wrong(*at, "multicast", what, format!("write at most {GROUPS_MAX}"));
            return;
        }
        if groups[..index].iter().any(|earlier| earlier.value == *value) {
            table.wrong(*at, "multicast", format!("{value} stands here twice"), "keep one of them");
        } else if !bind.sockets.iter().any(|socket| joins(socket, value)) {
            let (own, other) =
                if value.address.is_ipv4() { ("IPv4", "IPv6") } else { ("IPv6", "IPv4") };
            table.wrong(
                *at,
                "multicast",
                format!("{value} is an {own} group, and {bind} an {other} address"),
                format!("name an {other} group, or add a [[listener]] with an {own} address"),
            );
        }
    }
}

fn joins(socket: &Socket, group: &Group) -> bool {
    socket.address.is_ipv4() == group.address.is_ipv4()
}

fn groups_of(groups: &[At<Group>], socket: &Socket) -> Vec<Group> {
    groups.iter().map(|group| group.value).filter(|group| joins(socket, group)).collect()
}

/// The listeners of one kind: those of the command line, else those of the file, else, where the
/// file has none of any kind, the default ones.
///
/// An address of the command line that the file has too keeps the settings of the file, and with
/// them the leave to be open. `others` are the listeners of other kinds.
pub(super) fn of_kind(
    kind: Kind,
    typed: &[String],
    file: &[Listener],
    others: &[Listener],
    section: &SnSettings,
    problems: &mut Vec<Problem>,
) -> Vec<Listener> {
    let in_file = || file.iter().filter(|listener| listener.word() == kind);
    // WebSocket has no address by default.
    if typed.is_empty() && (!file.is_empty() || kind == Kind::Ws) {
        return in_file().cloned().collect();
    }
    let mut tell = |what, right| {
        let key = kind.option().into();
        problems.push(Problem { place: Place::CommandLine, key, what, right });
    };
    let mut binds = Vec::new();
    for text in typed {
        match BindAddress::parse(text) {
            Ok(bind) => binds.push(bind),
            Err(Mistake { what, right }) => tell(what, right),
        }
    }
    if typed.is_empty() {
        binds.push(BindAddress::loopback(PORT));
    }
    let mut listeners: Vec<Listener> = Vec::new();
    for bind in binds {
        let known =
            |socket: &Socket| in_file().find(|listener| listener.bind == socket.address).cloned();
        if is_open(&bind) && bind.sockets.iter().any(|socket| known(socket).is_none()) {
            let right = format!(
                "put a [[listener]] with kind = \"{kind}\", bind = \"{bind}\" and \
                 allow_anonymous = true into a file and start with --config FILE"
            );
            tell(open_text(&bind), right);
        }
        for socket in &bind.sockets {
            let listener = known(socket).unwrap_or_else(|| Listener::new(kind, *socket, section));
            if twin(&listeners, &listener).is_some() {
                tell(format!("{} is given twice", listener.bind), "give it once".into());
            } else if let Some(index) = twin(others, &listener) {
                let what = format!("{} is that of {} already", listener.bind, others[index].word());
                tell(what, "give another address".into());
            }
            listeners.push(listener);
        }
    }
    listeners
}
