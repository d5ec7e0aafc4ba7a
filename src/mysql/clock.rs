//! Moments as SQL writes them. All of them are in UTC: the server has no other time zone.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

use super::value::Decimal;

/// Now, in microseconds since 1970.
pub(super) fn now() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_1970.as_micros()).unwrap_or(i64::MAX)
}

/// `2026-11-20 09:30:00.123`, with so many digits of the fraction.
pub(super) fn text(micros: i64, digits: u8) -> String {
    let moment = moment(micros);
    let (date, (hour, minute, second)) = (moment.date(), moment.time().as_hms());
    let seconds = format!("{date} {hour:02}:{minute:02}:{second:02}");
    if digits == 0 { seconds } else { format!("{seconds}.{}", fraction(moment, digits)) }
}

/// `20261120093000.123`
pub(super) fn number(micros: i64, digits: u8) -> Decimal {
    let compact: String = text(micros, digits).chars().filter(|c| c.is_ascii_digit() || *c == '.').collect();
    Decimal::parse(&compact).unwrap_or(Decimal { digits: 0, scale: 0 })
}

/// Seconds since 1970, with so many digits of the fraction.
pub(super) fn unix(micros: i64, digits: u8) -> Decimal {
    let scale = u32::from(digits.min(6));
    Decimal { digits: i128::from(micros.div_euclid(10_i64.pow(6 - scale))), scale }
}

/// The fields that the binary protocol sends: year, month, day, hour, minute, second, microseconds.
pub(super) fn fields(micros: i64) -> (u16, [u8; 5], u32) {
    let moment = moment(micros);
    let (hour, minute, second) = moment.time().as_hms();
    let year = u16::try_from(moment.year()).unwrap_or(0);
    (year, [moment.month().into(), moment.day(), hour, minute, second], moment.microsecond())
}

fn moment(micros: i64) -> OffsetDateTime {
    let nanos = i128::from(micros) * 1_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

fn fraction(moment: OffsetDateTime, digits: u8) -> String {
    let all = format!("{:06}", moment.microsecond());
    all[..usize::from(digits.min(6))].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_dates_and_as_numbers() {
        let micros = 1_795_166_999_123_456;
        assert_eq!(text(micros, 0), "2026-11-20 09:29:59");
        assert_eq!(text(micros, 3), "2026-11-20 09:29:59.123");
        assert_eq!(number(micros, 0).to_string(), "20261120092959");
        assert_eq!(unix(micros, 6).to_string(), "1795166999.123456");
        assert_eq!(unix(micros, 0).to_string(), "1795166999");
    }
}
