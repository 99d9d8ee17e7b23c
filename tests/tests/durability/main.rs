//! What was promised is kept: the program dies in every way, its disk fails in every way, and
//! docs/persistence.md holds.

mod degraded;
mod failing;
mod faulty;
mod folder;
mod full;
mod kills;
mod listeners;
mod sensors;
mod slow;
mod starting;
