//! `mqtt-sn-gw pub` against a scripted gateway.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::program::{Port, Program, check, check_failure};

const CONNECT: &str = "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00\n";
const REGISTER: &str = "> 0B 0A 00 00 00 01 'a/b/c'\n< 07 0B 00 07 00 01 00\n";
const DISCONNECT: &str = "> 02 18\n< 02 18\n";

#[test]
fn a_message_is_published_at_every_qos() {
    let name = |publish: &str| format!("{CONNECT}{REGISTER}{publish}{DISCONNECT}");
    check("pub -t a/b/c -m hi", &name("> 09 0C 00 00 07 00 00 'hi'\n"), "");
    check(
        "pub --topic a/b/c --message hi --qos 1 --retain",
        &name("> 09 0C 30 00 07 00 02 'hi'\n< 07 0D 00 07 00 02 00\n"),
        "",
    );
    check(
        "pub -t a/b/c -m hi -q 2",
        &name("> 09 0C 40 00 07 00 02 'hi'\n< 04 0F 00 02\n> 04 10 00 02\n< 04 0E 00 02\n"),
        "",
    );
}

#[test]
fn two_octets_and_predefined_ids_need_no_registration() {
    let script = |publish: &str| format!("{CONNECT}{publish}{DISCONNECT}");
    check("pub -t xy -m hi", &script("> 09 0C 02 'xy' 00 00 'hi'\n"), "");
    check("pub --predefined 5 -n -r", &script("> 07 0C 11 00 05 00 00\n"), "");
    check(
        "pub -t xy -m hi --no-short",
        &script("> 08 0A 00 00 00 01 'xy'\n< 07 0B 00 07 00 01 00\n> 09 0C 00 00 07 00 00 'hi'\n"),
        "",
    );
}

#[test]
fn sn_068_qos_minus_one_goes_without_a_connection() {
    let port = Port::open();
    let run = |words: &str, script: &str| {
        // No client id is given here: there is nobody to tell it to.
        let port_number = port.address().port().to_string();
        let program = std::process::Command::new(env!("CARGO_BIN_EXE_mqtt-sn-gw"))
            .args(["pub", "-h", "127.0.0.1", "-p", &port_number, "-q", "-1"])
            .args(words.split(' '))
            .output()
            .expect("the program can be started");
        assert!(program.status.success() && program.stderr.is_empty(), "{program:?}");
        port.play(script);
    };
    run("-t xy -m hi", "> 09 0C 62 'xy' 00 00 'hi'");
    run("--predefined 5 -m hi -r", "> 09 0C 71 00 05 00 00 'hi'");
    run("-t xy -m hi --repeat 2", "> 09 0C 62 'xy' 00 00 'hi'\n> 09 0C 62 'xy' 00 00 'hi'");
}

#[test]
fn a_will_is_told_and_a_session_kept() {
    check(
        "pub -t xy -m hi -k 10 -c --will-topic w/1 --will-payload gone --will-qos 1 --will-retain",
        &format!(
            "> 0A 04 08 01 00 0A 'dev1'
             < 02 06
             > 06 07 30 'w/1'
             < 02 08
             > 06 09 'gone'
             < 03 05 00
             > 09 0C 02 'xy' 00 00 'hi'
             {DISCONNECT}"
        ),
        "",
    );
}

#[test]
fn what_is_not_answered_is_sent_again() {
    check(
        "pub -t a/b/c -m hi -q 1 --retry-ms 200",
        &format!(
            "> 0A 04 04 01 00 3C 'dev1'
             > 0A 04 04 01 00 3C 'dev1'
             < 03 05 00
             > 0B 0A 00 00 00 01 'a/b/c'
             > 0B 0A 00 00 00 01 'a/b/c'
             < 07 0B 00 07 00 01 00
             > 09 0C 20 00 07 00 02 'hi'
             > 09 0C A0 00 07 00 02 'hi'
             < 07 0D 00 07 00 02 00
             > 02 18
             {DISCONNECT}"
        ),
        "",
    );
}

#[test]
fn every_line_is_a_message() {
    let port = Port::open();
    let program = Program::start(&port, "pub -t xy -l -q 1").input("one\n\nlast");
    port.play(&format!(
        "{CONNECT}
         > 0A 0C 22 'xy' 00 01 'one'
         < 07 0D 'xy' 00 01 00
         > 07 0C 22 'xy' 00 02
         < 07 0D 'xy' 00 02 00
         > 0B 0C 22 'xy' 00 03 'last'
         < 07 0D 'xy' 00 03 00
         {DISCONNECT}"
    ));
    assert_eq!(program.end(), (Some(0), String::new(), String::new()));
}

#[test]
fn no_line_is_no_message() {
    let port = Port::open();
    let program = Program::start(&port, "pub -t xy -l").input("");
    port.play(&format!("{CONNECT}{DISCONNECT}"));
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_file_and_the_whole_input_are_one_message() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("a_file_is_one_message");
    fs::write(&file, "1\n2\n").expect("the file can be written");
    let script = format!("{CONNECT}> 0B 0C 02 'xy' 00 00 '1' 0A '2' 0A\n{DISCONNECT}");
    check(&format!("pub -t xy -f {}", file.display()), &script, "");
    let port = Port::open();
    let program = Program::start(&port, "pub -t xy -s").input("1\n2\n");
    port.play(&script);
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn a_message_is_repeated() {
    let publish = "> 08 0C 02 'xy' 00 00 'x'\n";
    let script = format!("{CONNECT}{publish}{publish}{publish}{DISCONNECT}");
    check("pub -t xy -m x --repeat 3 --repeat-delay 0.05", &script, "");
}

#[test]
fn many_messages_wait_for_the_gateway_now_and_then() {
    let mut script = CONNECT.to_owned();
    for number in 1..=70 {
        writeln!(script, "> 09 0C 02 'xy' 00 00 '{number:02}'").expect("memory takes it");
        if number % 32 == 0 {
            script += "> 02 16\n< 02 17\n";
        }
    }
    let lines: String = (1..=70).map(|number| format!("{number:02}\n")).collect();
    let port = Port::open();
    let program = Program::start(&port, "pub -t xy -l").input(&lines);
    port.play(&(script + DISCONNECT));
    assert_eq!(program.end(), (Some(0), String::new(), String::new()));
}

#[test]
fn sn_083_a_publisher_without_lines_keeps_its_connection_alive() {
    let port = Port::open();
    let mut program = Program::start(&port, "pub -t xy -l -k 1");
    port.play("> 0A 04 04 01 00 01 'dev1'\n< 03 05 00\n> 02 16\n< 02 17\n> 02 16\n< 02 17");
    program.signal("INT");
    port.play(DISCONNECT);
    assert_eq!(program.end(), (Some(128 + 2), String::new(), String::new()));
}

#[test]
fn a_refusal_is_told() {
    let line = |what: &str| format!("mqtt-sn-gw pub: 127.0.0.1:PORT/udp: {what}\n");
    check_failure(
        "pub -t a/b/c -m hi",
        "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 01",
        1,
        &line("connection rejected: congestion; wait some minutes before the next attempt"),
    );
    check_failure(
        "pub -t a/b/c -m hi",
        &format!("{CONNECT}> 0B 0A 00 00 00 01 'a/b/c'\n< 07 0B 00 00 00 01 03\n{DISCONNECT}"),
        1,
        &line("message for a/b/c rejected: not supported"),
    );
    check_failure(
        "pub --predefined 9 -m hi -q 1",
        &format!("{CONNECT}> 09 0C 21 00 09 00 01 'hi'\n< 07 0D 00 09 00 01 02\n{DISCONNECT}"),
        1,
        &line("message for predefined:9 rejected: invalid topic id; is the id configured there?"),
    );
    // At QoS 0 the word comes when the program already takes leave.
    check_failure(
        "pub --predefined 9 -m hi",
        &format!("{CONNECT}> 09 0C 01 00 09 00 00 'hi'\n> 02 18\n< 07 0D 00 09 00 00 02\n< 02 18"),
        1,
        &line("message for predefined:9 rejected: invalid topic id; is the id configured there?"),
    );
    check_failure("pub -t xy -m hi --quiet", "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 03", 1, "");
}

#[test]
fn a_gateway_that_is_not_there_is_told() {
    let check = |port: &Port, line: &str| {
        for (command, words) in [("pub", "pub -t a/b/c -m hi"), ("sub", "sub -t a/b/c")] {
            let words = &format!("{words} --retry-ms 20 --retry-max 2");
            let line = line.replace("ADDRESS", &port.address().to_string());
            let line = format!("mqtt-sn-gw {command}: {line}; is mqtt-sn-gw running there?\n");
            assert_eq!(Program::start(port, words).end(), (Some(1), String::new(), line));
        }
    };
    check(&Port::open(), "no answer from ADDRESS/udp after 3 tries");
    check(&Port::refusing(), "nobody listens on ADDRESS/udp");
}

#[test]
fn localhost_is_both_loopback_addresses() {
    let script = format!("{CONNECT}> 09 0C 02 'xy' 00 00 'hi'\n{DISCONNECT}");
    let v6 = Port::open_v6();
    for port in [Some(&Port::open()), v6.as_ref().map(|(port, _)| port)].into_iter().flatten() {
        let program = Program::start_at("localhost", port, "pub -t xy -m hi");
        port.play(&script);
        assert_eq!(program.end(), (Some(0), String::new(), String::new()));
    }
}

#[test]
fn a_gateway_that_vanishes_is_told() {
    check_failure(
        "pub -t a/b/c -m hi -q 1 --retry-ms 400 --retry-max 1",
        &format!("{CONNECT}{REGISTER}> 09 0C 20 00 07 00 02 'hi'\n> 09 0C A0 00 07 00 02 'hi'"),
        1,
        "mqtt-sn-gw pub: no answer to PUBLISH from 127.0.0.1:PORT/udp after 2 tries\n",
    );
    // Everything was done.
    check_failure(
        "pub -t xy -m hi --retry-ms 400 --retry-max 1",
        &format!("{CONNECT}> 09 0C 02 'xy' 00 00 'hi'\n> 02 18\n> 02 18"),
        0,
        "mqtt-sn-gw pub: no answer to DISCONNECT from 127.0.0.1:PORT/udp after 2 tries\n",
    );
}

#[test]
fn sn_027_a_message_is_brought_to_a_gateway_that_began_anew() {
    check(
        "pub -t a/b/c -m hi -q 1",
        &format!(
            "{CONNECT}{REGISTER}
             > 09 0C 20 00 07 00 02 'hi'
             < 02 18
             {CONNECT}
             > 0B 0A 00 00 00 03 'a/b/c'
             < 07 0B 00 01 00 03 00
             > 09 0C 20 00 01 00 04 'hi'
             < 07 0D 00 01 00 04 00
             {DISCONNECT}"
        ),
        "",
    );
}

#[test]
fn every_packet_is_shown_on_demand() {
    let port = Port::open();
    let program = Program::start(&port, "pub -t xy -m hi -d");
    port.play(&format!("{CONNECT}> 09 0C 02 'xy' 00 00 'hi'\n> 02 18\n< 99\n< 02 18"));
    let trace = "\
> CONNECT       0A 04 04 01 00 3C 64 65 76 31
< CONNACK       03 05 00
> PUBLISH       09 0C 02 78 79 00 00 68 69
> DISCONNECT    02 18
< no message (octet 0: length field says 153, the datagram has 1): 99
< DISCONNECT    02 18
";
    assert_eq!(program.end(), (Some(0), String::new(), trace.to_owned()));
}
