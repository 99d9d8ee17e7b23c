//! One scenario: all servers, round after round.

use std::io;
use std::time::Duration;

use crate::calls::{self, Calls};
use crate::cores::Machine;
use crate::load::fanout::Fanout;
use crate::load::pairs::Pairs;
use crate::load::sensors::Sensors;
use crate::load::{Address, Load};
use crate::options::{Cores, Options, Scenario};
use crate::server::{Kind, Programs, Server};
use crate::tally::Tally;
use crate::usage::Usage;

/// How long each server is warmed up, as a share of a slice.
const WARM_UP: f64 = 0.5;

/// What one table is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Case {
    pub(crate) scenario: Scenario,
    pub(crate) qos: u8,
    pub(crate) cores: Cores,
}

/// What came of a case.
#[derive(Debug)]
pub(crate) struct CaseResult {
    pub(crate) case: Case,
    /// What it is, in words.
    pub(crate) title: String,
    /// One for each server, the floor first.
    pub(crate) rows: Vec<Row>,
}

/// What came of a server in a case.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) kind: Kind,
    /// CPU nanoseconds per delivered message, by round.
    pub(crate) costs: Vec<f64>,
    pub(crate) tally: Tally,
    pub(crate) usage: Usage,
    /// Resident memory before the first client and after the last message, in octets.
    pub(crate) rss_before: u64,
    pub(crate) rss_after: u64,
    /// System calls, and for how many messages; if they were counted.
    pub(crate) calls: Option<(Calls, u64)>,
}

/// The cases that were asked for.
pub(crate) fn cases(options: &Options) -> Vec<Case> {
    let mut cases = Vec::new();
    for &scenario in &options.scenario {
        let qos = match scenario {
            Scenario::A => 0..=0,
            Scenario::B => 1..=1,
            Scenario::C | Scenario::D => 0..=1,
        };
        for qos in qos.filter(|qos| options.qos.contains(qos)) {
            cases.extend(options.cores.iter().map(|&cores| Case { scenario, qos, cores }));
        }
    }
    cases
}

impl Case {
    fn title(self, options: &Options, machine: &Machine) -> String {
        let Options { sensors, on_the_way, pairs, subscribers, window, payload, .. } = options;
        let what = match self.scenario {
            Scenario::A | Scenario::B if on_the_way < sensors => {
                format!("{sensors} sensors to 1 TCP subscriber, {on_the_way} messages on the way")
            }
            Scenario::A | Scenario::B => format!("{sensors} sensors to 1 TCP subscriber"),
            Scenario::C => format!("{pairs} TCP pairs, window {window}"),
            Scenario::D => {
                format!("1 TCP publisher to {subscribers} subscribers, window {window}")
            }
        };
        let place = machine.describe(self.cores);
        format!("{what}, QoS {}, {payload} octets; {place}", self.qos)
    }

    /// Mosquitto speaks no MQTT-SN.
    fn suits_mosquitto(self) -> bool {
        matches!(self.scenario, Scenario::C | Scenario::D)
    }

    fn connect(self, options: &Options, address: Address) -> io::Result<Box<dyn Load>> {
        let &Options { sensors, on_the_way, pairs, subscribers, window, payload, .. } = options;
        let qos = self.qos;
        Ok(match self.scenario {
            Scenario::A | Scenario::B => {
                Box::new(Sensors::open(address, sensors, on_the_way as usize, qos, payload)?)
            }
            Scenario::C => Box::new(Pairs::open(address, pairs, window, qos, payload)?),
            Scenario::D => Box::new(Fanout::open(address, subscribers, window, qos, payload)?),
        })
    }
}

/// Runs a case.
///
/// # Errors
/// A server does not start, breaks off or does not come to rest.
pub(crate) fn run(
    options: &Options,
    programs: &Programs,
    machine: &Machine,
    case: Case,
) -> io::Result<CaseResult> {
    let servers = Server::start_all(programs, case.suits_mosquitto())?;
    if !machine.place(case.cores, servers.iter().map(|server| server.process().id())) {
        eprintln!("bench: taskset or chrt is refused: all run where and when the scheduler likes");
    }
    let mut runners = Vec::new();
    for server in &servers {
        runners.push(Runner::connect(options, case, server)?);
    }
    let slice = options.slice();
    for runner in &mut runners {
        runner.load(slice.mul_f64(WARM_UP))?;
    }
    for round in 0..options.rounds {
        let mut turn: Vec<_> = runners.iter_mut().collect();
        if round % 2 == 1 {
            turn.reverse();
        }
        turn.into_iter().try_for_each(|runner| runner.run(slice))?;
    }
    if options.calls {
        runners.iter_mut().try_for_each(|runner| runner.count_calls(slice))?;
    }
    let rows = runners.into_iter().map(Runner::finish).collect();
    Ok(CaseResult { case, title: case.title(options, machine), rows })
}

/// A server and its load.
struct Runner<'a> {
    server: &'a Server,
    load: Box<dyn Load>,
    row: Row,
}

impl<'a> Runner<'a> {
    fn connect(options: &Options, case: Case, server: &'a Server) -> io::Result<Self> {
        let row = Row {
            kind: server.kind,
            costs: Vec::new(),
            tally: Tally::default(),
            usage: Usage::default(),
            rss_before: server.process().rss_bytes(),
            rss_after: 0,
            calls: None,
        };
        Ok(Self { server, load: case.connect(options, server.address)?, row })
    }

    /// One slice of load. What goes wrong is told with the server's log.
    fn load(&mut self, slice: Duration) -> io::Result<Tally> {
        self.load.run(slice).map_err(|error| {
            let (name, log) = (self.server.kind.name(), self.server.process().log());
            io::Error::other(format!("the load of {name} breaks off: {error}\n{log}"))
        })
    }

    /// One slice of load, accounted for.
    fn run(&mut self, slice: Duration) -> io::Result<()> {
        let process = self.server.process().id();
        let before = Usage::at_rest(process)?;
        let tally = self.load(slice)?;
        let used = Usage::at_rest(process)?.since(before);
        if tally.delivered > 0 {
            self.row.costs.push(used.cpu_ns as f64 / tally.delivered as f64);
        }
        self.row.usage = self.row.usage.plus(used);
        self.row.tally.add(&tally);
        Ok(())
    }

    fn count_calls(&mut self, slice: Duration) -> io::Result<()> {
        let process = self.server.process().id();
        let mut delivered = 0;
        let calls = calls::count(process, || {
            delivered = self.load(slice)?.delivered;
            Usage::at_rest(process).map(drop)
        })?;
        self.row.calls = calls.map(|calls| (calls, delivered));
        Ok(())
    }

    fn finish(self) -> Row {
        Row { rss_after: self.server.process().rss_bytes(), ..self.row }
    }
}
