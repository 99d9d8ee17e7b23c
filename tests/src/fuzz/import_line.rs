//! A line for `store import`: what it says is what `store export` writes of it.

use mqtt_sn_gw::store::tool;
use serde_json::Value;

use super::Target;
use super::digest::Digest;

/// See the [module](self).
pub const TARGET: Target =
    Target { name: "import_line", dictionary: "import", bytes_max: 256, run };

fn run(octets: &[u8]) -> u64 {
    let Ok(line) = str::from_utf8(octets) else { return 0 };
    let Some((key, value)) = tool::read_line(line) else { return 1 };
    let fields: Value = serde_json::from_str(line).expect("it was read as one");
    let digits = fields["value"].as_str().expect("it was read as one").to_lowercase();
    let expect: String = value.iter().map(|octet| format!("{octet:02x}")).collect();
    assert_eq!(digits, expect, "each octet is two digits");
    let written = tool::write_line(key, &value);
    assert!(!written.contains('\n'), "it is one line");
    assert_eq!(tool::read_line(&written), Some((key, value.clone())), "{written}");
    let mut digest = Digest::new();
    digest.number(key.0);
    digest.octets(&value);
    digest.end()
}
