//! The system calls that the standard library, mio and socket2 do not offer, and the only unsafe
//! code of the gateway.
//!
//! Nothing here decides anything: addresses and control messages come and go as octets, and
//! `udp/raw.rs` reads and writes them without unsafe code.

#![expect(unsafe_code, reason = "these system calls have no safe wrapper among our packages")]

use std::ffi::{CStr, CString, c_int, c_uint, c_void};
use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr;

/// Datagrams that one system call moves at most.
pub(super) const BATCH: usize = 64;

/// Room for one arriving datagram, in octets: more than UDP can carry (65,507 over IPv4, 65,527
/// over IPv6).
///
/// The slots are zeroed memory that is never touched before a datagram needs it, so short datagrams
/// cost one page each and the 4 MiB of a whole batch exist only after 64 long ones came at once.
/// Slots of 2 KiB with a second buffer for the rest took the same time within 2 %, so every
/// datagram is one contiguous slice.
const SLOT_BYTES: usize = 65_536;

/// A socket address as the kernel lays it out: `sockaddr_in` or `sockaddr_in6`.
#[derive(Clone, Copy, Default)]
#[repr(C, align(4))]
pub(super) struct Name(pub(super) [u8; size_of::<libc::sockaddr_in6>()]);

/// Room for one control message with packet information of either family.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; 64]);

impl Control {
    pub(super) const ZERO: Self = Self([0; 64]);
}

/// Where `receive` puts a batch of datagrams.
pub(super) struct Inbox {
    headers: Vec<libc::mmsghdr>,
    /// Kept alive for `headers`, which refer to them; never touched again after `new`.
    _iovecs: Vec<libc::iovec>,
    /// Written by the kernel through pointers in `headers`, only read here. The same holds for the
    /// next two.
    names: Vec<Name>,
    controls: Vec<Control>,
    arena: Vec<u8>,
    filled: usize,
}

// SAFETY: the raw pointers inside `headers` and `_iovecs` point into heap memory that this value
// alone owns, so they stay right when it moves to another thread, and they are used only through
// `&mut self`.
unsafe impl Send for Inbox {}

/// One datagram as it arrived.
pub(super) struct Incoming<'a> {
    pub(super) name: &'a [u8],
    pub(super) control: &'a [u8],
    pub(super) bytes: &'a [u8],
    /// The kernel cut the datagram off, `bytes` is only its beginning.
    pub(super) truncated: bool,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let mut names = vec![Name::default(); BATCH];
        let mut controls = vec![Control::ZERO; BATCH];
        let mut arena = vec![0; BATCH * SLOT_BYTES];
        let (name, control, slot) = (names.as_mut_ptr(), controls.as_mut_ptr(), arena.as_mut_ptr());
        let mut iovecs: Vec<libc::iovec> = (0..BATCH)
            .map(|i| libc::iovec {
                iov_base: slot.wrapping_add(i * SLOT_BYTES).cast(),
                iov_len: SLOT_BYTES,
            })
            .collect();
        let iovec = iovecs.as_mut_ptr();
        let headers = (0..BATCH)
            .map(|i| {
                let mut header = empty_header();
                header.msg_hdr.msg_name = name.wrapping_add(i).cast();
                header.msg_hdr.msg_iov = iovec.wrapping_add(i);
                header.msg_hdr.msg_iovlen = 1;
                header.msg_hdr.msg_control = control.wrapping_add(i).cast();
                state_room(&mut header);
                header
            })
            .collect();
        Self { headers, _iovecs: iovecs, names, controls, arena, filled: 0 }
    }

    /// Forgets the datagrams of the last call, and states again the lengths that it overwrote.
    pub(super) fn clear(&mut self) {
        self.headers[..self.filled].iter_mut().for_each(state_room);
        self.filled = 0;
    }

    /// Datagrams of the last call.
    pub(super) fn len(&self) -> usize {
        self.filled
    }

    /// Octets of the last call, and how many of its datagrams were cut off.
    pub(super) fn totals(&self) -> (u64, u64) {
        self.headers[..self.filled].iter().fold((0, 0), |(octets, cut), header| {
            (octets + u64::from(header.msg_len), cut + u64::from(is_truncated(header)))
        })
    }

    #[allow(clippy::unnecessary_cast, reason = "the C libraries differ in the type of a length")]
    pub(super) fn get(&self, index: usize) -> Incoming<'_> {
        assert!(index < self.filled, "datagram {index} of {}", self.filled);
        let header = &self.headers[index];
        let name = &self.names[index].0;
        let control = &self.controls[index].0;
        Incoming {
            name: &name[..name.len().min(header.msg_hdr.msg_namelen as usize)],
            control: &control[..control.len().min(header.msg_hdr.msg_controllen as usize)],
            bytes: &self.arena[index * SLOT_BYTES..][..SLOT_BYTES.min(header.msg_len as usize)],
            truncated: is_truncated(header),
        }
    }
}

/// Takes up to `limit` (64 at most) of the datagrams that wait, in one system call.
pub(super) fn receive(
    socket: BorrowedFd<'_>,
    inbox: &mut Inbox,
    limit: usize,
) -> io::Result<usize> {
    let limit = limit.min(BATCH);
    inbox.clear();
    // SAFETY: the first `limit` headers are initialised, and each points to a name, an iovec with
    // its slot of the arena and a control buffer of exactly the lengths it states. All of them live
    // in vectors of `inbox` that never grow, and `inbox` is borrowed exclusively, so nobody reads
    // them while the kernel writes.
    let count = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            inbox.headers.as_mut_ptr(),
            limit as c_uint,
            libc::MSG_DONTWAIT as _,
            ptr::null_mut(),
        )
    };
    inbox.filled = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    Ok(inbox.filled)
}

/// One datagram to send.
pub(super) struct Outgoing<'a> {
    pub(super) name: Name,
    pub(super) name_len: usize,
    pub(super) control: Control,
    /// 0: send without a control message.
    pub(super) control_len: usize,
    pub(super) bytes: &'a [u8],
}

/// Sends the datagrams `datagram(0)` to `datagram(count - 1)` (64 at most) in one system call;
/// returns how many went.
///
/// An error concerns the first of them; an error of a later one ends the call early and shows when
/// that one is first.
pub(super) fn send<'a>(
    socket: BorrowedFd<'_>,
    count: usize,
    mut datagram: impl FnMut(usize) -> Outgoing<'a>,
) -> io::Result<usize> {
    let count = count.min(BATCH);
    let mut headers = [const { MaybeUninit::<libc::mmsghdr>::uninit() }; BATCH];
    let mut iovecs = [const { MaybeUninit::<libc::iovec>::uninit() }; BATCH];
    let mut names = [const { MaybeUninit::<Name>::uninit() }; BATCH];
    let mut controls = [const { MaybeUninit::<Control>::uninit() }; BATCH];
    for i in 0..count {
        let datagram = datagram(i);
        let mut header = empty_header();
        header.msg_hdr.msg_name = ptr::from_mut(names[i].write(datagram.name)).cast();
        header.msg_hdr.msg_namelen = datagram.name_len.min(size_of::<Name>()) as _;
        header.msg_hdr.msg_iov = ptr::from_mut(iovecs[i].write(libc::iovec {
            iov_base: datagram.bytes.as_ptr().cast_mut().cast(),
            iov_len: datagram.bytes.len(),
        }));
        header.msg_hdr.msg_iovlen = 1;
        if datagram.control_len > 0 {
            header.msg_hdr.msg_control = ptr::from_mut(controls[i].write(datagram.control)).cast();
            header.msg_hdr.msg_controllen = datagram.control_len.min(size_of::<Control>()) as _;
        }
        headers[i].write(header);
    }
    // SAFETY: the first `count` headers were written above, and each points to a name, an iovec
    // and, if it has one, a control buffer that were written as well, live until the end of this
    // function and have the lengths stated. The octets are borrowed for `'a`, which outlives the
    // call; the kernel only reads them.
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr().cast(),
            count as c_uint,
            libc::MSG_DONTWAIT as _,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

fn is_truncated(header: &libc::mmsghdr) -> bool {
    header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0
}

/// Tells the kernel how much room there is for a name and control messages.
fn state_room(header: &mut libc::mmsghdr) {
    header.msg_hdr.msg_namelen = size_of::<Name>() as _;
    header.msg_hdr.msg_controllen = size_of::<Control>() as _;
}

fn empty_header() -> libc::mmsghdr {
    // SAFETY: `mmsghdr` holds integers and raw pointers, for which all zeroes are valid values.
    unsafe { mem::zeroed() }
}

/// Makes the kernel tell of every datagram which address was asked and which interface it came by.
pub(super) fn enable_packet_info(socket: BorrowedFd<'_>, v6: bool) -> io::Result<()> {
    let (level, option) = match v6 {
        false => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        true => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    let on: c_int = 1;
    // SAFETY: the pointer and the length describe the integer `on`, which the kernel only reads.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            ptr::from_ref(&on).cast::<c_void>(),
            size_of::<c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Datagrams that the kernel dropped on this socket so far, mostly for want of receive buffer.
pub(super) fn kernel_drops(socket: BorrowedFd<'_>) -> io::Result<u32> {
    const SO_MEMINFO: c_int = 55; // asm-generic/socket.h; libc does not name it
    const DROPS: usize = libc::SK_MEMINFO_DROPS as usize; // the last of nine numbers
    let mut info = [0_u32; DROPS + 1];
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the pointer and `len` describe the array `info`, and the kernel writes no more than
    // `len` octets.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result == 0 { Ok(info[DROPS]) } else { Err(io::Error::last_os_error()) }
}

/// Octets that a process without privileges may still write to the file system of this folder.
pub(super) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let name = CString::new(folder.as_os_str().as_bytes())?;
    let mut stat = MaybeUninit::<libc::statvfs>::uninit();
    // SAFETY: `name` is a string that ends with a zero octet, and the kernel writes no more than a
    // `statvfs` to where `stat` is.
    if unsafe { libc::statvfs(name.as_ptr(), stat.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call has succeeded, and filled it.
    let stat = unsafe { stat.assume_init() };
    if stat.f_blocks == 0 {
        // So say file systems without a limit of their own.
        return Err(io::ErrorKind::Unsupported.into());
    }
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// The number of the network interface of this name.
pub(super) fn interface_index(name: &str) -> io::Result<u32> {
    let name = CString::new(name)?;
    // SAFETY: `name` is a string that ends with a zero octet, and lives during the call.
    match unsafe { libc::if_nametoindex(name.as_ptr()) } {
        0 => Err(io::Error::last_os_error()),
        index => Ok(index),
    }
}

/// The name of the network interface of this number.
pub(super) fn interface_name(index: u32) -> io::Result<String> {
    let mut name: [libc::c_char; libc::IF_NAMESIZE] = [0; libc::IF_NAMESIZE];
    // SAFETY: the buffer has the IF_NAMESIZE octets that the call asks for.
    if unsafe { libc::if_indextoname(index, name.as_mut_ptr()) }.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so the buffer holds a string and the zero octet that ends it.
    let name = unsafe { CStr::from_ptr(name.as_ptr()) };
    Ok(name.to_string_lossy().into_owned())
}

/// The soft and the hard limit of open descriptors, once the soft one is raised as far as it goes.
#[allow(clippy::useless_conversion, reason = "a limit has 32 bits on some targets")]
pub(super) fn raise_descriptor_limit() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local `rlimit` that the kernel fills.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let raised = libc::rlimit { rlim_cur: limit.rlim_max, rlim_max: limit.rlim_max };
    // SAFETY: the pointer is to a local `rlimit` that the kernel only reads.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const raised) } == 0 {
        limit = raised;
    }
    Ok((u64::from(limit.rlim_cur), u64::from(limit.rlim_max)))
}
