//! Clients that mind their own business while a gateway is attacked.
//!
//! One speaks MQTT, the other MQTT-SN. Each publishes at QoS 1 to a topic of its own that it has
//! subscribed to, waits for acknowledgment and message, and begins again; how long each of these
//! round trips took is what an attack is measured by. A connection that is cut, or an answer that
//! does not come in time, fails the test.

use std::fmt;
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::client::mqtt::MqttClient;
use crate::client::sn::SnClient;
use crate::gateway::Gateway;
use crate::process::PATIENCE;

/// The pause between two round trips.
const PAUSE: Duration = Duration::from_millis(2);

/// After how long the MQTT-SN client repeats: in a flood its own datagrams may be lost.
const RETRY: Duration = Duration::from_millis(200);

/// Time that everybody has the right to take on a machine that does other things as well.
const P99_MAX: Duration = Duration::from_millis(150);
const WORST_MAX: Duration = Duration::from_secs(2);

/// A pair of bystanders at work.
#[derive(Debug)]
pub struct Bystanders {
    /// Dropped to end them.
    go_on: [Sender<()>; 2],
    mqtt: JoinHandle<Vec<Duration>>,
    sn: JoinHandle<Vec<Duration>>,
}

/// How long the round trips of one client took, sorted.
#[derive(Clone)]
pub struct Waits(Vec<Duration>);

/// What both found.
#[derive(Clone, Debug)]
pub struct Report {
    /// The client of MQTT.
    pub mqtt: Waits,
    /// The client of MQTT-SN.
    pub sn: Waits,
}

impl Bystanders {
    /// Begins; both are connected and have made their first round trip when this returns.
    #[track_caller]
    pub fn start(gateway: &Gateway) -> Self {
        let (is_ready, ready) = channel();
        let (go_on_mqtt, end_mqtt) = channel();
        let (go_on_sn, end_sn) = channel();
        let (mqtt, sn) = (gateway.mqtt(), gateway.mqtt_sn());
        let mqtt = spawn(end_mqtt, is_ready.clone(), move || mqtt_trips(mqtt));
        let sn = spawn(end_sn, is_ready, move || sn_trips(sn));
        for _ in 0..2 {
            ready.recv_timeout(PATIENCE).expect("bystanders can connect");
        }
        Self { go_on: [go_on_mqtt, go_on_sn], mqtt, sn }
    }

    /// Lets both rest for good, so that nothing but the attack is left to measure.
    pub fn pause(&mut self) {
        for go_on in &self.go_on {
            // One that is gone has failed, which `finish` will tell.
            let _gone = go_on.send(());
        }
    }

    /// Ends both and returns what they found.
    ///
    /// # Panics
    /// If one of them was cut off, or waited too long for an answer.
    #[track_caller]
    pub fn finish(self) -> Report {
        drop(self.go_on);
        let waits = |handle: JoinHandle<Vec<Duration>>| {
            let mut waits = handle.join().expect("a bystander was disturbed, see above");
            waits.sort_unstable();
            Waits(waits)
        };
        Report { mqtt: waits(self.mqtt), sn: waits(self.sn) }
    }
}

impl Report {
    /// Nobody waited unduly; prints what it was. A wait counts less on a machine that makes the
    /// gateway wait, too: `crowding` times as long as it lets it run.
    #[track_caller]
    pub fn assert_calm(&self, what: &str, crowding: f64) {
        self.assert_served(what, crowding);
        assert!(self.sn.p99() <= P99_MAX.mul_f64(factor(crowding)), "{what}: {self:?}");
    }

    /// Nobody waited unduly but the client of MQTT-SN, whose datagrams the kernel drops when others
    /// send more of them than this machine can read: it had to repeat some, and got its answers.
    #[track_caller]
    pub fn assert_served(&self, what: &str, crowding: f64) {
        let factor = factor(crowding);
        eprintln!("{what}: bystanders: MQTT {}, MQTT-SN {}", self.mqtt, self.sn);
        assert!(self.mqtt.p99() <= P99_MAX.mul_f64(factor), "{what}: {self:?}, {crowding}");
        for waits in [&self.mqtt, &self.sn] {
            assert!(waits.worst() <= WORST_MAX.mul_f64(factor), "{what}: {self:?}, {crowding}");
        }
    }
}

/// How much longer a wait may be. On a machine of our own the gateway waits for less than it runs,
/// and nothing is added; a machine that is ever so crowded excuses no more than fivefold.
fn factor(crowding: f64) -> f64 {
    crowding.clamp(1.0, 5.0)
}

impl Waits {
    /// The wait that one of a hundred round trips exceeded.
    pub fn p99(&self) -> Duration {
        self.0[(self.0.len() * 99 / 100).min(self.0.len() - 1)]
    }

    /// The longest wait.
    pub fn worst(&self) -> Duration {
        *self.0.last().expect("the first round trip at least")
    }
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = |duration: Duration| duration.as_secs_f64() * 1e3;
        let (p99, worst) = (millis(self.p99()), millis(self.worst()));
        write!(f, "{} trips, p99 {p99:.1} ms, worst {worst:.1} ms", self.0.len())
    }
}

fn spawn<T: FnMut(u64)>(
    end: Receiver<()>,
    is_ready: Sender<()>,
    connect: impl FnOnce() -> T + Send + 'static,
) -> JoinHandle<Vec<Duration>> {
    thread::spawn(move || {
        let mut trip = connect();
        let mut waits = Vec::new();
        loop {
            let began = Instant::now();
            trip(waits.len() as u64);
            waits.push(began.elapsed());
            if waits.len() == 1 {
                // Nobody waits for it any more only if the test has failed already.
                let _failed = is_ready.send(());
            }
            match end.recv_timeout(PAUSE) {
                Err(RecvTimeoutError::Timeout) => {}
                // Told to rest until the end.
                Ok(()) => {
                    let _the_end = end.recv();
                    return waits;
                }
                Err(RecvTimeoutError::Disconnected) => return waits,
            }
        }
    })
}

fn mqtt_trips(server: SocketAddr) -> impl FnMut(u64) {
    let mut client = MqttClient::options("bystander").keep_alive(60).connect(server);
    client.set_timeout(PATIENCE);
    client.subscribe("bystander/mqtt", 1);
    move |number| {
        let payload = number.to_string();
        client.publish("bystander/mqtt", &payload, 1);
        client.expect_message("bystander/mqtt", &payload, 1);
    }
}

fn sn_trips(server: SocketAddr) -> impl FnMut(u64) {
    let options = SnClient::options("bystander-sn").keep_alive(60).retry(RETRY);
    let mut client = options.connect(server);
    client.set_timeout(PATIENCE);
    client.subscribe("bystander/sn", 1);
    move |number| {
        let payload = number.to_string();
        client.publish("bystander/sn", &payload, 1);
        // A repetition may come beside the one that it repeats.
        while client.next_message().text() != payload {}
    }
}
