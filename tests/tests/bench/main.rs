//! The benchmarks run: what is not run breaks unseen.

use std::process::Command;

use system_tests::gateway;

#[test]
fn what_durability_costs_is_measured_in_a_short_run() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(["durable", "--short", "--gateway"]).arg(gateway::binary());
    let output = command.output().expect("cargo has built it");
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let told = String::from_utf8_lossy(&output.stdout);
    let rows = [
        "| 100 publishers, window 16, to an offline session | ",
        "fdatasync of the bare disk, p50 / p99: ",
        "5,000 retained messages, 200 sessions of 10 messages",
        "| everything at once | ",
    ];
    for row in rows {
        assert!(told.contains(row), "no `{row}` in\n{told}");
    }
}
