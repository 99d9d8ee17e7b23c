//! The broker at its public edge: what links say, and what they hear.

mod bench;
mod delivery;
mod flow;
mod limits;
mod retained;
mod sessions;
mod sys;
mod wills;
