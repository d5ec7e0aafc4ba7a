//! The values of flags: parsed, or refused with a message that says what is expected.

use std::{
    fmt,
    net::{SocketAddr, ToSocketAddrs},
    ops::RangeInclusive,
    str::FromStr,
    time::Duration,
};

use getlockd_proto::timeout::Timeout;

use clap::ValueEnum;

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text, for people
    Text,
    /// One JSON object per line
    Json,
}

/// Where a wire listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// Nowhere.
    Off,
    /// At this address.
    At(SocketAddr),
    /// At the socket that systemd passes under the name of the wire.
    Systemd,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::At(addr) => addr.fmt(f),
            Self::Systemd => f.write_str("the socket that systemd passes"),
        }
    }
}

/// The port that `getlockd ping` asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PingTarget {
    /// The line protocol at this address.
    Line(SocketAddr),
    /// HTTP at this address.
    Http(SocketAddr),
}

/// How long a connection may be idle; `None` means forever.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdleLimit(pub Option<Duration>);

impl FromStr for IdleLimit {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self(None));
        }
        some_time(text)
            .map(|time| Self(Some(time)))
            .map_err(|_| "expected a time such as 10m, or off".to_owned())
    }
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("off") {
            return Ok(Self::Off);
        }
        if text.eq_ignore_ascii_case("systemd") {
            return Ok(Self::Systemd);
        }
        address(text).map(Self::At).map_err(|error| format!("{error}; expected host:port, off or systemd"))
    }
}

impl FromStr for PingTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let asked = match text.strip_prefix("http://") {
            Some(rest) => address(rest.trim_end_matches('/')).map(Self::Http),
            None => address(text).map(Self::Line),
        };
        asked.map_err(|error| format!("{error}; expected host:port or http://host:port"))
    }
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let mut found = text.to_socket_addrs().map_err(|error| error.to_string())?;
    found.next().ok_or_else(|| "this name has no address".to_owned())
}

pub(super) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err("expected a whole number, at least 1".to_owned()),
        Ok(number) => Ok(number),
    }
}

pub(super) fn line_size(text: &str) -> Result<usize, String> {
    size(text, 128..=64 * 1024)
}

pub(super) fn packet_size(text: &str) -> Result<usize, String> {
    size(text, 1024..=crate::wires::mysql::MAX_PACKET)
}

pub(super) fn memory_size(text: &str) -> Result<usize, String> {
    size(text, 1024 * 1024..=1024 * 1024 * 1024 * 1024)
}

fn size(text: &str, possible: RangeInclusive<usize>) -> Result<usize, String> {
    let size = text.parse().ok().filter(|size| possible.contains(size));
    size.ok_or_else(|| format!("expected a number of bytes from {} to {}", possible.start(), possible.end()))
}

pub(super) fn time(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(Timeout::Within(time)) => Ok(time),
        _ => Err("expected a time such as 10s, 500ms or 2m".to_owned()),
    }
}

/// Parses a time of at least a millisecond, and at most as much as a clock can hold.
pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    let possible = Duration::from_millis(1)..=Duration::from_hours(24 * 366);
    time(text)
        .ok()
        .filter(|time| possible.contains(time))
        .ok_or_else(|| "expected a time from 1ms to 8784h".to_owned())
}

pub(super) fn host(text: &str) -> Result<String, String> {
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_name = !text.is_empty() && text.bytes().all(is_right);
    if is_name {
        Ok(text.to_owned())
    } else {
        Err("expected a host name without a port, such as locks.example".to_owned())
    }
}

pub(super) fn keepalive(text: &str) -> Result<Duration, String> {
    let possible = Duration::from_secs(4)..=Duration::from_hours(2);
    time(text)
        .ok()
        .filter(|time| possible.contains(time))
        .ok_or_else(|| "expected a time from 4s to 2h".to_owned())
}
