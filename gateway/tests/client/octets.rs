//! Octets as the specification draws them: `0A 04 04 01 00 3C 'dev1'`.

/// Two hex digits are one octet, `'…'` is text.
#[track_caller]
pub(crate) fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::new();
    for (index, part) in text.split('\'').enumerate() {
        if index % 2 == 1 {
            octets.extend(part.bytes());
            continue;
        }
        let digits = part.split_whitespace();
        octets.extend(digits.map(|digits| u8::from_str_radix(digits, 16).expect("hex digits")));
    }
    octets
}

/// The same for a reader.
pub(crate) fn hex(octets: &[u8]) -> String {
    let digits: Vec<String> = octets.iter().map(|octet| format!("{octet:02X}")).collect();
    digits.join(" ")
}
