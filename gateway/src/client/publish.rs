//! `mqtt-sn-gw pub`: publishes, and ends when all of it is acknowledged.

use std::process::ExitCode;
use std::time::Duration;

use sn_codec::QoS;
use sn_codec::v12::ReturnCode;

use super::RECONNECT_PAUSE;
use super::args::PubArgs;
use super::connection::{self, Connection, Occurrence};
use super::failure::{self, Failure};
use super::input::{Input, Next, Source};
use super::session::{Event, Message, Topic};
use super::unconnected;

const COMMAND: &str = "pub";

/// Messages at QoS 0 that are sent before the gateway is asked whether it has taken them in: so
/// many, or so many octets, fit into the buffer of its socket.
const BURST_MESSAGES: u32 = 32;

/// See [`BURST_MESSAGES`].
const BURST_BYTES: usize = 64 * 1024;

/// How often in a row the gateway may end the connection without having taken a message.
const RECONNECTS_MAX: u32 = 3;

/// Publishes what `args` say.
pub fn publish(args: &PubArgs) -> ExitCode {
    failure::finish(COMMAND, args.connection.quiet, run(args))
}

fn run(args: &PubArgs) -> Result<(), Failure> {
    let (topic, qos, retain) = (args.topic()?, args.qos(), args.retain);
    args.check_unconnected()?;
    let options = args.connection.options(COMMAND)?;
    let input = Input::new(args.content()?)?;
    let addresses = connection::resolve(&args.connection)?;
    let debug = args.connection.debug;
    let letter = Letter { topic, qos, retain };
    if qos == QoS::MinusOne {
        let messages = input.blocking(args.repeat()).map(|payload| Ok(letter.with(payload?)));
        return unconnected::send(&addresses, options, debug, messages);
    }
    let connection = Connection::establish(&addresses, &options, debug)?;
    let source = input.open(args.repeat(), connection.waker());
    let quiet = args.connection.quiet;
    let publisher = Publisher {
        connection,
        source,
        letter,
        quiet,
        stage: Stage::Ready,
        burst_messages: 0,
        burst_bytes: 0,
        reconnects: 0,
        failure: None,
    };
    publisher.run()
}

/// A message without its payload.
struct Letter {
    topic: Topic,
    qos: QoS,
    retain: bool,
}

impl Letter {
    fn with(&self, payload: Vec<u8>) -> Message {
        Message { topic: self.topic.clone(), payload, qos: self.qos, retain: self.retain }
    }
}

/// Brings messages to the gateway, one after the other.
struct Publisher {
    connection: Connection,
    source: Source,
    letter: Letter,
    quiet: bool,
    stage: Stage,
    /// Sent at QoS 0 since the gateway was asked last.
    burst_messages: u32,
    burst_bytes: usize,
    /// Connections in a row that achieved nothing.
    reconnects: u32,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The next message can go out.
    Ready,
    /// A message is on its way.
    Publishing,
    /// Enough messages were sent at QoS 0 to ask whether they are taken in.
    Pausing,
    /// The connection ended; there is another attempt then.
    Away(Duration),
    /// Everything is done, but for taking leave.
    Leaving,
    /// There is nothing to wait for.
    Done,
}

impl Publisher {
    fn run(mut self) -> Result<(), Failure> {
        loop {
            let deadline = self.proceed();
            if self.stage == Stage::Done {
                return self.failure.map_or(Ok(()), Err);
            }
            match self.connection.next(deadline)? {
                Occurrence::Event(event) => self.handle(event),
                Occurrence::Interrupted(signal) => self.leave(Some(Failure::interrupted(signal))),
                // What is lost is repeated, or given up.
                Occurrence::Unreachable(_) | Occurrence::Called | Occurrence::Deadline => {}
            }
        }
    }

    /// Does what can be done without waiting, and says until when the next thing can wait.
    fn proceed(&mut self) -> Option<Duration> {
        let now = self.connection.now();
        match self.stage {
            Stage::Publishing | Stage::Pausing | Stage::Leaving | Stage::Done => {}
            Stage::Ready => match self.source.next(now) {
                Ok(Next::Message(payload)) => self.publish(now, payload),
                Ok(Next::NotBefore(time)) => return Some(time),
                Ok(Next::Nothing) => {}
                Ok(Next::End) => self.leave(None),
                Err(failure) => self.leave(Some(failure)),
            },
            Stage::Away(until) if now < until => return Some(until),
            Stage::Away(_) => {
                self.stage = Stage::Publishing;
                self.connection.session.connect(now).expect("it went well the first time");
            }
        }
        None
    }

    fn publish(&mut self, now: Duration, payload: Vec<u8>) {
        self.stage = Stage::Publishing;
        self.burst_messages += 1;
        self.burst_bytes += payload.len();
        let message = self.letter.with(payload);
        if let Err(error) = self.connection.session.publish(now, message) {
            let line = format!("the message for {}: {error}", self.letter.topic);
            self.leave(Some(Failure::error(line)));
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Published => self.published(),
            Event::Pong if self.stage == Stage::Pausing => self.resume(),
            Event::Connected => self.resume(),
            Event::Rejected(code) | Event::Discarded(code) => {
                let failure = self.rejected(code);
                self.leave(Some(failure));
            }
            Event::Ended => self.ended(),
            Event::Refused(code) => self.fail(self.connection.refused(code)),
            Event::Disconnected => self.stage = Stage::Done,
            Event::Lost { unanswered, tries } => {
                let line = self.connection.lost(unanswered, tries);
                if self.stage == Stage::Leaving {
                    // All that was asked for is done.
                    failure::warn(COMMAND, self.quiet, &line);
                    self.stage = Stage::Done;
                } else {
                    self.fail(Failure::error(line));
                }
            }
            // A publisher neither subscribes nor sleeps. What comes for a kept session is not asked
            // for here.
            Event::Pong
            | Event::Message(_)
            | Event::Subscribed(_)
            | Event::Unsubscribed
            | Event::Asleep
            | Event::VisitOver { .. } => {}
        }
    }

    fn published(&mut self) {
        let now = self.connection.now();
        self.reconnects = 0;
        self.source.done(now);
        let is_burst = self.burst_messages >= BURST_MESSAGES || self.burst_bytes >= BURST_BYTES;
        let asks = self.letter.qos == QoS::AtMostOnce && is_burst;
        let pauses = asks && self.connection.session.ping(now).is_ok();
        self.stage = if pauses { Stage::Pausing } else { Stage::Ready };
    }

    /// The gateway has taken in what was sent, or knows nothing of it because it began anew.
    fn resume(&mut self) {
        (self.burst_messages, self.burst_bytes) = (0, 0);
        let idle = self.connection.session.is_idle();
        self.stage = if idle { Stage::Ready } else { Stage::Publishing };
    }

    fn rejected(&self, code: ReturnCode) -> Failure {
        let Letter { topic, .. } = &self.letter;
        let advice = connection::advice(code, topic);
        let gateway = self.connection.gateway();
        Failure::error(format!("{gateway}/udp: message for {topic} {code}{advice}"))
    }

    /// The gateway does not know this client any more, or is about to go (SN-027).
    fn ended(&mut self) {
        self.reconnects += 1;
        if self.reconnects > RECONNECTS_MAX {
            let gateway = self.connection.gateway();
            let line = format!("{gateway}/udp ended the connection {} times", self.reconnects);
            return self.fail(Failure::error(line));
        }
        self.stage = Stage::Away(self.connection.now() + RECONNECT_PAUSE);
    }

    /// Takes leave of the gateway, so that it does not publish the will. Who asks for that twice
    /// does not want to wait for the answer.
    fn leave(&mut self, failure: Option<Failure>) {
        self.failure = self.failure.take().or(failure);
        self.stage = match self.connection.session.disconnect(self.connection.now()) {
            Ok(()) => Stage::Leaving,
            Err(_) => Stage::Done,
        };
    }

    fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
        self.stage = Stage::Done;
    }
}
