//! How long a request may wait: `10`, `0.5`, `500ms`, `2m`, `1h30m`, `-1`.

use std::{error::Error, fmt, str::FromStr, time::Duration};

/// How long a request may wait for its lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timeout {
    /// At most this long; zero tries once and never waits.
    Within(Duration),
    /// Until it is granted.
    Forever,
}

/// The string is not a timeout (protocol.md, "Timeouts").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadTimeout;

impl fmt::Display for BadTimeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("use seconds (10, 0.5) or a unit (500ms, 10s, 2m, 1h); -1 waits forever")
    }
}

impl Error for BadTimeout {}

impl Timeout {
    /// Try once and do not wait.
    pub const NONE: Self = Self::Within(Duration::ZERO);

    /// A timeout in milliseconds. Negative values, and those that no clock can hold, are forever.
    #[inline]
    pub fn from_millis(millis: i128) -> Self {
        u64::try_from(millis).map_or(Self::Forever, |millis| Self::Within(Duration::from_millis(millis)))
    }

    /// True for a request that tries once and does not wait.
    #[inline]
    pub fn is_zero(self) -> bool {
        self == Self::NONE
    }

    /// What remains after some time has elapsed.
    #[must_use]
    pub fn less(self, elapsed: Duration) -> Self {
        match self {
            Self::Within(time) => Self::Within(time.saturating_sub(elapsed)),
            Self::Forever => Self::Forever,
        }
    }
}

impl From<Duration> for Timeout {
    fn from(time: Duration) -> Self {
        Self::Within(time)
    }
}

/// Written so that parsing it gives the same timeout.
impl fmt::Display for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(time) => write!(f, "{}.{:09}", time.as_secs(), time.subsec_nanos()),
            Self::Forever => f.write_str("-1"),
        }
    }
}

impl FromStr for Timeout {
    type Err = BadTimeout;

    /// Fractions count to the nanosecond; what no clock holds is forever.
    #[inline]
    fn from_str(text: &str) -> Result<Self, BadTimeout> {
        if let Ok(seconds) = text.parse::<u32>() {
            return Ok(Self::Within(Duration::from_secs(seconds.into())));
        }
        Self::from_any(text)
    }
}

impl Timeout {
    fn from_any(text: &str) -> Result<Self, BadTimeout> {
        let (negative, magnitude) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let nanos = parse_nanos(magnitude)?;
        // However little below 0.
        let negative = negative && magnitude.bytes().any(|b| matches!(b, b'1'..=b'9'));
        Ok(match nanos {
            Some(nanos) if !negative => Self::Within(Duration::from_nanos(nanos)),
            _ => Self::Forever,
        })
    }
}

/// A number of seconds, or numbers with a unit each, as nanoseconds; `None` when they do not fit 64 bits (584 years).
fn parse_nanos(text: &str) -> Result<Option<u64>, BadTimeout> {
    let (mut total, unit, mut rest) = parse_part(text)?;
    // Seconds have no unit only where there is nothing else: `1h30` might be anything.
    if unit.is_empty() && !rest.is_empty() {
        return Err(BadTimeout);
    }
    while !rest.is_empty() {
        let (nanos, unit, behind) = parse_part(rest)?;
        if unit.is_empty() {
            return Err(BadTimeout);
        }
        total = total.zip(nanos).and_then(|(total, nanos)| total.checked_add(nanos));
        rest = behind;
    }
    Ok(total)
}

/// A number with its unit, as nanoseconds, and what follows.
fn parse_part(text: &str) -> Result<(Option<u64>, &str, &str), BadTimeout> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, rest) = text.split_at(digits_end);
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit_name, rest) = rest.split_at(unit_end);
    let unit = nanos_of(unit_name).ok_or(BadTimeout)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
        return Err(BadTimeout);
    }
    let whole = if whole.is_empty() { Some(0) } else { whole.parse::<u64>().ok() };
    let nanos = whole.and_then(|n| n.checked_mul(unit)).and_then(|n| n.checked_add(part(fraction, unit)));
    Ok((nanos, unit_name, rest))
}

fn nanos_of(unit: &str) -> Option<u64> {
    const SECOND: u64 = 1_000_000_000;
    const UNITS: [(&[&str], u64); 4] = [
        (&["", "s", "sec", "secs", "second", "seconds"], SECOND),
        (&["ms", "msec", "msecs", "millisecond", "milliseconds"], SECOND / 1000),
        (&["m", "min", "mins", "minute", "minutes"], 60 * SECOND),
        (&["h", "hr", "hrs", "hour", "hours"], 3600 * SECOND),
    ];
    let is_called = |names: &[&str]| names.iter().any(|name| name.eq_ignore_ascii_case(unit));
    UNITS.iter().find(|(names, _)| is_called(names)).map(|&(_, nanos)| nanos)
}

/// The digits behind the point, as a part of `unit`, cut at the nanosecond.
fn part(fraction: &str, unit: u64) -> u64 {
    // An hour has 13 digits of nanoseconds; more digits than these cannot count.
    let digits = &fraction[..fraction.len().min(18)];
    let value: u64 = digits.parse().unwrap_or(0);
    let scaled = u128::from(value) * u128::from(unit) / 10_u128.pow(digits.len().try_into().unwrap_or(0));
    scaled.try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn seconds_fractions_and_units_are_exact() {
        for (text, nanos) in [
            ("10", 10 * SECOND),
            ("+10", 10 * SECOND),
            ("0.5", SECOND / 2),
            (".5", SECOND / 2),
            ("1.", SECOND),
            ("0.000000001", 1),
            ("0.0000000009", 0),
            ("1.000000000000000000000000001", SECOND),
            ("500ms", SECOND / 2),
            ("1.5MS", 1_500_000),
            ("3s", 3 * SECOND),
            ("2m", 120 * SECOND),
            ("0.25h", 900 * SECOND),
            ("10sec", 10 * SECOND),
            ("5Min", 300 * SECOND),
            ("2minutes", 120 * SECOND),
            ("1hour", 3600 * SECOND),
            ("250milliseconds", SECOND / 4),
            ("1h30m", 5400 * SECOND),
            ("1m.5s250ms", 60 * SECOND + 3 * SECOND / 4),
            ("0", 0),
            ("-0", 0),
            ("-0.0", 0),
        ] {
            assert_eq!(text.parse(), Ok(Timeout::Within(Duration::from_nanos(nanos))), "{text}");
        }
    }

    #[test]
    fn written_timeout_is_read_back() {
        for time in [Timeout::NONE, Timeout::Forever, Timeout::Within(Duration::new(90, 5))] {
            assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn negative_and_infinite_timeouts_are_forever() {
        for text in [
            "-1",
            "-0.4",
            "-0.0000000001",
            "-1ms",
            "5000000h5000000h",
            "-1h30m",
            "18446744073709551616",
            "99999999999999999999999h",
            "-99999999999999999999",
        ] {
            assert_eq!(text.parse(), Ok(Timeout::Forever), "{text}");
        }
    }

    #[test]
    fn invalid_timeout_is_refused() {
        for text in [
            "", "-", ".", "1.2.3", "1d", "ten", "1e3", "inf", "NaN", "1 s", "--1", "٣", "1h30", "30 1h",
            "1h-30m", "1mh", "s", "1h.m",
        ] {
            assert_eq!(text.parse::<Timeout>(), Err(BadTimeout), "{text}");
        }
    }
}
