//! What happens on a UDP port, in numbers.

use std::io;

/// What happened on a port since it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UdpStats {
    /// Datagrams received.
    pub datagrams_in: u64,
    /// Octets in them.
    pub bytes_in: u64,
    /// Of these, datagrams that the kernel cut off and that were left out; none, unless UDP changes
    /// its maximum.
    pub truncated: u64,
    /// System calls for receiving.
    pub receive_calls: u64,
    /// Errors while receiving, as ICMP messages bring them; they cost nothing but this count.
    pub receive_errors: u64,
    /// Datagrams that the kernel took for sending.
    pub datagrams_out: u64,
    /// Octets in them.
    pub bytes_out: u64,
    /// System calls for sending.
    pub send_calls: u64,
    /// Times the kernel had no room for more.
    pub send_blocked: u64,
    /// Datagrams dropped because they are longer than UDP or the link allows.
    pub dropped_too_long: u64,
    /// Datagrams dropped because no route leads to the receiver, or its address is no receiver's.
    pub dropped_unreachable: u64,
    /// Datagrams dropped because a filter rule of this machine forbids them.
    pub dropped_forbidden: u64,
    /// Datagrams dropped for another error.
    pub dropped_other: u64,
}

impl UdpStats {
    /// Counts a datagram that the kernel refused to send.
    pub(super) fn count_refusal(&mut self, error: &io::Error) {
        let counter = match error.raw_os_error() {
            Some(libc::EMSGSIZE) => &mut self.dropped_too_long,
            Some(libc::EPERM | libc::EACCES) => &mut self.dropped_forbidden,
            Some(
                libc::ENETUNREACH
                | libc::EHOSTUNREACH
                | libc::ENETDOWN
                | libc::EHOSTDOWN
                | libc::EADDRNOTAVAIL
                | libc::EAFNOSUPPORT
                | libc::ENODEV
                | libc::EINVAL,
            ) => &mut self.dropped_unreachable,
            Some(_) | None => &mut self.dropped_other,
        };
        *counter += 1;
    }
}
