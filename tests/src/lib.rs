//! The harness of the system tests: see `docs/testing.md` for how to use it.
//!
//! | module | what it gives a test |
//! |---|---|
//! | [`gateway`] | the real program on ports of its own |
//! | [`client`] | MQTT and MQTT-SN clients that speak in raw octets |
//! | [`lossy`] | a UDP relay that loses, doubles and swaps |
//! | [`bystander`] | clients that an attack must not disturb |
//! | [`sys`] | what a gateway tells about itself |
//! | [`foreign`] | programs that we did not write, and [`scenario`] what they go through |
//! | [`hex`], [`trace`] | octets as the specifications draw them, and what was said so far |
//! | [`pcap`] | a capture file of what a relay saw |
//! | [`descriptors`] | room for many connections |
//! | [`process`] | child processes that cannot outlive their test |
//! | [`obligations`] | what the specifications oblige us to, and who names it |
//! | [`conformance`] | the document that tells where each of them is carried out and shown |
//! | [`fuzz`] | functions that take any octets and check what is true of all
//! | [`sim`] | worlds of virtual devices around the real machine |
//! | [`repository`] | the files of this repository, for tests that read sources |

pub mod bystander;
pub mod client;
pub mod conformance;
pub mod descriptors;
pub mod foreign;
pub mod fuzz;
pub mod gateway;
pub mod hex;
pub mod lossy;
pub mod obligations;
pub mod pcap;
pub mod process;
pub mod repository;
pub mod scenario;
pub mod sim;
pub mod sys;
pub mod trace;
