//! What the kernel knows of a TCP connection, and no library asks it.

use std::{os::fd::AsFd, time::Duration};

/// For how long nothing has arrived from the peer, not even an acknowledgement; `None` where the system does not say.
pub(super) fn silence(socket: &impl AsFd) -> Option<Duration> {
    tcp_info(socket).map(|info| info.silence)
}

/// Whether some of what was sent is not acknowledged yet, or not transmitted yet.
pub(super) fn is_unacknowledged(socket: &impl AsFd) -> bool {
    unacknowledged(socket) > 0
}

/// The same, but for a FIN.
pub(super) fn has_unacknowledged_data(socket: &impl AsFd) -> bool {
    let fin = tcp_info(socket).is_some_and(TcpInfo::is_fin_unacknowledged);
    unacknowledged(socket) > usize::from(fin)
}

/// Whether the peer has acknowledged our FIN, or the connection is gone. Where the system does not say, it counts as
/// acknowledged.
pub(super) fn is_fin_acknowledged(socket: &impl AsFd) -> bool {
    tcp_info(socket).is_none_or(TcpInfo::is_over_for_us)
}

/// A part of the kernel's `tcp_info`.
#[derive(Clone, Copy)]
struct TcpInfo {
    /// As in the kernel's `tcp_states.h`.
    state: u8,
    silence: Duration,
}

impl TcpInfo {
    /// FIN_WAIT1, LAST_ACK or CLOSING.
    fn is_fin_unacknowledged(self) -> bool {
        matches!(self.state, 4 | 9 | 11)
    }

    /// FIN_WAIT2, TIME_WAIT or CLOSE.
    fn is_over_for_us(self) -> bool {
        matches!(self.state, 5..=7)
    }
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library offers TCP_INFO")]
fn tcp_info(socket: &impl AsFd) -> Option<TcpInfo> {
    use std::os::fd::AsRawFd;
    // SAFETY: tcp_info consists of integers, for which all bits zero is a valid value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut size = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).ok()?;
    // SAFETY: the descriptor is open as long as `socket` is borrowed. `info` and `size` live through the call, and
    // `size` is the size of `info`, beyond which the kernel does not write.
    let done = unsafe {
        let (info, size) = ((&raw mut info).cast(), &raw mut size);
        libc::getsockopt(socket.as_fd().as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info, size)
    };
    let silence = info.tcpi_last_ack_recv.min(info.tcpi_last_data_recv);
    (done == 0).then(|| TcpInfo { state: info.tcpi_state, silence: Duration::from_millis(silence.into()) })
}

#[cfg(not(target_os = "linux"))]
fn tcp_info(_: &impl AsFd) -> Option<TcpInfo> {
    None
}

/// How many bytes were sent and are not acknowledged yet; a FIN counts as one.
#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "no library offers SIOCOUTQ")]
fn unacknowledged(socket: &impl AsFd) -> usize {
    use std::os::fd::AsRawFd;
    let mut bytes: libc::c_int = 0;
    // SAFETY: the descriptor is open as long as `socket` is borrowed, and the kernel writes one int.
    let done = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if done == 0 { usize::try_from(bytes).unwrap_or_default() } else { 0 }
}

#[cfg(not(target_os = "linux"))]
fn unacknowledged(_: &impl AsFd) -> usize {
    0
}
