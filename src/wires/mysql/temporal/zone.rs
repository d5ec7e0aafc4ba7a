//! Time zones: those that are an offset.

use super::{DateTime, MINUTE};

/// How much later than UTC it is, in minutes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::wires::mysql) struct Offset(i16);

impl Offset {
    /// `SYSTEM`, which is UTC, or `+02:00`: from `-13:59` to `+14:00`. Names are known to a server with tables of time
    /// zones alone.
    pub(in crate::wires::mysql) fn named(zone: &str) -> Option<Self> {
        if zone.eq_ignore_ascii_case("SYSTEM") {
            return Some(Self::default());
        }
        let (is_west, digits) = match zone.as_bytes().split_first()? {
            (b'+', _) => (false, &zone[1..]),
            (b'-', _) => (true, &zone[1..]),
            _ => return None,
        };
        let (hours, minutes) = digits.split_once(':')?;
        let is_number = |text: &str| text.bytes().all(|c| c.is_ascii_digit());
        if !(1..=2).contains(&hours.len()) || minutes.len() != 2 || !is_number(hours) || !is_number(minutes) {
            return None;
        }
        let (hours, minutes): (i16, i16) = (hours.parse().ok()?, minutes.parse().ok()?);
        let all = hours * 60 + minutes;
        let most = if is_west { 13 * 60 + 59 } else { 14 * 60 };
        (minutes < 60 && all <= most).then_some(Self(if is_west { -all } else { all }))
    }

    /// As MySQL writes it, of how it was typed.
    pub(in crate::wires::mysql) fn name(self, typed: &str) -> String {
        if typed.eq_ignore_ascii_case("SYSTEM") {
            return "SYSTEM".to_owned();
        }
        let sign = if self.0 < 0 { '-' } else { '+' };
        let minutes = self.0.unsigned_abs();
        format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }

    pub(in crate::wires::mysql) fn micros(self) -> i64 {
        i64::from(self.0) * MINUTE
    }

    /// What a clock shows there, of microseconds since 1970.
    pub(in crate::wires::mysql) fn local(self, unix: i64) -> DateTime {
        DateTime::of_unix(unix.saturating_add(self.micros()))
    }

    /// The microseconds since 1970 of what a clock shows there.
    pub(in crate::wires::mysql) fn unix(self, local: DateTime) -> i64 {
        local.to_unix() - self.micros()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zones_are_offsets() {
        for (zone, minutes) in
            [("SYSTEM", 0), ("system", 0), ("+00:00", 0), ("+2:00", 120), ("-13:59", -839), ("+14:00", 840)]
        {
            assert_eq!(Offset::named(zone), Some(Offset(minutes)), "{zone}");
        }
        for zone in
            ["", "UTC", "Europe/Berlin", "+14:01", "-14:00", "+1", "+01:60", "+001:00", "+ä:00", "+01:0"]
        {
            assert_eq!(Offset::named(zone), None, "{zone}");
        }
    }
}
