//! The real program from outside.

mod addresses;
mod conversations;
mod handshakes;
mod logs;
mod predefined;
mod process;
mod reconnecting;
mod sleeping;
mod sys;
mod translation;
mod users;
mod websocket;
