//! A second reader of our datagrams: Wireshark's dissector for MQTT-SN.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::NamedTempFile;

use crate::foreign::{found, program};
use crate::lossy::{Direction, Relay};
use crate::pcap::{self, Frame};

/// tshark decodes each datagram of `frames` as MQTT-SN without a complaint. `false`, and said so,
/// if tshark is not installed.
#[track_caller]
pub fn decodes(frames: &[Frame<'_>]) -> bool {
    let Some(complaints) = complaints(frames) else { return false };
    assert!(complaints.is_empty(), "tshark complains:\n{}", complaints.join("\n"));
    true
}

/// What tshark has to say against `frames`, a text for each bad one; none without tshark.
#[track_caller]
fn complaints(frames: &[Frame<'_>]) -> Option<Vec<String>> {
    assert!(!frames.is_empty(), "there is nothing to decode");
    let program = found("tshark", program("tshark"))?;
    let capture = NamedTempFile::with_suffix(".pcap").and_then(|mut file| {
        pcap::write(&mut file, frames)?;
        Ok(file)
    });
    let capture = capture.map_err(|error| panic!("no room for a capture: {error}"));
    let tshark = Tshark { program, capture: capture.ok()? };
    Some(tshark.complaints(frames))
}

/// tshark decodes all that passed a relay from the gateway.
#[track_caller]
pub fn decodes_answers(relay: &Relay) -> bool {
    let recorded = relay.recorded();
    let answers = recorded.iter().filter(|seen| seen.direction == Direction::ToClient);
    let frames: Vec<_> = answers
        .map(|seen| Frame {
            at: seen.at,
            from: relay.gateway(),
            to: relay.client_as_seen(),
            datagram: &seen.datagram,
        })
        .collect();
    decodes(&frames)
}

struct Tshark {
    program: PathBuf,
    capture: NamedTempFile,
}

impl Tshark {
    /// One text for each datagram that is not exactly one well-formed MQTT-SN message.
    fn complaints(&self, frames: &[Frame<'_>]) -> Vec<String> {
        let fields =
            ["frame.number", "_ws.malformed", "_ws.expert.message", "udp.length", "mqttsn.msg.len"];
        let mut args = vec!["-T", "fields", "-E", "separator=|"];
        args.extend(fields.iter().flat_map(|field| ["-e", *field]));
        let output = self.run(frames, &args);
        let text = String::from_utf8_lossy(&output.stdout);
        let rows: Vec<_> = text.lines().collect();
        assert_eq!(rows.len(), frames.len(), "a row for each datagram:\n{text}");
        let refused = rows.iter().filter(|row| !is_well_formed(row));
        refused.map(|row| self.explain(frames, row)).collect()
    }

    fn explain(&self, frames: &[Frame<'_>], row: &str) -> String {
        let number = row.split('|').next().unwrap_or_default();
        let only = format!("frame.number == {number}");
        let output = self.run(frames, &["-V", "-x", "-Y", &only]);
        format!("{row}\n{}", String::from_utf8_lossy(&output.stdout))
    }

    fn run(&self, frames: &[Frame<'_>], args: &[&str]) -> Output {
        let mut command = Command::new(&self.program);
        command.arg("-n").arg("-r").arg(self.capture.path());
        let ports: BTreeSet<u16> = frames.iter().map(|frame| frame.from.port()).collect();
        for port in ports {
            command.args(["-d", &format!("udp.port=={port},mqttsn")]);
        }
        let output = command.args(args).output().expect("tshark runs");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "tshark {args:?}: {complaint}");
        output
    }
}

/// Whether a row has no complaint, and the message is as long as the datagram.
fn is_well_formed(row: &str) -> bool {
    let cells: Vec<_> = row.split('|').collect();
    let [_, malformed, expert, udp_length, message_length] = cells[..] else { return false };
    let of_message = message_length.parse::<usize>().ok().map(|length| length + 8);
    malformed.is_empty() && expert.is_empty() && of_message == udp_length.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::octets;
    use std::time::Duration;

    fn complaints_about(datagrams: &[Vec<u8>]) -> Option<Vec<String>> {
        let frame = |datagram| Frame {
            at: Duration::ZERO,
            from: "127.0.0.1:1883".parse().unwrap(),
            to: "127.0.0.1:40000".parse().unwrap(),
            datagram,
        };
        let frames: Vec<_> = datagrams.iter().map(|datagram| frame(datagram)).collect();
        complaints(&frames)
    }

    #[test]
    fn what_a_gateway_may_send_is_decoded() {
        let texts = [
            "05 00 01 03 84",
            "03 02 01",
            "03 05 00",
            "02 06",
            "02 08",
            "0B 0A 00 01 01 01 'a/b/c'",
            "07 0B 00 01 00 01 00",
            "09 0C 00 00 01 00 00 'hi'",
            "09 0C 30 00 01 01 01 'hi'",
            "07 0C 10 00 01 00 00",
            "07 0D 00 01 00 01 00",
            "04 0F 00 02",
            "04 10 00 02",
            "04 0E 00 02",
            "08 13 20 00 01 00 01 00",
            "04 15 00 05",
            "02 16",
            "02 17",
            "02 18",
            "03 1B 00",
            "03 1D 00",
        ];
        let mut datagrams: Vec<_> = texts.iter().map(|text| octets(text)).collect();
        datagrams.push([octets("01 01 02 0C 00 00 01 00 00"), vec![b'A'; 249]].concat());
        if let Some(complaints) = complaints_about(&datagrams) {
            assert_eq!(complaints, Vec::<String>::new());
        }
    }

    #[test]
    fn what_no_gateway_may_send_is_noticed() {
        // A length beyond the datagram, one before its end, no octet after the header.
        for wrong in ["0B 0A 00 01 01 01 'a'", "02 17 00", "07 0D 00 01 00"] {
            if let Some(complaints) = complaints_about(&[octets("02 17"), octets(wrong)]) {
                assert_eq!(complaints.len(), 1, "{wrong}");
                assert!(complaints[0].starts_with("2|"), "{complaints:?}");
            }
        }
    }
}
