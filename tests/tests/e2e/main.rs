//! The real program from outside.

mod conversations;
mod mqtt5_dialects;
mod mqtt5_flow;
mod mqtt5_shared;
mod process;
mod sleeping;
mod translation;
