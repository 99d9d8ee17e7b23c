//! Octets for tests, written as the specification draws them.

/// Reads `"02 17"` as two octets.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    text.split_whitespace()
        .map(|octet| u8::from_str_radix(octet, 16).expect("test octets are hexadecimal"))
        .collect()
}

/// The same message in the long form, by the rule of the specification: two octets more, counted
/// in.
pub(crate) fn long_form(short: &[u8]) -> Vec<u8> {
    let total = u16::try_from(short.len() + 2).expect("test messages are small");
    [&[0x01], &total.to_be_bytes()[..], &short[1..]].concat()
}
