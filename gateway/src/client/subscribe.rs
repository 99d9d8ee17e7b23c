//! `mqtt-sn-gw sub`: subscribes, and prints what comes.
//!
//! It stays until it is told to go or has what it was asked for; a gateway that is restarted or
//! out of reach for a while is connected to again.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Stdout};
use std::process::ExitCode;
use std::time::Duration;

use sn_codec::v12::ReturnCode;

use super::RECONNECT_PAUSE;
use super::args::SubArgs;
use super::connection::{self, Connection, Occurrence};
use super::failure::{self, Failure};
use super::output::Format;
use super::session::{Event, Message, Topic};

const COMMAND: &str = "sub";

/// How much earlier than announced a sleeping subscriber comes back: a tenth of its sleep, and at
/// most this. A gateway that measures strictly would take it for lost otherwise.
const EARLY_MAX: Duration = Duration::from_secs(1);

/// Subscribes to what `args` say.
pub fn subscribe(args: &SubArgs) -> ExitCode {
    failure::finish(COMMAND, args.connection.quiet, run(args))
}

fn run(args: &SubArgs) -> Result<(), Failure> {
    let requests = requests(args)?;
    let options = args.connection.options(COMMAND)?;
    let addresses = connection::resolve(&args.connection)?;
    let connection = Connection::establish(&addresses, &options, args.connection.debug)?;
    let timeout = args.timeout.map(|seconds| Duration::from_secs(u64::from(seconds)));
    let subscriber = Subscriber {
        args,
        end: timeout.map(|timeout| connection.now() + timeout),
        connection,
        out: io::stdout(),
        stage: Stage::Requesting,
        requests,
        to_do: VecDeque::new(),
        standing: 0,
        refused: None,
        settled: false,
        printed: 0,
        failure: None,
    };
    subscriber.run()
}

/// What is asked of the gateway after each connecting.
#[derive(Clone, Debug)]
enum Request {
    Subscribe(Topic),
    Unsubscribe(Topic),
}

fn requests(args: &SubArgs) -> Result<Vec<Request>, Failure> {
    let subscribe = args.topics()?.into_iter().map(Request::Subscribe);
    let unsubscribe = args.unsubscribe()?.into_iter().map(Request::Unsubscribe);
    Ok(subscribe.chain(unsubscribe).collect())
}

/// Prints what comes for its subscriptions.
struct Subscriber<'a> {
    args: &'a SubArgs,
    connection: Connection,
    out: Stdout,
    stage: Stage,
    requests: Vec<Request>,
    /// Those that this connection has not done yet; the first is under way.
    to_do: VecDeque<Request>,
    /// Subscriptions that this connection has.
    standing: usize,
    /// The last one that was refused, and is not told yet.
    refused: Option<Failure>,
    /// Whether there was a connection on which everything was asked for.
    settled: bool,
    printed: u32,
    /// When the time of `-W` is over.
    end: Option<Duration>,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Subscribing.
    Requesting,
    /// Connected, or awake.
    Listening,
    /// Asleep until then.
    Asleep(Duration),
    /// The connection ended; there is another attempt then.
    Away(Duration),
    /// Connecting once more.
    Returning,
    /// Everything is done, but for taking leave.
    Leaving,
    /// There is nothing to wait for.
    Done,
}

impl Subscriber<'_> {
    fn run(mut self) -> Result<(), Failure> {
        self.begin();
        loop {
            if self.stage == Stage::Done {
                return self.failure.map_or(Ok(()), Err);
            }
            match self.connection.next(self.deadline())? {
                Occurrence::Event(event) => self.handle(event),
                Occurrence::Deadline => self.deadline_reached(),
                Occurrence::Interrupted(_) => self.leave(None),
                // What is lost is repeated, or given up.
                Occurrence::Unreachable(_) | Occurrence::Called => {}
            }
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connected => self.begin(),
            Event::Subscribed(_) => {
                self.standing += 1;
                self.request_next();
            }
            Event::Unsubscribed => self.request_next(),
            Event::Rejected(code) => self.rejected(code),
            Event::Message(message) => self.print(&message),
            Event::Asleep => self.fall_asleep(),
            Event::VisitOver { complete } => {
                if !complete {
                    self.warn(&format!("{}/udp does not end the visit", self.connection.gateway()));
                }
                self.fall_asleep();
            }
            Event::Ended if self.settled => {
                self.stage = Stage::Away(self.connection.now() + RECONNECT_PAUSE);
            }
            Event::Ended => {
                let line = format!("{}/udp ended the connection", self.connection.gateway());
                self.fail(Failure::error(line));
            }
            Event::Lost { unanswered, tries } => {
                let line = self.connection.lost(unanswered, tries);
                self.lost(line);
            }
            Event::Refused(code) => self.fail(self.connection.refused(code)),
            Event::Disconnected => self.stage = Stage::Done,
            // A subscriber does not publish, and does not mind that its gateway is there.
            Event::Pong | Event::Published | Event::Discarded(_) => {}
        }
    }

    /// There is a connection: asks for everything, since a clean one knows of nothing.
    fn begin(&mut self) {
        if self.stage == Stage::Returning {
            self.warn(&format!("connected to {}/udp again", self.connection.gateway()));
        }
        self.stage = Stage::Requesting;
        self.standing = 0;
        self.to_do = self.requests.iter().cloned().collect();
        self.request();
    }

    fn request_next(&mut self) {
        self.to_do.pop_front();
        self.request();
    }

    fn request(&mut self) {
        let now = self.connection.now();
        let session = &mut self.connection.session;
        let asked = match self.to_do.front().cloned() {
            Some(Request::Subscribe(topic)) => session.subscribe(now, topic, self.args.qos()),
            Some(Request::Unsubscribe(topic)) => session.unsubscribe(now, topic),
            None => return self.settle(),
        };
        if let Err(error) = asked {
            self.leave(Some(Failure::error(format!("the topic cannot be asked for: {error}"))));
        }
    }

    /// The gateway does not want a subscription. The others may do.
    fn rejected(&mut self, code: ReturnCode) {
        if let Some(Request::Subscribe(topic)) = self.to_do.front() {
            let advice = connection::advice(code, topic);
            let gateway = self.connection.gateway();
            let line = format!("{gateway}/udp: subscription to {topic} {code}{advice}");
            let earlier = self.refused.replace(Failure::error(line));
            self.tell(earlier);
        }
        self.request_next();
    }

    /// Everything is asked for.
    fn settle(&mut self) {
        let refused = self.refused.take();
        let asked_for = self.requests.iter().any(|one| matches!(one, Request::Subscribe(_)));
        if (self.standing == 0 && asked_for) || self.args.exit_subscribed {
            return self.leave(refused);
        }
        self.tell(refused);
        self.settled = true;
        self.stage = Stage::Listening;
        if let Some(seconds) = self.args.sleep {
            let now = self.connection.now();
            self.connection.session.sleep(now, seconds).expect("it is connected and idle");
        }
    }

    fn fall_asleep(&mut self) {
        let announced = Duration::from_secs(u64::from(self.args.sleep.unwrap_or(0)));
        let sleep = announced - EARLY_MAX.min(announced / 10);
        self.stage = Stage::Asleep(self.connection.now() + sleep);
    }

    fn print(&mut self, message: &Message) {
        let is_over = matches!(self.stage, Stage::Leaving | Stage::Done);
        if is_over || (self.args.no_retained && message.retain) {
            return;
        }
        let format = Format { verbose: self.args.verbose, newline: !self.args.no_newline };
        match format.print(&mut self.out, message) {
            Ok(()) => {
                self.printed += 1;
                if self.args.count == Some(self.printed) {
                    self.leave(None);
                }
            }
            // Whoever reads has enough.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => self.leave(None),
            Err(error) => self.leave(Some(Failure::error(format!("standard output: {error}")))),
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let next = match self.stage {
            Stage::Asleep(until) | Stage::Away(until) => Some(until),
            Stage::Requesting | Stage::Listening | Stage::Returning => None,
            Stage::Leaving | Stage::Done => return None,
        };
        next.into_iter().chain(self.end).min()
    }

    fn deadline_reached(&mut self) {
        let now = self.connection.now();
        if self.end.is_some_and(|end| end <= now) {
            return self.leave(Some(Failure::timed_out()));
        }
        let session = &mut self.connection.session;
        match self.stage {
            Stage::Asleep(_) => {
                self.stage = Stage::Listening;
                session.wake(now).expect("it is asleep");
            }
            Stage::Away(_) => {
                self.stage = Stage::Returning;
                session.forget_request();
                session.connect(now).expect("it went well the first time");
            }
            Stage::Requesting
            | Stage::Listening
            | Stage::Returning
            | Stage::Leaving
            | Stage::Done => {}
        }
    }

    /// The gateway does not answer any more. After that long a wait the next attempt can begin.
    fn lost(&mut self, line: String) {
        match self.stage {
            Stage::Leaving => {
                // All that was asked for is done.
                self.warn(&line);
                self.stage = Stage::Done;
            }
            Stage::Returning => self.stage = Stage::Away(self.connection.now()),
            Stage::Requesting if !self.settled => self.fail(Failure::error(line)),
            Stage::Requesting
            | Stage::Listening
            | Stage::Asleep(_)
            | Stage::Away(_)
            | Stage::Done => {
                self.warn(&format!("{line}; connecting again"));
                self.stage = Stage::Away(self.connection.now());
            }
        }
    }

    /// Takes leave of the gateway, so that it does not publish the will. Who asks for that twice
    /// does not want to wait for the answer.
    fn leave(&mut self, failure: Option<Failure>) {
        let is_connected = !matches!(self.stage, Stage::Returning | Stage::Leaving);
        self.failure = self.failure.take().or(failure);
        let left = self.connection.session.disconnect(self.connection.now());
        self.stage = if is_connected && left.is_ok() { Stage::Leaving } else { Stage::Done };
    }

    fn fail(&mut self, failure: Failure) {
        self.failure = Some(failure);
        self.stage = Stage::Done;
    }

    fn warn(&self, line: &str) {
        failure::warn(COMMAND, self.args.connection.quiet, line);
    }

    fn tell(&self, failure: Option<Failure>) {
        if let Some(failure) = failure {
            self.warn(failure.line());
        }
    }
}
