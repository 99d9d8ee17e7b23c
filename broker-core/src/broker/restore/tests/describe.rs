//! What is kept of a broker, in words: read from memory, with no record in sight.

use crate::Broker;
use crate::api::QoS;
use crate::broker::record::to_unix;
use crate::key::Key;
use crate::message::MessageRef;
use crate::record::NO_SESSION;
use crate::retained::Cursor;
use crate::session::{Session, Stage, StoredWill};
use crate::share::ShareId;
use crate::subscription_ids::IdSet;
use crate::time::UnixMillis;
use crate::topic::TopicFilter;

/// All that is kept of a broker, as if its links were lost now.
pub(super) fn describe(broker: &Broker) -> Vec<String> {
    let is_kept = |session: &Session| session.number != NO_SESSION && session.expiry_s > 0;
    let mut lines = Vec::new();
    for (key, session) in broker.sessions.iter() {
        if is_kept(session) {
            describe_session(broker, key, session, &mut lines);
        }
        describe_will(broker, session, is_kept(session), &mut lines);
    }
    for will in &broker.wills.due {
        let (topic, payload) = (&will.topic, &will.payload);
        lines.push(format!("due {topic:?} {payload:?} {:?} {}", will.qos, will.retain));
    }
    let mut cursor = Cursor::default();
    let all = TopicFilter::new("#").expect("a good filter");
    while let Some(message) = broker.retained.next(all, &mut cursor, &mut 1_000) {
        lines.push(format!("retained {}", describe_message(broker, message)));
    }
    lines.sort();
    lines
}

fn describe_session(
    broker: &Broker,
    key: Key<Session>,
    session: &Session,
    lines: &mut Vec<String>,
) {
    let id = &session.client_id;
    let gone = if session.link.is_some() { broker.now.unix } else { session.gone_since };
    let limits = session.queue.limits();
    let (dialect, expiry) = (session.dialect, session.expiry_s);
    // In MQTT-SN identifiers are left out behind a crash.
    let last = (!dialect.is_sn()).then(|| session.window.last_id());
    lines.push(format!("{id} {dialect} {expiry} {gone:?} {limits:?} #{last:?}"));
    for (node, _) in &session.subscriptions {
        let subscriber = broker.trie.get(*node, key).expect("held on both sides");
        let (filter, options) = (broker.trie.filter(*node), subscriber.options);
        lines.push(format!("{id} to {filter} {options:?} {}", subscriber.identifier));
    }
    for (share, _) in &session.shares {
        let (name, node, member) = broker.shares.get(*share, key).expect("held on both sides");
        let (filter, options) = (broker.trie.filter(node), member.options);
        lines.push(format!("{id} in {name} {filter} {options:?} {}", member.identifier));
    }
    for replay in session.replays.iter().filter(|replay| replay.number != 0) {
        let (filter, next, before) = (&replay.filter, replay.cursor.next(), replay.before);
        let (qos, identifier) = (replay.options.qos, replay.identifier);
        lines.push(format!("{id} replay {filter} {next:?} {before} {qos:?} {identifier}"));
    }
    let waiting = session.queue.iter().filter(|entry| entry.qos > QoS::AtMostOnce);
    for (position, entry) in waiting.enumerate() {
        let message = describe_message(broker, entry.message);
        let by = describe_origin(broker, key, entry.share, entry.ids);
        let (qos, retain) = (entry.qos, entry.retain);
        lines.push(format!("{id} waits {position} {message} {qos:?} {retain} {by}"));
    }
    for (position, entry) in session.window.iter().enumerate() {
        let is_gone = entry.stage == Stage::Released;
        let message = if is_gone { String::new() } else { describe_message(broker, entry.message) };
        let by = describe_origin(broker, key, entry.share, entry.ids);
        let (packet, stage, retain) = (entry.id, entry.stage, entry.retain);
        lines.push(format!("{id} flies {position} {packet:?} {stage:?} {message} {retain} {by}"));
    }
    lines.push(format!("{id} received {:?}", session.received.iter().collect::<Vec<_>>()));
}

fn describe_message(broker: &Broker, message: MessageRef) -> String {
    let message = broker.messages.get(message);
    let expires = to_unix(broker.now, message.expires());
    let (number, topic, qos) = (message.sequence(), message.topic(), message.qos());
    let (payload, retain) = (message.payload(), message.retain());
    let properties = message.properties().as_octets();
    format!("{number} {topic} {payload:?} {qos:?} {retain} {expires:?} {properties:?}")
}

fn describe_origin(broker: &Broker, key: Key<Session>, share: ShareId, ids: IdSet) -> String {
    let member = broker.shares.get(share, key);
    let name = member.map(|(name, node, _)| (name, broker.trie.filter(node)));
    format!("{name:?} {:?}", broker.id_sets.copy(ids))
}

/// A will, as it is once its link is lost.
fn describe_will(broker: &Broker, session: &Session, is_kept: bool, lines: &mut Vec<String>) {
    let Some(will) = &session.will else { return };
    let StoredWill { topic, payload, qos, retain, delay_s, .. } = &**will;
    let is_lost = session.link.is_some() && will.armed;
    let is_due = is_lost && (*delay_s == 0 || !is_kept);
    if let Some(topic) = topic.as_ref().filter(|_| is_due) {
        lines.push(format!("due {topic:?} {payload:?} {qos:?} {retain}"));
    }
    if !is_kept || is_due && !session.dialect.is_sn() {
        return;
    }
    let delayed = UnixMillis(broker.now.unix.0 + u64::from(*delay_s) * 1_000);
    let deadline = match will.timer {
        Some(_) => Some(will.deadline),
        None => Some(delayed).filter(|_| is_lost && !is_due),
    };
    let (id, armed) = (&session.client_id, will.armed && !is_due);
    lines.push(format!("{id} will {topic:?} {payload:?} {qos:?} {retain} {armed} {deadline:?}"));
}
