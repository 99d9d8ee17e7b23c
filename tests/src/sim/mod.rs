//! The simulator: the real broker and the real MQTT-SN gateway under a virtual clock and network.
//!
//! `docs/testing.md` tells how it works, what it proves and what it cannot.
//!
//! | module | what it is |
//! |---|---|
//! | `profile`, `kind`, `book`, `extras` | what a world is made of, drawn from its seed |
//! | `heap`, `net`, `place` | virtual time, the radio, and who is where in it |
//! | `hub` | the machine under test |
//! | `store`, `moments`, `harm` | what it keeps its state on, and every state that was |
//! | `sensor`, `client`, `twin`, `hostile` | virtual devices, on octets of their own |
//! | `model`, `ledger`, `wills`, `will_parts` | who has to get what, by linear search |
//! | `watch`, `stream`, `strangers`, `discovery` | what may pass at the machine's door |
//! | `plant`, `plant5` | deliberate faults that the checks have to find |
//! | `features` | counts of what the worlds are meant to contain |
//! | `world`, `report` | all of it together |

mod book;
mod client;
mod discovery;
mod extras;
mod features;
mod harm;
mod heap;
mod hostile;
pub(crate) mod hub;
mod kind;
mod ledger;
mod model;
mod moments;
mod net;
mod place;
mod plant;
mod plant5;
mod profile;
mod report;
mod sensor;
mod store;
mod strangers;
mod stream;
mod twin;
mod watch;
mod will_parts;
mod wills;
pub(crate) mod wire;
mod wire5;
mod world;

pub use features::Feature;
pub use plant::Fault;
pub use profile::Profile;
pub use report::Report;

/// Which world, and how large.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Everything is drawn from it.
    pub seed: u64,
    /// Virtual MQTT-SN devices.
    pub sensors: u32,
    /// Virtual minutes with faults; some more follow without.
    pub minutes: u32,
    /// What it is about.
    pub profile: Profile,
    /// A deliberate fault, which the checks have to find.
    pub fault: Option<Fault>,
}

/// Runs one world to its end, or to the first violation. `progress` hears now and then how far it
/// is: milliseconds of virtual time and datagrams.
pub fn run(options: &Options, progress: &mut dyn FnMut(u64, u64)) -> Report {
    world::World::new(options, plant::Plant::new(options.fault)).run(progress)
}

/// The first seed from `seed` on, of at most `seeds`, whose world finds a deliberate fault, and
/// what it says. Those that matter after a crash are looked for in worlds with crashes, others in
/// the swarm.
pub fn find(fault: Fault, seed: u64, seeds: u64) -> Option<(u64, String)> {
    let profile = if fault.is_of_crash() { Profile::Crashy } else { Profile::Swarm };
    (seed..seed + seeds).find_map(|seed| {
        let options = Options { seed, sensors: 40, minutes: 3, profile, fault: Some(fault) };
        let report = run(&options, &mut |_, _| {});
        let first = report.violations.first()?;
        Some((seed, first.what.clone()))
    })
}
