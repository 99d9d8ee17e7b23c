//! What `sub` prints, in the manner of mosquitto_sub.

use std::io::{self, Write};

use super::session::Message;

/// How messages are printed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Format {
    /// `topic payload` instead of the payload alone.
    pub(super) verbose: bool,
    /// A line end behind each.
    pub(super) newline: bool,
}

impl Format {
    /// Prints a message. A payload of nothing prints nothing, or `(null)` beside its topic.
    pub(super) fn print(self, out: &mut impl Write, message: &Message) -> io::Result<()> {
        let Message { topic, payload, .. } = message;
        match (self.verbose, payload.is_empty()) {
            (false, true) => return Ok(()),
            (true, true) if !self.newline => return Ok(()),
            (true, true) => write!(out, "{topic} (null)")?,
            (true, false) => {
                write!(out, "{topic} ")?;
                out.write_all(payload)?;
            }
            (false, false) => out.write_all(payload)?,
        }
        if self.newline {
            out.write_all(b"\n")?;
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::session::Topic;
    use sn_codec::QoS;

    #[test]
    fn messages_look_as_mosquitto_sub_prints_them() {
        let check = |verbose, newline, payload: &[u8], expect: &[u8]| {
            let topic = Topic::Name("a/b".to_owned());
            let qos = QoS::AtMostOnce;
            let message = Message { topic, payload: payload.to_vec(), qos, retain: false };
            let mut out = Vec::new();
            Format { verbose, newline }.print(&mut out, &message).expect("memory takes it");
            assert_eq!(out, expect);
        };
        check(false, true, b"hi", b"hi\n");
        check(false, false, b"hi\xFF", b"hi\xFF");
        check(false, true, b"", b"");
        check(true, true, b"hi", b"a/b hi\n");
        check(true, false, b"hi", b"a/b hi");
        check(true, true, b"", b"a/b (null)\n");
        check(true, false, b"", b"");
    }
}
