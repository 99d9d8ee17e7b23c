//! `mqtt-sn-gw sub` against a scripted gateway.

use crate::program::{Port, Program, check, check_failure};

const CONNECT: &str = "> 0A 04 04 01 00 3C 'dev1'\n< 03 05 00\n";
const SUBSCRIBE: &str = "> 0A 12 00 00 01 'a/b/c'\n< 08 13 00 00 07 00 01 00\n";
const HI: &str = "< 09 0C 00 00 07 00 00 'hi'\n";
const DISCONNECT: &str = "> 02 18\n< 02 18\n";

#[test]
fn messages_are_printed_until_there_are_enough() {
    let script = format!("{CONNECT}{SUBSCRIBE}{HI}< 07 0C 00 00 07 00 00\n{HI}{DISCONNECT}");
    check("sub -t a/b/c -C 3", &script, "hi\nhi\n");
    check("sub -t a/b/c -C 3 -v", &script, "a/b/c hi\na/b/c (null)\na/b/c hi\n");
    check("sub --topic a/b/c --count 3 -N", &script, "hihi");
}

#[test]
fn every_kind_of_topic_can_be_subscribed_to() {
    check(
        "sub -t a/# -t xy --predefined 5 -q 2 -v -C 4",
        &format!(
            "{CONNECT}
             > 08 12 40 00 01 'a/#'
             < 08 13 40 00 00 00 01 00
             > 07 12 42 00 02 'xy'
             < 08 13 40 'xy' 00 02 00
             > 07 12 41 00 03 00 05
             < 08 13 40 00 05 00 03 00
             < 09 0A 00 02 01 03 'a/x'
             > 07 0B 00 02 01 03 00
             < 08 0C 20 00 02 01 04 '1'
             > 07 0D 00 02 01 04 00
             < 08 0C 42 'xy' 01 05 '2'
             > 04 0F 01 05
             < 08 0C C2 'xy' 01 05 '2'
             > 04 0F 01 05
             < 04 10 01 05
             > 04 0E 01 05
             < 08 0C 01 00 05 00 00 '3'
             < 08 0C 20 00 42 01 06 '?'
             > 07 0D 00 42 01 06 02
             < 08 0C 02 'xy' 00 00 '4'
             {DISCONNECT}"
        ),
        "a/x 1\nxy 2\npredefined:5 3\nxy 4\n",
    );
}

#[test]
fn retained_messages_can_be_left_out() {
    check(
        "sub -t a/b/c -R -C 1",
        &format!("{CONNECT}{SUBSCRIBE}< 0A 0C 10 00 07 00 00 'old'\n{HI}{DISCONNECT}"),
        "hi\n",
    );
}

#[test]
fn it_can_end_with_its_subscriptions() {
    check(
        "sub -t a/b/c -U a/# -E -c",
        &format!(
            "> 0A 04 00 01 00 3C 'dev1'
             < 03 05 00
             {SUBSCRIBE}
             > 08 14 00 00 02 'a/#'
             < 04 15 00 02
             {DISCONNECT}"
        ),
        "",
    );
}

#[test]
fn a_refused_subscription_is_told() {
    let line = |topic: &str| {
        format!(
            "mqtt-sn-gw sub: 127.0.0.1:PORT/udp: subscription to {topic} rejected: not supported\n"
        )
    };
    let refused = "> 0A 12 00 00 01 'a/b/c'\n< 08 13 00 00 00 00 01 03\n";
    check_failure("sub -t a/b/c", &format!("{CONNECT}{refused}{DISCONNECT}"), 1, &line("a/b/c"));
    // The other one stands.
    let second = "> 07 12 02 00 02 'xy'\n< 08 13 00 'xy' 00 02 00\n< 08 0C 02 'xy' 00 00 '4'\n";
    let port = Port::open();
    let program = Program::start(&port, "sub -t a/b/c -t xy -C 1");
    port.play(&format!("{CONNECT}{refused}{second}{DISCONNECT}"));
    let line = line("a/b/c").replace("PORT", &port.address().port().to_string());
    assert_eq!(program.end(), (Some(0), "4\n".to_owned(), line));
}

#[test]
fn it_ends_after_its_time_with_the_status_of_mosquitto_sub() {
    let script = format!("{CONNECT}{SUBSCRIBE}{DISCONNECT}");
    check_failure("sub -t a/b/c -W 2", &script, 27, "mqtt-sn-gw sub: timed out\n");
}

#[test]
fn a_signal_is_a_good_end() {
    for signal in ["INT", "TERM"] {
        let port = Port::open();
        let mut program = Program::start(&port, "sub -t a/b/c");
        port.play(&format!("{CONNECT}{SUBSCRIBE}"));
        program.signal(signal);
        port.play(DISCONNECT);
        assert_eq!(program.end(), (Some(0), String::new(), String::new()));
    }
}

#[test]
fn a_second_signal_does_not_wait_for_the_gateway() {
    let port = Port::open();
    let mut program = Program::start(&port, "sub -t a/b/c --retry-ms 3600000");
    port.play(&format!("{CONNECT}{SUBSCRIBE}"));
    program.signal("INT");
    port.play("> 02 18");
    program.signal("INT");
    assert_eq!(program.end().0, Some(0));
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    let port = Port::open();
    let mut program = Program::start(&port, "sub -t a/b/c");
    program.close_output();
    port.play(&format!("{CONNECT}{SUBSCRIBE}{HI}{DISCONNECT}"));
    assert_eq!(program.end(), (Some(0), String::new(), String::new()));
}

#[test]
fn a_sleeping_subscriber_collects_its_messages() {
    check(
        "sub -t a/b/c --sleep 1 -q 1 -C 2",
        &format!(
            "{CONNECT}
             > 0A 12 20 00 01 'a/b/c'
             < 08 13 20 00 07 00 01 00
             > 04 18 00 01
             < 02 18
             > 06 16 'dev1'
             < 02 17
             > 06 16 'dev1'
             < 09 0C 20 00 07 01 01 'hi'
             > 07 0D 00 07 01 01 00
             < 09 0C 20 00 07 01 02 'ho'
             > 07 0D 00 07 01 02 00
             {DISCONNECT}"
        ),
        "hi\nho\n",
    );
}

#[test]
fn sn_099_an_unanswered_visit_is_told_and_not_the_last() {
    let port = Port::open();
    let program = Program::start(&port, "sub -t a/b/c --sleep 1 -C 1 --retry-ms 400 --retry-max 1");
    port.play(&format!(
        "{CONNECT}{SUBSCRIBE}
         > 04 18 00 01
         < 02 18
         > 06 16 'dev1'
         > 06 16 'dev1'
         > 06 16 'dev1'
         {HI}{DISCONNECT}"
    ));
    let line = format!("mqtt-sn-gw sub: {}/udp does not end the visit\n", port.address());
    assert_eq!(program.end(), (Some(0), "hi\n".to_owned(), line));
}

#[test]
fn sn_027_a_subscriber_comes_back_to_a_gateway_that_began_anew() {
    let port = Port::open();
    let program = Program::start(&port, "sub -t a/b/c -C 2");
    let again = SUBSCRIBE.replace("00 01", "00 02");
    port.play(&format!("{CONNECT}{SUBSCRIBE}{HI}< 02 18\n{CONNECT}{again}{HI}{DISCONNECT}"));
    let line = format!("mqtt-sn-gw sub: connected to {}/udp again\n", port.address());
    assert_eq!(program.end(), (Some(0), "hi\nhi\n".to_owned(), line));
}

#[test]
fn sn_090_a_subscriber_comes_back_to_a_gateway_that_was_away() {
    let port = Port::open();
    let program = Program::start(&port, "sub -t a/b/c -C 1 -k 1 --retry-ms 400 --retry-max 1");
    let again = SUBSCRIBE.replace("00 01", "00 02");
    let connect = CONNECT.replace("3C", "01");
    let try_again = "> 0A 04 04 01 00 01 'dev1'\n";
    port.play(&format!(
        "{connect}{SUBSCRIBE}
         > 02 16
         > 02 16
         {try_again}{try_again}{try_again}{connect}
         {again}{HI}{DISCONNECT}"
    ));
    let gateway = port.address();
    let lines = format!(
        "mqtt-sn-gw sub: no answer to PINGREQ from {gateway}/udp after 2 tries; connecting again\n\
         mqtt-sn-gw sub: connected to {gateway}/udp again\n"
    );
    assert_eq!(program.end(), (Some(0), "hi\n".to_owned(), lines));
}

#[test]
fn a_gateway_that_does_not_know_subscribe_is_told() {
    check_failure(
        "sub -t a/b/c --retry-ms 1000 --retry-max 0",
        &format!("{CONNECT}> 0A 12 00 00 01 'a/b/c'"),
        1,
        "mqtt-sn-gw sub: no answer to SUBSCRIBE from 127.0.0.1:PORT/udp after 1 try\n",
    );
    check_failure(
        "sub -t a/b/c",
        &format!("{CONNECT}> 0A 12 00 00 01 'a/b/c'\n< 02 18"),
        1,
        "mqtt-sn-gw sub: 127.0.0.1:PORT/udp ended the connection\n",
    );
    check_failure(
        "sub -t a/b/c",
        "> 0A 04 04 01 00 3C 'dev1'\n< 02 18",
        1,
        "mqtt-sn-gw sub: 127.0.0.1:PORT/udp answers CONNECT by DISCONNECT\n",
    );
}
