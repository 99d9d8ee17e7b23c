//! The real program from outside.

mod addresses;
mod conversations;
mod handshakes;
mod last_words;
mod logs;
mod mqtt5_dialects;
mod mqtt5_flow;
mod mqtt5_shared;
mod predefined;
mod process;
mod reconnecting;
mod reload;
mod sleeping;
mod sys;
mod translation;
mod users;
mod websocket;
