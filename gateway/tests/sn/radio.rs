//! A bad radio in virtual time: datagrams that are lost, doubled, late and out of order, between
//! the gateway and devices that keep to the rules.

pub(crate) mod device;

use std::collections::BTreeMap;

use crate::farm::Farm;
use device::{Device, Goal};

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Up,
    Down,
}

/// When the copies of a datagram arrive, in milliseconds from now; none if it is lost. It is told
/// the way and how many datagrams went before, all together and that way.
pub(crate) type Weather = Box<dyn FnMut(Way, usize, usize) -> Vec<u64>>;

/// How long a datagram takes where nothing is wrong.
pub(crate) const DELAY_MS: u64 = 20;

/// Nothing is wrong.
pub(crate) fn fine() -> Weather {
    Box::new(|_, _, _| vec![DELAY_MS])
}

/// Every datagram for itself: lost, doubled, late.
pub(crate) fn random(seed: u64, lost: f64, doubled: f64, late: f64) -> Weather {
    let mut rng = fastrand::Rng::with_seed(seed);
    Box::new(move |_, _, _| {
        let copies = if rng.f64() < lost {
            0
        } else if rng.f64() < doubled {
            2
        } else {
            1
        };
        (0..copies)
            .map(|_| if rng.f64() < late { rng.u64(DELAY_MS..=400) } else { DELAY_MS })
            .collect()
    })
}

/// A datagram in the air.
struct Flight {
    way: Way,
    device: usize,
    octets: Vec<u8>,
}

pub(crate) struct Air {
    pub(crate) farm: Farm,
    pub(crate) devices: Vec<Device>,
    weather: Weather,
    /// By time of arrival, and then in the order in which they were sent.
    flights: BTreeMap<(u64, usize), Flight>,
    launched: usize,
    sent: [usize; 2],
    /// What went through the air, for whoever has to find out why.
    trace: Vec<String>,
}

impl Air {
    pub(crate) fn new(farm: Farm, devices: Vec<Device>, weather: Weather) -> Self {
        Self {
            farm,
            devices,
            weather,
            flights: BTreeMap::new(),
            launched: 0,
            sent: [0; 2],
            trace: Vec::new(),
        }
    }

    /// How many datagrams were sent.
    pub(crate) fn sent(&self) -> usize {
        self.sent.iter().sum()
    }

    /// Lets time pass until all devices have reached their goals.
    #[track_caller]
    pub(crate) fn run(&mut self, limit_s: u64) {
        let end = self.farm.millis + limit_s * 1_000;
        loop {
            self.act();
            if self.devices.iter().all(Device::is_done) {
                return;
            }
            let next = self.next_event().expect("somebody has to do something");
            if next > end {
                let tail = self.trace.len().saturating_sub(60);
                let states: Vec<_> = self.devices.iter().map(Device::describe).collect();
                panic!(
                    "not done after {limit_s} s: {states:#?}\n{}",
                    self.trace[tail..].join("\n")
                );
            }
            self.farm.millis = self.farm.millis.max(next);
            self.farm.time_out();
            self.land();
        }
    }

    /// Lets what is still in the air arrive.
    pub(crate) fn calm_down(&mut self) {
        while let Some(((at, _), _)) = self.flights.first_key_value() {
            let pause = at.saturating_sub(self.farm.millis);
            self.farm.pass(pause);
            self.land();
            self.act();
        }
    }

    /// What happened, for a message.
    pub(crate) fn trace(&self) -> String {
        self.trace.join("\n")
    }

    fn next_event(&self) -> Option<u64> {
        let flight = self.flights.first_key_value().map(|((at, _), _)| *at);
        let deadlines = self.devices.iter().filter_map(Device::deadline);
        deadlines.chain(flight).chain(self.farm.next_timeout()).min()
    }

    /// Everybody does what is due, and what was said is in the air.
    fn act(&mut self) {
        let now = self.farm.millis;
        loop {
            let mut publications = Vec::new();
            for device in &mut self.devices {
                device.act(now);
                publications.extend(device.publications());
            }
            self.launch_all();
            if publications.is_empty() {
                break;
            }
            for (topic, payload, qos) in publications {
                self.farm.publish(&topic, &payload, qos);
            }
        }
    }

    fn launch_all(&mut self) {
        for device in 0..self.devices.len() {
            for octets in self.devices[device].take_sent() {
                self.launch(Way::Up, device, &octets);
            }
            let address = self.devices[device].address.clone();
            for octets in self.farm.take(&address) {
                self.launch(Way::Down, device, &octets);
            }
        }
    }

    fn launch(&mut self, way: Way, device: usize, octets: &[u8]) {
        let so_far = self.sent();
        let arrivals = (self.weather)(way, so_far, self.sent[way as usize]);
        self.sent[way as usize] += 1;
        let hex = crate::farm::hex(octets);
        self.trace.push(format!("{} {way:?} {device} {hex} → {arrivals:?}", self.farm.millis));
        for delay in arrivals {
            self.launched += 1;
            let at = (self.farm.millis + delay, self.launched);
            self.flights.insert(at, Flight { way, device, octets: octets.to_vec() });
        }
    }

    fn land(&mut self) {
        let now = self.farm.millis;
        while let Some(entry) = self.flights.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let Flight { way, device, octets } = entry.remove();
            match way {
                Way::Up => {
                    let address = self.devices[device].address.clone();
                    self.farm.send(&address, &octets);
                }
                Way::Down => self.devices[device].receive(now, &octets),
            }
            self.launch_all();
        }
    }
}

/// One device that wants this, under this weather; returns when it is done.
#[track_caller]
pub(crate) fn play(goals: &[Goal], weather: Weather) -> Air {
    let device = Device::new("dev1", crate::farm::A, goals);
    let mut air = Air::new(Farm::new(), vec![device], weather);
    air.run(100_000);
    air
}
