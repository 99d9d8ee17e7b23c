//! What the program `sim` tells, of worlds that keep every promise and of one that does not.

use std::process::{Command, Output};

fn sim(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(args).output().expect("the simulator starts")
}

/// What was told of the worlds, without the time that they took and what may differ with it.
fn told(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).expect("the report is UTF-8");
    let lines = text.lines().filter(|line| !line.starts_with("real time"));
    lines.filter(|line| !line.starts_with("memory")).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_failure_tells_its_seed_a_command_that_replays_it_and_what_came_last() {
    let first = sim(&["--plant", "ForgetDup", "--minutes", "3", "--sensors", "30"]);
    assert_eq!(first.status.code(), Some(1));
    let first = told(&first);
    let line = first.lines().find(|line| line.starts_with("seed 1 fails; once more: "));
    let (_, args) = line.and_then(|line| line.split_once(" -- ")).expect("a command is told");
    assert!(first.contains("s, party "), "no violation: {first}");
    assert!(first.contains(" > 0") && first.contains(" < 0"), "no events: {first}");
    assert!(first.contains("failed worlds      1"), "{first}");

    let again = sim(&args.split(' ').collect::<Vec<_>>());
    assert_eq!(again.status.code(), Some(1));
    assert_eq!(told(&again), first, "the command replays something else");
}

#[test]
fn a_report_counts_faults_datagrams_and_checks() {
    let output = sim(&["--seeds", "2", "--profile", "lossy-radio", "--minutes", "1"]);
    assert!(output.status.success());
    let text = String::from_utf8_lossy(&output.stdout);
    let number = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)).expect(name);
        let digits = line.trim_start().split(|c: char| !c.is_ascii_digit()).next();
        digits.and_then(|digits| digits.parse::<u64>().ok()).expect("a number")
    };
    for name in ["datagrams ", "faults ", "checks "] {
        assert!(number(name) > 0, "{name}: {text}");
    }
    assert_eq!((number("violations "), number("failed worlds ")), (0, 0));
    assert!(text.contains("virtual datagrams a second"), "{text}");
}

#[test]
fn every_profile_has_a_name() {
    let profiles =
        ["swarm", "lossy-radio", "sleepy-farm", "nat-cellular", "hostile", "storm", "crashy"];
    for profile in profiles {
        let output = sim(&["--profile", profile, "--minutes", "1", "--sensors", "10"]);
        assert!(output.status.success(), "{profile}: {}", told(&output));
    }
}
