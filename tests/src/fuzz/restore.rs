//! Records of any octets, as `store import` can bring them: broker and gateway take or refuse each,
//! what they made of them is the same when it comes back once more, and they go on from there.

use super::Target;
use super::digest::Digest;
use super::input::Input;
use super::machine::Machine;
use super::records;

/// See the [module](self).
pub const TARGET: Target = Target { name: "restore", dictionary: "restore", bytes_max: 512, run };

/// The tables there are, and one that there is not.
const TABLES: [u8; 12] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 0x80, 0x81, 0x10];

fn run(octets: &[u8]) -> u64 {
    let mut input = Input::new(octets);
    let mut machine = Machine::new(true);
    machine.kept.clear();
    while !input.is_empty() {
        let (key, value) = record(&mut input);
        machine.kept.insert(key, value);
    }
    machine.restart();
    machine.kept = all_kept(&mut machine);

    // What it is now comes back as it is now, whatever it was made of.
    let before = records::meaning(&machine.kept);
    assert!(machine.restart(), "what it wrote itself is good");
    let after = all_kept(&mut machine);
    assert_eq!(before, records::meaning(&after), "what came back once comes back again");

    let mut digest = Digest::new();
    after.iter().for_each(|(key, value)| {
        digest.number(*key);
        digest.octets(value);
    });
    machine.kept = after;
    machine.datagram(([10, 0, 0, 1], 1).into(), b"\x07\x04\x00\x01\x00\x0Aa");
    machine.publish("a/b", broker_core::api::QoS::AtLeastOnce, false, b"x");
    machine.check_nothing_stays(|_, octets| digest.octets(octets));
    digest.end()
}

/// A key whose number is small, or of a shape that some table has, or any; and a value, most of the
/// time of the format that is known.
fn record(input: &mut Input<'_>) -> (u64, Vec<u8>) {
    let table = input.choose(&TABLES);
    let how = input.u8();
    let number = match how & 3 {
        0 | 1 => u64::from(input.u8() % 8),
        2 => u64::from(input.u8() % 8) << 16 | u64::from(input.u8()),
        _ => u64::from_be_bytes([0, input.u8(), input.u8(), 0xFF, 0xFF, 0xFF, 0xFF, input.u8()]),
    };
    let mut value = if how & 0x80 == 0 { vec![1] } else { vec![] };
    value.extend_from_slice(input.counted());
    (u64::from(table) << 56 | number, value)
}

fn all_kept(machine: &mut Machine) -> records::Kept {
    let now = machine.now();
    let mut kept = records::of_broker(&mut machine.broker, now);
    let (mut journal, mut cursor) = (Vec::new(), 0);
    while machine.sn.snapshot(&mut cursor, 100, &mut journal) {}
    records::apply(&journal, &mut kept);
    kept
}
