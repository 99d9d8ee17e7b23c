//! The program `mqtt-sn-gw`.
fn main() {}
