//! Sockets: UDP ports, TCP listeners, WebSocket, and the octets that wait on a TCP link.
//!
//! Nothing here knows MQTT. Every call does a stated, bounded amount of work, never blocks and,
//! once warm, never allocates.

use std::io;
use std::path::Path;

pub mod listener;
pub mod outbuf;
mod sys;
pub mod udp;
pub mod ws;

/// The name of a network interface, for people: 0, and what has no name, is printed as the number.
#[must_use]
pub fn interface_name(index: u32) -> String {
    sys::interface_name(index).unwrap_or_else(|_| index.to_string())
}

/// Octets that may still be written to the file system of a folder.
///
/// # Errors
/// It is not there, or the system does not tell.
pub fn free_bytes(folder: &Path) -> io::Result<u64> {
    sys::free_bytes(folder)
}

/// How many descriptors the process may have open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DescriptorLimit {
    /// What holds now.
    pub soft: u64,
    /// How far the process itself could raise it.
    pub hard: u64,
}

/// Raises the limit of open descriptors as far as it goes, and tells what holds then. For the
/// start.
///
/// # Errors
/// None on a working system.
pub fn raise_descriptor_limit() -> io::Result<DescriptorLimit> {
    let (soft, hard) = sys::raise_descriptor_limit()?;
    Ok(DescriptorLimit { soft, hard })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_in_a_folder_that_is_there() {
        assert!(free_bytes(&std::env::temp_dir()).unwrap() > 0);
        assert!(free_bytes(Path::new("/no such folder")).is_err());
        assert!(free_bytes(Path::new("/proc")).is_err(), "it has no size");
    }

    #[test]
    fn interfaces_are_known_by_name_and_number() {
        let index = sys::interface_index("lo").unwrap();
        assert_eq!(interface_name(index), "lo");
        assert!(sys::interface_index("nowhere0").is_err());
        assert!(sys::interface_index("zero\0octet").is_err());
        assert_eq!(interface_name(0), "0");
        assert_eq!(interface_name(u32::MAX), u32::MAX.to_string());
    }
}
