//! The answer that is due in every state (section 12 of the specification reference), cell by cell.
//!
//! A row is a message; its six cells are the states N (no session), T (WILLTOPICREQ sent), M
//! (WILLMSGREQ sent), A (active), S (asleep) and W (awake, with a message of ours in flight). A
//! cell holds the answers, separated by `;`, with `-` for none, and after `>` the state that
//! follows, if it is another one. Every cell ends with a question that has a certain answer, which
//! must be the only thing that comes then: so "none" is proved, not assumed.

use core::time::Duration;

use broker_core::limits::Limits;
use mqtt_sn_gw::sn::Settings;

use crate::farm::{A, Farm, Q1, settings};
use crate::script::{self, Known};

const STATES: [char; 6] = ['N', 'T', 'M', 'A', 'S', 'W'];

/// A plain DISCONNECT: "I do not know you".
const DISC: &str = "02 18";

/// In the states with a session: topic id 1 is a/b/c, id 2 is a/x with a subscription of QoS 1.
const SET_UP: &str = "
    > 0A 04 00 01 00 3C 'dev1'
    < 03 05 00
    > 0B 0A 00 00 00 01 'a/b/c'
    < 07 0B 00 01 00 01 00
    > 08 12 20 00 02 'a/x'
    < 08 13 20 00 02 00 02 00";

const WILL: &str = "> 0A 04 08 01 00 3C 'dev1'\n< 02 06";

struct Row {
    says: &'static str,
    cells: [&'static str; 6],
}

/// A message with an answer in each state.
const fn row(says: &'static str, cells: [&'static str; 6]) -> Row {
    Row { says, cells }
}

/// A message that needs a session: DISCONNECT without one, nothing while connecting.
const fn session(says: &'static str, active: &'static str, asleep: &'static str) -> Row {
    Row { says, cells: [DISC, "-", "-", active, asleep, asleep] }
}

/// A message that is never answered.
const fn silent(says: &'static str) -> Row {
    Row { says, cells: ["-"; 6] }
}

fn farm_in(state: char, settings: Settings, limits: Limits) -> Farm {
    let mut farm = Farm::with_limits(settings, limits);
    match state {
        'N' => {}
        'T' => farm.play(A, WILL),
        'M' => farm.play(A, &format!("{WILL}\n> 09 07 30 'w/dev1'\n< 02 08")),
        'A' => farm.play(A, SET_UP),
        'S' => farm.play(A, &format!("{SET_UP}\n> 04 18 01 2C\n< 02 18")),
        'W' => {
            farm.play(A, &format!("{SET_UP}\n> 04 18 01 2C\n< 02 18"));
            farm.publish("a/x", "1", Q1);
            farm.play(A, "> 06 16 'dev1'\n< 08 0C 20 00 02 ?? ?? '1'");
        }
        other => panic!("there is no state {other}"),
    }
    assert_eq!(state_of(&farm), name_of(state));
    farm
}

/// The states of all clients, with an h for each unfinished handshake; N for nobody.
fn state_of(farm: &Farm) -> String {
    let usage = farm.gateway.usage();
    let counts =
        [('A', usage.active), ('S', usage.asleep), ('W', usage.awake), ('h', usage.handshakes)];
    let letters: String =
        counts.iter().map(|(letter, count)| letter.to_string().repeat(*count)).collect();
    if letters.is_empty() { "N".to_owned() } else { letters }
}

fn name_of(state: char) -> String {
    if matches!(state, 'T' | 'M') { "h".to_owned() } else { state.to_string() }
}

fn check(rows: &[Row]) {
    check_with(rows, &settings(), &Limits::default(), |_| {});
}

/// Checks rows; `prepare` is done in each state first.
fn check_with(rows: &[Row], settings: &Settings, limits: &Limits, prepare: impl Fn(&mut Farm)) {
    for row in rows {
        for (state, cell) in STATES.iter().zip(row.cells) {
            let mut farm = farm_in(*state, settings.clone(), limits.clone());
            prepare(&mut farm);
            check_cell(&mut farm, *state, row.says, cell);
        }
    }
}

fn check_cell(farm: &mut Farm, state: char, says: &str, cell: &str) {
    let (answers, next) = cell.split_once('>').unwrap_or((cell, ""));
    let expected: Vec<&str> =
        answers.split(';').map(str::trim).filter(|answer| *answer != "-").collect();
    farm.say(A, says);
    let came = farm.take(A);
    let place = format!("{says} in {state}");
    let mut known = Known::new();
    let shown: Vec<String> = came
        .iter()
        .enumerate()
        .map(|(n, octets)| script::fit(expected.get(n).unwrap_or(&""), octets, &mut known))
        .collect();
    let expected: Vec<String> =
        expected.iter().map(|answer| script::plain(answer, &known)).collect();
    assert_eq!(shown, expected, "{place}");
    let next = if next.is_empty() { name_of(state) } else { next.trim().to_owned() };
    assert_eq!(state_of(farm), next, "the state after {place}");
    farm.expect_silence(A);
}

/// 12.1. SN-025, SN-046, SN-047, SN-054, SN-093, SN-100
#[test]
fn connection_and_session() {
    check(&[
        row(
            "0A 04 00 01 00 3C 'dev1'", // CONNECT without a will
            [
                "03 05 00 > A",
                "03 05 00 > A",
                "03 05 00 > A",
                "03 05 00",
                "03 05 00 > A",
                // The message that was in flight comes again, its name first.
                "03 05 00 ; 09 0A 00 02 ?? ?? 'a/x' > A",
            ],
        ),
        row(
            "0A 04 08 01 00 3C 'dev1'", // CONNECT with a will
            ["02 06 > h", "02 06", "02 06", "02 06 > Ah", "02 06 > Sh", "02 06 > Wh"],
        ),
        row("0A 04 00 02 00 3C 'dev1'", ["03 05 03"; 6]), // another protocol
        row(
            "0A 04 00 01 00 3C 'dev2'", // another client from this address
            [
                "03 05 00 > A",
                "03 05 00 > A",
                "03 05 00 > A",
                "03 05 00 > AA",
                "03 05 00 > AS",
                "03 05 00 > AS",
            ],
        ),
        row("09 07 30 'w/dev1'", [DISC, "02 08", "02 08", "-", "-", "-"]), // WILLTOPIC
        row("02 07", [DISC, "03 05 00 > A", "03 05 00 > A", "-", "-", "-"]), // the empty one
        row("06 09 'gone'", [DISC, "-", "03 05 00 > A", "-", "-", "-"]),   // WILLMSG
        session("09 1A 30 'w/dev1'", "03 1B 00", "03 1B 00"),              // WILLTOPICUPD
        session("02 1A", "03 1B 00", "03 1B 00"),                          // the empty one
        session("05 1C 'bye'", "03 1D 00", "03 1D 00"),                    // WILLMSGUPD
        row("02 18", [DISC, "02 18 > N", "02 18 > N", "02 18 > N", "02 18 > N", "02 18 > N"]),
        row(
            "04 18 02 58", // DISCONNECT with a duration
            [DISC, "02 18 > N", "02 18 > N", "02 18 > S", "02 18", "02 18 > S"],
        ),
        row("04 18 00 00", [DISC, "02 18 > N", "02 18 > N", "02 18 > N", "02 18 > N", "02 18 > N"]),
    ]);
}

/// 12.1, the first row where it may be refused: congestion.
#[test]
fn a_connect_that_finds_no_room() {
    let limits = Limits { sessions_max: 2, ..Limits::default() };
    // The session of the client counts, and in W that of who published for it. The handshake that
    // was there is replaced by the one that is refused.
    let others = [("ab", "N"), ("ab", "N"), ("ab", "N"), ("a", "A"), ("a", "S"), ("", "W")];
    for (state, (services, next)) in STATES.iter().zip(others) {
        let mut farm = farm_in(*state, settings(), limits.clone());
        for service in services.split_terminator("").skip(1) {
            farm.service(service);
        }
        check_cell(&mut farm, *state, "0A 04 00 01 00 3C 'dev2'", &format!("03 05 01 > {next}"));
    }
}

/// 12.2. SN-084, SN-096, SN-097
#[test]
fn ping() {
    let repeated = "08 0C A0 00 02 ?? ?? '1'";
    check(&[
        row("02 16", [DISC, "-", "-", "02 17", "02 17", repeated]),
        row("06 16 'dev1'", [DISC, "-", "-", "02 17", "02 17", repeated]),
        row("06 16 'dev9'", [DISC, "-", "-", DISC, DISC, DISC]), // unknown
        silent("02 17"),
    ]);
}

/// 12.2, the row of a session that sleeps at another address of the same host.
#[test]
fn a_ping_in_the_name_of_a_client_that_sleeps_elsewhere() {
    let cells = ["02 17 > S", "- > Sh", "- > Sh", "02 17 > AS", "02 17 > SS", "02 17 > SS"];
    for (state, cell) in STATES.iter().zip(cells) {
        let mut farm = farm_in(*state, settings(), Limits::default());
        farm.play(
            crate::farm::A2,
            "> 0A 04 04 01 00 3C 'dev9'\n< 03 05 00\n> 04 18 01 2C\n< 02 18",
        );
        check_cell(&mut farm, *state, "06 16 'dev9'", cell);
    }
}

/// 12.2, the last row: a session that is active elsewhere stays there.
#[test]
fn a_ping_in_the_name_of_a_client_that_is_active_elsewhere() {
    let cells = ["02 18 > A", "- > Ah", "- > Ah", "02 18 > AA", "02 18 > AS", "02 18 > AW"];
    for (state, cell) in STATES.iter().zip(cells) {
        let mut farm = farm_in(*state, settings(), Limits::default());
        farm.play(crate::farm::A2, "> 0A 04 04 01 00 3C 'dev9'\n< 03 05 00");
        check_cell(&mut farm, *state, "06 16 'dev9'", cell);
        farm.play(crate::farm::A2, "> 02 16\n< 02 17");
    }
}

/// 12.3. SN-055, SN-070, SN-071, SN-073, SN-074
#[test]
fn topics_and_subscriptions() {
    let none = "07 0B 00 00 00 09 03";
    let unsuback = "04 15 00 09";
    let refused = "08 13 00 00 00 00 09 03";
    check(&[
        session("09 0A 00 00 00 09 'new'", "07 0B 00 03 00 09 00", "07 0B 00 03 00 09 00"),
        session("0B 0A 12 34 00 09 'a/b/c'", "07 0B 00 01 00 09 00", "07 0B 00 01 00 09 00"),
        session("09 0A 00 00 00 09 'a/#'", none, none),
        session("07 0A 00 00 00 09 '+'", none, none),
        session("06 0A 00 00 00 09", none, none), // empty
        session("08 0A 00 00 00 09 C3 28", none, none), // no UTF-8
        session("08 0A 00 00 00 09 61 00", none, none), // U+0000
        silent("07 0B 00 01 00 63 00"),           // a REGACK to nothing, but see below
        session("08 12 20 00 09 'new'", "08 13 20 00 03 00 09 00", "08 13 20 00 03 00 09 00"),
        session("0A 12 40 00 09 'a/b/c'", "08 13 40 00 01 00 09 00", "08 13 40 00 01 00 09 00"),
        session("08 12 40 00 09 'b/#'", "08 13 40 00 00 00 09 00", "08 13 40 00 00 00 09 00"),
        session("07 12 21 00 09 00 05", "08 13 20 00 05 00 09 00", "08 13 20 00 05 00 09 00"),
        session("07 12 21 00 09 00 09", "08 13 00 00 09 00 09 02", "08 13 00 00 09 00 09 02"),
        session("07 12 02 00 09 'xy'", "08 13 00 'xy' 00 09 00", "08 13 00 'xy' 00 09 00"),
        session("07 12 02 00 09 '/+'", "08 13 00 00 00 00 09 00", "08 13 00 00 00 00 09 00"),
        session("08 12 03 00 09 'new'", refused, refused), // type 0b11
        session("08 12 60 00 09 'new'", refused, refused), // QoS 0b11
        session("08 12 20 00 09 'a#b'", refused, refused),
        session("05 12 20 00 09", refused, refused),
        session("07 12 02 00 09 'a#'", refused, refused),
        session("08 14 00 00 09 'a/x'", unsuback, unsuback),
        session("0A 14 00 00 09 'never'", unsuback, unsuback),
        session("08 14 00 00 09 'a#b'", unsuback, unsuback),
        session("07 14 01 00 09 00 05", unsuback, unsuback),
        session("07 14 01 00 09 00 09", unsuback, unsuback),
        session("07 14 02 00 09 'xy'", unsuback, unsuback),
        session("07 14 03 00 09 'xy'", unsuback, unsuback),
    ]);
}

/// 12.3, the rows "no room" and "quota".
#[test]
fn topics_and_subscriptions_without_room() {
    let settings = Settings { topic_ids_max: 2, ..settings() };
    let limits = Limits { filters_per_session_max: 1, ..Limits::default() };
    let register = "07 0B 00 00 00 09 01";
    let subscribe = "08 13 00 00 00 00 09 01";
    let rows = [
        session("09 0A 00 00 00 09 'new'", register, register),
        session("08 12 20 00 09 'new'", subscribe, subscribe), // no id
        session("0A 12 20 00 09 'a/b/c'", subscribe, subscribe), // no subscription
        session("07 12 02 00 09 'xy'", subscribe, subscribe),
        session("07 12 01 00 09 00 05", subscribe, subscribe),
        session("08 12 20 00 09 'b/#'", subscribe, subscribe),
    ];
    check_with(&rows, &settings, &limits, |_| {});
}

/// 12.4. SN-060, SN-063, SN-065, SN-069
#[test]
fn publications_of_the_client() {
    check(&[
        silent("08 0C 62 'xy' 00 00 '1'"),             // QoS −1, short
        silent("08 0C 61 00 05 00 00 '1'"),            // predefined
        silent("08 0C 61 00 09 00 00 '1'"),            // unknown
        silent("08 0C 60 00 01 00 00 '1'"),            // type 0b00
        silent("08 0C 63 00 01 00 00 '1'"),            // type 0b11
        session("08 0C 00 00 01 00 00 '1'", "-", "-"), // QoS 0, known
        session("08 0C 02 'xy' 00 00 '1'", "-", "-"),
        session("08 0C 01 00 05 00 00 '1'", "-", "-"),
        session("08 0C 00 00 42 00 00 '1'", "07 0D 00 42 00 00 02", "07 0D 00 42 00 00 02"),
        session("08 0C 01 00 09 00 00 '1'", "07 0D 00 09 00 00 02", "07 0D 00 09 00 00 02"),
        session("08 0C 20 00 01 00 09 '1'", "07 0D 00 01 00 09 00", "07 0D 00 01 00 09 00"),
        session("08 0C 22 'xy' 00 09 '1'", "07 0D 'xy' 00 09 00", "07 0D 'xy' 00 09 00"),
        session("08 0C 21 00 05 00 09 '1'", "07 0D 00 05 00 09 00", "07 0D 00 05 00 09 00"),
        session("08 0C 40 00 01 00 09 '1'", "04 0F 00 09", "04 0F 00 09"),
        session("08 0C 42 'xy' 00 09 '1'", "04 0F 00 09", "04 0F 00 09"),
        session("08 0C 41 00 05 00 09 '1'", "04 0F 00 09", "04 0F 00 09"),
        session("08 0C 20 00 42 00 09 '1'", "07 0D 00 42 00 09 02", "07 0D 00 42 00 09 02"),
        session("08 0C 40 00 42 00 09 '1'", "07 0D 00 42 00 09 02", "07 0D 00 42 00 09 02"),
        session("08 0C 21 00 09 00 09 '1'", "07 0D 00 09 00 09 02", "07 0D 00 09 00 09 02"),
        session("08 0C 41 00 09 00 09 '1'", "07 0D 00 09 00 09 02", "07 0D 00 09 00 09 02"),
        session("08 0C 20 00 00 00 09 '1'", "07 0D 00 00 00 09 02", "07 0D 00 00 00 09 02"),
        session("08 0C 20 FF FF 00 09 '1'", "07 0D FF FF 00 09 02", "07 0D FF FF 00 09 02"),
        session("08 0C 22 'x#' 00 09 '1'", "07 0D 'x#' 00 09 02", "07 0D 'x#' 00 09 02"),
        session("08 0C 03 00 01 00 00 '1'", "07 0D 00 01 00 00 03", "07 0D 00 01 00 00 03"),
        session("08 0C 23 00 01 00 09 '1'", "07 0D 00 01 00 09 03", "07 0D 00 01 00 09 03"),
        session("08 0C 43 00 01 00 09 '1'", "07 0D 00 01 00 09 03", "07 0D 00 01 00 09 03"),
        session("08 0C 02 '$x' 00 00 '1'", "07 0D '$x' 00 00 03", "07 0D '$x' 00 00 03"),
        session("08 0C 22 '$x' 00 09 '1'", "07 0D '$x' 00 09 03", "07 0D '$x' 00 09 03"),
        session("08 0C 42 '$x' 00 09 '1'", "07 0D '$x' 00 09 03", "07 0D '$x' 00 09 03"),
        session("04 10 00 09", "04 0E 00 09", "04 0E 00 09"), // PUBREL, unknown
    ]);
}

/// 12.4, the rest of the row of PUBREL, and congestion.
#[test]
fn publications_that_are_released_or_find_no_room() {
    let known = [session("04 10 00 07", "04 0E 00 07", "04 0E 00 07")];
    check_with(&known, &settings(), &Limits::default(), |farm| {
        if matches!(state_of(farm).as_str(), "A" | "S" | "W") {
            farm.play(A, "> 08 0C 40 00 01 00 07 '1'\n< 04 0F 00 07");
        }
    });
    let rows = [
        session("08 0C 00 00 01 00 00 '1'", "07 0D 00 01 00 00 01", "07 0D 00 01 00 00 01"),
        session("08 0C 20 00 01 00 09 '1'", "07 0D 00 01 00 09 01", "07 0D 00 01 00 09 01"),
        session("08 0C 40 00 01 00 09 '1'", "07 0D 00 01 00 09 01", "07 0D 00 01 00 09 01"),
    ];
    check_with(&rows, &settings(), &Limits::default(), |farm| {
        // Somebody would have to wait for a/b/c, and there is no memory for it.
        let script = "> 0A 04 00 01 00 3C 'away'\n< 03 05 00\n> 0A 12 20 00 01 'a/b/c'
             < 08 13 20 00 01 00 01 00\n> 02 18\n< 02 18";
        farm.play(crate::farm::B, script);
        farm.broker.set_external_memory(u64::MAX / 2);
        farm.time_out();
    });
}

/// 12.5, the column without a session, and what fits to nothing with one.
#[test]
fn acknowledgements_that_fit_to_nothing() {
    check(&[
        silent("07 0D 00 02 12 34 00"),
        silent("07 0D 00 02 12 34 01"),
        silent("07 0D 00 02 12 34 02"),
        silent("07 0D 00 02 12 34 03"),
        silent("07 0D 00 02 00 00 00"),
        silent("07 0D 00 02 00 00 03"),
        silent("07 0D 00 02 12 34 C8"), // a reserved code
        row("04 0F 12 34", ["-", "-", "-", "04 10 12 34", "04 10 12 34", "04 10 12 34"]),
        row("04 0F 00 00", ["-", "-", "-", "04 10 00 00", "04 10 00 00", "04 10 00 00"]),
        silent("04 0E 12 34"),
        silent("04 0E 00 00"),
    ]);
}

/// 12.6. SN-003, SN-038, SN-042
#[test]
fn everything_else() {
    check(&[
        row("03 01 00", ["03 02 01"; 6]),
        silent("05 00 02 03 84"),             // ADVERTISE of another gateway
        silent("03 02 02"),                   // its GWINFO
        silent("09 02 02 C0 00 02 0A 27 10"), // and from a client
        silent("03 05 00"),                   // CONNACK
        silent("02 06"),                      // WILLTOPICREQ
        silent("02 08"),                      // WILLMSGREQ
        silent("08 13 20 00 01 00 01 00"),    // SUBACK
        silent("04 15 00 01"),                // UNSUBACK
        silent("03 1B 00"),                   // WILLTOPICRESP
        silent("03 1D 00"),                   // WILLMSGRESP
        silent("05 FE 00 'N1' 02 16"),        // encapsulated, from no forwarder
        silent(""),
        silent("00"),
        silent("02"),
        silent("03 16"),          // longer than the datagram
        silent("02 16 16"),       // shorter
        silent("01 00 03 16"),    // a long form that cannot be
        silent("02 16 02 16"),    // two messages
        silent("05 0D 00 01 00"), // too short for its type
    ]);
    let reserved = [0x03, 0x11, 0x19, 0xFD, 0xFF].into_iter().chain(0x1E..0x2E);
    for msg_type in reserved {
        for state in STATES {
            let mut farm = farm_in(state, settings(), Limits::default());
            check_cell(&mut farm, state, &format!("02 {msg_type:02X}"), "-");
        }
    }
}

/// "In A, S and W every valid message restarts the supervision timer of the state." SN-091, SN-094
#[test]
fn every_valid_message_restarts_the_supervision() {
    let messages = [
        "0A 04 00 02 00 3C 'dev1'",
        "09 07 30 'w/dev1'",
        "02 07",
        "06 09 'gone'",
        "09 1A 30 'w/dev1'",
        "05 1C 'bye'",
        "02 17",
        "09 0A 00 00 00 09 'new'",
        "07 0B 00 01 00 63 00",
        "08 12 20 00 09 'new'",
        "08 14 00 00 09 'a/x'",
        "08 0C 62 'xy' 00 00 '1'",
        "08 0C 00 00 01 00 00 '1'",
        "08 0C 20 00 01 00 09 '1'",
        "08 0C 40 00 01 00 09 '1'",
        "08 0C 20 00 42 00 09 '1'",
        "04 10 00 09",
        "07 0D 00 02 12 34 00",
        "04 0F 12 34",
        "04 0E 12 34",
        "03 01 00",
        "05 00 02 03 84",
        "03 05 00",
    ];
    // One and a half times the 60 s and 300 s that were announced.
    for (state, patience) in [('A', 90), ('S', 450)] {
        let patience = Duration::from_secs(patience);
        for says in messages.into_iter().chain((state == 'A').then_some("02 16")) {
            let mut farm = farm_in(state, settings(), Limits::default());
            let part = patience * 9 / 10;
            farm.pass(part.as_millis() as u64);
            farm.say(A, says);
            farm.pass(part.as_millis() as u64);
            assert_eq!(state_of(&farm), state.to_string(), "{says} counts as a sign of life");
            farm.pass((patience - part).as_millis() as u64 + 10);
            assert_eq!(state_of(&farm), "N", "and not for longer: {says}");
        }
        for says in ["03 16", "02 03", "00", "05 FE 00 'N1' 02 16"] {
            let mut farm = farm_in(state, settings(), Limits::default());
            farm.pass(patience.as_millis() as u64 / 2);
            farm.say(A, says);
            farm.pass(patience.as_millis() as u64 / 2 + 10);
            assert_eq!(state_of(&farm), "N", "{says} is no message");
        }
    }
}
