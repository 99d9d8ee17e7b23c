//! The broker at its public edge: what links say, and what they hear.

mod bench;
mod delivery;
mod disk;
mod durable;
mod flow;
mod limits;
mod properties;
mod reconfigure;
mod retained;
mod sessions;
mod shared;
mod sys;
mod wills;
