//! The harness of the system tests: see `docs/testing.md` for how to use it.
//!
//! | module | what it gives a test |
//! |---|---|
//! | [`gateway`] | the real program on ports of its own |
//! | [`client`] | MQTT and MQTT-SN clients that speak in raw octets |
//! | [`lossy`] | a UDP relay that loses, doubles and swaps |
//! | [`hex`], [`trace`] | octets as the specifications draw them, and what was said so far |
//! | [`process`] | child processes that cannot outlive their test |
//! | [`repository`] | the files of this repository, for tests that read sources |

pub mod client;
pub mod foreign;
pub mod gateway;
pub mod hex;
pub mod lossy;
pub mod obligations;
pub mod pcap;
pub mod process;
pub mod repository;
pub mod scenario;
pub mod trace;
